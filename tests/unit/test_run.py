"""This run, whether another one has ended (plugin_utils/run.py), and the tags."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import time
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.modules import probe
from ansible_collections.jupyterhub.home.plugins.plugin_utils import run as controller
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import Report


@pytest.mark.parametrize(
    ("wanted", "skipped", "asked"),
    [(["all"], [], True), (["users"], [], True), (["hub", "users"], [], True), (["tagged"], [], True),
     (["hub"], [], False), (["always"], [], True), (["all"], ["users"], False), (["users"], ["hub"], True)],
)  # fmt: skip
def test_the_tags_of_a_run(wanted: list[str], skipped: list[str], asked: bool) -> None:
    assert controller.runs("users", {"ansible_run_tags": wanted, "ansible_skip_tags": skipped}) is asked


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


def test_the_target_takes_all_that_the_controller_tells_of_a_run() -> None:
    assert set(controller.this_run()) == set(probe.ARGUMENTS["run"]["options"])
