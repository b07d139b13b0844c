"""The way to a folder of the machine: who could put another in its place, and on which disk it lies."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from functools import cache
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract

MOUNTS, TABLE = Path("/proc/self/mountinfo"), Path("/etc/fstab")
MAX_LINKS = 40  # as the kernel has it
WITHOUT_LINKS = {"vfat", "exfat", "msdos"}  # file systems on which nothing can be replaced by a link


def unescaped(path: str) -> str:
    """A path as the kernel and fstab(5) write it, with its spaces again."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), path)


def lines(file: Path) -> list[str]:
    """Those of a file that are no comments; none if it cannot be read."""
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def mount_points() -> dict[str, str]:
    """Where something is mounted, with the type of its file system (proc_pid_mountinfo(5))."""
    found = {}
    for line in lines(MOUNTS):
        mount, _, system = line.partition(" - ")
        found[unescaped(mount.split()[4])] = system.split()[0]  # the last one at a place is what is seen there
    return found


def mounted_at_boot() -> list[str]:
    """Where fstab(5) has something mounted at boot."""
    rows = [line.split() for line in lines(TABLE)]
    return [unescaped(row[1]) for row in rows if len(row) > 3 and "noauto" not in row[3].split(",")]


class Ways:
    """Looks at folders. Each directory on the way is looked at once."""

    def __init__(self) -> None:
        self.mounted = mount_points()
        self.not_mounted = set(mounted_at_boot()) - self.mounted.keys()
        # Whoever runs this is root, or the run is refused for another reason.
        self.trusted = {0, os.geteuid()}
        self.lstat = cache(Path.lstat)
        self.mount_point = cache(self.find_mount_point)

    def find_mount_point(self, path: Path) -> str:
        """Where the file system is mounted on which a path without links lies."""
        return str(path) if str(path) in self.mounted or path == path.parent else self.mount_point(path.parent)

    def missing(self, path: Path) -> str:
        """Where something would be mounted below which a path without links lies, if all were that is to be at boot."""
        for place in map(str, (path, *path.parents) if self.not_mounted else ()):
            if place in self.mounted:
                break
            if place in self.not_mounted:
                return place
        return ""

    def steps(self, path: Path) -> tuple[Path, list[tuple[Path, Path]]]:
        """An absolute path without links, and each directory in which something is looked up on the way, with what is.

        What is looked up because of links is among them. Raises OSError.
        """
        here, names, links, found = Path("/"), [*reversed(path.parts[1:])], 0, []
        while names:
            name = names.pop()
            if name == "..":
                here = here.parent
                continue
            there = here / name
            found.append((here, there))
            if stat.S_ISLNK(self.lstat(there).st_mode):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = there.readlink()
                here = Path("/") if target.is_absolute() else here
                names += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            else:
                here = there
        return here, found

    def is_loose(self, directory: Path, entry: Path) -> bool:
        """Whether somebody but root can put something else in the place of what is in a directory (rename(2))."""
        own, inside = self.lstat(directory), self.lstat(entry)
        if own.st_uid in self.trusted:
            # An ACL that lets somebody write shows in the group's bits, which are its mask (acl(5)).
            if not own.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
            if own.st_mode & stat.S_ISVTX and inside.st_uid in self.trusted:
                return False
        return self.mounted.get(self.mount_point(directory)) not in WITHOUT_LINKS

    def loose(self, path: Path) -> dict[str, Any]:
        """The first directory on the way to a path in which somebody but root can replace the next step; {} if none.

        Keys: directory, uid, gid, mode; entry, what can be replaced in it, with its owner. Raises OSError.
        """
        for directory, entry in self.steps(path)[1]:
            if self.is_loose(directory, entry):
                found = self.lstat(directory)
                return {
                    "directory": str(directory), "uid": found.st_uid, "gid": found.st_gid,
                    "mode": stat.S_IMODE(found.st_mode), "entry": str(entry), "owner": self.lstat(entry).st_uid,
                }  # fmt: skip
        return {}

    def folder(self, path: Path) -> dict[str, Any]:
        """A host folder: uid, gid, mode, and mount_point, missing, loose as above.

        'exists' is false for anything that is no folder, of which only the mount points are known.
        """
        found: dict[str, Any] = {"exists": False}
        try:
            own = path.stat()
            real = self.steps(path)[0]
            if stat.S_ISDIR(own.st_mode):
                mode = stat.S_IMODE(own.st_mode)
                found = {"uid": own.st_uid, "gid": own.st_gid, "mode": mode, "loose": self.loose(path), "exists": True}
        except OSError:  # not there, out of reach, or replaced at this moment
            real = Path(os.path.realpath(path))
        return {**found, "mount_point": self.mount_point(real), "missing": self.missing(real)}


def noted_mount_points(*directories: Path) -> dict[str, str]:
    """The mount points of the sources as the last run noted them, in the first of these folders with its settings."""
    for directory in directories:
        try:
            settings = json.loads((directory / contract.SPAWNER_SETTINGS).read_text(encoding="utf-8"))
            return {str(mount["source"]): str(mount.get("mount_point", "/")) for mount in settings["mounts"]}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass
    return {}
