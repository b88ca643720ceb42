#!/usr/bin/env python3
"""Writes docs/config.md from the three schemas: `packaging/schema/reference.py > docs/config.md`.

A test compares the page with this program's output, so that they cannot drift.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = {"agent": "ztna-agent", "connector": "app-connector", "intermediate": "intermediate-server"}

INTRO = """\
# Config files

Made by `packaging/schema/reference.py` from the JSON Schemas in `packaging/schema/`: change those.

Each daemon reads one JSON file: the one that `--config FILE` names, else `/etc/ztna/<agent|connector|intermediate>.json`,
else `./<agent|connector|intermediate>.json`. All fields are optional unless the table says otherwise; a flag on the command
line beats the file. `--check-config` says what is wrong without starting anything, all of it at once, as

    connector.json: services[1].backend = "10.0.0.5": needs host:port, or "ports" beside it

and ends with code 0 or 2. An unknown key is an error that names the nearest known one; a key given twice is one, too. Keys
that begin with `_comment` are allowed everywhere and ignored. SIGHUP reads the file again. Examples, minimal and full, are in
`packaging/examples/`.

To have an editor check a file, name the schema there (`packaging/schema/*.schema.json`; most editors take a mapping by file
name). A schema cannot say everything: that ids differ, that a range begins before its end, that a network has no host bits set
and the like is checked by the program alone.

There are no secrets in these files; private keys stay in files of their own.
"""


def resolve(node, schema):
    while "$ref" in node:
        target = schema
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node


def kind(node, schema):
    node = resolve(node, schema)
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return " \\| ".join(f"`{v}`" for v in node["enum"])
    if "anyOf" in node and "type" not in node:
        return " or ".join(dict.fromkeys(kind(n, schema) for n in node["anyOf"]))
    if node["type"] == "integer":
        return f"integer, {node['minimum']} to {node['maximum']}"
    if node["type"] == "array":
        return f"array of {kind(node['items'], schema)}s"
    return node["type"]


def rows(node, schema, prefix="", required=()):
    for key, child in node["properties"].items():
        full = resolve(child, schema)
        default = f"`{json.dumps(full['default'])}`" if "default" in full else "**needed**" if key in required else "none"
        if "properties" in full and "default" not in full:
            default = ""
        example = "<br>".join(f"`{json.dumps(e)}`" for e in full.get("examples", []))
        yield f"| `{prefix}{key}` | {kind(child, schema)} | {default} | {full['description']} | {example} |"
        inner, below = full, f"{prefix}{key}."
        if full.get("type") == "array":
            inner, below = resolve(full["items"], schema), f"{prefix}{key}[]."
        if "properties" in inner:
            yield from rows(inner, schema, below, inner.get("required", ()))


def page():
    lines = [INTRO]
    for name, program in PROGRAMS.items():
        schema = json.loads((HERE / f"{name}.schema.json").read_text(encoding="utf-8"))
        minimal = (HERE.parent / "examples" / f"{name}.minimal.json").read_text(encoding="utf-8")
        lines += [f"## {name}.json ({program})", "", "The least that is of use:", "", "```json", minimal.rstrip(), "```", "",
                  "| field | type | default | meaning | example |", "|---|---|---|---|---|", *rows(schema, schema), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
