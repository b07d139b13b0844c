"""jupyterhub_home_health with a small server in place of the hub, and a docker that is a script."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import jupyterhub_home_health as health
import pytest
from conftest import Program, RunModule

LOGS = "logs) echo 'last words of the hub' >&2 ;;"


@pytest.fixture
def serve() -> Iterator[Callable[[list[int]], str]]:
    """serve([503, 200]): an address that answers with these, the last one from then on."""
    servers = []

    def start(statuses: list[int]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/hub/health"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only in waiting, which takes none."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)


def test_a_hub_that_answers(serve: Callable[[list[int]], str], program: Program, run_module: RunModule) -> None:
    program("docker", "case $1 in inspect) echo 7 ;; *) exit 1 ;; esac")
    answer = run_module(health, {"url": serve([200]), "container": "home-hub"})
    assert answer["changed"] is False and "failed" not in answer


def test_a_hub_that_needs_a_moment(serve: Callable[[list[int]], str], program: Program, run_module: RunModule) -> None:
    program("docker", f"case $1 in inspect) echo 0 ;; {LOGS} esac")
    answer = run_module(health, {"url": serve([503, 404, 200]), "container": "home-hub"})
    assert "failed" not in answer


def test_a_crash_loop_ends_the_waiting_early(
    serve: Callable[[list[int]], str], program: Program, run_module: RunModule
) -> None:
    calls = program(
        "docker",
        f"""case $1 in
        inspect) echo x >>"$here/starts"; wc -l <"$here/starts" ;;
        {LOGS}
        esac""",
    )
    answer = run_module(health, {"url": serve([502]), "container": "home-hub", "timeout": 60})
    assert answer["failed"]
    assert "the container home-hub keeps crashing" in answer["msg"]
    assert answer["msg"].endswith("Last lines of the hub's log:\nlast words of the hub")
    assert len([line for line in calls.read_text().splitlines() if line.startswith("inspect")]) == 1 + health.CRASHES


def test_old_crashes_do_not_count(serve: Callable[[list[int]], str], program: Program, run_module: RunModule) -> None:
    program("docker", f"case $1 in inspect) echo 99 ;; {LOGS} esac")
    answer = run_module(health, {"url": serve([502, 502, 502, 502, 502, 200]), "container": "home-hub"})
    assert "failed" not in answer


def test_the_time_runs_out(serve: Callable[[list[int]], str], program: Program, run_module: RunModule) -> None:
    program("docker", f"case $1 in inspect) echo 0 ;; {LOGS} esac")
    url = serve([503])
    answer = run_module(health, {"url": url, "container": "home-hub", "timeout": 0})
    assert answer["failed"]
    assert answer["msg"].startswith(f"{url} does not answer: HTTP Error 503")
    assert "last words of the hub" in answer["msg"]


def test_no_container_and_nobody_listening(program: Program, run_module: RunModule) -> None:
    program("docker", "echo 'Error: No such container: home-hub' >&2; exit 1")
    answer = run_module(health, {"url": "http://127.0.0.1:1/hub/health", "container": "home-hub", "timeout": 0})
    assert answer["failed"]
    assert "Connection refused" in answer["msg"] and "No such container" in answer["msg"]


def test_a_proxy_of_the_environment_is_not_asked(
    serve: Callable[[list[int]], str], program: Program, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("docker", "echo 0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    answer = run_module(health, {"url": serve([200]), "container": "home-hub", "timeout": 0})
    assert "failed" not in answer


def test_check_mode_asks_nobody(program: Program, run_module: RunModule) -> None:
    calls = program("docker", "")
    answer = run_module(health, {"url": "http://127.0.0.1:1/", "container": "home-hub"}, check=True)
    assert answer["changed"] is False and calls.read_text() == ""
