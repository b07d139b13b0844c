"""module_utils/engine: the one way to ask docker."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import engine
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from conftest import ROOT, Program


def test_what_docker_prints(program: Program, tmp_path: Path) -> None:
    program("docker", 'echo "  $1"; echo "note $MODE" >&2; cat; printf "\\377 "')
    (tmp_path / "text").write_text("text")
    assert engine.docker("info", text="") == "info\n\ufffd"
    assert engine.docker("info", text="text") == "info\ntext\ufffd"
    with (tmp_path / "text").open("rb") as stream:
        assert engine.docker("info", stream=stream) == "info\ntext\ufffd"
    merged = engine.docker("info", text="", merged=True, environment={"MODE": "quiet"})
    assert sorted(merged.splitlines()) == ["info", "note quiet", "\ufffd"]


@pytest.mark.parametrize(
    ("merged", "why", "printed"), [(False, "not there", "[one]"), (True, "[one]\nnot there", "[one]\nnot there")]
)
def test_a_command_that_fails(program: Program, merged: bool, why: str, printed: str) -> None:
    program("docker", "echo '[one]'; echo 'not there' >&2; exit 3")
    with pytest.raises(EngineError) as failed:
        engine.docker("inspect", "two", merged=merged)
    error = failed.value
    assert str(error) == f"docker inspect two: {why}"
    assert (error.why, error.printed, error.status) == (why, printed, 3)
    assert engine.told("inspect", "two") == ""


def test_a_command_that_does_not_end(program: Program) -> None:
    program("docker", "exec sleep 600")
    with pytest.raises(EngineError, match=r"docker info: no answer within 0.1 s") as failed:
        engine.docker("info", timeout=0.1)
    assert failed.value.status is None


def test_no_docker_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="docker ps: No such file or directory") as failed:
        engine.docker("ps")
    assert failed.value.status is None
    assert engine.inspect("hub") == {} and not engine.has_image("hub:1") and engine.told("ps") == ""


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("module*/*.py")), ids=lambda path: path.stem)
def test_nobody_else_calls_docker(path: Path) -> None:
    """Whatever a command line begins with stands first in a list, a tuple or a call."""
    first = [
        parts[0].value
        for node in ast.walk(ast.parse(path.read_text()))
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "shutil.which")
        if (parts := getattr(node, "elts", None) or getattr(node, "args", None)) and isinstance(parts, list)
        if isinstance(parts[0], ast.Constant)
    ]
    assert ("docker" in first) is (path == ROOT / "plugins/module_utils/engine.py")
