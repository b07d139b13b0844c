"""What is wrong with a file of variables that somebody has written, and in which line: Ansible would name none."""

from __future__ import annotations

import re

import yaml

# What the parser says, and what somebody has most likely done.
MEANT = {
    "\\t": "there is a tab. YAML is indented with spaces",
    "found unexpected end of stream": "the quote that begins here has no end",
    "while scanning a quoted scalar": "the quote that begins here has no end, or a part of it must be written twice",
    "mapping values are not allowed here": "a colon too much, or one too few in the line above, or another indentation",
    "expected <block end>": "it is indented otherwise than the lines above it",
    "expected ',' or": "a bracket that is opened here or above is not closed, or a comma is missing",
    "could not find expected ':'": "here or in the line above, a colon is missing",
}


def mistake(text: str) -> str:
    """What is wrong with the text of a file of variables, in a sentence; '' if nothing is."""
    try:
        root = yaml.compose(text)
    except yaml.MarkedYAMLError as error:
        said = f"{error.context or ''}, {error.problem or ''}".strip(", ")
        place = error.context_mark if "quoted scalar" in said else error.problem_mark or error.context_mark
        meant = next((words for sign, words in MEANT.items() if sign in said), "")
        why = f"{meant} ({error.problem or said})" if meant else error.problem or said
        return f"{f'Line {place.line + 1}' if place else 'The text'} is not YAML: {why}."
    except yaml.YAMLError as error:
        return f"The text is not YAML: {error}."
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        return ""
    if not isinstance(root, yaml.MappingNode):
        return (
            f"Line {root.start_mark.line + 1} is no variable with a value. Write: jupyterhub_home_NAME: VALUE, with a "
            "space after the colon."
        )
    return twice(root)


def twice(node: yaml.Node) -> str:
    """The first name that stands twice at one place, in a sentence; '' if none does."""
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    return (
                        f"Line {line}: {key.value} is there twice, first in line {lines[key.value]}. Keep one of them."
                    )
                lines[key.value] = line
            inner.append(value)
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    return next((found for one in inner if (found := twice(one))), "")


def cut_passwords(vault: str) -> list[int]:
    """The numbers of lines whose password is not in quotes and ends where a comment begins."""
    lines = enumerate(vault.splitlines(), 1)
    return [number for number, line in lines if re.search(r"^[^#]*\bpassword:\s+[^\s\"'#,][^\"',#]*\s#", line)]
