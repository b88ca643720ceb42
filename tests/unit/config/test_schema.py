"""The JSON Schemas: valid themselves, they take the examples, refuse what the program refuses (bad_cases.json, which
config_files_test.cc holds the parser to), and docs/config.md is made from them."""
import importlib.util
import json
import pathlib

import jsonschema
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
KINDS = ("agent", "connector", "intermediate")
CASES = json.loads((ROOT / "tests/unit/config/bad_cases.json").read_text(encoding="utf-8"))


def schema(kind):
    return json.loads((ROOT / f"packaging/schema/{kind}.schema.json").read_text(encoding="utf-8"))


def validator(kind):
    return jsonschema.Draft202012Validator(schema(kind), format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize("kind", KINDS)
def test_schema_is_one(kind):
    jsonschema.Draft202012Validator.check_schema(schema(kind))


@pytest.mark.parametrize("case", [c for c in CASES if "schema_cannot_say" not in c],
                         ids=lambda c: c["file"] + ": " + json.dumps(c["config"])[:60])
def test_refuses_what_the_program_refuses(case):
    assert not validator(case["file"]).is_valid(case["config"])


@pytest.mark.parametrize("case", [c for c in CASES if "schema_cannot_say" in c and "config" in c],
                         ids=lambda c: c["file"] + ": " + json.dumps(c["config"])[:60])
def test_exceptions_of_the_table_are_needed(case):
    """A case that the schema refuses by now must not be marked as one that it cannot."""
    assert validator(case["file"]).is_valid(case["config"]), case["schema_cannot_say"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["minimal", "full"])
def test_takes_the_examples(kind, size):
    content = json.loads((ROOT / f"packaging/examples/{kind}.{size}.json").read_text(encoding="utf-8"))
    validator(kind).validate(content)
    if size == "full":  # "full" means every field of the top level but the developers' one
        missing = {k for k in schema(kind)["properties"] if k not in content}
        assert missing <= {"keylogFile", "keylog_file"}


@pytest.mark.parametrize("kind", KINDS)
def test_takes_nothing_and_comments(kind):
    validator(kind).validate({})
    validator(kind).validate({"_comment": "x", "_comment_2": [1], "offloads": {"_comment": None}})


def test_reference_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "packaging/schema/reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    assert page == reference.page(), "run packaging/schema/reference.py > docs/config.md"


def keys(node):
    if isinstance(node, dict):
        for key, child in node.get("properties", {}).items():
            yield key
        for child in node.values():
            yield from keys(child)
    elif isinstance(node, list):
        for child in node:
            yield from keys(child)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_stands_in_the_reference(kind):
    page = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    for key in set(keys(schema(kind))):
        assert f"{key}`" in page, key
