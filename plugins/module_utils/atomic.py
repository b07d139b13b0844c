"""Write a file so that a reader, or a kill, sees the old or the new one whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_file(path: Path, content: str, *, mode: int, owner: int, group: int) -> None:
    """Write a text file beside its place, with its final owner and mode, then rename it over.

    A folder that stands in the place is removed first. Raises OSError as the system gives it.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fchown(descriptor, owner, group)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    beside.replace(path)


def present_text(path: Path, *, mode: int, owner: int, group: int) -> tuple[str | None, bool]:
    """A file's text, and whether its owner and mode are these; (None, False) without a regular file."""
    if path.is_symlink() or not path.is_file():
        return None, False
    stat = path.stat()
    in_place = (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (owner, group, mode)
    return path.read_text(encoding="utf-8", errors="replace"), in_place


def make_folder(path: Path, *, pretend: bool, follow: bool = False) -> bool:
    """Make a folder of our own that everybody may enter (mode 0755); returns whether it was not so.

    A file or a link that stands in its place is removed, never what a link leads to. follow: a link to a folder will
    do. pretend: change nothing.
    """
    there = path.is_dir() and (follow or not path.is_symlink())
    if there:
        stat = path.stat()
        if (stat.st_uid, stat.st_mode & 0o7777) == (os.geteuid(), 0o755):
            return False
    if not pretend:
        if not there:
            path.unlink(missing_ok=True)
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, os.geteuid(), os.getegid())
        path.chmod(0o755)
    return True
