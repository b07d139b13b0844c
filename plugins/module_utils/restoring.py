"""What was saved, put back: everything, one user's files, or one file. What is there is kept beside, with a date."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.backup import MANIFEST, alone, volumes
from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import (
    LIMIT,
    OWN_PART,
    capacity,
    carry_files,
    on_disk,
    size_text,
    taken,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, folder
from ansible_collections.jupyterhub.home.plugins.module_utils.home_paths import (
    RestoreError,
    copy_below,
    open_below,
    place_of,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint_of
from ansible_collections.jupyterhub.home.plugins.module_utils.restic import Repository

# The versions of the database that the hub's own code knows.
REVISIONS = """
import pathlib, re, jupyterhub
for path in (pathlib.Path(jupyterhub.__file__).parent / "alembic/versions").glob("*.py"):
    print(*re.findall(r"^revision = ['\\"](.+)['\\"]", path.read_text(), re.M))
"""
SPARSE_SINCE = (0, 15)  # versions of restic
HEALTHY_WITHIN = 120  # seconds


def pattern(path: str) -> str:
    """A path as restic's patterns have it, with no sign that means another."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", path)


def has_files(path: Path) -> bool:
    """Whether a folder is there, with something in it."""
    return path.is_dir() and any(path.iterdir())


class Restore:
    """One restore. settings: as for Backup; wanted: `user`, `file`, `snapshot` (empty for all, all, the newest),
    `look` (only to find them) and `over` (everything may go over another hub's)."""

    def __init__(self, settings: dict[str, Any], wanted: dict[str, Any]) -> None:
        self.settings, self.wanted = settings, wanted
        self.project: str = settings["project"]
        self.directory = Path(settings["directory"])
        self.repository = Repository(settings)
        self.when = time.strftime("%Y%m%d-%H%M%S")
        self.notes: list[str] = []
        self.kept: list[str] = []  # volumes

    def run(self) -> list[str]:
        """Do it; returns what is to be said. Raises RestoreError, BusyError, ResticError, EngineError, OSError."""
        if self.wanted["file"] and not self.wanted["user"]:
            raise RestoreError("FILE is in a user's home: write USER=alice, too. Nothing was changed")
        place = place_of(self.wanted["file"]) if self.wanted["file"] else None
        with alone(self.project):
            self.repository.find_password()
            self.find_snapshot()
            if self.wanted["user"]:
                self.volumes_of_user()
            if self.wanted["look"]:
                return []
            data = folder(contract.data_volume(self.project))
            # In the folder of Docker's volumes' folder: what is put back is only renamed.
            self.stage = data.parents[2] / f"{self.project}-restoring"
            shutil.rmtree(self.stage, ignore_errors=True)  # of a run that was killed
            try:
                if place:
                    self.file(*place)
                elif self.wanted["user"]:
                    self.user()
                else:
                    self.everything(data)
            finally:
                shutil.rmtree(self.stage, ignore_errors=True)
        return self.said()

    def said(self) -> list[str]:
        """What was done so far."""
        kept = [f"{self.project}-kept-{self.when}-*"] if len(self.kept) > 2 else self.kept
        return self.notes + [f"What was there is kept in volumes: {', '.join(kept)}"] * bool(kept)

    def find_snapshot(self) -> None:
        """Choose the snapshot, and read what it says of itself."""
        snapshots, asked = self.repository.snapshots(), self.wanted["snapshot"]
        if not snapshots:
            raise RestoreError(
                f"Nothing of {self.project} is in {self.repository.shown}. Write where its backups are: "
                "jupyterhub_home_backup_repository. Nothing was changed"
            )
        fits = [snapshot for snapshot in snapshots if not asked or snapshot["id"].startswith(asked)]
        if not fits or (asked and len(fits) > 1):
            newest = ", ".join(snapshot["short_id"] for snapshot in reversed(snapshots[-5:]))
            raise RestoreError(f"{asked} is not one snapshot; the newest are {newest}. List them: make backups")
        self.snapshot = fits[-1]
        tags = dict(tag.partition("=")[::2] for tag in self.snapshot["tags"])
        self.source = tags[contract.DIRECTORY_LABEL]  # the role's folder, where it was saved
        manifest = f"{self.source}/{contract.SAVED}/{MANIFEST}"
        self.manifest = json.loads(self.repository.run("Reading the snapshot", "dump", self.snapshot["id"], manifest))

    def fetch(self, *paths: str) -> None:
        """Have these of the snapshot, or all of it, in the stage."""
        version = self.repository.run("restic", "version").decode().split()[1]
        sparse = ["--sparse"] if tuple(map(int, version.split(".")[:2])) >= SPARSE_SINCE else []
        self.stage.mkdir(mode=0o700)
        self.repository.run(
            "Restoring", "restore", self.snapshot["id"], f"--target={self.stage}", *sparse,
            *(f"--include={pattern(path)}" for path in paths),
        )  # fmt: skip

    def staged(self, path: str) -> Path:
        """Where a path of the snapshot is in the stage."""
        return self.stage / path.lstrip("/")

    def volumes_of_user(self) -> tuple[str, str]:
        """The user's volumes; RestoreError where none is in the snapshot."""
        user, saved = self.wanted["user"], self.manifest["volumes"]
        names = contract.user_volumes(self.project, user)
        if not saved.keys() & set(names):
            found = {contract.user_of_volume(self.project, name) for name in saved} - {""}
            raise RestoreError(
                f"{user} has no files in the snapshot {self.snapshot['short_id']}; in it are those of: "
                f"{', '.join(sorted(found)) or 'nobody'}. Nothing was changed"
            )
        return names

    def user(self) -> None:
        """All files of one user."""
        names = [name for name in self.volumes_of_user() if name in self.manifest["volumes"]]
        self.fetch(*(self.manifest["volumes"][name] for name in names))
        self.check_disks(names)
        self.stop_servers(self.wanted["user"])
        for name in names:
            self.put_volume(name)
        self.notes.insert(0, f"Restored the files of {self.wanted['user']}{self.of_when()}.")

    def of_when(self) -> str:
        """Of which snapshot."""
        return f" of {self.snapshot['time'][:19].replace('T', ' ')} (snapshot {self.snapshot['short_id']})"

    def file(self, in_work: bool, path: PurePosixPath) -> None:
        """One file or folder of one user's."""
        home, work = self.volumes_of_user()
        name = work if in_work else home
        if not path.parts and work in self.manifest["volumes"]:  # the whole folder `work`
            self.fetch(self.manifest["volumes"][work])
            self.check_disks([work])
            self.stop_servers(self.wanted["user"])
            self.put_volume(work)
        else:
            source = f"{self.manifest['volumes'].get(name, '/nowhere')}/{path}"
            self.fetch(source)
            if not os.path.lexists(self.staged(source)):
                raise RestoreError(
                    f"{self.wanted['file']} is not among the files of {self.wanted['user']} in the snapshot "
                    f"{self.snapshot['short_id']}. Nothing was changed"
                )
            self.stop_servers(self.wanted["user"])
            self.put_file(self.staged(source), self.there(name), path)
        self.notes.insert(0, f"Restored {self.wanted['file']} of {self.wanted['user']}{self.of_when()}.")

    def put_file(self, staged: Path, root: Path, path: PurePosixPath) -> None:
        """Put what is in the stage to a path below a volume's folder."""
        try:
            descriptor = open_below(root, path.parts[:-1])
        except OSError as error:
            raise RestoreError(f"{path.parent} in the user's home is no folder by now, or a link: {error}") from error
        beside = f".{path.name}.restoring"
        try:
            copy_below(staged, descriptor, beside)
            if path.name in os.listdir(descriptor):  # noqa: PTH208 (pathlib knows no descriptors)
                kept = f"{path.name}.before-{self.when}"
                os.rename(path.name, kept, src_dir_fd=descriptor, dst_dir_fd=descriptor)
                self.notes.append(f"What was there is beside it: {kept}")
            os.rename(beside, path.name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def check_disks(self, names: Iterable[str]) -> None:
        """Refuse files that users' disks have not the room for."""
        needed: Counter[str] = Counter()
        for name in names:
            user = contract.user_of_volume(self.project, name)
            if user and on_disk(there := self.there(name)):
                needed[user] += taken(self.staged(self.manifest["volumes"][name]))
                if needed[user] > (room := capacity(there)) * (1 - OWN_PART):
                    raise RestoreError(
                        f"The files of {user} in the snapshot {self.snapshot['short_id']} take "
                        f"{size_text(needed[user])}, and {user}'s disk has {size_text(room)}. Raise {LIMIT}, then: "
                        "make hub, make restore. Nothing was changed"
                    )

    def there(self, name: str) -> Path:
        """The folder of a user's volume, which is made if need be."""
        user = contract.user_of_volume(self.project, name)
        labels = (f"--label={contract.PROJECT_LABEL}={self.project}", f"--label={contract.USER_LABEL}={user}")
        docker("volume", "create", *labels, name)
        return folder(name)

    def put_volume(self, name: str) -> None:
        """Put what is in the stage into the place of a user's volume's folder."""
        staged, target = self.staged(self.manifest["volumes"][name]), self.there(name)
        carry = carry_files if on_disk(target) else Path.rename
        if has_files(target):
            kept = contract.kept_volume(self.project, name, self.when)
            docker("volume", "create", kept)
            carry(target, folder(kept))  # an empty folder gives way
            self.kept.append(kept)
        carry(staged, target)

    def stop_servers(self, user: str = "") -> None:
        """End one user's server, or everybody's."""
        labels = [f"label={contract.PROJECT_LABEL}={self.project}"]
        labels += [f"label={contract.USER_LABEL}={user}"] if user else []
        filters = [word for label in labels for word in ("--filter", label)]
        names = docker("ps", "--all", "--format", "{{.Names}}", *filters).split()
        if names:
            docker("rm", "--force", "--volumes", *names)
            self.notes.append(f"Stopped, to be started again by {user or 'their users'}: {', '.join(sorted(names))}")

    # --- Everything ----------------------------------------------------------
    def everything(self, data: Path) -> None:
        """Files, accounts, database and secrets; and, of a controller that is this machine, vault and variables."""
        self.check_hub(data)
        self.check_database()
        self.fetch()
        self.check_disks(self.manifest["volumes"])
        services = [contract.container(self.project, one.name) for one in (contract.HUB, contract.GUARD)]
        known = docker("ps", "--all", "--format", "{{.Names}}").split()
        services = [name for name in services if name in known]
        docker("stop", *services)
        self.stop_servers()
        for name in self.manifest["volumes"]:
            if name != contract.data_volume(self.project):
                self.put_volume(name)
        self.put_data(data)
        self.put_accounts()
        self.put_variables()
        docker("start", *reversed(services))
        self.wait(services[0])
        self.notes.insert(0, f"Restored everything{self.of_when()}. Users and their passwords are those of then.")

    def check_hub(self, data: Path) -> None:
        """Refuse to go over another hub's users."""
        cookie = data / contract.COOKIE_SECRET
        here = hashlib.sha256(cookie.read_bytes()).hexdigest()[:16] if cookie.is_file() else ""
        used = [
            user
            for name, volume in volumes(self.project).items()
            if (user := contract.user_of_volume(self.project, name)) and has_files(Path(volume["Mountpoint"]))
        ]
        if used and here != self.manifest["hub"] and not self.wanted["over"]:
            raise RestoreError(
                "This machine has another hub than the one that was saved, with files of "
                f"{', '.join(sorted(set(used)))}. If these are to go aside: make restore "
                "ARGS='-e jupyterhub_home_restore_over=true'. Nothing was changed"
            )

    def check_database(self) -> None:
        """Refuse a database that this hub's code is too old for."""
        if not self.manifest["database"]:
            return
        image = docker("inspect", "--format", "{{.Image}}", contract.container(self.project, contract.HUB.name))
        inside = ("run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", REVISIONS)
        known = docker(*inside).split()
        if self.manifest["database"] not in known:
            raise RestoreError(
                f"The database in the snapshot (version {self.manifest['database']}) is of a newer JupyterHub than "
                "this hub's. Update the checkout as far as the one that it was saved with (git pull), then: make hub, "
                "make restore. Nothing was changed"
            )

    def put_data(self, data: Path) -> None:
        """The hub's database and cookie secret, each with what was there beside it."""
        staged = self.staged(self.manifest["volumes"][contract.data_volume(self.project)])
        files = [path for path in staged.iterdir() if path.is_file()]
        database = self.staged(f"{self.source}/{contract.SAVED}/{contract.DATABASE}")
        if database.is_file():
            files.append(database)
            for left in data.glob(f"{contract.DATABASE}-*"):  # journals, which belong to the database that was there
                left.rename(left.with_name(f"{left.name}.before-{self.when}"))
        for path in files:
            target = data / path.name
            os.chown(path, contract.HUB.user, contract.HUB.group)
            if target.exists():
                os.link(target, target.with_name(f"{path.name}.before-{self.when}"))
            path.replace(target)
        self.notes.append(f"What the hub's volume had is beside it, in {data}: *.before-{self.when}")

    def put_accounts(self) -> None:
        """The folder of the accounts; what was there is kept in the role's folder for what lasts."""
        users, staged = self.directory / contract.USERS, self.staged(f"{self.source}/{contract.USERS}")
        if not staged.is_dir():
            return
        kept = self.directory / contract.STATE / f"{contract.USERS}.before-{self.when}"
        kept.parent.mkdir(exist_ok=True)
        if users.exists():
            users.rename(kept)
            self.notes.append(f"The accounts that were there are kept in {kept}")
        shutil.copytree(staged, users, copy_function=shutil.copy2)
        for path in [staged, *staged.rglob("*")]:
            owner = path.stat()
            os.chown(users / path.relative_to(staged), owner.st_uid, owner.st_gid)
        record = Record(self.directory)
        files = {f"{contract.USERS}/{path.name}": fingerprint_of(path) for path in users.iterdir() if path.is_file()}
        record.end({path: of for path, of in files.items() if path in record.before})

    def put_variables(self) -> None:
        """Vault, its password and variables, into the checkout on this machine, where they were saved on such a one."""
        checkout = self.settings["checkout"]
        if not checkout or not self.manifest["checkout"]:
            return
        saved = self.staged(self.manifest["checkout"])
        owner = os.stat(checkout)
        paths = [path for name in contract.OWNERS for path in (saved / name, *(saved / name).rglob("*"))]
        for path in (path for path in paths if path.is_file() and not path.is_symlink()):
            target = Path(checkout) / path.relative_to(saved)
            if target.is_file() and target.read_bytes() == path.read_bytes():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                kept = target.with_name(f"{target.name}.before-{self.when}")
                target.rename(kept)
                self.notes.append(f"Restored {target}; what was there is beside it: {kept.name}")
            shutil.copy2(path, target)
            os.chown(target, owner.st_uid, owner.st_gid)

    def wait(self, hub: str) -> None:
        """Until the hub answers, by its container's own check."""
        check = json.loads(docker("inspect", "--format", "{{json .Config.Healthcheck.Test}}", hub))[1:]
        end = time.monotonic() + HEALTHY_WITHIN
        while True:
            try:
                docker("exec", hub, *check)
                return
            except EngineError as error:
                if time.monotonic() > end:
                    raise RestoreError(
                        f"Everything was put back, but the hub does not answer: docker logs {hub}"
                    ) from error
                time.sleep(0.5)
