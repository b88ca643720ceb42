"""The JSON Schemas agree with the examples, with the files that these tests write, and with the reference page.

No daemon runs here.
"""
import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest
from ztna_net import configs
from ztna_net.topology import ROOT

KINDS = ("agent", "connector", "intermediate")
PACKAGING = ROOT / "packaging"
EXAMPLES = sorted((PACKAGING / "examples").glob("*.json"))


def validator(kind):
    schema = json.loads((PACKAGING / f"schema/{kind}.schema.json").read_text())
    cls = jsonschema.validators.validator_for(schema)
    cls.check_schema(schema)
    return cls(schema, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("kind,wrong", [
    ("agent", {"serverHots": "vpn.example.com"}), ("agent", {"serverHost": "vpn.example.com", "serverPort": "4433"}),
    ("agent", {"serverHost": "vpn.example.com", "services": [{"virtualIp": "10.100.0.10"}]}),
    ("connector", {"services": [{"id": "web", "backend": "a:80", "protocol": "sctp"}]}),
    ("connector", {"intermediate_server": {"hots": "vpn.example.com"}}),
    ("intermediate", {"port": 70000}), ("intermediate", {"prot": 4433}), ("intermediate", [])])
def test_schema_refuses(kind, wrong):
    assert list(validator(kind).iter_errors(wrong)), f"{kind}: nothing wrong with {wrong}"


def test_schema_refuses_what_the_programs_refuse():
    """The table of the unit tests; a case that no schema can express says so."""
    cases = json.loads((ROOT / "tests/unit/config/bad_cases.json").read_text())
    expressible = [c for c in cases if not c.get("schema_cannot_say")]
    assert expressible
    for case in expressible:  # what is no JSON at all has "text" and is not expressible
        assert list(validator(case["file"]).iter_errors(case["config"])), case


def test_there_are_examples():
    assert {path.name.split(".")[0] for path in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_is_valid(path):
    errors = list(validator(path.name.split(".")[0]).iter_errors(json.loads(path.read_text())))
    assert not errors, errors[0]


@pytest.mark.parametrize("offloads,small", [("", ""), ("off", "1")])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_rig_writes_is_valid(kind, offloads, small, monkeypatch):
    monkeypatch.setenv("ZTNA_E2E_OFFLOADS", offloads)
    monkeypatch.setenv("ZTNA_E2E_SMALL_BUFFERS", small)
    errors = list(validator(kind).iter_errors(getattr(configs, kind)(pathlib.Path("/folder"))))
    assert not errors, errors[0]


def test_reference_page_is_current():
    done = subprocess.run([sys.executable, PACKAGING / "schema/reference.py"], capture_output=True, text=True, check=True)
    assert done.stdout == (ROOT / "docs/config.md").read_text(), "run packaging/schema/reference.py > docs/config.md"
