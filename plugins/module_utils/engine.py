"""Ask the Docker engine, and move a volume's files without copying them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract


class EngineError(Exception):
    """What was asked of the engine cannot be done; the text says what and why, and nothing was lost."""


def docker(*arguments: str) -> str:
    """What a docker command prints; raises EngineError with its message."""
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EngineError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def inspect(*names: str) -> dict[str, dict[str, Any]]:
    """Those containers, networks and volumes that are there, by name; for a name of several kinds, the container."""
    if not names:
        return {}
    done = subprocess.run(("docker", "inspect", *names), capture_output=True, text=True, check=False)
    return {thing["Name"].lstrip("/"): thing for thing in json.loads(done.stdout or "[]")}


def has_image(image: str) -> bool:
    """Whether the engine has an image; without an engine, which check mode may meet, it has none."""
    return (
        shutil.which("docker") is not None
        and subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode == 0
    )


def compose_labels(project: str, what: str, own: str) -> dict[str, str]:
    """By which Compose knows a network or volume of a project."""
    return {contract.COMPOSE_PROJECT: project, f"{contract.COMPOSE}.{what}": own}


def made_labels(project: str, what: str, own: str) -> dict[str, str]:
    """All that Compose gives a network or volume of a project that it makes."""
    version = docker("compose", "version", "--short").partition("-")[0]  # without the package's
    return {**compose_labels(project, what, own), contract.COMPOSE_VERSION: version}


def labelled(thing: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a network or volume has these labels, among others."""
    return labels.items() <= (thing.get("Labels") or {}).items()


def is_plain(volume: dict[str, Any]) -> bool:
    """Whether a volume is a folder of Docker's own, and not elsewhere."""
    return volume["Driver"] == "local" and not volume.get("Options")


def folder(volume: str) -> Path:
    """Where a volume's files are on this machine; EngineError where they are elsewhere."""
    found = json.loads(docker("volume", "inspect", volume))[0]
    if not is_plain(found):
        raise EngineError(f"The volume {volume} is not one of Docker's own; move its files yourself.")
    return Path(found["Mountpoint"])


def remove_trial(project: str) -> None:
    """Remove the containers of a trial, with the volumes of their own, if they are there."""
    names = contract.trial_containers(project)
    subprocess.run(("docker", "rm", "--force", "--volumes", *names), capture_output=True, check=False)


def attached(container: dict[str, Any], network: dict[str, Any]) -> bool:
    """Whether a container is in a network, or comes into it when it starts."""
    there = container["NetworkSettings"]["Networks"].get(network["Name"])
    return there is not None and there["NetworkID"] in ("", network["Id"])


def is_ghost(container: dict[str, Any]) -> bool:
    """Whether Docker's list, which Compose goes by, has a container as running that has no process.

    Docker leaves it so when it could not write on a full disk.
    """
    state = container["State"]
    if state["Status"] == "running":
        return "Pid" in state and not Path(f"/proc/{state['Pid']}").exists()
    name = container["Name"].lstrip("/")
    return (
        state["Status"] != "paused"
        and docker("ps", "--quiet", "--filter", f"name=^/{name}$", "--filter", "status=running") != ""
    )


def unattached(project: str, network: dict[str, Any] | None) -> list[str]:
    """Names of running servers that should be in the project's network, and are not.

    One whose owner chose another network for it is none of these.
    """
    running = docker("ps", "--no-trunc", "--quiet", "--filter", f"label={contract.PROJECT_LABEL}={project}").split()
    members = (network or {}).get("Containers") or {}
    outside = inspect(*(server for server in running if server not in members))
    return sorted(
        name for name, thing in outside.items() if thing["HostConfig"]["NetworkMode"] == contract.network(project)
    )
