"""module_utils/disks: users' files move to disks of their own, and nothing is lost whenever a run ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, disk_files, disks, ways
from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import MIB
from ansible_collections.jupyterhub.home.plugins.module_utils.disks import Disks
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from conftest import ROLE, Program, RunModule
from users_runs import ALICE, Converge, Homes, rights_in

PROGRAM = ROLE / "files/disks/disks"
LIMIT = 300 * MIB
FILES = {"home": ["a of home-user-alice-home"], "work": ["b of home-user-alice", "c of home-user-alice"]}


class Kill(BaseException):
    """A run that is killed does not look back."""


class Place:
    """Volumes of alice and a table of what is mounted. What a disk holds is seen where it is mounted, and not below."""

    def __init__(self, homes: Homes, table: Path) -> None:
        self.homes, self.table = homes, table
        self.marks: list[str | None] = []

    def disks(self, limit: int = LIMIT, *, pretend: bool = False) -> Disks:
        return Disks("home", PROGRAM, self.homes.volumes_folder, limit, pretend=pretend)

    def run(self, limit: int = LIMIT, *, pretend: bool = False) -> tuple[list[str], list[str]]:
        """What one run for alice says of done, and only tells."""
        self.marks.clear()
        these = self.disks(limit, pretend=pretend)
        mounted = these.mount()
        settled = these.settle(["alice"], self.mark)
        return mounted.done + settled.done, mounted.told + settled.told

    def mark(self, name: str, state: str | None) -> None:
        if self.marks[-1:] != [state]:
            self.marks.append(state)

    def file(self, name: str) -> Path:
        return self.homes.volumes_folder / "home-user-alice-home" / name

    def mounted(self) -> list[str]:
        lines = self.table.read_text().splitlines()
        return sorted(str(Path(line.split()[4]).relative_to(self.homes.volumes_folder)) for line in lines)

    def on_disk(self) -> dict[str, list[str]]:
        return {name: sorted(path.read_text() for path in self.file(f"disk/{name}").iterdir()) for name in FILES}

    def reboot(self) -> None:
        self.table.write_text("")


MOUNTED = ["home-user-alice-home/_data", "home-user-alice-home/disk", "home-user-alice/_data"]


@pytest.fixture
def place(homes: Homes, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    table = tmp_path / "mountinfo"
    table.write_text("")
    for module in (disks, ways):
        monkeypatch.setattr(module, "MOUNTS", table)
    last = 'for last; do true; done; place=$(readlink -f "$last")'
    program("mount", f"{last}; echo \"1 2 7:0 / $place rw - ext4 /dev/loop0 rw\" >>'{table}'")
    program("umount", f"for place; do sed -i \"\\\\#^1 2 7:0 / $place #d\" '{table}'; done")
    program("mountpoint", f"{last}; grep -q \" $place \" '{table}'")
    # A new file system is empty.
    program("mkfs.ext4", f'{last}; rm -rf "$(dirname "$place")"/disk/*')
    for name in ("e2fsck", "resize2fs", "losetup"):
        program(name, "true")
    homes.volume("home-user-alice-home", "a")
    homes.volume("home-user-alice", "b", "c")
    return Place(homes, table)


def test_files_move_to_a_disk(place: Place) -> None:
    """Check, real, real again, check again."""
    before = place.homes.volumes()
    done, told = place.run(pretend=True)
    assert (done, told) == (["Disks of 300M would be made, with the files that were there: alice"], [])
    assert place.homes.volumes() == before and place.mounted() == [] and place.marks == []
    done, told = place.run()
    assert (done, told) == (["Disks of 300M made, with the files that were there: alice"], [])
    assert place.on_disk() == FILES and place.mounted() == MOUNTED
    assert place.homes.volumes() == {"home-user-alice": [], "home-user-alice-home": []}
    assert place.file("disk.img").stat().st_size == LIMIT and place.file("disk/tmp").stat().st_mode & 0o7777 == 0o1777
    assert place.marks == ["moving", str(place.file("disk"))]
    for pretend in (False, True):
        assert place.run(pretend=pretend) == ([], [])


def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Kill a run before its n-th step; returns how many steps there were."""
    taken = 0

    def step(function: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal taken
            taken += 1
            if taken == number:
                raise Kill
            return function(*arguments, **more)

        return call

    monkeypatch.setattr(disks, "run", step(disk_files.run))
    monkeypatch.setattr(shutil, "rmtree", step(shutil.rmtree))
    for name in ("rename", "mkdir", "rmdir", "unlink"):
        monkeypatch.setattr(Path, name, step(getattr(Path, name)))
    return lambda: taken


@pytest.mark.parametrize("reboots", [False, True])
def test_a_run_that_is_killed_anywhere_loses_nothing(
    place: Place, reboots: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is finished by the next one."""
    # The engine would take most of the time, and has no part in it.
    monkeypatch.setattr(Disks, "make_volumes", lambda self, user: None)
    monkeypatch.setattr(Disks, "in_use", lambda self, user: False)
    fresh = tmp_path / "fresh"
    shutil.copytree(place.homes.volumes_folder, fresh)
    number, steps = 0, 1
    while number < steps:
        number += 1
        shutil.rmtree(place.homes.volumes_folder)
        shutil.copytree(fresh, place.homes.volumes_folder)
        place.reboot()
        with pytest.MonkeyPatch.context() as patched:
            taken = killed_at(number, patched)
            try:
                place.run()
            except Kill:
                steps = number + 1
        assert taken() >= min(number, steps - 1)
        if reboots:
            place.reboot()
        place.run()
        assert place.on_disk() == FILES and place.mounted() == MOUNTED, f"killed at step {number}"
        assert sorted(path.name for path in place.file("").iterdir()) == ["_data", "disk", "disk.img", "disk.size"]
    assert number > 12, "the run was killed at too few steps"


def test_a_server_goes_on(place: Place) -> None:
    place.homes.held("home-user-alice", "home-user-alice")
    for pretend in (True, False):
        done, told = place.run(pretend=pretend)
        assert done == [] and place.marks == ([] if pretend else [None])
        assert told == ["No disk of 300M yet, for their servers run: alice. Stop them, then run again"]
    assert place.homes.volumes()["home-user-alice"] == FILES["work"]
    place.homes.held("home-user-alice", "home-user-alice", status="exited")
    assert place.run(pretend=True)[1] == [] and place.homes.engine.load()["containers"] != {}
    assert place.run()[1] == [] and place.on_disk() == FILES


def test_a_server_that_was_about_to_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made while the files were copied, and would write to those that were there before."""
    answers = [False, True]
    monkeypatch.setattr(Disks, "in_use", lambda self, user: answers.pop(0))
    assert place.run()[0] == [] and place.marks == ["moving", None]
    assert place.homes.volumes()["home-user-alice"] == FILES["work"] and place.mounted() == []
    assert not place.file("disk.new").exists()


@pytest.mark.parametrize(
    ("command", "script", "why"),
    [
        ("cp", "echo 'cp: error reading b' >&2; exit 1", "cp: cp: error reading b"),
        ("cp", "true", "is not what it was; nothing was removed"),
        ("mkfs.ext4", "exit 1", "mkfs.ext4: "),
    ],
)
def test_what_cannot_be_copied_stays(place: Place, program: Program, command: str, script: str, why: str) -> None:
    before = place.homes.volumes()
    program(command, script)
    done, told = place.run()
    assert done == [] and why in told[0] and told[0].startswith("The disk of alice is not what jupyterhub_home_disk_")
    assert place.homes.volumes() == before and place.mounted() == [] and place.marks[-1] is None


def test_more_than_the_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "taken", lambda folder: 200 * MIB)
    assert place.run()[1][0].endswith("says: the files in alice's home take 400M") and place.marks == [None]
    monkeypatch.setattr(disks, "taken", lambda folder: 2**60)
    assert "must be free in" in place.run(2**62)[1][0]


@pytest.fixture
def has_disk(place: Place) -> Place:
    place.run()
    return place


def calls(place: Place, name: str) -> list[str]:
    return (place.homes.calls.parent / f"{name}.calls").read_text().splitlines()


def test_a_larger_one_at_once(has_disk: Place) -> None:
    has_disk.homes.held("home-user-alice", "home-user-alice")
    assert has_disk.run(2 * LIMIT) == (["Disks given 600M: alice"], [])
    assert calls(has_disk, "resize2fs") == ["/dev/loop0"]
    assert calls(has_disk, "losetup") == ["--set-capacity /dev/loop0"]
    assert has_disk.file("disk.img").stat().st_size == 2 * LIMIT and "moving" not in has_disk.marks
    assert has_disk.run(2 * LIMIT) == ([], [])


def test_a_larger_one_that_must_wait(has_disk: Place, program: Program) -> None:
    """Where what is mounted may not be resized, as in a container."""
    has_disk.homes.held("home-user-alice", "home-user-alice")
    program("resize2fs", "exit 1")
    assert has_disk.run(2 * LIMIT)[1] == [
        "No disk of 600M yet, for their servers run: alice. Stop them, then run again"
    ]
    has_disk.homes.held("home-user-alice", "home-user-alice", status="exited")
    program("resize2fs", "true")
    assert has_disk.run(2 * LIMIT) == (["Disks given 600M: alice"], [])


def test_a_smaller_one_when_nobody_uses_it(has_disk: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    has_disk.homes.held("home-user-alice", "home-user-alice")
    assert has_disk.run(LIMIT // 2)[1] == [
        "No disk of 150M yet, for their servers run: alice. Stop them, then run again"
    ]
    has_disk.homes.held("home-user-alice", "home-user-alice", status="exited")
    assert has_disk.run(LIMIT // 2) == (["Disks given 150M: alice"], [])
    assert calls(has_disk, "resize2fs") == [f"{has_disk.file('disk.img')} 153600K"]
    assert has_disk.mounted() == MOUNTED and has_disk.marks == ["moving", str(has_disk.file("disk"))]
    # The machine's own is larger than that, and it has more than a byte in it.
    monkeypatch.setattr(Path, "is_mount", lambda self: True)
    assert "so it stays as large as it was" in has_disk.run(MIB)[1][0]
    assert has_disk.file("disk.img").stat().st_size == LIMIT // 2


def test_what_cannot_be_resized_is_mounted_again(has_disk: Place, program: Program) -> None:
    program("resize2fs", "exit 1")
    assert has_disk.run(2 * LIMIT)[1] != [] and has_disk.mounted() == MOUNTED
    program("resize2fs", "true")
    assert has_disk.run(2 * LIMIT) == (["Disks given 600M: alice"], [])


def test_without_the_limit_the_disk_stays_and_is_none(has_disk: Place) -> None:
    whole = disk_files.capacity(has_disk.homes.volumes_folder)
    assert has_disk.run(0) == (["Disks given the machine's size: alice"], [])
    assert has_disk.file("disk.img").stat().st_size == whole and has_disk.on_disk() == FILES
    assert has_disk.run(0) == ([], [])


def test_after_a_reboot(has_disk: Place) -> None:
    has_disk.reboot()
    assert has_disk.run(pretend=True) == (["Disks would be mounted: alice"], [])
    assert has_disk.run() == (["Disks mounted: alice"], [])
    assert has_disk.mounted() == MOUNTED


@pytest.mark.parametrize("what", ["files below it", "damaged", "no program"])
def test_a_disk_that_cannot_be_mounted(has_disk: Place, program: Program, what: str) -> None:
    """Nothing of it is, so that no server writes into one part of it."""
    has_disk.reboot()
    said = {"files below it": "has files that are not on the disk", "damaged": "is damaged (e2fsck says 4)"}
    if what == "files below it":
        (has_disk.homes.volumes_folder / "home-user-alice/_data/x").touch()
    elif what == "damaged":
        program("e2fsck", "exit 4")
    these = has_disk.disks()
    if what == "no program":
        these.program = Path("/nowhere")
    told = these.mount().told
    assert said.get(what, "/nowhere is not there; run without --tags first") in told[0]
    assert has_disk.mounted() == [] and has_disk.file("disk.img").exists()


# --- The module users -------------------------------------------------------------------------------------------------
@pytest.fixture
def program_there(converge: Converge, folder: Path) -> Iterator[None]:
    (folder.parent / "disks").mkdir()
    shutil.copy(PROGRAM, folder.parent / "disks/disks")
    yield


def test_hub_and_guard_are_told(place: Place, converge: Converge, folder: Path, program_there: None) -> None:
    """One who has no files yet has none but on a disk."""
    bob = {"name": "bob", "password": "hunter2"}
    assert converge(ALICE, bob, check=True, disk_limit=LIMIT)["changed"]
    done = converge(ALICE, bob, disk_limit=LIMIT)
    assert done["notes"] == ["Disks of 300M made, with the files that were there: alice, bob"]
    assert [rights_in(folder)[name]["disk"] for name in ("alice", "bob")] == [
        str(place.file("disk")), str(place.file("disk")).replace("alice", "bob")
    ]  # fmt: skip
    for check in (False, True):
        again = converge(ALICE, bob, disk_limit=LIMIT, check=check)
        assert (again["changed"], again["notes"], again["updated"]) == (False, [], [])


def test_who_has_no_files_waits_for_a_disk(place: Place) -> None:
    assert [place.disks().state(name) for name in ("alice", "bob")] == [None, contract.MOVING]
    assert place.disks(0).state("bob") is None


ANN = {"name": "ann", "password": "hunter2", "renamed_from": "alice"}


def test_a_disk_follows_a_renamed_user(has_disk: Place, converge: Converge, folder: Path, program_there: None) -> None:
    tried = converge(ANN, disk_limit=LIMIT, check=True)
    assert tried["notes"] == ["Home of alice would be carried over to ann"]
    done = converge(ANN, disk_limit=LIMIT)
    assert done["notes"] == ["Home of alice carried over to ann"]
    assert has_disk.mounted() == [name.replace("alice", "ann") for name in MOUNTED]
    assert rights_in(folder)["ann"]["disk"].endswith("/home-user-ann-home/disk")
    assert converge(ANN, disk_limit=LIMIT)["notes"] == []


def test_a_new_name_with_a_disk(has_disk: Place, converge: Converge, program_there: None) -> None:
    """An empty one gives way; with files both are left alone."""
    ann = {"name": "ann", "password": "hunter2"}
    converge(ALICE, ann, disk_limit=LIMIT)
    (has_disk.homes.volumes_folder / "home-user-ann-home/_data/x").touch()
    failed = converge(ANN, disk_limit=LIMIT)
    assert failed["failed"] and failed["msg"].startswith("Both alice and ann have files, in the volumes home-user-al")
    (has_disk.homes.volumes_folder / "home-user-ann-home/_data/x").unlink()
    assert converge(ANN, disk_limit=LIMIT)["notes"] == ["Home of alice carried over to ann"]


def test_a_move_that_was_killed_when_the_disk_had_its_new_name(
    has_disk: Place, converge: Converge, program_there: None
) -> None:
    new = has_disk.homes.volume("home-user-ann-home").parent
    has_disk.reboot()
    Disks.carry(has_disk.file(""), new)
    done = converge(ANN, disk_limit=LIMIT)
    assert done["notes"] == ["Disks mounted: ann"] and (new / "disk.img").exists()
    assert sorted(has_disk.homes.volumes()) == ["home-user-ann", "home-user-ann-home"]


def test_a_disk_goes_with_its_home(has_disk: Place, converge: Converge, program_there: None) -> None:
    done = converge({"name": "bob", "password": "hunter2"}, delete_homes=["alice"])
    assert "Home of alice deleted: home-user-alice-home, home-user-alice" in done["notes"]
    assert has_disk.mounted() == [] and has_disk.homes.volumes() == {}


def test_uninstalling_lets_disks_go(has_disk: Place, run_module: RunModule, tmp_path: Path) -> None:
    from ansible_collections.jupyterhub.home.plugins.modules import uninstall

    state = has_disk.homes.engine.load()
    state["volumes"] = {name: {"labels": {contract.PROJECT_LABEL: "home"}} for name in has_disk.homes.volumes()}
    has_disk.homes.engine.state = state
    has_disk.homes.engine.save()
    wanted = {"project": "home", "directory": str(tmp_path / "none"), "delete_data": False, "delete_packages": False}
    notes = run_module(uninstall, wanted)["notes"]
    assert has_disk.mounted() == [] and has_disk.file("disk.img").exists()
    assert f"to be mounted with mount -o loop: {has_disk.file('disk.img')}" in notes[-1]


def test_a_volume_that_is_elsewhere(place: Place) -> None:
    place.homes.engine.state["volumes"]["home-user-alice"] = {"labels": {}, "options": {"device": "nas:/alice"}}
    place.homes.engine.save()
    with pytest.raises(EngineError, match="is not one of Docker's own"):
        place.disks().make_volumes("alice")


@pytest.mark.parametrize("wanted", ["archive", "rename"])
def test_files_on_a_disk_that_is_not_mounted_are_not_none(
    has_disk: Place, converge: Converge, program_there: None, program: Program, wanted: str
) -> None:
    """An empty home would be archived, or give way, and the disk would go with its volume."""
    has_disk.reboot()
    program("e2fsck", "exit 4")
    bob = {"name": "bob", "password": "hunter2"}
    # With bob's home moved to her name, alice's is the one to give way.
    listed = {"archive": bob, "rename": {**ALICE, "renamed_from": "bob"}}[wanted]
    if wanted == "rename":
        has_disk.homes.volume("home-user-bob-home", "x")
    failed = converge(listed, archive_homes=["alice"] if wanted == "archive" else [])
    assert failed["failed"], failed
    assert "the disk with the files of the volume home-user-alice" in failed["msg"]
    assert has_disk.file("disk.img").exists()
