"""The machine that everything is measured on: a Debian 13 in a container, with the checkout in it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINE = "jhh-bench"
PROJECT = "/srv/jupyterhub-home"  # the checkout in the machine
Figures = dict[str, list[float]]


def machine(*arguments: str) -> str:
    """Run tests/machine/machine.sh and give what it prints."""
    command = [str(ROOT / "tests/machine/machine.sh"), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def inside(script: str, given: str = "") -> str:
    """Run a shell script in the checkout in the machine; what it prints, or an exit with it when it fails."""
    shell = ["bash", "-c", f"PATH=$PWD/.venv/bin:$PATH; {script}"]
    command = ["docker", "exec", "--interactive", "--workdir", PROJECT, MACHINE, *shell]
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"bench: failed in the machine: {script}\n{done.stdout}")
    return done.stdout.strip()


def timed(job: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    begin = time.monotonic()
    job()
    return time.monotonic() - begin


def copy_project() -> None:
    """Copy the working tree, without what git ignores, into the machine."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    present = "\0".join(name for name in names if name and (ROOT / name).exists())
    tar = ["tar", "--create", "--null", "--files-from=-"]
    archive = subprocess.run(tar, cwd=ROOT, input=present.encode(), stdout=subprocess.PIPE, check=True).stdout
    unpack = f"mkdir -p {PROJECT} && tar --extract --no-same-owner --directory {PROJECT}"
    subprocess.run(["docker", "exec", "--interactive", MACHINE, "sh", "-c", unpack], input=archive, check=True)
