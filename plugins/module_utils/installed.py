"""What runs have installed on a machine, of any project, by their note; and how uninstalling takes it away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import docker
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output

# Below it, the folders of a file are its program's alone.
LOCAL = Path("/usr/local/lib")


def installed() -> tuple[list[str], list[str]]:
    """Packages, and files and folders, that are there and were not before a run of any project installed them, by its
    note."""
    try:
        noted = sorted(set(Path(contract.INSTALLED).read_text(encoding="utf-8").split()))
    except OSError:
        return [], []
    listed = output("dpkg-query", "--show", "--showformat", "${Package}\\t${db:Status-Abbrev}\\n") or ""
    there = {line.partition("\t")[0] for line in listed.splitlines() if line.partition("\t")[2].startswith("ii")}
    files = [name for name in noted if name.startswith("/") and Path(name).exists()]
    return [name for name in noted if name in there], files


def removal(own: Collection[str], gone: Collection[str], kept: Collection[str]) -> str:
    """apt-get's word: purge, or remove where volumes are kept, or others have containers or volumes, for Debian's
    docker.io deletes all that Docker has when it is purged.

    own: the containers that will be gone; gone: the volumes that will be. Raises EngineError when the engine does not
    answer.
    """
    if not shutil.which("docker"):
        return "purge"
    dangling = set(docker("volume", "ls", "--quiet", "--filter", "dangling=true").split())
    return "remove" if kept or dangling - set(gone) or strangers(own) else "purge"


def strangers(own: Collection[str]) -> list[str]:
    """The names of containers that are not among the own ones; raises EngineError."""
    names = docker("ps", "--all", "--format", "{{.Names}}").split() if shutil.which("docker") else []
    return sorted(set(names) - set(own))


def needed_by(packages: list[str], own: Collection[str]) -> list[str]:
    """Who else needs packages, in words: other containers, and packages that would go along. Raises EngineError."""
    planned = output("apt-get", "--simulate", "remove", *packages) or ""
    along = set(re.findall(r"^(?:Remv|Purg) (\S+)", planned, re.M)) - set(packages)
    return [
        *(f"the container {name}" for name in strangers(own)),
        *(f"the package {name}" for name in sorted(along)),
    ]


def of_python(packages: Collection[str]) -> list[str]:
    """Those of packages that Python is, with which this run may be at work, and make runs the next one."""
    if "python3" not in packages:
        return []
    printed = output("apt-cache", "depends", "--recurse", "--installed", "--important", "python3") or "python3"
    return sorted({line for line in printed.splitlines() if line in packages})


def remove(word: str, packages: list[str], files: list[str], left: list[str]) -> None:
    """Remove packages by apt-get's word, and files, and of the note all but what is left; raises OSError with what
    apt-get says."""
    if packages:
        done = subprocess.run(
            ("apt-get", "--yes", "-qq", word, *packages), check=False, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
        if done.returncode != 0:
            raise OSError(f"apt-get {word} failed: {done.stderr.strip() or done.stdout.strip()[-1000:]}")
    for path in map(Path, files):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        for folder in path.parents:
            if LOCAL not in folder.parents or any(folder.iterdir()):
                break
            folder.rmdir()
    if left:
        Path(contract.INSTALLED).write_text("\n".join(left) + "\n", encoding="utf-8")
    else:
        forget()


def forget() -> None:
    """Remove the note."""
    shutil.rmtree(Path(contract.INSTALLED).parent, ignore_errors=True)
