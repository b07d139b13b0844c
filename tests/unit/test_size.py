"""No room is too large: files of own code, functions in them, and task files."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROLE, ROOT

FILE_MAX, FUNCTION_MAX, TASKS_MAX = 400, 60, 100  # lines
TASKS = [*ROLE.glob("tasks/*.yml"), *ROLE.glob("handlers/*.yml"), *ROOT.glob("playbooks/*.yml")]


def own_code() -> list[Path]:
    """Python and shell of the repository, new files included; programs without an ending by their first line."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout.split("\0")
    files = [path for name in listed if name and (path := ROOT / name).is_file() and not path.is_symlink()]
    return [path for path in files if path.suffix in (".py", ".sh") or (not path.suffix and is_program(path))]


def is_program(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions(path: Path) -> list[tuple[str, int]]:
    """Each function in a file, and its length."""
    text = path.read_text()
    if path.suffix == ".py" or text.partition("\n")[0].endswith(("python", "python3")):
        found = [
            node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        ]
        return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in found]
    shell = re.findall(r"^((\w+)\(\) \{\n.*?^\})$", text, re.M | re.S)
    return [(name, body.count("\n") + 1) for body, name in shell]


CODE = own_code()


def test_there_is_code() -> None:
    """Of each kind, and with functions: otherwise the tests below would pass without looking."""
    names = {str(path.relative_to(ROOT)) for path in CODE}
    assert {"plugins/modules/probe.py", "tests/run.sh", "scripts/venv", "tests/unit/test_size.py"} <= names
    assert "own_code" in dict(functions(Path(__file__)))
    assert "check_types" in dict(functions(ROOT / "tests/lint.sh"))
    assert len(TASKS) > 10


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_is_in_rooms(path: Path) -> None:
    assert lines(path) <= FILE_MAX
    assert [(name, length) for name, length in functions(path) if length > FUNCTION_MAX] == []


@pytest.mark.parametrize("path", TASKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_task_files_are_short(path: Path) -> None:
    assert lines(path) <= TASKS_MAX
