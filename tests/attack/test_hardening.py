"""What each container may do, as a table: a right, a mount or a door more in one of them makes its row another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import ClientFactory
from testinfra.host import Host

P = "jupyterhub-home"
FOLDER = "/opt/jupyterhub-home"
# What holds for all; of the process itself as the kernel has it.
ALL: dict[str, Any] = {
    "process": {"CapEff": 0, "CapPrm": 0, "CapInh": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1, "Seccomp": 2},
    "capabilities": (["ALL"], []),
    "privileged": False,
    "of the machine": [],  # namespaces and devices
    "root": "read-only",
    "profile": ["no-new-privileges"],
    "groups": [],
    "published": {},
    "limited": True,  # memory, swap included, and processes
}
SETTINGS = {f"{FOLDER}/hub": "ro", f"{FOLDER}/users": "ro", f"{FOLDER}/secrets": "ro"}
TABLE: dict[str, dict[str, Any]] = {
    "hub": {
        "user": "58081:58081",
        "network": "jupyterhub-home",
        "mounts": {**SETTINGS, "jupyterhub-home-data": "rw", "jupyterhub-home-sockets": "ro"},
    },
    "guard": {
        "user": "58083:58081",
        "network": "none",
        "groups": ["docker"],
        "mounts": {
            **SETTINGS,
            "/var/run/docker.sock": "rw",
            "/proc/1/mountinfo": "ro",
            "jupyterhub-home-sockets": "rw",
        },
    },
    "proxy": {
        "user": "58082:58081",
        "network": "jupyterhub-home",
        "published": {"8000/tcp": ["0.0.0.0:8000"]},
        "mounts": {f"{FOLDER}/secrets": "ro"},
    },
    "user-bob": {
        "user": "1000:100",
        "network": "jupyterhub-home",
        "mounts": {
            "jupyterhub-home-user-bob": "rw",
            "jupyterhub-home-user-bob-home": "rw",
            "a volume of its own": "rw",
        },
    },
}


def of_kernel(host: Host, pid: int) -> dict[str, int]:
    """What the kernel lets a process do."""
    lines = host.check_output(f"cat /proc/{pid}/status").splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: int(fields[name], 16) for name in ALL["process"]}


def name_of(mount: dict[str, Any]) -> str:
    """A folder of the machine by its path, a volume by its name if it outlives the container."""
    if mount["Type"] == "bind":
        return str(mount["Source"])
    return str(mount["Name"]) if mount["Name"].startswith("jupyterhub-home") else "a volume of its own"


def row(host: Host, name: str) -> dict[str, Any]:
    """The row of a container, as the engine and the kernel have it."""
    found = json.loads(host.check_output(f"docker inspect jupyterhub-home-{name}"))[0]
    config = found["HostConfig"]
    group = host.check_output("stat -L -c %g /var/run/docker.sock")
    spaces = ("PidMode", "UTSMode", "UsernsMode", "IpcMode", "Devices", "DeviceRequests", "Runtime")
    usual: dict[str, tuple[Any, ...]] = {"IpcMode": ("private",), "Runtime": ("runc",)}
    return {
        "process": of_kernel(host, found["State"]["Pid"]),
        "user": found["Config"]["User"],
        "capabilities": (config["CapDrop"], config["CapAdd"] or []),
        "privileged": config["Privileged"],
        "of the machine": [one for one in spaces if config[one] and config[one] not in usual.get(one, ())],
        "root": "read-only" if config["ReadonlyRootfs"] else "writable",
        "profile": [option.removesuffix(":true") for option in config["SecurityOpt"]],
        "groups": ["docker" if one == group else one for one in config["GroupAdd"] or []],
        "network": config["NetworkMode"],
        "published": {
            port: [f"{one['HostIp']}:{one['HostPort']}" for one in doors or []]
            for port, doors in (config["PortBindings"] or {}).items()
        },
        "mounts": {name_of(one): "rw" if one["RW"] else "ro" for one in found["Mounts"]},
        "limited": 0 < config["Memory"] == config["MemorySwap"] and config["PidsLimit"] > 0,
    }


@pytest.mark.parametrize("name", TABLE)
def test_container(host: Host, serve: ClientFactory, name: str) -> None:
    serve("bob")
    expected = ALL | TABLE[name]
    bundle = json.loads(host.file(f"{FOLDER}/hub/spawner.json").content_string)["ca_bundle"]
    if name == "user-bob" and bundle:  # of a machine in a network that inspects TLS
        expected["mounts"] = {**expected["mounts"], bundle: "ro"}
    assert row(host, name) == expected
