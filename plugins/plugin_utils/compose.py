"""The compose project, and the unit that starts its containers where Docker gives up."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

# Above every ordinary and system user, so that no user of the machine owns the hub's files.
HUB_ID = 58081
PROXY_ID = 58082

SERVICE = {
    # Not unless-stopped: after a kill, the engine takes what it finds ended for stopped by hand, and leaves it so.
    "restart": "always",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    # Nothing in a container can be changed by hand, an account added for example; what the hub keeps is in its volume.
    "read_only": True,
    "tmpfs": ["/tmp"],
    "init": True,
    "networks": ["users"],
    "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
}
PROXY_HEALTH = (
    "fetch('http://127.0.0.1:8000/_chp_healthz').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"
)
HUB_HEALTH = "import urllib.request as u; u.urlopen('http://127.0.0.1:8081{base_url}hub/health', timeout=5)"


def compose_project(
    settings: dict[str, Any], tags: dict[str, str], socket_gid: int | None, start_digest: str
) -> dict[str, Any]:
    """compose.yml as data. tags: the images; socket_gid: the group of Docker's socket; start_digest: see hub.py."""
    project = settings["project"]
    return {
        "name": project,
        "services": {
            "proxy": {**deepcopy(SERVICE), **proxy_service(settings, tags["proxy"])},
            "hub": {**deepcopy(SERVICE), **hub_service(settings, tags["hub"], socket_gid, start_digest)},
        },
        "networks": {"users": {"name": project}},
        "volumes": {"data": {"name": f"{project}-data"}},
    }


def proxy_service(settings: dict[str, Any], image: str) -> dict[str, Any]:
    """What the proxy's container has beside SERVICE."""
    return {
        "image": image,
        "container_name": f"{settings['project']}-proxy",
        "user": f"{PROXY_ID}:{HUB_ID}",
        "environment": {"HUB_BASE_URL": settings["base_url"]},
        "labels": {"jupyterhub-home.tokens": "<sha256 of secrets/proxy-token>"},
        "ports": [{"target": 8000, "published": str(settings["port"]), "host_ip": settings["bind_address"]}],
        "volumes": [f"{settings['directory']}/secrets:/run/secrets:ro"],
        "healthcheck": {
            "test": ["CMD", "node", "-e", PROXY_HEALTH],
            "interval": "30s",
            "start_period": "20s",
        },
    }


def hub_service(settings: dict[str, Any], image: str, socket_gid: int | None, start_digest: str) -> dict[str, Any]:
    """What the hub's container has beside SERVICE."""
    directory = settings["directory"]
    return {
        "image": image,
        "container_name": f"{settings['project']}-hub",
        "user": f"{HUB_ID}:{HUB_ID}",
        "group_add": [str(socket_gid)],
        # Another digest, and Compose makes the container anew: the settings hold after a killed run too.
        "labels": {
            "jupyterhub-home.settings": start_digest,
            "jupyterhub-home.tokens": (
                "<sha256 of secrets/proxy-token> <sha256 of hub/users-token> <sha256 of hub/edition>"
            ),
        },
        "volumes": [
            f"{directory}/hub:/etc/jupyterhub-home:ro",
            f"{directory}/users:/var/lib/extrausers:ro",
            f"{directory}/secrets:/run/secrets:ro",
            "data:/srv/jupyterhub",
            "/var/run/docker.sock:/var/run/docker.sock",
        ],
        "healthcheck": {
            "test": ["CMD", "python3", "-c", HUB_HEALTH.format(base_url=settings["base_url"])],
            "interval": "30s",
            "start_period": "30s",
        },
    }


def watch_unit(settings: dict[str, Any]) -> str:
    """The text of PROJECT-watch.service."""
    project, directory = settings["project"], settings["directory"]
    return f"""# Written by Ansible.
[Unit]
Description=Start hub and proxy of {project} where Docker gives up
After=docker.service

[Service]
ExecStart=/bin/sh {directory}/watch/watch {project}
Restart=always
RestartSec=20

[Install]
WantedBy=multi-user.target
"""
