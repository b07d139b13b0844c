"""What is on users' disks: whether it is to be seen, how much it is, and how it gets into another file system."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.ways import mount_points

# What a file system needs for itself beside the files in it, in parts of its size.
OWN_PART = 0.05
LIMIT = "jupyterhub_home_disk_limit"
MIB = 2**20


class DiskError(EngineError):
    """What cannot be done with a disk, and why."""


def run(*command: str | Path) -> None:
    """Run a command; DiskError with the end of what it said where it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        raise DiskError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise DiskError(f"{command[0]}: {' '.join(done.stdout.split())[-300:]}")


def size_text(size: float) -> str:
    """Bytes as a person reads them."""
    return f"{size / 2**30:.3g}G" if size >= 2**30 else f"{size / MIB:.0f}M"


def capacity(folder: Path) -> int:
    """Bytes of the file system in which a folder is, in whole MiB."""
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize // MIB * MIB


def on_disk(data: Path) -> bool:
    """Whether the folder of a user's volume is one of a disk; DiskError where that is not mounted, and hides them."""
    work = data.parent.name.removesuffix(contract.HOME)
    if not data.parent.with_name(work + contract.HOME).joinpath(contract.DISK).exists():
        return False
    if str(data.resolve()) not in mount_points():
        raise DiskError(f"the disk with the files of the volume {data.parent.name} is not mounted; make hub mounts it")
    return True


def carry_files(source: Path, target: Path) -> None:
    """Have all that is in a folder in another file system, and then not here; DiskError, and all is here still."""
    run("cp", "-a", "--sparse=always", f"{source}/.", target)
    there = entries(target)
    if any(there.get(path) != own for path, own in entries(source).items()):
        raise DiskError(f"the copy of {source} in {target} is not what it was")
    run("sync", "--file-system", target)
    run("find", source, "-mindepth", "1", "-delete")


def entries(folder: Path) -> dict[str, tuple[int, int, int, int, str]]:
    """All that is in a folder: mode, owner, group, size of a file, and target of a link, by its path from there."""
    found = {}
    for where, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(where, name)
            own = path.lstat()
            size = own.st_size if stat.S_ISREG(own.st_mode) else 0
            target = str(path.readlink()) if stat.S_ISLNK(own.st_mode) else ""
            found[os.path.relpath(path, folder)] = (own.st_mode, own.st_uid, own.st_gid, size, target)
    return found


def taken(folder: Path) -> int:
    """Bytes on the disk of all that is in a folder."""
    paths = (Path(where, name) for where, folders, files in os.walk(folder) for name in folders + files)
    return sum(path.lstat().st_blocks * 512 for path in paths)
