"""The end of a hub."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from machine import containers, playbook
from testinfra.host import Host

pytestmark = pytest.mark.last

DIRECTORY = "/opt/jupyterhub-home"
LEASE = "/run/jupyterhub-home.lease"
NAME = "jupyterhub_home_"


def uninstall(host: Host, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """The playbook, with variables without their prefix."""
    named = {NAME + name: value for name, value in variables.items()}
    return playbook(host, named, "playbooks/uninstall.yml", *options)


def state(host: Host) -> tuple[object, ...]:
    """All that an uninstall could remove."""
    commands = (
        "docker volume ls --quiet", "docker network ls --no-trunc",
        "docker image ls --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}'",
        f"find {DIRECTORY} -type f -exec sha256sum {{}} +",
    )  # fmt: skip
    return (containers(host), *(sorted(host.check_output(command).splitlines()) for command in commands))


def test_uninstall_refuses_what_cannot_be_meant(host: Host) -> None:
    before = state(host)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        (
            {"project": "xyz"},
            [f"{NAME}project: there is nothing of the project 'xyz'", f"Write: {NAME}project: jupyterhub-home"],
        ),
        ({"delete_dat": True}, [f"{NAME}delete_dat: there is no such variable", f"Write: {NAME}delete_data:"]),
        ({"delete_data": "yes"}, [f"{NAME}delete_data: it is the text 'yes', not true or false."]),
        ({"directory": "/opt"}, [f"{NAME}directory: '/opt' is not a plain absolute path of a folder of the role"]),
    ]
    for wrong, said in cases:
        done = uninstall(host, **wrong)
        assert done.returncode != 0 and "changed=0" in done.stdout, done.stdout[-4000:]
        assert [part for part in said if part not in done.stdout] == [], done.stdout[-4000:]
        assert "nothing was changed" in done.stdout
    assert state(host) == before


def test_uninstall_stops_beside_a_run(host: Host) -> None:
    before = state(host)
    run = '{"id": "x", "taken": %s, "by": "kim@desk", "pid": 7, "machine": "another", "boot": "", "numbers": ""}'
    host.check_output(f"printf '{run}' $(cut -d ' ' -f 1 /proc/uptime) >{LEASE}")
    done = uninstall(host)
    host.check_output(f"rm {LEASE}")
    assert done.returncode != 0 and "another run on it, by kim@desk" in done.stdout, done.stdout[-4000:]
    assert state(host) == before


def test_uninstall_in_check_mode(host: Host) -> None:
    before = state(host)
    done = uninstall(host, "--check", "--diff", delete_data=True)
    assert done.returncode == 0 and state(host) == before, done.stdout[-4000:]
    for kind in ("containers", "networks", "images", "sockets", "folders", "volumes"):
        assert f"Would be removed, {kind}: " in done.stdout
    assert "Removed, " not in done.stdout


ENGINE = """
import http.client, json, socket
engine = http.client.HTTPConnection("engine")
engine.sock = socket.socket(socket.AF_UNIX)
engine.sock.connect("/var/run/docker.sock")
engine.request("GET", "/system/df")
for record in json.load(engine.getresponse())["BuildCache"] or []:
    print(record["Description"])
"""


def build_cache(host: Host) -> str:
    """What the engine has of builds, a line each."""
    return str(host.check_output("python3 -c %s", ENGINE))


def test_uninstall_keeps_what_people_made(host: Host) -> None:
    """And what others have built."""
    host.check_output("mkdir /tmp/others && printf 'FROM scratch\\nCOPY . /others' >/tmp/others/Dockerfile")
    host.check_output("DOCKER_BUILDKIT=1 docker build --quiet --tag others /tmp/others")
    cache = build_cache(host)
    theirs = "[1/1] COPY . /others" if "[1/1] COPY . /others" in cache else "fileop target"  # as Docker 20.10 has it
    assert theirs in cache and "built for jupyterhub-home" in cache
    named = "docker volume ls --quiet --filter name=jupyterhub-home"  # not what goes with a container
    before = [name for name in host.check_output(named).split() if name != "jupyterhub-home-sockets"]
    assert {"jupyterhub-home-data", "jupyterhub-home-user-bob", "jupyterhub-home-user-bob-home"} <= set(before)
    done = uninstall(host)
    assert done.returncode == 0, done.stdout[-4000:]
    said = " ".join(done.stdout.split())
    for text in (
        "Removed, containers: jupyterhub-home-guard, jupyterhub-home-hub, jupyterhub-home-proxy",
        "Removed, networks: jupyterhub-home",
        "Removed, images: jupyterhub-home/base:",
        f"Removed, folders: {DIRECTORY}",
        "Removed, of the cache of builds: ",
    ):
        assert text in said, said
    assert "jupyterhub-home-user-bob-home" in said.partition("Kept, with everybody")[2], "what is kept is said"
    assert re.search(r"what was installed: \S.* To remove these packages: apt-get remove .*mmdebstrap", said)
    assert [line for line in build_cache(host).splitlines() if not line.startswith(("local source", "from local"))] == [
        theirs
    ]
    assert host.check_output("docker image ls --quiet others") != ""
    assert host.check_output("find /run /var/tmp -maxdepth 1 -name '*jupyterhub-home*' -o -name 'jhh-*'") == ""
    assert (
        host.check_output("find /var/lib/jupyterhub-home")
        == "/var/lib/jupyterhub-home\n/var/lib/jupyterhub-home/installed"
    )

    assert host.check_output("docker ps --all --quiet") == ""
    assert host.check_output("docker image ls --quiet --filter 'reference=jupyterhub-home/*'") == ""
    assert "jupyterhub-home" not in host.check_output("docker network ls")
    assert not host.file(DIRECTORY).exists
    assert not host.file(LEASE).exists
    assert host.check_output(named).split() == before
    host.check_output("docker compose version")

    again = uninstall(host)
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-4000:]


def test_uninstall_deletes_what_people_made_when_told(host: Host) -> None:
    """As docs/re-running.md says it on the command line. A folder that is not the role's is left alone."""
    host.check_output(f"mkdir {DIRECTORY} && touch {DIRECTORY}/compose.yml")
    done = uninstall(host, "-e", f"{NAME}delete_data=true")
    assert done.returncode == 0 and "Removed, volumes: jupyterhub-home-data" in done.stdout, done.stdout[-4000:]
    assert "jupyterhub-home" not in host.check_output("docker volume ls --quiet")
    assert host.file(f"{DIRECTORY}/compose.yml").exists

    done = uninstall(host)
    assert done.returncode != 0, "there was nothing to remove"
    assert f"{NAME}project: there is nothing of the project 'jupyterhub-home'" in done.stdout, done.stdout[-4000:]
