"""Users' home volumes: where a name's files are, moved to another name, deleted when an owner says so."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cached_property
from pathlib import Path

LABEL = "jupyterhub-home"


class HomeError(Exception):
    """A home volume cannot be moved or deleted; the text says which and why, and nothing was lost."""


def volume_name(project: str, user: str) -> str:
    """The volume that DockerSpawner mounts for a user: its escape of everything but a-z and 0-9."""
    return f"{project}-user-" + re.sub(r"[^a-z0-9]", lambda sign: f"-{ord(sign[0]):02x}", user)


def docker(*arguments: str) -> str:
    """What a docker command prints; raises HomeError with its message."""
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HomeError(f"docker {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


class Homes:
    """The home volumes of a project. With pretend nothing is changed, and what would be is said the same."""

    def __init__(self, project: str, *, pretend: bool) -> None:
        self.project = project
        self.pretend = pretend

    @cached_property
    def names(self) -> set[str]:
        """The engine's volumes, as they were first."""
        return set(docker("volume", "ls", "--quiet").splitlines())

    def of(self, user: str) -> str | None:
        """The name of a user's home volume, None when there is none."""
        name = volume_name(self.project, user)
        return name if name in self.names else None

    def release(self, user: str, volume: str) -> None:
        """Remove ended containers that hold a volume; HomeError while one runs."""
        if self.pretend:  # the real run stops the servers of removed users first
            return
        running = docker("ps", "--filter", f"volume={volume}", "--format", "{{.Names}}")
        if running:
            raise HomeError(f"The home of {user}, {volume}, is in use by {running}. Stop that server, then run again.")
        if ended := docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").split():
            docker("rm", *ended)

    def move(self, renamed: dict[str, str]) -> list[str]:
        """Carry the files of old names over to new ones, {new: old}; gives what was done, in words.

        The files are not copied: their folder gets the other volume's name. A home of the new name that has files
        already is left alone, and so is the old one: HomeError.
        """
        done = []
        for new, old in sorted(renamed.items()):
            source, target = self.of(old), self.of(new)
            if not source:
                continue
            folder = self.folder(source)
            if folder.is_dir():  # else a run was killed after the files had moved
                if target and any(self.folder(target).iterdir()):
                    raise HomeError(
                        f"Both {old} and {new} have files, in the volumes {source} and {target}; neither was touched. "
                        f"Take renamed_from: {old} away to keep both."
                    )
                self.release(old, source)
                if target:
                    self.release(new, target)
                if not self.pretend:
                    labels = (f"--label={LABEL}.project={self.project}", f"--label={LABEL}.user={new}")
                    target = docker("volume", "create", *labels, volume_name(self.project, new))
                    folder.rename(self.folder(target))
            if not self.pretend:
                docker("volume", "rm", source)
            done.append(f"Home of {old} carried over to {new}")
        return done

    def folder(self, volume: str) -> Path:
        """Where a volume's files are on this machine; HomeError where they are elsewhere."""
        found = json.loads(docker("volume", "inspect", volume))[0]
        if found["Driver"] != "local" or found.get("Options"):
            raise HomeError(f"The volume {volume} is not one of Docker's own; move its files yourself.")
        return Path(found["Mountpoint"])

    def delete(self, users: list[str]) -> list[str]:
        """Delete the home volumes of these users; gives what was done, in words."""
        done = []
        for user in users:
            if volume := self.of(user):
                self.release(user, volume)
                if not self.pretend:
                    docker("volume", "rm", volume)
                done.append(f"Home of {user} deleted: {volume}")
        return done
