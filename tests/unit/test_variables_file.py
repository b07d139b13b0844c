"""scripts/variables_file: the line and the mistake of what people write."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import variables_file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ""),
        ("---\n# nothing yet\n", ""),
        ("a: 1\nb: [1, {c: 2}]\n", ""),
        ("---\n# hub\njupyterhub_home_port:8000\n", "Line 3 is no variable with a value. Write: jupyterhub_home_NAME:"),
        ("jupyterhub_home_port 8000\n", "Line 1 is no variable with a value"),
        ("- a\n", "Line 1 is no variable with a value"),
        ("a: 1\nb: 2\na: 3\n", "Line 3: a is there twice, first in line 1. Keep one of them."),
        ("a:\n  - {name: kim, password: x, password: y}\n", "Line 2: password is there twice, first in line 2."),
        ("a: 1\n\tb: 2\n", "Line 2 is not YAML: there is a tab. YAML is indented with spaces"),
        ('a: 1\nb: "never closed\nc: 3\n', "Line 2 is not YAML: the quote that begins here has no end"),
        ("a: [1, 2\nb: 3\n", "Line 2 is not YAML: a bracket that is opened here or above is not closed"),
        ("a:\n  - name: kim\n   password: x\n", "Line 3 is not YAML"),
        ("a: 1\nb 2\nc: 3\n", "Line 3 is not YAML"),
        ("a: b: c\n", "Line 1 is not YAML: a colon too much"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    found = variables_file.mistake(text)
    assert (found == "") if not said else found.startswith(said), found


def test_passwords_that_no_comment_cuts() -> None:
    fine = ['password: "battery #1"', "password: 'a #1'", "password: a#1", "# password: a #1", 'password: "a" # hers']
    assert variables_file.cut_passwords("\n".join(fine)) == []
