"""The lease of a run on the target (module_utils/lease.py). The controller's side is in test_run.py."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import lease

KIM = {"id": "kim", "by": "kim@laptop"}
LEE = {"id": "lee", "by": "lee@desk"}


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lease's file, which nobody holds yet."""
    monkeypatch.setattr(lease, "PATH", tmp_path / "run.lease")
    return tmp_path / "run.lease"


def test_the_second_run_learns_of_the_first(path: Path) -> None:
    assert lease.take(KIM) == {}
    assert path.stat().st_mode & 0o777 == 0o600
    holder = lease.take(LEE)
    assert (holder["by"], holder["path"]) == ("kim@laptop", str(path))
    assert 0 <= holder["age"] < 60
    assert lease.take(KIM) == {}, "a run's own lease is no hindrance"


def test_only_the_holder_releases(path: Path) -> None:
    lease.take(KIM)
    lease.release("lee")
    lease.release("")
    assert path.exists()
    lease.release("kim")
    assert not path.exists()
    lease.release("kim")
    assert lease.take(LEE) == {}


def test_an_ended_run_is_followed_by_one() -> None:
    lease.take(KIM)
    assert lease.take(LEE, ended="kim") == {}
    assert lease.take({"id": "max"}, ended="kim")["by"] == "lee@desk"


@pytest.mark.parametrize("text", ["", '{"id": "kim", "ta', "[]", "null", "{}", '{"id": "kim", "taken": "x"}'])
def test_a_half_written_lease_holds_nobody(path: Path, text: str) -> None:
    path.write_text(text)
    assert lease.take(LEE) == {}
    assert json.loads(path.read_text())["id"] == "lee"


def test_a_lease_that_is_released_while_another_run_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease.take(KIM)
    lock = fcntl.flock

    def wait(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        lease.release("kim")
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", wait)
    assert lease.take(LEE) == {}
    assert json.loads(path.read_text())["id"] == "lee"


def take_and_release(number: int, path: Path, marker: Path) -> None:
    """Take the lease often; whoever has it makes a file that must not be there, and removes it."""
    lease.PATH = path
    for _ in range(300):
        if lease.take({"id": str(number)}) == {}:
            marker.touch(exist_ok=False)
            marker.unlink()
            lease.release(str(number))


def test_two_never_hold_it_at_once(path: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=take_and_release, args=(n, path, tmp_path / "marker")) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4


def test_a_link_in_the_place_of_the_lease(path: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("kept")
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        lease.take(KIM)
    assert (tmp_path / "victim").read_text() == "kept"
