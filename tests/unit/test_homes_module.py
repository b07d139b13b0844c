"""jupyterhub.home.homes: everybody's files, and whose users are gone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import archive, contract
from ansible_collections.jupyterhub.home.plugins.modules import homes as module
from conftest import Program, RunModule
from users_runs import Homes

DAY = 86400


def test_the_list(homes: Homes, run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of two volumes, one who is gone, and an archive."""
    monkeypatch.setattr(contract, "archives", lambda project: str(tmp_path / "archives"))
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives/eve_2026-06-30_120000.tar").write_bytes(b"x" * 1500)
    (tmp_path / "archives/.max.new").touch()
    (tmp_path / "users").mkdir()
    (tmp_path / "users/users.json").write_text(json.dumps({"anne.o": {}, "new": {}}))
    for name in ("home-user-anne-2eo-home", "home-user-anne-2eo", "home-user-bob", "homes-user-kim"):
        data = homes.volume(name, "file")
        (data / "file").write_bytes(b"x" * 10**6)
        for number, path in enumerate((data, data / "file")):
            os.utime(path, (0, (20000 + number) * DAY))
    answer = run_module(module, {"project": "home", "directory": str(tmp_path)})
    (anne, bob) = answer["homes"]
    assert (anne["user"], anne["listed"], anne["changed"]) == ("anne.o", True, 20001 * DAY)
    assert 2 * 10**6 < anne["size"] < 2.1 * 10**6 and not bob["listed"] and not answer["changed"]
    assert answer["notes"] == [
        "user         size  last change",
        "anne.o     2.0 MB  2024-10-05",
        "bob        1.0 MB  2024-10-05  not in the list of users",
        "Not in the list of users, 1.0 MB in all: to archive and then delete them, "
        "jupyterhub_home_archive_homes: [bob]",
        f"Archive: {tmp_path}/archives/eve_2026-06-30_120000.tar (1.5 kB)",
    ]


def test_nobody_has_files(homes: Homes, run_module: RunModule, tmp_path: Path) -> None:
    answer = run_module(module, {"project": "lab", "directory": str(tmp_path)})
    assert answer["notes"] == ["There are no homes of users on this machine."]


def test_an_engine_that_does_not_answer(program: Program, run_module: RunModule, tmp_path: Path) -> None:
    program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    failed = run_module(module, {"project": "home", "directory": str(tmp_path)})
    assert failed["msg"].startswith("The homes cannot be looked at: docker volume ls") and "Cannot" in failed["msg"]


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (15_400_000, "15 MB"), (3e15, "3000.0 TB")]
)
def test_sizes(size: float, said: str) -> None:
    assert archive.shown_size(size) == said
