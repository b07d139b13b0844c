"""jupyterhub.home.restore: what is put where, and what is refused before anything is changed.

restic is a program that copies a folder; tests/backup has the real one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, restoring, ways
from ansible_collections.jupyterhub.home.plugins.modules import restore
from conftest import Program, RunModule
from fake_engine import Engine

# `saved` beside it is what a snapshot has; whatever is included, all of it comes.
RESTIC = r"""
shift # --quiet
for word; do case $word in --target=*) target=${word#--target=};; esac; done
case $1 in
    snapshots) cat "$here/snapshots" ;;
    dump) cat "$here/manifest" ;;
    version) echo restic 0.14.0 compiled ;;
    restore) [ ! -e "$here/fails" ] || { echo 'Fatal: EOF' >&2; exit 1; }; cp -a "$here/saved/." "$target" ;;
esac
"""


class Machine:
    """A hub with alice and bob, of whom the snapshot has other files."""

    def __init__(self, engine: Engine, calls: Path, run_module: RunModule) -> None:
        self.calls, self.here, self.engine, self.run_module = calls, calls.parent, engine, run_module
        for name in ("home-data", "home-user-alice", "home-user-alice-home", "home-user-bob"):
            engine.volume(name, {}, "new")
        for user in ("alice", "bob"):
            labels = {"jupyterhub-home.project": "home", "jupyterhub-home.user": user}
            engine.state["containers"][f"home-user-{user}"] = engine.container(labels)
        engine.save()
        names = ("home-data", "home-user-alice", "home-user-alice-home", "home-user-gone")
        volumes = {name: f"/old/volumes/{name}/_data" for name in names}
        for path in volumes.values():
            (self.here / f"saved{path}/folder").mkdir(parents=True)
            (self.here / f"saved{path}/folder/old").write_text(path)
        self.manifest = {
            "volumes": volumes,
            "hub": hashlib.sha256(b"cookie").hexdigest()[:16],
            "database": "",
            "checkout": "",
        }
        self.write()
        (self.volume("home-data") / contract.COOKIE_SECRET).write_text("cookie")
        tags = ["jupyterhub-home.directory=/opt/old"]
        snapshots = [
            {"id": f"{n}{n}{n}{n}", "short_id": f"{n}{n}", "time": f"2026-11-2{n}T03:30:00Z", "tags": tags}
            for n in (1, 2)
        ]
        (self.here / "snapshots").write_text(json.dumps(snapshots))

    def write(self) -> None:
        (self.here / "manifest").write_text(json.dumps(self.manifest))

    def volume(self, name: str) -> Path:
        return self.here / "volumes" / name / "_data"

    def __call__(self, *, check: bool = False, **wanted: Any) -> dict[str, Any]:
        settings = {
            "project": "home", "directory": str(self.here / "opt"), "checkout": "", "repository": "/srv/r",
            "password": "of the vault", "environment": {},
        }  # fmt: skip
        return self.run_module(restore, {"settings": json.dumps(settings), **wanted}, check=check)

    def running(self) -> set[str]:
        return set(self.engine.load()["containers"])


@pytest.fixture
def machine(engine: Engine, program: Program, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> Machine:
    here = engine.calls.parent
    monkeypatch.setattr(contract, "backups", lambda project: str(here / "backups"))
    monkeypatch.setattr(contract, "backup_lock", lambda project: str(here / "lock"))
    return Machine(engine, program("restic", RESTIC), run_module)


def test_one_user(machine: Machine) -> None:
    done = machine(user="alice")
    assert done["changed"], done
    assert done["notes"][0] == "Restored the files of alice of 2026-11-22 03:30:00 (snapshot 22)."
    assert machine.running() == {"home-user-bob"}
    files = machine.engine.files()
    assert files["home-user-alice"] == files["home-user-alice-home"] == ["folder"] and files["home-user-bob"] == ["new"]
    kept = [name for name in files if "-kept-" in name]
    assert len(kept) == 2 and all(files[name] == ["new"] for name in kept)
    assert all(contract.user_of_volume("home", name) == "" for name in kept)
    assert not (machine.here / "home-restoring").exists()


def test_one_user_who_is_gone_from_the_machine(machine: Machine) -> None:
    done = machine(user="gone", snapshot="1111")
    assert done["notes"] == ["Restored the files of gone of 2026-11-21 03:30:00 (snapshot 11)."]
    assert machine.engine.load()["volumes"]["home-user-gone"]["labels"]["jupyterhub-home.user"] == "gone"


@pytest.mark.parametrize(
    ("file", "volume"), [("work/folder/old", "home-user-alice"), ("folder", "home-user-alice-home")]
)
def test_one_file(machine: Machine, file: str, volume: str) -> None:
    there = machine.volume(volume)
    (there / "folder").mkdir()
    (there / "folder/old").write_text("newer")
    done = machine(user="alice", file=file)
    assert done["notes"][0].startswith(f"Restored {file} of alice of 2026-11-22"), done
    assert (there / "folder/old").read_text().endswith(f"{volume}/_data") and (there / "new").exists()
    (kept,) = there.rglob("*.before-*")
    assert (kept / "old" if kept.is_dir() else kept).read_text() == "newer"
    assert machine.engine.files()["home-user-alice"] != ["folder"] and machine.running() == {"home-user-bob"}


def test_all_of_work(machine: Machine) -> None:
    assert machine(user="alice", file="work")["changed"]
    files = machine.engine.files()
    assert files["home-user-alice"] == ["folder"] and files["home-user-alice-home"] == ["new"]


def test_a_folder_that_is_gone_is_made_again(machine: Machine) -> None:
    assert machine(user="alice", file="work/folder/old")["changed"]
    assert (machine.volume("home-user-alice") / "folder/old").is_file()


def test_no_link_is_followed(machine: Machine) -> None:
    outside = machine.here / "outside"
    outside.mkdir()
    (machine.volume("home-user-alice") / "folder").symlink_to(outside)
    done = machine(user="alice", file="work/folder/old")
    assert "folder in the user's home is no folder by now, or a link" in done["msg"] and not list(outside.iterdir())
    # A link in the last place is only renamed.
    assert machine(user="alice", file="work/folder")["changed"]
    assert not list(outside.iterdir()) and not (machine.volume("home-user-alice") / "folder").is_symlink()


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ({"user": "bob"}, "bob has no files in the snapshot 22; in it are those of: alice, gone. Nothing was changed"),
        ({"user": "alice", "file": "work/never"}, "work/never is not among the files of alice in the snapshot 22"),
        ({"user": "alice", "file": "../x"}, "FILE=../x is no path in the user's home"),
        ({"file": "work/x"}, "write USER=alice, too"),
        ({"snapshot": "33"}, "33 is not one snapshot; the newest are 22, 11. List them: make backups"),
        ({}, ""),
    ],
)
def test_what_is_refused(machine: Machine, wanted: dict[str, Any], part: str) -> None:
    if not wanted:  # another hub's users would go aside
        machine.manifest["hub"] = "other"
        machine.write()
        part = (
            "another hub than the one that was saved, with files of alice, bob. If these are to go aside: make restore"
        )
    before = machine.engine.files()
    done = machine(**wanted)
    assert done["failed"] and part in done["msg"], done["msg"]
    assert machine.engine.files() == before and machine.running() == {"home-user-alice", "home-user-bob"}


def test_what_cannot_be_fetched_changes_nothing(machine: Machine) -> None:
    (machine.here / "fails").touch()
    before = machine.engine.files()
    done = machine(user="alice")
    assert "Restoring failed: the repository /srv/r is damaged (EOF)" in done["msg"]
    assert machine.engine.files() == before and machine.running() == {"home-user-alice", "home-user-bob"}
    assert not (machine.here / "home-restoring").exists()


def test_only_to_look(machine: Machine) -> None:
    """Before a hub is made, of which nothing is there."""
    shutil.rmtree(machine.here / "volumes")
    found = machine(user="alice", look=True)
    assert (found["changed"], found["notes"]) == (False, []), found
    assert (
        "kim has no files in the snapshot 22; in it are those of: alice, gone" in machine(user="kim", look=True)["msg"]
    )
    assert not machine(look=True, check=True)["changed"]


def test_nothing_was_saved(machine: Machine) -> None:
    (machine.here / "snapshots").write_text("null")
    assert "Nothing of home is in /srv/r. Write where its backups are" in machine(user="alice")["msg"]


def test_after_one_that_was_killed(machine: Machine) -> None:
    """Between two renames; and with a stage that is half full."""
    (machine.here / "home-restoring/old").mkdir(parents=True)
    for path in machine.volume("home-user-alice").iterdir():
        path.unlink()
    machine.volume("home-user-alice").rmdir()
    done = machine(user="alice")
    assert machine.engine.files()["home-user-alice"] == ["folder"]
    assert len([note for note in done["notes"] if "is kept in volumes: " in note]) == 1


def test_check_mode(machine: Machine) -> None:
    done = machine(check=True, user="alice", file="work/x", snapshot="11")
    assert done["notes"] == ["Would restore work/x of alice of snapshot 11."]
    assert machine(check=True)["notes"] == ["Would restore everything of the newest snapshot."]
    assert machine.calls.read_text() == ""


@pytest.mark.parametrize("path", ["/a/b", "/a[1]/*?\\x"])
def test_a_pattern_is_of_one_path(path: str) -> None:
    from fnmatch import fnmatchcase

    escaped = restoring.pattern(path)
    assert escaped.replace("\\\\", "\0").replace("\\", "").replace("\0", "\\") == path
    assert not fnmatchcase("/a1/zzx", escaped)


@pytest.fixture
def on_disks(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Alice's files are on a disk."""
    (machine.volume("home-user-alice-home").parent / contract.DISK).touch()
    table = machine.here / "mountinfo"
    places = [machine.volume(name).resolve() for name in ("home-user-alice-home", "home-user-alice")]
    table.write_text("".join(f"1 2 7:0 / {place} rw - ext4 /dev/loop0 rw\n" for place in places))
    monkeypatch.setattr(ways, "MOUNTS", table)
    return machine


