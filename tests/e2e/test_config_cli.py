"""Config files and command lines of the real programs, without network or privileges: every row of
tests/unit/config/bad_cases.json is refused with its exact lines and code 2; the examples are fine.

No topology: each program is started, says what it has to say, and ends.
"""
import json
import pathlib
import subprocess

import pytest

from ztna_net.pki import program

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = {"agent": "ztna-agent", "connector": "app-connector", "intermediate": "intermediate-server"}
CASES = json.loads((ROOT / "tests/unit/config/bad_cases.json").read_text(encoding="utf-8"))


def run(kind, *words, cwd):
    return subprocess.run([program(PROGRAM[kind]), *words], cwd=cwd, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("kind", PROGRAM)
def test_bad_files_are_refused_with_their_lines(kind, tmp_path):
    for case in (c for c in CASES if c["file"] == kind):
        text = case["text"] if "text" in case else json.dumps(case["config"])
        (tmp_path / f"{kind}.json").write_text(text, encoding="utf-8")
        done = run(kind, "--config", f"{kind}.json", "--check-config", cwd=tmp_path)
        assert done.returncode == 2, text
        assert done.stderr.splitlines() == case["problems"], text
        assert done.stdout == ""


@pytest.mark.parametrize("kind", PROGRAM)
def test_examples_lack_only_certificates(kind, tmp_path):
    for size in ("minimal", "full"):
        text = (ROOT / f"packaging/examples/{kind}.{size}.json").read_text(encoding="utf-8")
        (tmp_path / f"{kind}.json").write_text(text, encoding="utf-8")
        done = run(kind, "--config", f"{kind}.json", "--check-config", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr and all("no such file" in line for line in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("kind", PROGRAM)
def test_missing_certificate_keeps_it_from_starting(kind, tmp_path):
    (tmp_path / f"{kind}.json").write_text('{"serverHost": "127.0.0.1"}' if kind == "agent" else "{}", encoding="utf-8")
    done = run(kind, "--config", f"{kind}.json", cwd=tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "certs/ca.pem" in done.stderr, done.stderr


@pytest.mark.parametrize("kind", PROGRAM)
def test_help_fits_a_terminal(kind, tmp_path):
    done = run(kind, "--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 120
