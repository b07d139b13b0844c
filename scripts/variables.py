#!/usr/bin/env python3
"""The table of variables in docs/variables.md, made from the role's argument specs.

Without an option it is printed; --write puts it into that file, --check fails when the file has another one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
SPECS = ROOT / "roles/jupyterhub_home/meta/argument_specs.yml"
PAGE = Path("docs/variables.md")
PLACE = re.compile(r"(?<=<!-- variables -->\n).*?(?=<!-- /variables -->)", re.DOTALL)
TYPES = {
    "str": "text", "path": "path", "int": "whole number", "float": "number", "bool": "true or false",
    "dict": "dictionary",
}  # fmt: skip


def options() -> dict[str, dict[str, Any]]:
    """The public variables in the order of the specs, those of other playbooks last."""
    entry_points = yaml.safe_load(SPECS.read_text(encoding="utf-8"))["argument_specs"]
    found: dict[str, dict[str, Any]] = {}
    for entry in [entry_points["main"], *entry_points.values()]:
        for name, option in entry["options"].items():
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


def main() -> int:
    page = ROOT / PAGE
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    if sys.argv[1:] and len(PLACE.findall(text)) != 1:
        sys.exit(f"{PAGE} has no place for the table: the lines <!-- variables --> and <!-- /variables -->, once.")
    # A function as replacement, so that backslashes in the table stay what they are.
    wanted = PLACE.sub(lambda _: table(), text)
    if sys.argv[1:] == ["--write"]:
        page.write_text(wanted, encoding="utf-8")
    elif sys.argv[1:] == ["--check"]:
        if text != wanted:
            sys.exit(f"{PAGE} has another table of variables than the argument specs give. Write it anew: make docs")
    elif sys.argv[1:]:
        sys.exit("usage: variables.py [--write | --check]")
    else:
        print(table(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
