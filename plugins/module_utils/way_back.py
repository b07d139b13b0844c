"""The hub as it was before a run makes it anew: its files, its images and its database, in a folder of the role's."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file

STATE, FILES = "state.json", "files"


def put_back(copy: Path, database: Path) -> None:
    """Have the copy in the place of the database, with its owner and mode; nothing has it open."""
    stat = database.stat()
    beside = database.with_name(f".{database.name}.new")
    shutil.copyfile(copy, beside)
    os.chown(beside, stat.st_uid, stat.st_gid)
    beside.chmod(stat.st_mode & 0o7777)
    for end in ("-journal", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)
    beside.replace(database)


class Before:
    """What is kept below a project's folder. Files come first, the rest, with `state`, when all of it is there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / contract.BEFORE
        self.files, self.database = self.folder / FILES, self.folder / contract.DATABASE

    def exists(self) -> bool:
        """Whether a run has begun to keep something, and not come to its end."""
        return self.folder.is_dir()

    def state(self) -> dict[str, Any]:
        """What was noted of the engine; empty where nothing was."""
        try:
            found: dict[str, Any] = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            return {}

    def note(self, state: dict[str, Any]) -> None:
        """Note that all is kept."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        replace_file(
            self.folder / STATE, json.dumps(state, indent=1), mode=0o600, owner=os.geteuid(), group=os.getegid()
        )

    def keep_files(self, names: Iterable[str]) -> None:
        """Keep files as they are, unless an earlier run has and did not come to its end."""
        if self.exists():
            return
        beside = self.root / f".{contract.BEFORE}.new"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o700)
        for name in sorted({*names, contract.RECORD}):
            source, copy = self.root / name, beside / FILES / name
            if source.is_file() and not source.is_symlink():
                copy.parent.mkdir(parents=True, exist_ok=True)
                duplicate(source, copy)
        beside.rename(self.folder)

    def changed_files(self) -> list[str]:
        """Names of files that are other ones than those that are kept, or are not there any more."""
        kept = [path.relative_to(self.files) for path in sorted(self.files.rglob("*")) if path.is_file()]
        return [str(name) for name in kept if not same(self.files / name, self.root / name)]

    def put_files_back(self) -> None:
        """Have the files as they were, and none in the role's own folders that were not there."""
        if not self.files.is_dir():
            return
        for folder in contract.exact_folders():
            for path in sorted((self.root / folder).rglob("*")):
                if not path.is_dir() and not (self.files / path.relative_to(self.root)).exists():
                    path.unlink()
        # Last the record, which says what they are.
        for name in sorted(self.changed_files(), key=lambda name: name == contract.RECORD):
            beside = (self.root / name).with_name(f".{Path(name).name}.new")
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            duplicate(self.files / name, beside)
            beside.replace(self.root / name)

    def drop(self) -> None:
        """Let go of all; of a kill in between, nothing half is left."""
        beside = self.root / f".{contract.BEFORE}.new"
        shutil.rmtree(beside, ignore_errors=True)
        if self.exists():
            self.folder.rename(beside)
            shutil.rmtree(beside)


def duplicate(source: Path, copy: Path) -> None:
    """A copy of a file with its owner and mode, which nobody else could read meanwhile."""
    stat = source.stat()
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(source.read_bytes())
        os.fchown(stream.fileno(), stat.st_uid, stat.st_gid)
        os.fchmod(stream.fileno(), stat.st_mode & 0o7777)
        os.fsync(stream.fileno())


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same content, owner and mode."""
    if not other.is_file():
        return False
    stats = [(stat.st_uid, stat.st_gid, stat.st_mode) for stat in (one.stat(), other.stat())]
    return stats[0] == stats[1] and one.read_bytes() == other.read_bytes()
