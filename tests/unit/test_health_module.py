"""jupyterhub.home.health, and the containers' own checks, with a small server in place of the hub."""

from __future__ import annotations

import subprocess
from urllib.parse import urlsplit

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import hub
from ansible_collections.jupyterhub.home.plugins.modules import health
from ansible_collections.jupyterhub.home.plugins.plugin_utils.compose import answers
from conftest import Program, RunModule, Serve

pytestmark = pytest.mark.usefixtures("no_waiting")
LOGS = "logs) echo 'last words of the hub' >&2 ;;"


def test_a_hub_that_answers(serve: Serve, program: Program, run_module: RunModule) -> None:
    program("docker", "case $1 in inspect) echo running 7 ;; *) exit 1 ;; esac")
    answer = run_module(health, {"url": serve(200).url, "container": "home-hub"})
    assert answer["changed"] is False and "failed" not in answer


def test_a_hub_that_needs_a_moment(serve: Serve, program: Program, run_module: RunModule) -> None:
    program("docker", f"case $1 in inspect) echo running 0 ;; {LOGS} esac")
    answer = run_module(health, {"url": serve(503, 404, 200).url, "container": "home-hub"})
    assert "failed" not in answer


def test_a_crash_loop_ends_the_waiting_early(serve: Serve, program: Program, run_module: RunModule) -> None:
    calls = program(
        "docker",
        f"""case $1 in
        inspect) echo x >>"$here/starts"; echo restarting $(wc -l <"$here/starts") ;;
        {LOGS}
        esac""",
    )
    answer = run_module(health, {"url": serve(502).url, "container": "home-hub", "timeout": 60})
    assert answer["failed"]
    assert "the container home-hub keeps crashing" in answer["msg"]
    assert answer["msg"].endswith("Last lines of the hub's log:\nlast words of the hub")
    assert len([line for line in calls.read_text().splitlines() if line.startswith("inspect")]) == 1 + hub.CRASHES


def test_old_crashes_do_not_count(serve: Serve, program: Program, run_module: RunModule) -> None:
    program("docker", f"case $1 in inspect) echo restarting 99 ;; {LOGS} esac")
    answer = run_module(health, {"url": serve(502, 502, 502, 502, 502, 200).url, "container": "home-hub"})
    assert "failed" not in answer


@pytest.mark.parametrize(
    ("inspected", "state"),
    [("echo exited 0", "exited"), ("echo paused 2", "paused"), ("echo 'No such object' >&2; exit 1", "not there")],
)
def test_a_container_that_does_not_run_ends_the_waiting_early(
    serve: Serve, program: Program, run_module: RunModule, inspected: str, state: str
) -> None:
    calls = program("docker", f"case $1 in inspect) {inspected} ;; {LOGS} esac")
    answer = run_module(health, {"url": serve(502).url, "container": "home-hub", "timeout": 600})
    assert f"the hub does not answer: the container home-hub is {state}.\n" in answer["msg"]
    assert len([line for line in calls.read_text().splitlines() if line.startswith("inspect")]) == hub.DOWN


def test_a_container_may_be_down_for_a_moment(serve: Serve, program: Program, run_module: RunModule) -> None:
    """Compose makes it anew; in between it runs, so that the time down begins again."""
    program(
        "docker",
        f"""case $1 in
        inspect)
            echo x >>"$here/looks"
            if [ $(($(wc -l <"$here/looks") % {hub.DOWN})) = 0 ]; then echo running 0; else echo created 0; fi ;;
        {LOGS}
        esac""",
    )
    answer = run_module(health, {"url": serve(*[502] * 50, 200).url, "container": "home-hub"})
    assert "failed" not in answer


def test_the_time_runs_out(serve: Serve, program: Program, run_module: RunModule) -> None:
    program("docker", f"case $1 in inspect) echo running 0 ;; {LOGS} esac")
    url = serve(503).url
    answer = run_module(health, {"url": url, "container": "home-hub", "timeout": 0})
    assert answer["failed"]
    assert answer["msg"].startswith(f"{url}: the hub does not answer: status 503.\n")
    assert "last words of the hub" in answer["msg"]


def test_no_container_and_nobody_listening(program: Program, run_module: RunModule) -> None:
    program("docker", "echo 'Error: No such container: home-hub' >&2; exit 1")
    answer = run_module(health, {"url": "http://127.0.0.1:1/hub/health", "container": "home-hub", "timeout": 0})
    assert answer["failed"]
    assert "Connection refused" in answer["msg"] and "No such container" in answer["msg"]


def test_a_proxy_of_the_environment_is_not_asked(
    serve: Serve, program: Program, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("docker", "echo running 0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    answer = run_module(health, {"url": serve(200).url, "container": "home-hub", "timeout": 0})
    assert "failed" not in answer


def test_check_mode_asks_nobody(program: Program, run_module: RunModule) -> None:
    calls = program("docker", "")
    answer = run_module(health, {"url": "http://127.0.0.1:1/", "container": "home-hub"}, check=True)
    assert answer["changed"] is False and calls.read_text() == ""


@pytest.mark.parametrize(
    "words",
    [
        "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked",
        "sqlite3.DatabaseError: database disk image is malformed",
        "sqlite3.DatabaseError: file is not a database",
    ],
)
def test_a_database_that_cannot_be_used_is_named(
    serve: Serve, program: Program, run_module: RunModule, words: str
) -> None:
    program(
        "docker",
        f"""case $1 in
        inspect) echo x >>"$here/starts"; echo restarting $(wc -l <"$here/starts") ;;
        logs) echo '{words}' >&2 ;;
        esac""",
    )
    answer = run_module(health, {"url": serve(502).url, "container": "home-hub"})
    assert "jupyterhub.sqlite in the volume home-data, is locked by another program or damaged" in answer["msg"]
    assert f"\n{words}\nThe hub's database" in answer["msg"]


def test_an_error_of_the_hubs_own_is_not_waited_out(serve: Serve, program: Program, run_module: RunModule) -> None:
    calls = program("docker", "echo running 0")
    web = serve((500, {"status": 500, "message": "it broke"}))
    answer = run_module(health, {"url": web.url, "container": "home-hub"})
    assert answer["failed"] and answer["msg"] == f"{web.url}: it broke (status 500)"
    assert (len(web.asked), calls.read_text()) == (1, "")


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (302, False), (404, False), (503, False)])
def test_the_check_of_a_container(serve: Serve, status: int, healthy: bool) -> None:
    server = serve(status)
    check = answers(urlsplit(server.url).port or 0, "/below/hub/health")
    command = check["test"]
    assert command[0] == "CMD" and "$" not in "".join(command), "Compose would read a variable there"
    assert (subprocess.run(command[1:], capture_output=True, check=False).returncode == 0) is healthy


def test_the_check_of_a_container_that_does_not_listen() -> None:
    command = answers(1, "/hub/health")["test"][1:]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
