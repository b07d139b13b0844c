"""The lease of a run: the target's side (module_utils/lease.py) and the controller's (plugin_utils/run.py)."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import lease
from ansible_collections.jupyterhub.home.plugins.plugin_utils import run as controller
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import Report

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


def held(**changes: Any) -> dict[str, Any]:
    """This very run as the target would tell of it, with these things different."""
    return {**controller.this_run(), "age": 5.0, **changes}


def ended(**changes: Any) -> bool:
    return controller.has_ended(held(**changes), controller.this_run())


def run_in_worker(results: Any) -> None:
    results.put(controller.this_run())


def test_a_run_is_the_process_above_its_workers() -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    worker = context.Process(target=run_in_worker, args=(results,))
    worker.start()
    worker.join()
    run = results.get()
    assert run == controller.this_run()
    assert (run["pid"], run["started"]) == (os.getpid(), controller.process_start(os.getpid()))


def test_a_process_that_goes_on() -> None:
    assert not ended()
    assert not ended(age=controller.LEASE + 1.0), "it may take as long as it will"


def test_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["sleep", "60"])
    started = controller.process_start(process.pid)
    assert not ended(pid=process.pid, started=started)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended(pid=process.pid, started=started), "killed, and nobody has asked how it ended"
    process.wait()
    assert ended(pid=process.pid, started=started)


def test_another_process_with_its_number() -> None:
    assert ended(started="1")


def test_another_users_process() -> None:
    """Which may not be sent a signal, unless one is root."""
    assert not ended(pid=1, started=controller.process_start(1))


def test_a_controller_that_was_started_again() -> None:
    assert ended(boot="another")


@pytest.mark.parametrize("where", [{"machine": "another"}, {"numbers": "pid:[1]"}])
def test_a_process_that_cannot_be_seen_from_here(where: dict[str, str]) -> None:
    assert not ended(pid=2**22 + 1, **where)
    assert ended(age=controller.LEASE + 1.0, **where)
    assert ended(age=-1.0, **where), "from before the target was started again"


def test_a_controller_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "text_of", lambda path: "")
    assert not ended()
    assert ended(pid=2**22 + 1)


def test_what_a_run_that_waits_is_told() -> None:
    report = Report()
    controller.report_run({"by": "kim@laptop", "pid": 1234, "age": 60.0, "path": "/run/x.lease"}, report)
    since = time.strftime("%H:%M", time.localtime(time.time() - 60))
    assert f"by kim@laptop since {since} (process 1234), has not ended.\n     Do: wait" in report.text()
    assert "rm /run/x.lease on this machine" in report.text()
