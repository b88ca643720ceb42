"""The project's own scripts: the layer check finds what it is for, and ./dev picks packages and sources rightly.

No network, no root: the scripts run on small trees and stand-ins for apt that are made here.
"""
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


def check_layers(tmp_path, files):
    """Exit code and output of tools/check_layers.py over a tree with these files."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/check_layers.py", tmp_path / "tools")
    for folder in ("src", "tests"):
        (tmp_path / folder).mkdir()
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = subprocess.run([sys.executable, tmp_path / "tools/check_layers.py"], capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name,text,complaint", [
    ("src/wire/a.h", '#include "quic/types.h"\n', "wire must not include quic/types.h"),
    ("src/base/a.h", '#include "wire/reader.h"\n', "base must not include wire/reader.h"),
    ("src/agent/a.cc", '#include "connector/backend.h"\n', "agent must not include connector/backend.h"),
    ("src/os/a.cc", '#include "config/types.h"\n', "os must not include config/types.h"),
    ("src/tunnel/a.cc", "auto t = std::chrono::steady_clock::now();\n", "::now( belongs to os and apps"),
    ("src/quic/a.cc", "#include <sys/socket.h>\n", "sans-IO"),
    ("src/agent/a.cc", "#include <thread>\n", "sans-IO"),
    ("src/stray/a.cc", "int x;\n", "no layer"),
    ("tests/unit/a_test.cc", "std::this_thread::sleep" + "_for(1s);\n", "no sleeps in tests"),
    ("tests/e2e/a.py", "time.sleep" + "(1)\n", "no sleeps in tests"),
])
def test_layer_check_refuses(tmp_path, name, text, complaint):
    code, output = check_layers(tmp_path, {name: text})
    assert code == 1 and complaint in output and name in output, output


def test_layer_check_accepts(tmp_path):
    code, output = check_layers(tmp_path, {
        "src/agent/a.cc": '#include "tunnel/hub.h"\n#include "agent/b.h"\n#include <vector>\n// steady_clock::now() is not called\n',
        "src/os/a.cc": "#include <sys/socket.h>\nauto t = std::chrono::steady_clock::now();\n",
        "src/apps/x/main.cc": '#include "os/loop.h"\n#include "http/server.h"\n#include "intermediate/relay.h"\n'})
    assert code == 0, output


class FakeApt:
    """A folder of stand-ins for dpkg-query, apt-get and apt-cache, put first in PATH."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.program("dpkg-query", "")
        self.program("apt-get", "")
        self.program("apt-cache", "")

    def program(self, name, body):
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def installed(self, **versions):
        lines = "\n".join(f"{name.replace('_', '-')} {version} installed" for name, version in versions.items())
        self.program("dpkg-query", f"cat <<'LINES'\n{lines}\nLINES")

    def run(self, root, script):
        program = f"set -euo pipefail; ZTNA_ROOT={root}; . {ROOT}/tools/dev/lib.sh; . {ROOT}/tools/dev/deps.sh; {script}"
        done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=30,
                              env={"PATH": f"{self.folder}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def apt(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "packaging").mkdir()
    (tmp_path / "packaging/apt-packages.txt").write_text(
        "# comment\n[build]\nplain\nold-name | new-name >= 2.0\nlib-x >= 1.11 @backports\n[other]\nnot-asked-for\n")
    return FakeApt(tmp_path / "bin")


def test_missing_packages(apt, tmp_path):
    assert apt.run(tmp_path, "missing_lines build") == ["plain", "old-name | new-name >= 2.0", "lib-x >= 1.11 @backports"]
    apt.installed(plain="1", new_name="1.9", lib_x="1.11.0-1~bpo12+1")
    assert apt.run(tmp_path, "missing_lines build") == ["old-name | new-name >= 2.0"], "1.9 is too old"
    apt.installed(plain="1", old_name="0.1", lib_x="0.12.1-2")
    assert apt.run(tmp_path, "missing_lines build") == ["lib-x >= 1.11 @backports"], "any old-name does, lib-x 0.12 does not"
    apt.installed(plain="1", new_name="1:2.1-3", lib_x="1.12")
    assert apt.run(tmp_path, "missing_lines build") == []


def test_choice_of_package(apt, tmp_path):
    apt.program("apt-cache", 'case $2 in new-name) echo "  Candidate: 2.3-1" ;; *) echo "  Candidate: (none)" ;; esac')
    assert apt.run(tmp_path, "choose_package 'old-name | new-name >= 2.0' trixie") == ["new-name"]
    assert apt.run(tmp_path, "choose_package 'lib-x >= 1.11 @backports' bookworm") == ["lib-x/bookworm-backports"]
    assert apt.run(tmp_path, "choose_package 'old-name' trixie || echo none") == ["none"]


@pytest.mark.parametrize("name,content,key", [
    ("a.sources", "Types: deb\nURIs: https://mirror.example/debian\nSuites: bookworm\nSigned-By: /keys/a.gpg\n", "/keys/a.gpg"),
    ("a.list", "deb [arch=amd64 signed-by=/keys/b.gpg] https://mirror.example/debian bookworm main\n", "/keys/b.gpg")])
def test_backports_entry_is_derived_from_the_mirror_in_use(apt, tmp_path, name, content, key):
    source = tmp_path / name
    source.write_text(content)
    apt.program("apt-get", f"echo 'https://other.example/x {source}:1 trixie'\n"
                           f"echo 'https://mirror.example/debian {source}:1 bookworm'")
    assert apt.run(tmp_path, "backports_entry") == [
        "Types: deb", "URIs: https://mirror.example/debian", "Suites: bookworm-backports", "Components: main",
        f"Signed-By: {key}"]


def test_junit_counts(tmp_path):
    path = tmp_path / "r.xml"
    path.write_text('<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure/></testcase>'
                    '<testcase name="c"><skipped/></testcase><testcase name="d"><error/></testcase></testsuite></testsuites>')
    done = subprocess.run([sys.executable, ROOT / "tools/dev/junit.py", path, path], capture_output=True, text=True)
    assert done.stdout.split() == ["2", "4", "2"] and done.stderr.count("failed:") == 4