def test_files_on_a_disk_are_copied_into_it(on_disks: Machine) -> None:
    """What is mounted somewhere cannot be renamed."""
    inode = on_disks.volume("home-user-alice").stat().st_ino
    assert on_disks(user="alice")["changed"]
    files = on_disks.engine.files()
    assert files["home-user-alice"] == files["home-user-alice-home"] == ["folder"]
    assert on_disks.volume("home-user-alice").stat().st_ino == inode
    kept = [name for name in files if "-kept-" in name]
    assert len(kept) == 2 and all(files[name] == ["new"] for name in kept)


def test_a_disk_without_the_room(on_disks: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "taken", lambda folder: 2**60)
    before, running = on_disks.engine.files(), on_disks.running()
    done = on_disks(user="alice")
    assert done["failed"] and "Raise jupyterhub_home_disk_limit" in done["msg"], done
    assert on_disks.engine.files() == before and on_disks.running() == running


def test_a_disk_that_is_not_mounted(on_disks: Machine) -> None:
    (on_disks.here / "mountinfo").write_text("")
    done = on_disks(user="alice")
    assert done["failed"] and "is not mounted; make hub mounts it" in done["msg"], done
    assert on_disks.engine.files()["home-user-alice"] == ["new"]


def test_a_file_that_cannot_be_copied(machine: Machine, program: Program) -> None:
    there = machine.volume("home-user-alice")
    (there / "folder").mkdir()
    (there / "folder/old").write_text("newer")
    program(
        "cp", f'case "$*" in *restoring*/fd/*) echo No space left >&2; exit 1;; esac; exec {shutil.which("cp")} "$@"'
    )
    done = machine(user="alice", file="work/folder/old")
    assert done["failed"] and "No space left. What was there is untouched" in done["msg"], done
    assert [path.name for path in (there / "folder").iterdir()] == ["old"]
    assert (there / "folder/old").read_text() == "newer"
