"""Everything of a project that cannot be made again, into a restic repository, while its users work."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.backup_state import State
from ansible_collections.jupyterhub.home.plugins.module_utils.database import copy_database, revision
from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import on_disk
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, is_plain
from ansible_collections.jupyterhub.home.plugins.module_utils.restic import (
    UNREADABLE,
    Repository,
    ResticError,
    without_passwords,
)

PARTS = 50  # of the data, one of which is read back after each backup
MANIFEST = "manifest.json"
FAILED, SUCCEEDED = "failed", "succeeded"
UNITS = ((2**40, "T"), (2**30, "G"), (2**20, "M"), (2**10, "K"))


class BackupError(Exception):
    """A backup that failed, or could not begin; the text says why. What was saved before is untouched."""


class BusyError(BackupError):
    """Another backup or restore of the project is at work."""


def size(count: int) -> str:
    """A number of bytes as a person reads it."""
    return next((f"{count / unit:.1f}{name}" for unit, name in UNITS if count >= unit), f"{count}")


@contextlib.contextmanager
def alone(project: str) -> Iterator[None]:
    """Hold the project's lock, which ends with the process; BusyError while another one holds it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(contract.backup_lock(project), flags, 0o600), "r+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(
                f"Another backup or restore of {project} is at work (process {stream.read().strip()}). Wait until it "
                "has ended. Nothing was done"
            ) from error
        stream.truncate()
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def volumes(project: str) -> dict[str, dict[str, Any]]:
    """The hub's own volume and the users', as Docker shows them, by name; EngineError."""
    names = [
        name
        for name in docker("volume", "ls", "--quiet").splitlines()
        if name == contract.data_volume(project) or contract.user_of_volume(project, name)
    ]
    found = json.loads(docker("volume", "inspect", *names)) if names else []
    return {volume["Name"]: volume for volume in found}


