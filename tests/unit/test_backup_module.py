"""jupyterhub.home.backup: what goes into a snapshot, and what is said where it cannot be made.

restic is a program that notes what it is given; tests/backup has the real one.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import backup as backing
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.database import revision
from ansible_collections.jupyterhub.home.plugins.modules import backup
from conftest import Program, RunModule, Serve
from fake_engine import Engine

SUMMARY = {
    "message_type": "summary", "files_new": 2, "files_changed": 1, "total_files_processed": 7,
    "total_bytes_processed": 3 * 2**20, "snapshot_id": "abcdef0123456789",
}  # fmt: skip
SNAPSHOTS = [
    {"id": f"id-{n}", "short_id": f"s{n}", "time": f"2026-11-2{n}T03:30:00.5Z", "hostname": "hub"} for n in (2, 1)
]
# Beside it, a file COMMAND.fails has what a command ends with.
RESTIC = r"""
shift # --quiet
for word; do case $word in cat|init|snapshots|backup|forget|check|unlock) command=$word; break;; esac; done
case $command in backup) tr '\0' '\n' >"$here/listed";; esac
echo "$RESTIC_REPOSITORY $RESTIC_PASSWORD ${B2_ID:-}" >"$here/environment"
if [ -e "$here/$command.fails" ]; then cat "$here/$command.fails" >&2; exit 1; fi
case $command in
    snapshots) cat "$here/snapshots" ;;
    backup) cat "$here/unread" >&2; cat "$here/summary"; [ ! -s "$here/unread" ] || exit 3 ;;
