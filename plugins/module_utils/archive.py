"""Archives of homes: plain tar files, read back and compared before anything is deleted for them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import free_disk, there

# POSIX (PAX) holds what others do not: owners by number and name, long names, times, holes and extended attributes.
FORMAT = ("--format=posix", "--sparse", "--acls", "--xattrs", "--xattrs-include=*", "--absolute-names")
# Of which tar says "ignored", and which nobody could use.
LEFT_OUT = stat.S_ISSOCK
HEADERS = 2048  # bytes that an entry takes beside its content, in most archives half of it
UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Content(NamedTuple):
    """What is in some folders, themselves included: entries that an archive has, bytes on the disk, the newest time in
    seconds since 1970."""

    entries: int
    size: int
    changed: float

    @property
    def room(self) -> int:
        """Bytes that an archive of it takes at most."""
        return self.size + HEADERS * self.entries


def walk(folder: Path) -> Iterator[os.stat_result]:
    """Of the folder and of all in it, without following links; OSError where something cannot be read."""
    yield folder.lstat()
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def content(folders: Collection[Path]) -> Content:
    """What is in them; a file with several names counts once."""
    entries, size, changed, seen = 0, 0, 0.0, set()
    for found in (found for folder in folders for found in walk(folder)):
        entries += not LEFT_OUT(found.st_mode)
        changed = max(changed, found.st_mtime)
        if (found.st_dev, found.st_ino) not in seen:
            size += found.st_blocks * 512
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            seen.add((found.st_dev, found.st_ino))
    return Content(entries, size, changed)


def shown_size(size: float) -> str:
    """Bytes as a person reads them."""
    for unit in UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {UNITS[-1]}"


def plain(text: str, special: str) -> str:
    """Text in an expression of sed(1), in which these signs mean something."""
    return re.sub(f"([{re.escape(special)}])", r"\\\1", text)


def renaming(parts: dict[str, Path], *, back: bool = False) -> list[str]:
    """Options by which tar calls each folder by its name in the archive, or with back the other way round."""
    pairs = [(name, str(folder)) if back else (str(folder), name) for name, folder in parts.items()]
    return [f"--transform=flags=rhS;s,^{plain(old, '.*[]^$,')},{plain(new, '&,')}," for old, new in pairs]


def tar(*arguments: str) -> str:
    """What tar prints; EngineError where it fails or finds a difference."""
    done = subprocess.run(
        ("tar", *arguments), capture_output=True, text=True, errors="replace", env={**os.environ, "LC_ALL": "C"},
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = "; ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-3:])
        raise EngineError(last or f"exit status {done.returncode}")
    return done.stdout


def verify(file: Path, parts: dict[str, Path]) -> Content:
    """Read an archive back and compare it with the folders: every file's content, owner, mode and time, and that none
    is missing. Returns what is in it; EngineError where it differs."""
    listed = len(tar("--list", "--file", str(file), *parts).splitlines())
    tar("--compare", "--file", str(file), "--absolute-names", *renaming(parts, back=True), *parts)
    now = content(list(parts.values()))
    if listed != now.entries:
        raise EngineError(f"it has {listed} entries in place of {now.entries}")
    return now


def archives(project: str) -> list[Path]:
    """The archives of a project, whole ones, by name."""
    return sorted(Path(contract.archives(project)).glob("*_*.tar"))


def present(project: str, user: str, parts: dict[str, Path]) -> tuple[Path, Content] | None:
    """An archive that has all of this already, and what that is: a run was killed before it had deleted the volumes."""
    for file in reversed([file for file in archives(project) if file.name.startswith(f"{contract.plain_name(user)}_")]):
        try:
            return file, verify(file, parts)
        except EngineError:
            continue
    return None


def sync(path: Path) -> None:
    """Have the disk keep a file or folder before what it was made of is deleted."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def archive(project: str, user: str, parts: dict[str, Path]) -> tuple[Path, Content]:
    """Put folders, by their names in it, into a new archive of a user's; returns it and what is in it.

    It has its name only when it has been read back. EngineError where that cannot be had; then there is none.
    """
    folder = Path(contract.archives(project))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if found := present(project, user, parts):
            return found
        begun = folder / f".{contract.plain_name(user)}.new"  # of a killed run, written anew
        moment, number = time.strftime("%Y-%m-%d_%H%M%S", time.gmtime()), 0
        while (file := folder / f"{contract.plain_name(user)}_{moment}{f'-{number}' if number else ''}.tar").exists():
            number += 1
        begun.unlink(missing_ok=True)
        os.close(os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            tar("--create", "--file", str(begun), *FORMAT, *renaming(parts), *map(str, parts.values()))
            what = verify(begun, parts)
            sync(begun)
            begun.rename(file)
            sync(folder)
        except BaseException:
            begun.unlink(missing_ok=True)
            raise
    except (EngineError, OSError) as error:
        raise EngineError(
            f"The home of {user} could not be archived in {folder}, and nothing of it was deleted: {error}"
        ) from error
    return file, what


def lack(project: str, homes: dict[str, list[Path]]) -> dict[str, int]:
    """{needed, free}: bytes that archives of these users' folders need and have, where they are too few; else {}.

    On one disk with the volumes, each archive takes the place of what is deleted after it.
    """
    place = contract.archives(project)
    device, free = there(place).stat().st_dev, free_disk(place)
    needed = most = 0
    for folders in homes.values():
        found = content(folders)
        needed += found.room
        most = max(most, needed)
        if all(one.stat().st_dev == device for one in folders):
            needed -= found.size
    return {"needed": most, "free": free} if most > free else {}
