"""Only what changed restarts; servers on older settings are listed; a first run is tried out truthfully, too."""

from __future__ import annotations

from typing import Any

import pytest
from client import HubClient, wait_until
from conftest import Run
from machine import containers, images_aside
from rows import USERS
from story import Story, changed_tasks
from testinfra.host import Host

FILES = "jupyterhub_home : files | Write the compose project, the hub's settings and secrets"
START = "jupyterhub_home : hub | Start what changed"


PHOTOS = {"source": "/srv/photos", "target": "/home/jovyan/photos", "read_only": True}
# What is changed beside all before it, which containers are others then, and which tasks changed something.
CHANGES: list[tuple[dict[str, Any], set[str], list[str]]] = [
    ({"memory_limit": "700M", "cpu_limit": 1.5, "pids_limit": 1000, "default_url": "/tree"}, set(), [FILES]),
    ({"idle_timeout": 40000}, set(), [FILES]),
    ({"mounts": [PHOTOS]}, set(), [FILES]),
    ({"config": {"Spawner": {"start_timeout": 100}}}, {"hub", "guard"}, [FILES, START]),
    (
        {"admin_access": False, "extra_config": "c.JupyterHub.active_server_limit = 30\n"},
        {"hub", "guard"},
        [FILES, START],
    ),
    ({"port": 8001}, {"proxy"}, [FILES, START]),
]


def test_only_what_changed_restarts(story: Story) -> None:
    given: dict[str, Any] = {}
    for variables, restarts, tasks in CHANGES:
        given |= variables
        # The bystander's websocket goes through the proxy: it ends with it, and with nothing else.
        change = story.change(restarts=restarts, cuts="proxy" in restarts, **given)
        assert change.tasks == tasks, variables
    change = story.change(restarts={"hub", "proxy", "guard"}, cuts=True)
    assert change.tasks == [FILES, START]
    story.settled()


def test_servers_on_older_settings_are_listed(story: Story) -> None:
    bob = story.serve("bob")
    change = story.change(memory_limit="700M")
    for text in (change.output, story.change(memory_limit="700M").output):
        assert "Still on older settings until its next start" in text
        assert "alice (memory_limit)" in text and "bob (memory_limit)" in text
    bob.stop()
    bob.spawn()
    text = story.change(memory_limit="700M").output
    assert "alice (memory_limit)" in text and "bob (memory_limit)" not in text
    bob.stop()
    assert "older settings" not in story.change().output


def test_another_base_url(story: Story, host: Host) -> None:
    """The run lists the running servers, which must be started again. Idle ones stop until then, busy ones do not."""
    bob = story.serve("bob")
    kernel = bob.kernel()
    kernel.result(kernel.send("import time\nprint('begun', flush=True)\ntime.sleep(10**6)"), until="begun")
    given: dict[str, Any] = {"jupyterhub_home_users": USERS, "jupyterhub_home_base_url": "/below/"}
    for options in (["--check"], [], []):
        done = story.run(given, "site.yml", *options)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "alice (base_url)" in done.stdout and "bob (base_url)" in done.stdout
    assert changed_tasks(done.stdout) == []
    given["jupyterhub_home_idle_timeout"] = 60
    assert story.run(given).returncode == 0
    mia = HubClient(f"{story.url}/below", "mia", "mia-test-secret")
    mia.login()
    wait_until(lambda: mia.server("alice") is None, "alice's idle server stopped", timeout=240)
    assert mia.server("bob"), "a busy server was stopped"
    assert "cannot be asked" not in host.run("docker logs jupyterhub-home-hub").stderr
    again = HubClient(f"{story.url}/below", "bob", "bob-test-secret")
    again.login()
    again.stop()
    again.spawn()
    assert again.enter().ok
    assert "base_url" not in story.run(given).stdout


@pytest.mark.last
def test_a_first_run_is_tried_out_truthfully(host: Host, run: Run) -> None:
    """It removes everything first, and the builder's cache; of the images, one is to be built."""
    with images_aside(host):
        wiped = run({"jupyterhub_home_delete_data": True}, "playbooks/uninstall.yml")
        assert wiped.returncode == 0, wiped.stdout[-3000:]
    named = "docker image ls --format '{{.Repository}}:{{.Tag}}' jupyterhub-home/hub"
    host.check_output(f"docker image rm $({named})")
    look = "docker ps --all --quiet; docker volume ls --quiet; docker image ls --quiet | sort; ls /opt"
    before = host.check_output(look)
    tried = run({"jupyterhub_home_users": USERS}, "site.yml", "--check", "--diff")
    assert tried.returncode == 0, tried.stdout[-4000:]
    assert host.check_output(look) == before
    done = run({"jupyterhub_home_users": USERS}, "site.yml", "--diff")
    assert done.returncode == 0, done.stdout[-4000:]
    assert changed_tasks(tried.stdout) == changed_tasks(done.stdout)
    for text in (tried.stdout, done.stdout):
        assert not any(str(user["password"]) in text for user in USERS)
    again = run({"jupyterhub_home_users": USERS})
    assert changed_tasks(again.stdout) == []
    assert set(containers(host)) == {"hub", "proxy", "guard"}