esac
"""


class Machine:
    """A hub with a user on a machine with restic."""

    def __init__(self, root: Path, engine: Engine, calls: Path, run_module: RunModule) -> None:
        self.root, self.calls, self.here, self.run_module = root, calls, calls.parent, run_module
        for name in ("home-data", "home-user-kim", "home-user-kim-home", "other-user-kim", "x"):
            engine.volume(name, {})
        engine.save()
        self.engine = engine
        self.data = self.here / "volumes/home-data/_data"
        with sqlite3.connect(self.data / "jupyterhub.sqlite") as database:
            database.execute("CREATE TABLE alembic_version (version_num)")
            database.execute("INSERT INTO alembic_version VALUES ('651f5419b74d')")
        (self.data / "jupyterhub_cookie_secret").write_text("secret")
        (root / "opt").mkdir()
        self.put(snapshots=json.dumps(SNAPSHOTS), summary=json.dumps(SUMMARY), unread="")
        self.settings: dict[str, Any] = {
            "project": "home", "directory": str(root / "opt"), "checkout": "", "repository": "",
            "password": "", "environment": {"B2_ID": "b2"}, "keep": {"daily": 7, "weekly": 5}, "notify": "",
        }  # fmt: skip

    def put(self, **files: str) -> None:
        for name, text in files.items():
            (self.here / name.replace("_fails", ".fails")).write_text(text)

    def __call__(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        listing = more.pop("list", False)
        arguments = {"settings": json.dumps({**self.settings, **more}), "list": listing}
        return self.run_module(backup, arguments, check=check)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.root / "opt/state/backup.json").read_text())
        return state

    def commands(self) -> list[str]:
        return [line.removeprefix("--quiet ") for line in self.calls.read_text().splitlines()]


@pytest.fixture
def machine(
    tmp_path: Path, engine: Engine, program: Program, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    monkeypatch.setattr(contract, "backups", lambda project: str(tmp_path / "backups" / project))
    monkeypatch.setattr(contract, "backup_lock", lambda project: str(tmp_path / f"{project}.lock"))
    return Machine(tmp_path, engine, program("restic", RESTIC), run_module)


def test_what_goes_in(machine: Machine) -> None:
    checkout = machine.root / "checkout"
    (checkout / "group_vars").mkdir(parents=True)
    (checkout / ".vault-password").touch()
    done = machine(checkout=str(checkout))
    assert done["changed"] and "Not in it" not in str(done["notes"])
    said = done["notes"][0]
    assert said.startswith("Saved 7 files, 3.0M, of which 3 were new or changed, in ")
    assert " s: snapshot abcdef01 in " in said
    volumes = machine.here / "volumes"
    assert (machine.here / "listed").read_text().splitlines() == [
        f"{volumes}/home-data/_data", f"{volumes}/home-user-kim/_data", f"{volumes}/home-user-kim-home/_data",
        f"{machine.root}/opt", f"{checkout}/group_vars", f"{checkout}/.vault-password",
    ]  # fmt: skip
    sent = next(line for line in machine.commands() if line.startswith("backup "))
    for option in (
        "--one-file-system", "--parent=id-2", f"--exclude={volumes}/home-data/_data/jupyterhub.sqlite*",
        f"--exclude={volumes}/home-data/_data/reserve", "--tag=jupyterhub-home,jupyterhub-home.project=home",
    ):  # fmt: skip
        assert option in sent
    assert "forget --prune --group-by= --tag=jupyterhub-home,jupyterhub-home.project=home --keep-daily=7" in " ".join(
        machine.commands()
    )
    saved = machine.root / "opt/state/backup"
    assert revision(saved / "jupyterhub.sqlite") == "651f5419b74d"
    assert json.loads((saved / "manifest.json").read_text())["database"] == "651f5419b74d"
    assert machine.state()["succeeded"]["changed"] == 3


def test_what_is_the_same_is_not_written_again(machine: Machine) -> None:
    """So that restic does not read it again; and another part of the data is read back each time."""
    machine()
    saved = machine.root / "opt/state/backup"
    before = {path.name: path.stat().st_ino for path in saved.iterdir()}
    assert len(before) == 2
    machine()
    assert {path.name: path.stat().st_ino for path in saved.iterdir()} == before
    checks = [line for line in machine.commands() if line.startswith("check ")]
    assert checks == ["check --read-data-subset=1/50", "check --read-data-subset=2/50"]
    with sqlite3.connect(machine.data / "jupyterhub.sqlite") as database:
        database.execute("CREATE TABLE more (x)")
    machine()
    assert {path.name: path.stat().st_ino for path in saved.iterdir()} != before


def test_a_password_is_made_and_shown_once(machine: Machine) -> None:
    first = machine()
    kept = machine.root / "backups/home/password"
    password = kept.read_text().strip()
    assert len(password) == 29 and f"shown this once: {password}" in str(first["notes"])
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert password in (machine.here / "environment").read_text()
    assert password not in str(machine()["notes"]) + machine.calls.read_text()
    machine(password="of the vault")
    repository = machine.root / "backups/home/repository"
    assert (machine.here / "environment").read_text() == f"{repository} of the vault b2\n"
    assert kept.read_text().strip() == password


def test_the_timer_makes_none(machine: Machine) -> None:
    with pytest.raises(backing.BackupError, match="Do: make backup, which makes one and shows it"):
        backing.Backup(machine.settings).run(make_password=False)


@pytest.mark.parametrize(
    ("fails", "text", "parts"),
    [
        ("cat", "Fatal: wrong password or no key found", ["the password is not that of the repository"]),
        ("cat", "Fatal: unable to open config file: connection refused", ["unable to open config file: connection"]),
        ("backup", "Fatal: unable to save: write /x: no space left on device", ["The backup failed: the disk of"]),
        ("check", "error: pack 12: ciphertext verification failed\nFatal: repository contains errors", ["is damaged"]),
        ("forget", "Fatal: unable to create lock in backend: repository is already locked by PID 7", ["another run"]),
        ("backup", '{"message_type": "exit_error", "message": "Fatal: strange"}', ["The backup failed: strange"]),
        ("cat", "Fatal: Get https://kim:geheim@nas/: no route", ["https://...@nas/: no route"]),
    ],
)
def test_what_restic_says(machine: Machine, fails: str, text: str, parts: list[str]) -> None:
    machine.put(**{f"{fails}_fails": text})
    done = machine(password="geheim sauce")
    assert done["failed"] and [part for part in parts if part not in done["msg"]] == [], done["msg"]
    assert "geheim" not in done["output"].replace(json.dumps(done.get("invocation", "")), "")
    assert machine.state()["failed"]["why"] in done["msg"]
    (machine.here / f"{fails}.fails").unlink()
    assert machine(password="geheim sauce")["changed"] and "failed" not in machine.state()


def test_an_owner_is_told(machine: Machine, serve: Serve) -> None:
    """By a command or an address: that one failed, and that one succeeds again."""
    noted = machine.root / "noted"
    command = f'echo "$BACKUP_PROJECT $BACKUP_RESULT: $BACKUP_MESSAGE" >>{noted}'
    machine(notify=command)
    assert not noted.exists()
    machine.put(check_fails="Fatal: strange")
    machine(notify=command)
    web = serve((200, {}))
    machine(notify=web.url)
    (machine.here / "check.fails").unlink()
    machine(notify=command)
    machine(notify=command)
    failed, succeeded = noted.read_text().splitlines()
    assert failed.startswith("home failed: Checking the repository failed: strange")
    assert succeeded.startswith("home succeeded: Saved 7 files")
    (asked,) = web.asked
    assert asked.what.startswith("POST /") and asked.body["result"] == "failed" and "strange" in asked.body["message"]


@pytest.mark.parametrize("notify", ["echo no such address >&2; exit 1", "http://127.0.0.1:9/"])
def test_an_owner_who_cannot_be_told(machine: Machine, notify: str) -> None:
    machine.put(check_fails="Fatal: strange")
    said = machine(notify=notify)["msg"]
    assert "strange" in said and "Nobody could be told of it (jupyterhub_home_backup_notify): " in said


def test_a_lock_of_a_run_that_was_killed_is_removed(machine: Machine) -> None:
    machine.put(forget_fails="Fatal: unable to create lock in backend: repository is already locked")
    assert machine()["failed"]
    assert [line for line in machine.commands() if line.startswith(("forget", "unlock"))][1] == "unlock"


def test_a_repository_is_made_once(machine: Machine) -> None:
    """One that is gone is none to be made anew: its disk may not be mounted. Nor is what only lacks its beginning."""
    gone = "Fatal: unable to open config file\nIs there a repository at the following location?\n/x"
    machine.put(cat_fails=gone)
    machine()
    assert "init" in machine.commands()
    done = machine()
    assert done["failed"] and "is gone, into which the last backup went. Is its disk mounted?" in done["msg"]
    other = machine.root / "other"
    other.mkdir()
    (other / "keys").mkdir()
    done = machine(repository=str(other))
    assert done["failed"] and "is no whole repository" in done["msg"]
    assert machine.commands().count("init") == 1


def test_a_damaged_database_keeps_nothing_else_back(machine: Machine) -> None:
    machine()
    (machine.data / "jupyterhub.sqlite").write_bytes(b"x" * 10000)
    done = machine()
    assert (
        done["failed"] and "The hub's database could not be copied: file is not a database; the rest was" in done["msg"]
    )
    assert revision(machine.root / "opt/state/backup/jupyterhub.sqlite") == "651f5419b74d"


def test_what_cannot_be_read_is_said(machine: Machine) -> None:
    there = machine.data / "jupyterhub_cookie_secret"
    lines = [{"message_type": "error", "item": item} for item in ("/gone/by/now", str(there))]
    machine.put(unread=json.dumps(lines[0]))
    assert machine()["changed"]
    machine.put(unread="\n".join(map(json.dumps, lines)))
    done = machine()
    assert done["failed"] and f"Not everything could be read: {there}; the rest was saved" in done["msg"]


def test_a_disk_that_is_not_mounted_is_said(machine: Machine) -> None:
    (machine.here / "volumes/home-user-kim-home/disk.img").touch()
    done = machine()
    assert done["failed"] and "the disk with the files of the volume home-user-kim is not mounted" in done["msg"]


def test_what_is_not_in_it_is_said(machine: Machine) -> None:
    machine.engine.state["volumes"]["home-user-kim"]["options"] = {"type": "nfs"}
    machine.engine.save()
    (machine.data / "jupyterhub.sqlite").unlink()
    notes = " ".join(machine()["notes"])
    for part in ("own disk, volumes: home-user-kim", "Not in it: the hub's database", "Not in it: the vault"):
        assert part in notes


def test_two_at_once(machine: Machine) -> None:
    with backing.alone("home"):
        done = machine()
    assert done["failed"] and "Another backup or restore of home is at work (process " in done["msg"]
    assert machine.calls.read_text() == "" and machine()["changed"]


def test_without_a_hub(machine: Machine) -> None:
    assert "There is no hub of the project lab on this machine" in machine(project="lab")["msg"]


def test_the_list(machine: Machine) -> None:
    assert "Do: make backup" in machine(list=True)["msg"]
    done = machine(list=True, password="of the vault")
    assert (done["changed"], done["notes"]) == (
        False, ["s2  2026-11-22 03:30:00  hub", "s1  2026-11-21 03:30:00  hub"],
    )  # fmt: skip
    machine.put(snapshots="null")
    assert machine(list=True, password="of the vault")["notes"][0].startswith("Nothing of home is in ")


def test_check_mode(machine: Machine) -> None:
    done = machine(check=True)
    assert done["changed"] and done["notes"][0].startswith("Would save home to ")
    assert machine.calls.read_text() == "" and not (machine.root / "backups").exists()
