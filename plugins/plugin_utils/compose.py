"""The compose project, and the unit that starts its containers where Docker gives up."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.network import Addresses, addresses

SERVICE = {
    # Not unless-stopped: after a kill, the engine takes what it finds ended for stopped by hand, and leaves it so.
    "restart": "always",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    # Nothing in a container can be changed by hand, an account added for example; what the hub keeps is in its volume.
    "read_only": True,
    "tmpfs": ["/tmp"],
    "init": True,
    # They answer while servers are busy: with as much of the processors as 16 of them, whose weight is Docker's 1,024.
    "cpu_shares": 16384,
    # What somebody may fill from the network is theirs alone; the hub needs 0.1 GB and 10 processes.
    "mem_limit": "2g",
    "memswap_limit": "2g",
    "pids_limit": 1024,
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
}
GUARD_HEALTH = f"import socket; socket.socket(socket.AF_UNIX).connect('{contract.GUARD_SOCKET}')"


def health(*command: str) -> dict[str, Any]:
    """A check of a container. It is most of what a hub costs that nobody uses, so that no slow program makes it."""
    return {"test": ["CMD", *command], "interval": "30s", "timeout": "5s", "start_period": "30s"}


def answers(port: int, path: str) -> dict[str, Any]:
    """The check of a container that answers HTTP at a port of its own."""
    request = f"printf 'GET %s HTTP/1.0\\r\\n\\r\\n' '{path}' >&3"
    script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; {request}; grep -q '^HTTP/1[.][01] 200 ' <&3"
    return health("bash", "-c", script)


def compose_project(
    settings: dict[str, Any], tags: dict[str, str], socket_gid: int | None, start_digest: str, label: str
) -> dict[str, Any]:
    """compose.yml as data. tags: the images; socket_gid: the group of Docker's socket; start_digest: see hub.py; label:
    the network's, see network.py."""
    project, known = settings["project"], addresses(label.rpartition(" ")[2])
    own = {
        contract.PROXY.name: proxy_service(settings),
        contract.HUB.name: hub_service(settings, socket_gid),
        contract.GUARD.name: guard_service(settings, socket_gid),
    }
    services = {
        service.name: {**deepcopy(SERVICE), **common(service, project, tags, known), **own.get(service.name, {})}
        for service in contract.SERVICES
    }
    # Another digest, and Compose makes the container anew: the settings hold after a killed run too.
    for service in (contract.HUB, contract.GUARD):
        services[service.name]["labels"][contract.SETTINGS_LABEL] = start_digest
    in_memory = f"size=64k,mode=0750,uid={contract.GUARD.user},gid={contract.GUARD.group}"
    return {
        "name": project,
        "services": services,
        "networks": {contract.NETWORK: network(project, label)},
        "volumes": {
            contract.DATA: {"name": contract.data_volume(project)},
            contract.SOCKETS: {
                "name": contract.sockets_volume(project),
                "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": in_memory},
            },
        },
    }


def common(service: contract.Service, project: str, tags: dict[str, str], known: Addresses) -> dict[str, Any]:
    """What follows from the contract."""
    address = {"ipv4_address": known.services.get(service.name)}
    networks = {"networks": {contract.NETWORK: address}} if service.place else {"network_mode": "none"}
    return {
        **networks,
        "image": tags[service.image],
        "container_name": contract.container(project, service.name),
        "user": f"{service.user}:{service.group}",
        # Digests of the files that it reads when it starts, which the files module fills in.
        "labels": {contract.TOKENS_LABEL: " ".join(f"<sha256 of {file}>" for file in service.tokens)},
    }


def network(project: str, label: str) -> dict[str, Any]:
    """The network. Its interface has a name and hub and proxy have addresses, by which firewall rules know them before
    they are there."""
    known = addresses(label.rpartition(" ")[2])
    config = {"subnet": known.subnet, "gateway": known.gateway, "ip_range": known.servers}
    return {
        "name": contract.network(project),
        "driver_opts": {contract.BRIDGE_NAME: contract.bridge(project)},
        "labels": {contract.NETWORK_LABEL: label},
        "ipam": {"config": [config]},
    }


def proxy_service(settings: dict[str, Any]) -> dict[str, Any]:
    """What the proxy's container has of its own."""
    return {
        "environment": {"HUB_BASE_URL": settings["base_url"]},
        "ports": [{"target": 8000, "published": str(settings["port"]), "host_ip": settings["bind_address"]}],
        "volumes": [f"{settings['directory']}/secrets:{contract.SECRETS_FOLDER}:ro"],
        "healthcheck": answers(8000, "/_chp_healthz"),
    }


def settings_volumes(settings: dict[str, Any]) -> list[str]:
    """What the role wrote for hub and guard."""
    directory = settings["directory"]
    return [
        f"{directory}/hub:{contract.HUB_SETTINGS_FOLDER}:ro",
        f"{directory}/{contract.USERS}:{contract.EXTRAUSERS}:ro",
        f"{directory}/secrets:{contract.SECRETS_FOLDER}:ro",
    ]


def socket_access(socket_gid: int | None) -> dict[str, Any]:
    """What whoever makes servers has: the engine, and the list that says whether the disks of folders are there."""
    mounts = f"{contract.MACHINE_MOUNTS}:{contract.MOUNTS_READ}:ro"
    return {"group_add": [str(socket_gid)], "volumes": [f"{contract.SOCKET}:{contract.SOCKET}", mounts]}


def hub_service(settings: dict[str, Any], socket_gid: int | None) -> dict[str, Any]:
    """What the hub's container has of its own."""
    if settings["guard"]:
        engine = {
            "environment": {"DOCKER_HOST": f"unix://{contract.GUARD_SOCKET}"},
            "volumes": [f"{contract.SOCKETS}:{contract.GUARD_FOLDER}:ro"],
        }
    else:
        engine = socket_access(socket_gid)
    return {
        **engine,
        "volumes": [*settings_volumes(settings), f"{contract.DATA}:{contract.HUB_HOME}", *engine["volumes"]],
        "healthcheck": answers(8081, f"{settings['base_url']}hub/health"),
    }


def guard_service(settings: dict[str, Any], socket_gid: int | None) -> dict[str, Any]:
    """What the guard's container has of its own."""
    engine = socket_access(socket_gid)
    return {
        **engine,
        "command": ["python", f"{contract.PROGRAMS}/guard.py"],
        "volumes": [*settings_volumes(settings), f"{contract.SOCKETS}:{contract.GUARD_FOLDER}", *engine["volumes"]],
        "healthcheck": health("python3", "-IS", "-c", GUARD_HEALTH),
    }


def watch_unit(settings: dict[str, Any]) -> str:
    """The text of PROJECT-watch.service."""
    project = settings["project"]
    watched = " ".join([contract.data_volume(project), *contract.containers(project).values()])
    return f"""# Written by Ansible.
[Unit]
Description=Start hub and proxy of {project} where Docker gives up
After=docker.service

[Service]
ExecStart=/bin/sh {settings["directory"]}/{contract.WATCH_PROGRAM} {watched}
Restart=always
RestartSec=20

[Install]
WantedBy=multi-user.target
"""
