"""Users' home volumes: where a name's files are, moved to another name, deleted when an owner says so."""

from __future__ import annotations

import re
from functools import cached_property

from ansible.module_utils.jupyterhub_home_engine import LABEL, EngineError, docker, folder


def volume_name(project: str, user: str) -> str:
    """The volume that DockerSpawner mounts for a user: its escape of everything but a-z and 0-9."""
    return f"{project}-user-" + re.sub(r"[^a-z0-9]", lambda sign: f"-{ord(sign[0]):02x}", user)


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
        """Remove ended containers that hold a volume; EngineError while one runs."""
        if self.pretend:  # the real run stops the servers of removed users first
            return
        running = docker("ps", "--filter", f"volume={volume}", "--format", "{{.Names}}")
        if running:
            text = f"The home of {user}, {volume}, is in use by {running}. Stop that server, then run again."
            raise EngineError(text)
        if ended := docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").split():
            docker("rm", *ended)

    def move(self, renamed: dict[str, str]) -> list[str]:
        """Carry the files of old names over to new ones, {new: old}; gives what was done, in words.

        The files are not copied: their folder gets the other volume's name. A home of the new name that has files
        already is left alone, and so is the old one: EngineError.
        """
        done = []
        for new, old in sorted(renamed.items()):
            source, target = self.of(old), self.of(new)
            if not source:
                continue
            files = folder(source)
            if files.is_dir():  # else a run was killed after the files had moved
                if target and any(folder(target).iterdir()):
                    raise EngineError(
                        f"Both {old} and {new} have files, in the volumes {source} and {target}; neither was touched. "
                        f"Take renamed_from: {old} away to keep both."
                    )
                self.release(old, source)
                if target:
                    self.release(new, target)
                if not self.pretend:
                    labels = (f"--label={LABEL}.project={self.project}", f"--label={LABEL}.user={new}")
                    target = docker("volume", "create", *labels, volume_name(self.project, new))
                    files.rename(folder(target))
            if not self.pretend:
                docker("volume", "rm", source)
            done.append(f"Home of {old} carried over to {new}")
        return done

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
