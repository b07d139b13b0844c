"""Users' disks: a file system of each user's own, in a file, so that nobody takes more of the machine's than a limit.

It holds what is in the user's two volumes, over which its folders are mounted, and their /tmp. Files that were there
before are copied, compared and only then removed; a run that was killed in between is undone or finished by the next.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import (
    LIMIT,
    MIB,
    OWN_PART,
    DiskError,
    capacity,
    entries,
    run,
    size_text,
    taken,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, folder
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import Notes, named
from ansible_collections.jupyterhub.home.plugins.module_utils.ways import lines, mount_points, unescaped

MOUNTS = Path("/proc/self/mountinfo")
# The same blocks and inodes whatever the size, for it may grow; a journal that takes no tenth of a small one. Nothing
# is kept for root, who does not write there.
MAKE = ("mkfs.ext4", "-q", "-m", "0", "-b", "4096", "-i", "16384", "-J", "size=16")
OPTIONS = "loop,nosuid,nodev,discard"  # of the program `disks`, too


class Disks:
    """The disks of a project's users. With pretend nothing is changed, and what would be is said.

    program: what mounts them; volumes: Docker's folder of volumes; limit: bytes of each, 0 for as much as there is.
    """

    def __init__(self, project: str, program: Path, volumes: Path, limit: int, *, pretend: bool) -> None:
        self.project, self.program, self.volumes = project, program, volumes
        self.limit, self.pretend = limit // MIB * MIB, pretend
        self.be = "would be " if pretend else ""

    def data(self, user: str) -> list[Path]:
        """Where a user's volumes have their files: home, work."""
        return [self.volumes / name / "_data" for name in contract.user_volumes(self.project, user)]

    def file(self, user: str, name: str = contract.DISK) -> Path:
        """One of the files of a user's disk, or where it is mounted."""
        return self.data(user)[0].with_name(name)

    def has(self, user: str) -> bool:
        """Whether a user has a disk."""
        return self.file(user).exists()

    def users(self, name: str = contract.DISK) -> list[str]:
        """Who has this file beside the folder of their home volume."""
        _, start = contract.user_volumes(self.project, "")
        try:
            with os.scandir(self.volumes) as there:
                homes = [one.path for one in there if one.name.startswith(start) and one.name.endswith(contract.HOME)]
        except FileNotFoundError:
            return []
        found = [Path(home).name for home in homes if os.path.lexists(f"{home}/{name}")]
        return sorted({contract.user_of_volume(self.project, one) for one in found} - {""})

    @cached_property
    def idle(self) -> bool:
        """Whether there is nothing to do: no limit, and no disk of a time with one."""
        return not self.limit and not self.users()

    def size(self, user: str) -> int:
        """The size in bytes that a disk has been given; 0 where a run was killed before it was noted."""
        try:
            return int(self.file(user, contract.DISK_SIZE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0

    def note_size(self, user: str, size: int) -> None:
        """Note it."""
        new = self.file(user, f"{contract.DISK_SIZE}.new")
        new.write_text(f"{size}\n", encoding="utf-8")
        new.replace(self.file(user, contract.DISK_SIZE))

    def places(self, user: str) -> list[Path]:
        """Where a disk is mounted, as a whole last."""
        return [*self.data(user), self.file(user, contract.DISK_PLACE)]

    def state(self, user: str) -> str | None:
        """What the hub and its guard are told of a user's disk: where it is, that it is being made, or that there is
        none. One that is to be made for who has no files yet counts as being made, so that no server is before it."""
        if self.idle:
            return None
        if self.has(user):
            return str(self.file(user, contract.DISK_PLACE))
        fresh = self.limit and not any(folder.exists() for folder in self.data(user))
        return contract.MOVING if fresh else None

    # --- Mounting -------------------------------------------------------------------------------------------------
    def mount(self) -> Notes:
        """Put right what a killed run has left half done, and mount the disks that are not."""
        told = [] if self.pretend else self.recover()
        away = self.away()
        if self.pretend:
            return Notes(named("Disks would be mounted: {}", away), told)
        for user in away:
            try:
                self.make_volumes(user)
                self.run_program(user)
            except EngineError as error:
                told.append(f"The disk of {user} is not mounted, and without it no server of theirs starts: {error}")
        left = self.away() if away else []
        for user in self.users(contract.BEFORE_DISK):
            if self.has(user) and user not in left:
                self.remove_before(user)
        return Notes(named("Disks mounted: {}", [user for user in away if user not in left]), told)

    def away(self) -> list[str]:
        """Whose disk is not mounted, or not wholly."""
        users = self.users()
        mounted = mount_points() if users else {}
        return [user for user in users if not {str(place) for place in self.places(user)} <= mounted.keys()]

    def run_program(self, user: str) -> None:
        """Mount a disk."""
        if not self.program.exists():
            raise DiskError(f"{self.program} is not there; run without --tags first")
        run("/bin/bash", self.program, self.volumes, self.project, self.data(user)[0].parent)

    def unmount(self, user: str) -> None:
        """Let a disk go, which no container uses; DiskError."""
        mounted = mount_points()
        for place in self.places(user):
            if str(place) in mounted:
                run("umount", place)

    def recover(self) -> list[str]:
        """Undo what a killed run has not finished."""
        told = []
        for user in self.users(contract.DISK_NEW):
            try:
                self.undo(user)
            except (OSError, EngineError) as error:
                told.append(f"A disk of {user} that is half made cannot be removed: {error}")
        return told

    def undo(self, user: str) -> None:
        """Have a user's files where they were before a disk was made that is not complete."""
        self.unmount(user)
        for data in self.data(user):
            old = data.with_name(contract.BEFORE_DISK)
            if old.exists():
                if data.exists():
                    data.rmdir()
                old.rename(data)
        self.file(user, contract.DISK_NEW).unlink(missing_ok=True)

    def remove_before(self, user: str) -> None:
        """Remove the files that a disk has; of the home last, by which it is known that there are any."""
        for data in reversed(self.data(user)):
            if (old := data.with_name(contract.BEFORE_DISK)).exists():
                shutil.rmtree(old)

    @staticmethod
    def carry(source: Path, target: Path) -> None:
        """Give the file of a disk that is not mounted, if there is one, from one home volume's folder to another's."""
        for name in (contract.DISK_SIZE, contract.DISK):
            if (source / name).exists():
                (source / name).rename(target / name)

    # --- Making and resizing --------------------------------------------------------------------------------------
    def settle(self, names: list[str], mark: Callable[[str, str | None], None]) -> Notes:
        """Give all of these users a disk of the right size.

        mark(user, state) tells hub and guard, who start no server while a disk is made or made smaller.
        """
        if self.idle:
            return Notes([], [])
        made: list[str] = []
        sized: list[str] = []
        later: list[str] = []
        told: list[str] = []
        for user in names:
            wanted = self.limit or (capacity(self.volumes) if self.has(user) else 0)
            present = self.size(user) if self.has(user) else 0
            if wanted == present or (not self.limit and wanted < present):
                continue
            act, done = (self.resize, sized) if self.has(user) else (self.make, made)
            try:
                grows = self.has(user) and wanted >= present
                if (grows or not self.in_use(user)) if self.pretend else act(user, wanted, mark):
                    done.append(user)
                else:
                    later.append(user)
            except (EngineError, OSError) as error:
                told.append(f"The disk of {user} is not what {LIMIT} says: {error}")
            finally:
                self.tell(user, mark)
        for user in names:  # a renamed user's disk was made for another
            self.tell(user, mark)
        size = size_text(self.limit) if self.limit else "the machine's size"
        return Notes(
            named(f"Disks of {size} {self.be}made, with the files that were there: {{}}", made)
            + named(f"Disks {self.be}given {size}: {{}}", sized),
            told + named(f"No disk of {size} yet, for their servers run: {{}}. Stop them, then run again", later),
        )

    def tell(self, user: str, mark: Callable[[str, str | None], None]) -> None:
        """Tell hub and guard what there is now."""
        if not self.pretend:
            mark(user, self.state(user) if self.has(user) else None)

    def in_use(self, user: str) -> bool:
        """Whether a container has, or is about to have, a user's files; those that have ended are removed."""
        held = [word for name in contract.user_volumes(self.project, user) for word in ("--filter", f"volume={name}")]
        found = [line.split() for line in docker("ps", "--all", *held, "--format", "{{.ID}} {{.State}}").splitlines()]
        ended = [name for name, state in found if state in ("exited", "dead")]
        if len(ended) < len(found):
            return True
        if ended and not self.pretend:
            docker("rm", "--volumes", *ended)
        return False

    def make_volumes(self, user: str) -> None:
        """Have the engine make the volumes that are not there."""
        labels = (f"--label={contract.PROJECT_LABEL}={self.project}", f"--label={contract.USER_LABEL}={user}")
        for name, data in zip(contract.user_volumes(self.project, user), self.data(user), strict=True):
            if not data.exists():
                docker("volume", "create", *labels, name)
            if (kept := folder(name).resolve()) != data:
                raise DiskError(f"the files of {name} are in {kept}, not in {data}")

    def make(self, user: str, size: int, mark: Callable[[str, str | None], None]) -> bool:
        """Make a disk and move the files to it; False while a server has them. Raises EngineError, OSError."""
        self.make_volumes(user)
        if self.in_use(user):
            return False
        files = sum(map(taken, self.data(user)))
        if files > size * (1 - OWN_PART):
            raise DiskError(f"the files in {user}'s home take {size_text(files)}")
        free = os.statvfs(self.volumes)
        if files > free.f_bavail * free.f_frsize - 64 * MIB:
            raise DiskError(f"to move them, {size_text(files)} must be free in {self.volumes}")
        mark(user, contract.MOVING)
        try:
            self.fill(user, size)
            # One that was made by who had looked before they were told: it would write to the old files.
            if self.in_use(user):
                self.undo(user)
                return False
            self.swap(user, size)
        except (EngineError, OSError):
            if not self.has(user):
                self.undo(user)
            raise
        self.run_program(user)
        self.remove_before(user)
        return True

    def fill(self, user: str, size: int) -> None:
        """Make a new disk with all that is in a user's volumes."""
        new, place = self.file(user, contract.DISK_NEW), self.file(user, contract.DISK_PLACE)
        with new.open("wb") as file:
            file.truncate(size)
        new.chmod(0o600)
        run(*MAKE, new)
        place.mkdir(mode=0o700, exist_ok=True)
        run("mount", "-o", OPTIONS, new, place)
        for data, name in zip(self.data(user), ("home", "work"), strict=True):
            target = place / name
            target.mkdir()
            run("cp", "-a", "--sparse=always", f"{data}/.", target)
            if entries(data) != entries(target):
                raise DiskError(f"the copy of {data} is not what it was; nothing was removed")
        (place / "tmp").mkdir()
        (place / "tmp").chmod(0o1777)
        run("sync", "--file-system", place)

    def swap(self, user: str, size: int) -> None:
        """Have the new disk in the place of the files, which go on being there."""
        for data in self.data(user):
            own = data.stat()
            data.rename(data.with_name(contract.BEFORE_DISK))
            data.mkdir(mode=stat.S_IMODE(own.st_mode))
        self.note_size(user, size)
        self.file(user, contract.DISK_NEW).rename(self.file(user))

    def resize(self, user: str, size: int, mark: Callable[[str, str | None], None]) -> bool:
        """Give a disk another size; False if that must wait for its user's server. Raises as `make` does.

        A larger one is given at once, a smaller one while nobody uses it.
        """
        image, place = self.file(user), self.file(user, contract.DISK_PLACE)
        grows = size >= image.stat().st_size
        used = self.in_use(user)
        if used and not grows:
            return False
        if not grows and place.is_mount():
            found = os.statvfs(place)
            files = (found.f_blocks - found.f_bfree) * found.f_frsize
            if files > size * (1 - OWN_PART):
                raise DiskError(f"{user}'s files take {size_text(files)}, so it stays as large as it was")
        if grows:
            os.truncate(image, size)
        if used:
            try:
                device = self.device(place)
                run("losetup", "--set-capacity", device)
                run("resize2fs", device)
            except DiskError:  # not every machine may do this to what is mounted
                return False
        else:
            self.resize_unused(user, size, mark)
        self.note_size(user, size)
        return True

    def resize_unused(self, user: str, size: int, mark: Callable[[str, str | None], None]) -> None:
        """Give a disk another size while it is not mounted; no server starts meanwhile."""
        image = self.file(user)
        mark(user, contract.MOVING)
        if self.in_use(user):
            raise DiskError("a server was started meanwhile")
        self.unmount(user)
        try:
            run("/bin/sh", "-c", 'e2fsck -f -p "$0" || [ $? -eq 1 ]', image)  # 1: it has mended something
            run("resize2fs", image, f"{size // 1024}K")
            os.truncate(image, size)
        finally:
            self.run_program(user)

    @staticmethod
    def device(place: Path) -> str:
        """The device that is mounted at a place; DiskError if none is."""
        for line in lines(MOUNTS):
            mount, _, system = line.partition(" - ")
            if unescaped(mount.split()[4]) == str(place):
                return system.split()[1]
        raise DiskError(f"nothing is mounted at {place}")
