"""What building images and removing them have in common: commands that must succeed, and one at a time."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import Any, TextIO

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker

LOCK = Path("/run/jupyterhub-home-images.lock")


class ImageError(Exception):
    """An image could not be had; the text says which and why."""


def failed(what: str, status: int | None, printed: str) -> ImageError:
    """The error of a command, with the last lines of what it printed."""
    return ImageError(f"{what} failed (exit status {status}). Its last lines:\n{tail(printed)}")


def tail(printed: str) -> str:
    """The last lines of what a command printed."""
    return "\n".join(printed.strip().splitlines()[-30:])


def run(command: list[str], what: str) -> str:
    """What a command prints, on either stream; raises ImageError when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise failed(what, done.returncode, done.stdout)
    return done.stdout


def run_docker(what: str, *arguments: str) -> str:
    """What a docker command prints, on either stream; raises ImageError when it fails."""
    try:
        return docker(*arguments, merged=True, environment={"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"})
    except EngineError as error:
        raise failed(what, error.status, error.why) from error


def build(base: str, image: dict[str, Any], secrets: dict[str, str], *options: str) -> None:
    """Build one image on the base; options: more of docker build."""
    arguments = {"BASE": base, "PACKAGES": " ".join(image["packages"]), **contract.build_arguments()}
    command = ["build", "--target", image["name"], *options]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    for identifier, path in sorted(secrets.items()):
        command += ["--secret", f"id={identifier},src={path}"]
    run_docker(f"Building {image['tag']}", *command, "--tag", image["tag"], image["context"])


def wait_for_others() -> TextIO:
    """Wait for what a killed run goes on building here; returns the lock, which the end of this process opens."""
    lock = LOCK.open("w", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
