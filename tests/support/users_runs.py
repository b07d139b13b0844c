"""Runs of the module users: what it is given, what is in its files then, and users' volumes in an engine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import atomic
from ansible_collections.jupyterhub.home.plugins.modules import users
from fake_engine import Engine
from users_contract import SERVERS

ALICE = {"name": "alice", "password": "hunter2-alice", "admin": True, "groups": ["staff", "family"]}
BOB = {"name": "bob", "password": "hunter2-bob"}
TOKEN = "users-t0ken"
Converge = Callable[..., dict[str, Any]]


def folder_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files go. An ordinary user cannot give files to root, and gets them instead."""
    if os.getuid() != 0:

        def mine(function: Any) -> Any:
            def call(*arguments: Any, **names: Any) -> Any:
                return function(*arguments, **{**names, "owner": os.getuid(), "group": os.getgid()})

            return call

        monkeypatch.setattr(users, "replace_file", mine(atomic.replace_file))
        monkeypatch.setattr(users, "present_text", mine(atomic.present_text))
    return tmp_path / "users"


def converge_with(folder: Path, token_file: Path, run_module: Converge, hub_url: str) -> Converge:
    """converge({user}, ..., check=False, option=value): one run, with the hub at this address."""

    def run(*wanted: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        plain = {
            "url": hub_url,
            "keep_undeclared": False,
            "servers": SERVERS,
            "delete_homes": [],
            "archive_homes": [],
            "timeout": 5,
            "volumes": str(folder.parent / "programs/volumes"),
        }
        arguments = {
            "directory": str(folder), "users": json.dumps(wanted), "owner": os.getuid(), "project": "home",
            "token_file": str(token_file), **plain, **options,
        }  # fmt: skip
        answer = run_module(users, arguments, check=check)
        assert "hunter2" not in answer["output"]
        if folder.exists():
            assert all(hash_in(folder, name) not in answer["output"] for name in names_in(folder))
            assert all(user["session"] not in answer["output"] for user in rights_in(folder).values())
        return answer

    return run


def names_in(folder: Path) -> list[str]:
    return [line.split(":")[0] for line in (folder / "passwd").read_text().splitlines()]


def hash_in(folder: Path, name: str) -> str:
    """A user's hash in shadow."""
    return users.table(folder / "shadow")[name][1]


def id_in(folder: Path, name: str) -> int:
    """A user's number in passwd."""
    return int(users.table(folder / "passwd")[name][2])


def rights_in(folder: Path) -> dict[str, dict[str, Any]]:
    """What is in users.json, nothing when it is no JSON."""
    try:
        found: dict[str, dict[str, Any]] = json.loads((folder / "users.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def sessions_in(folder: Path) -> dict[str, str]:
    return {name: user["session"] for name, user in rights_in(folder).items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Homes:
    """The volumes of an engine, in which a hub runs."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.calls = engine, engine.calls
        self.volumes_folder = engine.here / "volumes"
        self.volumes_folder.mkdir()
        self.held("home-hub", "home-data")

    def held(self, container: str, volume: str, **more: str) -> None:
        """A container, which runs, holds a volume; more: what else the engine knows of it."""
        self.engine.state["containers"][container] = self.engine.container({}, volumes=(volume,)) | more
        self.engine.save()

    def volume(self, name: str, *files: str) -> Path:
        """A volume with these files."""
        data = self.volumes_folder / name / "_data"
        data.mkdir(parents=True)
        for file in files:
            (data / file).write_text(f"{file} of {name}")
        return data

    def volumes(self) -> dict[str, list[str] | None]:
        """Every volume's files, None where the folder is gone."""
        return {
            volume.name: sorted(path.read_text() for path in (volume / "_data").iterdir())
            if (volume / "_data").exists()
            else None
            for volume in sorted(self.volumes_folder.iterdir())
        }

    def changes(self) -> list[str]:
        """The commands that change something."""
        changing = ("volume create", "volume rm", "rm")
        return [line for line in self.calls.read_text().splitlines() if line.startswith(changing)]
