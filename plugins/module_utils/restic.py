"""A restic repository: its password, its commands, and what is wrong with it in words that an owner can act on."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file

# What restic says, of any version: newer ones have an exit status for each, older ones have 1 for all.
NO_REPOSITORY = re.compile(r"Is there a repository at the following location|repository does not exist")
WRONG_PASSWORD = re.compile(r"wrong password or no key found")
LOCKED = re.compile(r"unable to create lock|already locked")
DAMAGED = re.compile(r"ciphertext verification failed|does not match|invalid data|not contain|contains errors|EOF")
UNREADABLE = 3  # the exit status of a backup that could not read some of the files


class ResticError(Exception):
    """What was asked of the repository cannot be done; the text says what and why, without a password."""


def without_passwords(text: str) -> str:
    """A text without the passwords of addresses in it."""
    return re.sub(r"://[^/@\s]*@", "://...@", text)


def fatal(printed: str) -> str:
    """What restic says that it ends for, or else its last lines."""
    lines = []
    for line in filter(None, map(str.strip, printed.splitlines())):
        try:
            message = json.loads(line)
            lines.append(str(message["message"]) if message.get("message_type") == "exit_error" else line)
        except (ValueError, AttributeError, KeyError):
            lines.append(line)
    found = [line.removeprefix("Fatal: ") for line in lines if line.startswith("Fatal: ")]
    return "; ".join(found or lines[-3:])


class Repository:
    """Where a project's backups are.

    settings: `project`, `directory`, `repository` (empty for a folder of this machine), `password` (empty
    for the one that was made here), `environment` (variables for restic, such as credentials).
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.folder = Path(contract.backups(settings["project"]))
        self.where: str = settings["repository"] or str(self.folder / "repository")
        self.shown = without_passwords(self.where)
        self.password_file = self.folder / "password"
        self.tags = f"{contract.LABEL},{contract.PROJECT_LABEL}={settings['project']}"
        self.more_tags = f"{contract.DIRECTORY_LABEL}={settings['directory']}"
        self.password: str = settings["password"]
        self.environment = {key: str(value) for key, value in settings["environment"].items()}

    def find_password(self) -> None:
        """Take the password that was made here, where none is given; ResticError where there is none."""
        if not self.password and self.password_file.is_file():
            self.password = self.password_file.read_text(encoding="utf-8").strip()
        if not self.password:
            raise ResticError(
                "There is no password for the backups yet. Do: make backup, which makes one and shows it; or write "
                "jupyterhub_home_backup_password into the vault"
            )

    def make_password(self) -> bool:
        """Have a password, and make one if there is none; returns whether it was made."""
        self.make_folder()
        if self.password or self.password_file.is_file():
            self.find_password()
            return False
        # 25 letters and digits without look-alikes: 124 bits, in groups that can be copied by hand.
        signs = "abcdefghjkmnpqrstuvwxyz23456789"
        self.password = "-".join("".join(secrets.choice(signs) for _ in range(5)) for _ in range(5))
        replace_file(self.password_file, f"{self.password}\n", mode=0o600, owner=os.geteuid(), group=os.getegid())
        return True

    def make_folder(self) -> None:
        """Make the folder of this machine's own, which only root enters."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)

    def start(self, *arguments: str, text: str | bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """A restic command that has ended, well or not; ResticError where there is no restic."""
        environment = {
            **os.environ, "RESTIC_CACHE_DIR": str(self.folder / "cache"), **self.environment,
            "RESTIC_REPOSITORY": self.where, "RESTIC_PASSWORD": self.password,
        }  # fmt: skip
        given = text.encode() if isinstance(text, str) else text
        try:
            return subprocess.run(
                ("restic", "--quiet", *arguments), input=given, capture_output=True, env=environment, check=False
            )
        except OSError as error:
            raise ResticError(f"restic cannot be run on this machine: {error.strerror}. Do: make hub") from error

    def run(self, what: str, *arguments: str, text: str | bytes = b"", good: tuple[int, ...] = (0,)) -> bytes:
        """What a restic command prints; what: it in words, for errors. Locks of runs that were killed are removed.

        Raises ResticError.
        """
        done = self.start(*arguments, text=text)
        if done.returncode not in good and LOCKED.search(done.stderr.decode(errors="replace")):
            self.start("unlock")  # only those of this machine whose process has ended, and of others after 30 minutes
            done = self.start(*arguments, text=text)
        if done.returncode not in good:
            raise ResticError(f"{what} failed: {self.why(done)}")
        self.said = done.stderr
        return done.stdout

    def why(self, done: subprocess.CompletedProcess[bytes]) -> str:
        """Why a command failed, in restic's words, and what to do."""
        printed = (done.stderr or done.stdout).decode(errors="replace")
        said = without_passwords(fatal(printed))
        if WRONG_PASSWORD.search(printed):
            here = f" The one that was made on this machine is in {self.password_file}." * self.password_file.is_file()
            return (
                f"the password is not that of the repository {self.shown}. Write the one that it was made with: "
                f"jupyterhub_home_backup_password.{here}"
            )
        if NO_REPOSITORY.search(printed):
            return f"there is no repository at {self.shown} ({said})"
        if LOCKED.search(printed):
            return (
                f"another run is at work in the repository {self.shown}, on another machine or in another hub "
                f"({said}). Wait until it has ended; locks of runs that were killed go after 30 minutes"
            )
        if "no space left" in printed:
            return f"the disk of {self.shown} is full ({said}). Make room, then run it again"
        if DAMAGED.search(printed):
            return (
                f"the repository {self.shown} is damaged ({said}). What is not can still be restored. Name a new one "
                "(jupyterhub_home_backup_repository), or repair it as restic's manual says (Troubleshooting)"
            )
        return f"{said or f'exit status {done.returncode}'} (repository {self.shown})"

    def open(self, known: str) -> None:
        """Make the repository, if it was never there; known: where the last backup went.

        Raises ResticError, also where that repository is gone: a disk may not be mounted.
        """
        done = self.start("cat", "config")
        if done.returncode == 0:
            return
        missing = NO_REPOSITORY.search(done.stderr.decode(errors="replace"))
        local = Path(self.where) if self.where.startswith("/") else None
        if missing and known == self.where:
            raise ResticError(
                f"The repository {self.shown} is gone, into which the last backup went. Is its disk mounted? If it is "
                "lost, name another one: jupyterhub_home_backup_repository"
            )
        if missing and local and local.is_dir() and any(local.iterdir()):
            raise ResticError(
                f"{self.shown} is no whole repository, but something is in it: it is damaged, or another folder. Write "
                "an empty one: jupyterhub_home_backup_repository"
            )
        if not missing:
            raise ResticError(f"Opening the repository failed: {self.why(done)}")
        self.run("Making the repository", "init")

    def snapshots(self) -> list[dict[str, Any]]:
        """The project's snapshots, oldest first, as restic gives them."""
        printed = self.run("Listing the snapshots", "snapshots", "--json", "--tag", self.tags)
        found: list[dict[str, Any]] = json.loads(printed or b"null") or []
        return sorted(found, key=lambda snapshot: str(snapshot["time"]))