def notify(how: str, what: dict[str, str]) -> None:
    """Send `what` as JSON to an address, or have a shell run a command, with it in the environment as BACKUP_NAME.

    Raises OSError, ValueError or SubprocessError.
    """
    if re.match("https?://", how):
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(how, json.dumps(what).encode(), headers), timeout=30).close()
        return
    environment = {**os.environ, **{f"BACKUP_{name.upper()}": text for name, text in what.items()}}
    done = subprocess.run(
        ("/bin/sh", "-c", how), env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise OSError(said[-1])


class Backup:
    """One backup. settings: those of Repository, and `directory`, `checkout` (empty where the controller is another
    machine), `keep` (numbers of snapshots by restic's words, such as daily) and `notify` (see there)."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.project: str = settings["project"]
        self.repository = Repository(settings)
        self.state = State(Path(settings["directory"]))
        self.saved = Path(settings["directory"]) / contract.SAVED
        self.notes: list[str] = []
        self.wrong: list[str] = []

    def run(self, *, make_password: bool) -> list[str]:
        """Do it; returns what is to be said. Raises BackupError, and notes why for the next run."""
        begun = time.monotonic()
        try:
            with alone(self.project):
                if make_password and self.repository.make_password():
                    self.notes += [
                        f"The backups' password, shown this once: {self.repository.password}",
                        "Without it nothing in them can be read, by nobody. Keep it where this machine's end does not "
                        f"reach it. On this machine it is in {self.repository.password_file}.",
                    ]
                self.save(begun)
        except BusyError:
            raise
        except (ResticError, EngineError, OSError, sqlite3.Error, BackupError) as error:
            why = without_passwords(str(error)).rstrip(".")
            self.notify(FAILED, why)
            with contextlib.suppress(OSError):  # the disk may be full
                self.state.save(failed={"at": int(time.time()), "why": why})
            raise BackupError(" ".join([f"{why}.", *self.notes])) from error
        return self.notes

    def save(self, begun: float) -> None:
        """The work."""
        self.repository.find_password()
        self.repository.make_folder()
        self.repository.open(self.state.known.get("repository", ""))
        self.state.save(repository=self.repository.where)
        paths = self.gather()
        earlier = self.repository.snapshots()
        done = self.send(paths, earlier[-1]["id"] if earlier else "")
        self.forget()
        part = self.check()
        seconds = round(time.monotonic() - begun)
        changed = done["files_new"] + done["files_changed"]
        self.notes.insert(
            0,
            f"Saved {done['total_files_processed']} files, {size(done['total_bytes_processed'])}, of which {changed} "
            f"were new or changed, in {seconds} s: snapshot {done['snapshot_id'][:8]} in {self.repository.shown}. Read "
            f"back and found right: part {part} of {PARTS} of all that is there.",
        )
        if self.wrong:
            raise BackupError("; ".join([*self.wrong, f"the rest was saved, snapshot {done['snapshot_id'][:8]}"]))
        succeeded = {
            "at": int(time.time()), "snapshot": done["snapshot_id"], "seconds": seconds,
            "files": done["total_files_processed"], "changed": changed, "bytes": done["total_bytes_processed"],
        }  # fmt: skip
        if "failed" in self.state.known:
            self.notify(SUCCEEDED, self.notes[0])
        self.state.save(succeeded=succeeded, failed=None)

    def notify(self, result: str, message: str) -> None:
        """Tell the owner by their command or address that the last backup failed, or that it did and this did not."""
        if not self.settings["notify"]:
            return
        try:
            notify(self.settings["notify"], {"project": self.project, "result": result, "message": message})
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.notes.append(
                f"Nobody could be told of it (jupyterhub_home_backup_notify): {without_passwords(str(error))}."
            )

    def gather(self) -> list[Path]:
        """Make what is to be made, and list all that is to be saved, the hub's own volume first."""
        found = volumes(self.project)
        elsewhere = sorted(name for name, volume in found.items() if not is_plain(volume))
        if elsewhere:
            self.notes.append(
                f"Not in it, because they are not on this machine's own disk, volumes: {', '.join(elsewhere)}"
            )
        here = {name: Path(volume["Mountpoint"]) for name, volume in found.items() if is_plain(volume)}
        data = here.get(contract.data_volume(self.project))
        if data is None or not data.is_dir():
            raise BackupError(f"There is no hub of the project {self.project} on this machine. Do: make hub")
        self.saved.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.copy(data)
        self.write_manifest(here, data)
        homes = [path for _, path in sorted(here.items()) if path != data]
        for home in homes:
            try:
                on_disk(home)
            except EngineError as error:
                self.wrong.append(f"Not saved: {error}")
        return [data, *homes, Path(self.settings["directory"]), *self.of_the_controller()]

    def copy(self, data: Path) -> None:
        """The hub's database. One that is damaged keeps nothing else from being saved."""
        source, target = data / contract.DATABASE, self.saved / contract.DATABASE
        if not source.exists():
            self.notes.append("Not in it: the hub's database, which is not where the role has it. Save it yourself.")
            target.unlink(missing_ok=True)
            return
        try:
            copy_database(source, target)
        except sqlite3.Error as error:
            self.wrong.append(f"The hub's database could not be copied: {error}")

    def write_manifest(self, here: dict[str, Path], data: Path) -> None:
        """What a restore must know; a file that stays untouched while it is the same."""
        cookie, database = data / contract.COOKIE_SECRET, self.saved / contract.DATABASE
        manifest = {
            "project": self.project,
            "directory": self.settings["directory"],
            "checkout": self.settings["checkout"],
            "volumes": {name: str(path) for name, path in sorted(here.items())},
            "hub": hashlib.sha256(cookie.read_bytes()).hexdigest()[:16] if cookie.is_file() else "",
            "database": revision(database) if database.is_file() else "",
        }
        text = json.dumps(manifest, indent=1) + "\n"
        path = self.saved / MANIFEST
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            replace_file(path, text, mode=0o600, owner=os.geteuid(), group=os.getegid())

    def of_the_controller(self) -> list[Path]:
        """The owner's own files in the checkout, where it is on this machine."""
        checkout = self.settings["checkout"]
        own = [Path(checkout) / name for name in contract.OWNERS] if checkout else []
        there = [path for path in own if path.exists()]
        if not there:
            self.notes.append(
                "Not in it: the vault and .vault-password, which are on the machine that make runs on. Keep a copy of "
                "both elsewhere."
            )
        return there

    def send(self, paths: list[Path], parent: str) -> dict[str, Any]:
        """One snapshot of these; returns restic's summary. What cannot be read is noted as wrong, the rest is saved."""
        # Of a database in use only the copy is whole; the state is another one every time.
        data, state = paths[0], self.state.path
        without = [f"{data}/{contract.DATABASE}*", f"{data}/{contract.RESERVE}", str(state)]
        options = [f"--exclude={pattern}" for pattern in without] + ([f"--parent={parent}"] if parent else [])
        tags = f"--tag={self.repository.tags},{self.repository.more_tags}"
        printed = self.repository.run(
            "The backup", "backup", "--json", "--one-file-system", tags, *options,
            "--files-from-raw=-", text=b"".join(os.fsencode(path) + b"\0" for path in paths), good=(0, UNREADABLE),
        )  # fmt: skip
        items = {str(message.get("item", "")) for message in messages(self.repository.said)}
        # A file that went away while it was saved is nobody's loss.
        if unread := sorted(item for item in items if item and os.path.lexists(item)):
            more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
            self.wrong.append(f"Not everything could be read: {', '.join(unread[:3])}{more}")
        return next(message for message in messages(printed) if message.get("message_type") == "summary")

    def forget(self) -> None:
        """Let old snapshots go, and what only they had."""
        keep = [f"--keep-{period}={count}" for period, count in sorted(self.settings["keep"].items())]
        if keep:
            self.repository.run(
                "Letting old snapshots go", "forget", "--prune", "--group-by=", f"--tag={self.repository.tags}", *keep
            )

    def check(self) -> int:
        """Check the repository, and read a part of its data back, another one each time; returns which."""
        part = self.state.known.get("part", 0) % PARTS + 1
        self.repository.run("Checking the repository", "check", f"--read-data-subset={part}/{PARTS}")
        self.state.save(part=part)
        return int(part)


def messages(printed: bytes) -> Iterator[dict[str, Any]]:
    """What restic prints as JSON, a line each."""
    for line in printed.decode(errors="surrogateescape").splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def main() -> int:
    """What the timer runs: a backup by the settings in a file; returns the exit status."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        print("\n".join(Backup(settings).run(make_password=False)))
    except BusyError as error:
        print(error)
    except BackupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
