#!/usr/bin/env python3
"""The role's defaults/main.yml and the table in docs/variables.md, made from its argument specs.

--write puts them into these files, --check fails when a file has something else.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SPECS = ROOT / "roles/jupyterhub_home/meta/argument_specs.yml"
DEFAULTS = Path("roles/jupyterhub_home/defaults/main.yml")
PAGE = Path("docs/variables.md")
PLACE = re.compile(r"(?<=<!-- variables -->\n).*?(?=<!-- /variables -->)", re.DOTALL)
TYPES = {
    "str": "text", "path": "path", "int": "whole number", "float": "number", "bool": "true or false",
    "dict": "dictionary",
}  # fmt: skip


def options(*entry_points: str) -> dict[str, dict[str, Any]]:
    """The public variables of these entry points, or of all, in the order of the specs."""
    entries = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]
    found: dict[str, dict[str, Any]] = {}
    for entry in entry_points or entries:
        for name, option in entries[entry]["options"].items():
            found.setdefault(name, option)
    return found


def type_cell(option: dict[str, Any]) -> str:
    """What a value may be."""
    if "choices" in option:
        *others, last = (f"`{choice}`" for choice in option["choices"])
        return f"{', '.join(others)} or {last}"
    if option["type"] == "list":
        return "list of " + {"dict": "dictionaries"}.get(option["elements"], TYPES[option["elements"]])
    return TYPES[option["type"]]


def default_cell(option: dict[str, Any]) -> str:
    """What holds when the variable is left out."""
    if option.get("required"):
        return "must be given"
    default = option.get("default")
    if default is None:
        return ""
    if default == "":
        return "empty"
    return f"`{yaml.safe_dump(default, default_flow_style=True).splitlines()[0]}`"


def rows(named: dict[str, dict[str, Any]], prefix: str = "") -> Iterator[str]:
    """A line of the table for each option, and below it one for each key of its entries."""
    for name, option in named.items():
        description = str(option["description"]).replace("|", "\\|")
        yield f"| `{prefix}{name}` | {type_cell(option)} | {default_cell(option)} | {description} |"
        yield from rows(option.get("options", {}), f"{prefix}{name}[].")


def table() -> str:
    """The whole table, with its head, as Markdown."""
    head = "| variable | type | default | meaning |\n|---|---|---|---|\n"
    return head + "".join(f"{row}\n" for row in rows(options()))


def comments() -> dict[str, list[str]]:
    """The comment lines above each variable in the specs."""
    above = re.compile(r"((?:^ {6}#.*\n)*)^ {6}(\w+):$", re.MULTILINE)
    found: dict[str, list[str]] = {}
    for lines, name in above.findall(SPECS.read_text(encoding="utf-8")):
        found.setdefault(name, [line.strip() for line in lines.splitlines()])
    return found


def defaults() -> str:
    """The whole text of defaults/main.yml: of each variable its heading, description, examples and default."""
    text = "---\n# Every variable of the role. Written by `make docs` from meta/argument_specs.yml: edit that.\n"
    above = comments()
    for name, option in options("main").items():
        headings = [line for line in above[name] if line.startswith("# --- ")]
        choices = f" One of {', '.join(option['choices'])}." if "choices" in option else ""
        meaning = textwrap.fill(option["description"].replace("`", "") + choices, 118, break_on_hyphens=False)
        text += "".join(f"\n{line:-<76}\n" for line in headings)
        text += textwrap.indent(meaning, "# ") + "\n"
        text += "".join(f"{line}\n" for line in above[name] if line not in headings)
        default = option["default"]
        shown = '""' if default == "" else yaml.safe_dump(default, default_flow_style=True).splitlines()[0]
        text += f"{name}: {shown}\n"
    return text


def page() -> str:
    """The whole text of docs/variables.md, with the table in its place."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    if len(PLACE.findall(text)) != 1:
        sys.exit(f"{PAGE} has no place for the table: the lines <!-- variables --> and <!-- /variables -->, once.")
    # A function as replacement, so that backslashes in the table stay what they are.
    return PLACE.sub(lambda _: table(), text)


def main() -> int:
    if sys.argv[1:] not in (["--write"], ["--check"]):
        sys.exit("usage: variables.py --write | --check")
    for path, desired in {DEFAULTS: defaults(), PAGE: page()}.items():
        if sys.argv[1] == "--write":
            (ROOT / path).write_text(desired, encoding="utf-8")
        elif (ROOT / path).read_text(encoding="utf-8") != desired:
            sys.exit(f"{path} is not what the argument specs give. Write it anew: make docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
