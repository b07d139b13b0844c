"""Users' volumes: where a name's files are, moved to another name, archived and deleted when an owner says so."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils import archive, contract
from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import on_disk
from ansible_collections.jupyterhub.home.plugins.module_utils.disks import Disks
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, folder


class Homes:
    """The users' volumes of a project. With pretend nothing is changed, and what would be is said."""

    def __init__(self, project: str, *, pretend: bool, disks: Disks | None = None) -> None:
        self.project, self.disks = project, disks
        self.pretend = pretend
        self.be = "would be " if pretend else ""

    @cached_property
    def names(self) -> set[str]:
        """The engine's volumes, as they were first."""
        return set(docker("volume", "ls", "--quiet").splitlines())

    def of(self, user: str) -> list[str]:
        """The names of a user's volumes, without those that are not there."""
        return [name for name in contract.user_volumes(self.project, user) if name in self.names]

    def users(self) -> list[str]:
        """The names of all who have a volume."""
        return sorted({user for name in self.names if (user := contract.user_of_volume(self.project, name))})

    def owners(self) -> list[str]:
        """The names of all who have a volume that is labelled as ours, and so certainly a user's."""
        ours = f"label={contract.PROJECT_LABEL}={self.project}"
        labelled = docker("volume", "ls", "--quiet", "--filter", ours).splitlines()
        return sorted({user for name in labelled if (user := contract.user_of_volume(self.project, name))})

    def meant(self, named: list[str], stay: Collection[str]) -> list[str]:
        """The names in a list, EVERYBODY being all who have a volume and are not among those who stay."""
        if contract.EVERYBODY not in named:
            return list(dict.fromkeys(named))
        gone = [user for user in self.owners() if user not in stay]
        return list(dict.fromkeys([*(name for name in named if name != contract.EVERYBODY), *gone]))

    def folders(self, user: str) -> dict[str, Path]:
        """Where a user's files are, by what an archive calls them; EngineError where they are elsewhere."""
        named = zip(contract.user_volumes(self.project, user), ("home", "work"), strict=True)
        found = {part: folder(volume) for volume, part in named if volume in self.names}
        for files in found.values():
            on_disk(files)
        return found

    def has_files(self, volume: str) -> bool:
        """Whether a volume is there with files in it; EngineError where that cannot be seen."""
        if volume not in self.names or not (files := folder(volume)).is_dir():
            return False
        if not self.pretend:  # the real run mounts what can be mounted first
            on_disk(files)
        return any(files.iterdir())

    def release(self, user: str) -> None:
        """Remove ended containers that hold a user's volumes; EngineError while one runs."""
        if self.pretend:  # the real run stops the servers of removed users first
            return
        for volume in self.of(user):
            running = docker("ps", "--filter", f"volume={volume}", "--format", "{{.Names}}")
            if running:
                text = f"The home of {user}, {volume}, is in use by {running}. Stop that server, then run again."
                raise EngineError(text)
            if ended := docker("ps", "--all", "--quiet", "--filter", f"volume={volume}").split():
                docker("rm", "--volumes", *ended)

    def move(self, renamed: dict[str, str]) -> list[str]:
        """Carry the files of old names over to new ones, {new: old}; returns what was done, in words.

        The files are not copied: their folder gets the other volume's name. A work folder of the new name that has
        files already is left alone, and so is everything of the old one: EngineError. A home of the new name, which has
        settings as soon as a server was started, is kept in a folder of the other; but where one of them has a disk,
        both are left alone.
        """
        done = []
        for new, old in sorted(renamed.items()):
            if not self.of(old):
                continue
            (old_home, source), (new_home, target) = (contract.user_volumes(self.project, name) for name in (old, new))
            if self.has_files(source) and self.has_files(target):
                raise EngineError(
                    f"Both {old} and {new} have files, in the volumes {source} and {target}; neither was touched. "
                    f"Take renamed_from: {old} away to keep both."
                )
            if self.disks and (self.disks.has(old) or self.disks.has(new)) and self.gives_way(new, old):
                continue
            kept = f"home-of-{new}" if self.has_files(old_home) and self.has_files(new_home) else ""
            self.release(old)
            self.release(new)
            if not self.pretend:
                if self.disks:
                    self.disks.unmount(old)
                # The home first: a server that starts after a kill makes a home with files, and an empty work folder.
                self.carry(old_home, new_home, new, kept)
                self.carry(source, target, new)
                if self.disks and self.disks.has(new):
                    self.disks.make_volumes(new)
                    self.disks.run_program(new)
            more = f"; what {new} had is in ~/{kept}" if kept else ""
            done.append(f"Home of {old} {self.be}carried over to {new}{more}")
        return done

    def gives_way(self, new: str, old: str) -> bool:
        """Remove the empty volumes of a new name, with its disk, for the files of the old one. Whether nothing is left
        to do, as after a run that was killed when the disk had its new name. EngineError where the new one has files.
        """
        assert self.disks
        if not self.disks.has(old) and not any(map(self.has_files, self.of(old))):
            if not self.pretend:
                self.release(old)
                docker("volume", "rm", *self.of(old))
            return True
        if any(map(self.has_files, self.of(new))):
            raise EngineError(
                f"Both {old} and {new} have files, in the volumes {', '.join(self.of(old) + self.of(new))}; "
                f"neither was touched. Take renamed_from: {old} away to keep both."
            )
        if not self.pretend and self.of(new):
            self.release(new)
            self.disks.unmount(new)
            docker("volume", "rm", *self.of(new))
            self.names -= set(self.of(new))
        return False

    def carry(self, source: str, target: str, user: str, kept: str = "") -> None:
        """Give the files of a volume, if it is there, to another; what that has goes into their folder `kept`."""
        if source not in self.names:
            return
        files = folder(source)
        if files.is_dir():  # else a run was killed after the files had moved
            labels = (f"--label={contract.PROJECT_LABEL}={self.project}", f"--label={contract.USER_LABEL}={user}")
            there = folder(docker("volume", "create", *labels, target))
            if kept:
                there.rename(files / kept)
            if self.disks:
                self.disks.carry(files.parent, there.parent)
            files.rename(there)
        docker("volume", "rm", source)

    def delete(self, users: list[str]) -> list[str]:
        """Delete the volumes of these users; returns what was done, in words."""
        done = []
        for user in users:
            if volumes := self.of(user):
                self.release(user)
                if not self.pretend:
                    if self.disks:
                        self.disks.unmount(user)
                    docker("volume", "rm", *volumes)
                done.append(f"Home of {user} {self.be}deleted: {', '.join(volumes)}")
        return done

    def archive(self, users: list[str]) -> list[str]:
        """Put the files of these users into an archive each, and then delete their volumes; returns what was done.

        EngineError at the first that cannot be archived, whose volumes stay; the text also has what was done before.
        """
        done: list[str] = []
        for user in users:
            if not (volumes := self.of(user)):
                continue
            said = f"Home of {user} {self.be}archived in {contract.archives(self.project)}"
            try:
                self.release(user)
                if not self.pretend:
                    file, what = archive.archive(self.project, user, self.folders(user))
                    said += f"/{file.name} ({what.entries} files and folders, {archive.shown_size(what.size)})"
                    if self.disks:
                        self.disks.unmount(user)
                    docker("volume", "rm", *volumes)
            except EngineError as error:
                raise EngineError("\n".join([str(error), *done])) from error
            done.append(f"{said} and deleted: {', '.join(volumes)}")
        return done
