"""Ask the Docker engine, and move a volume's files without copying them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import IO, Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract


class EngineError(Exception):
    """What was asked of the engine cannot be done; the text says what and why, and nothing was lost.

    Of a docker command that failed: why is its message, printed what it printed all the same, and status its exit
    status, which is None where it could not be started or did not end in time.
    """

    def __init__(self, text: str, *, why: str = "", printed: str = "", status: int | None = None) -> None:
        super().__init__(text)
        self.why, self.printed, self.status = why or text, printed, status


def docker(
    *arguments: str,
    text: str | None = None,
    stream: IO[bytes] | None = None,
    merged: bool = False,
    timeout: float | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """What a docker command prints, stripped; raises EngineError.

    text, stream: what it reads, either of them; merged: what it says on standard error is part of what it prints;
    timeout: seconds; environment: variables besides those of this process.
    """
    try:
        done = subprocess.run(
            ("docker", *arguments), input=text, stdin=stream, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE, text=True, errors="replace", timeout=timeout,
            env={**os.environ, **environment} if environment else None, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"docker {' '.join(arguments)}: no answer within {timeout} s") from error
    except OSError as error:
        raise EngineError(f"docker {' '.join(arguments)}: {error.strerror}") from error
    printed = done.stdout.strip()
    if done.returncode != 0:
        why = printed if merged else done.stderr.strip()
        text_of_error = f"docker {' '.join(arguments)}: {why}"
        raise EngineError(text_of_error, why=why, printed=printed, status=done.returncode)
    return printed


def told(*arguments: str) -> str:
    """What a docker command prints; '' where it fails, is missing or takes over a minute."""
    try:
        return docker(*arguments, timeout=60)
    except EngineError:
        return ""


def inspect(*names: str) -> dict[str, dict[str, Any]]:
    """Those containers, networks and volumes that are there, by name; for a name of several kinds, the container."""
    if not names:
        return {}
    try:
        printed = docker("inspect", *names)
    except EngineError as error:  # one of them is not there; it prints the others
        printed = error.printed
    return {thing["Name"].lstrip("/"): thing for thing in json.loads(printed or "[]")}


def succeeds(*arguments: str) -> bool:
    """Whether a docker command does; not where there is no engine, which check mode may meet."""
    try:
        docker(*arguments)
    except EngineError:
        return False
    return True


def has_image(image: str) -> bool:
    """Whether the engine has an image."""
    return succeeds("image", "inspect", image)


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


def network_made(project: str, network: dict[str, Any] | None) -> str:
    """How the project's network was made, as network.py labels it; '' otherwise, 'none' where there is none."""
    if not network:
        return "none"
    named = (network.get("Options") or {}).get(contract.BRIDGE_NAME)
    found: str = (network.get("Labels") or {}).get(contract.NETWORK_LABEL) or ""
    return found if named == contract.bridge(project) else ""


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
    with contextlib.suppress(EngineError):
        docker("rm", "--force", "--volumes", *contract.trial_containers(project))


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


def strayed(container: dict[str, Any]) -> list[str]:
    """Paths of the machine at which something else is by now than what a container with a process has of them.

    A bind mount is of the folder that was there when the container started: who puts a copy in its place, or makes the
    engine's socket anew, leaves the container with what it had.
    """
    inside = f"/proc/{container['State'].get('Pid') or ''}/root"
    if not os.path.isdir(inside):  # no process, or nobody who may look
        return []
    bound = {mount["Source"]: mount["Destination"] for mount in container["Mounts"] if mount["Type"] == "bind"}
    bound.pop(contract.MACHINE_MOUNTS, None)  # of the kernel, which may make it anew
    # From here, a link of the image's would lead to the machine's own.
    held = {path: inside + re.sub("^/var/run/", "/run/", place) for path, place in bound.items()}
    return [path for path, place in held.items() if identity(path) != identity(place)]


def identity(path: str) -> tuple[int, int] | None:
    """Which file or folder is there; None where nothing is."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def remove_image(image: str) -> bool:
    """Whether an image could be removed; Docker keeps one that any container uses."""
    return succeeds("image", "rm", image)
