"""jupyterhub.home.probe: the whole look at a machine, in one call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.module_utils import belongings, contract, lease
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint_of
from ansible_collections.jupyterhub.home.plugins.modules import probe
from ansible_collections.jupyterhub.home.plugins.plugin_utils.desired import places
from conftest import DOCKER_13, ROLE, Program, RunModule, docker

NOTHING = {
    "settled": False,
    "found": [],
    "repair": False,
    "start": False,
    "before": False,
    "folder": "",
    "bridge": "",
    "network": "none",
}


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
    assert task["jupyterhub.home.files"]["exact"] == "{{ __jupyterhub_home_checked.exact_folders }}"
    assert (
        places({"project": "home", "directory": "/opt/home", "backup": "", "guard": True})["exact_folders"]
        == contract.exact_folders()
    )


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


@pytest.mark.usefixtures("imagined")
def test_a_folder_that_the_contract_has_is_the_roles(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "backup").mkdir()
    assert belongings.directory_problem(tmp_path, "home") == ""
    assert belongings.is_of(tmp_path, "home"), "as a killed first run leaves it"
    (tmp_path / "compose.yml").touch()
    record = Record(tmp_path)
    record.end({"compose.yml": fingerprint_of(tmp_path / "compose.yml")}, digest="all")
    assert record.intact(contract.exact_folders()) == "all"
    (tmp_path / "backup/other").touch()
    assert record.intact(contract.exact_folders()) == ""


def test_a_folder_that_another_version_has_written_is_the_roles(tmp_path: Path) -> None:
    """The directory's own record tells what belongs to the role, and no list of this version."""
    folders = (tmp_path / "beside", tmp_path / "archive")
    for folder in folders:
        folder.mkdir()
        (folder / "file").touch()
    assert belongings.directory_problem(tmp_path, "home") == "holds what is not the role's (archive, beside)"
    Record(tmp_path).end({"beside/file": fingerprint_of(tmp_path / "beside/file"), "settings.yml": "gone"})
    (tmp_path / ".settings.yml.new").touch()
    assert belongings.directory_problem(tmp_path, "home") == "holds what is not the role's (archive)"
    folders[1].joinpath("file").unlink()
    folders[1].rmdir()
    assert belongings.directory_problem(tmp_path, "home") == ""


@pytest.mark.parametrize("text", ["", "[]", '{"files": {"": ["x"], "/": ["x"], "../x": ["x"]}, "digest": ""}'])
def test_a_record_that_is_broken_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "written.json").write_text(text)
    (tmp_path / "x").mkdir()
    assert belongings.directory_problem(tmp_path, "home") == "holds what is not the role's (x)"


RUN = {"id": "kim", "by": "kim@laptop", "machine": "laptop", "boot": "b", "numbers": "", "pid": 1, "started": "12"}


def test_the_lease_is_taken_and_given_back(
    program: Program, run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker(program, {})
    monkeypatch.setattr(lease, "PATH", tmp_path / "lease")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    wanted = {"project": "home", "bind_address": "127.0.0.1", "port": 1, "directory": str(tmp_path / "hub")}
    wanted |= {"sources": [], "ca_bundle": ""}
    assert run_module(probe, {**wanted, "run": {}})["holder"] == {} and not lease.PATH.exists()
    assert run_module(probe, {**wanted, "run": RUN})["holder"] == {}
    holder = run_module(probe, {**wanted, "run": {**RUN, "id": "lee", "pid": 2}})["holder"]
    assert {key: holder[key] for key in RUN} == RUN
    run_module(probe, {**wanted, "release": "kim"})
    assert not lease.PATH.exists()


def test_a_lease_that_cannot_be_taken(
    program: Program, run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody made a folder of its name."""
    docker(program, {})
    monkeypatch.setattr(lease, "PATH", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    wanted = {"project": "home", "bind_address": "127.0.0.1", "port": 1, "directory": str(tmp_path / "hub")}
    for more in ({"run": RUN}, {"release": "kim"}):
        answer = run_module(probe, {**wanted, "sources": [], "ca_bundle": "", **more})
        assert answer["failed"]
        assert f"{tmp_path} cannot be read and written: Is a directory. Nothing was changed" in answer["msg"]
