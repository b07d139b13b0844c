"""A path in a user's home: read from what somebody wrote, and opened through no link."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import run
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError

WORK = "work"


class RestoreError(Exception):
    """What was asked for cannot be put back; the text says why and what was done."""


def place_of(file: str) -> tuple[bool, PurePosixPath]:
    """A path in a user's home as (whether it is in the volume of the folder `work`, the path in the volume).

    Raises RestoreError for one that leaves the home.
    """
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in file:
        raise RestoreError(
            f"FILE={file} is no path in the user's home. Write: FILE=work/report.ipynb, from /home/jovyan on. Nothing "
            "was changed"
        )
    in_work = path.parts[0] == WORK
    return in_work, PurePosixPath(*path.parts[in_work:])


def open_below(root: Path, parents: tuple[str, ...]) -> int:
    """A descriptor of a folder below a root, made where it is missing; through no link, for a user may make links.

    Raises OSError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    descriptor = os.open(root, flags)
    for name in parents:
        above = os.fstat(descriptor)
        try:
            os.mkdir(name, 0o700, dir_fd=descriptor)
        except FileExistsError:
            made = False
        else:
            made = True
        below = os.open(name, flags, dir_fd=descriptor)
        if made:
            os.fchown(below, above.st_uid, above.st_gid)
            os.fchmod(below, above.st_mode & 0o7777)
        os.close(descriptor)
        descriptor = below
    return descriptor


def copy_below(source: Path, descriptor: int, name: str) -> None:
    """Copy a file or folder to a name in a folder, which may be in another file system; RestoreError, and it is not."""
    there = f"/proc/{os.getpid()}/fd/{descriptor}/{name}"
    try:
        run("rm", "-rf", there)
        run("cp", "-a", "--sparse=always", "-T", source, there)
    except EngineError as error:
        run("rm", "-rf", there)
        raise RestoreError(f"It cannot be put back: {error}. What was there is untouched") from error
