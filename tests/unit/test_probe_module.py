"""jupyterhub.home.probe: the whole look at a machine, in one call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.module_utils import belongings
from ansible_collections.jupyterhub.home.plugins.modules import probe
from conftest import DOCKER_13, ROLE, Program, RunModule, docker

NOTHING = {"settled": False, "found": [], "mend": False, "start": False, "folder": "", "bridge": ""}


def test_the_whole_look(program: Program, run_module: RunModule, held: int, tmp_path: Path) -> None:
    docker(program, {**DOCKER_13, "DockerRootDir": str(tmp_path)})
    (tmp_path / "file").touch()
    answer = run_module(
        probe,
        {
            "project": "home", "bind_address": "127.0.0.1", "port": held, "directory": str(tmp_path / "file"),
            "sources": [str(tmp_path), "/no/such/folder"], "ca_bundle": "",
        },
        check=True,
    )  # fmt: skip
    machine = answer["machine"]
    assert answer["changed"] is False
    assert machine["port"] == {"state": "EADDRINUSE", "error": "Address already in use"}
    assert machine["directory"] == "is a file" and not machine["ca_bundle"]
    assert machine["folders"][str(tmp_path)]["exists"] and not machine["folders"]["/no/such/folder"]["exists"]
    assert machine["root"] == (os.geteuid() == 0)
    assert (machine["images"], machine["project"]) == ({}, NOTHING)


@pytest.mark.parametrize("there", [False, True])
def test_a_machine_without_an_engine_is_looked_at_too(
    program: Program, run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    """No docker at all, and one whose engine does not run, beside what an earlier run wrote."""
    calls = program("dpkg", "")
    (tmp_path / "hub").mkdir()
    if there:
        docker(program, "{}", more="compose) echo hub 1; echo proxy 2 ;; *) echo no engine >&2; exit 1 ;;", status=1)
        (tmp_path / "hub/compose.yml").touch()
    monkeypatch.setenv("PATH", f"{calls.parent}:/usr/bin" if there else str(calls.parent))
    wanted = {"project": "home", "bind_address": "127.0.0.1", "port": 1, "directory": str(tmp_path / "hub")}
    answer = run_module(probe, {**wanted, "sources": [], "ca_bundle": "/no/bundle"})
    assert answer["machine"]["docker"]["version"] is None
    assert answer["machine"]["project"] == NOTHING


def test_no_stray_is_overlooked() -> None:
    """Whatever the last task keeps exactly, the look compares."""
    (task,) = yaml.safe_load((ROLE / "tasks/files.yml").read_text())
    assert task["jupyterhub.home.files"]["exact"] == belongings.OWN_FOLDERS


def test_the_folder_must_be_the_roles_own(tmp_path: Path) -> None:
    folder = tmp_path / "hub-files"
    assert belongings.directory_problem(folder, "home") == ""
    folder.mkdir()
    (folder / "compose.yml").write_text("# Written\nname: home\nservices:\n  name: other\n")
    (folder / "images").mkdir()
    assert belongings.directory_problem(folder, "home") == ""
    assert belongings.directory_problem(folder, "lab") == "belongs to the project home"
    (folder / "thesis.tex").touch()
    assert belongings.directory_problem(folder, "home") == "holds what is not the role's (thesis.tex)"
