"""The copy of the hub's database that a trial has: of a hub that runs, that was killed; older, newer, broken."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trial_database
from conftest import ROOT
from jupyterhub import dbutil, orm
from trial_database import NAME, DatabaseError, copied, forget_servers, migrate

FIVE = "4621fec11365"  # of JupyterHub 5


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of a hub whose user kim has a running server."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with orm.new_session_factory(f"sqlite:///{folder / NAME}")() as db:
        server = orm.Server(ip="home-user-kim", port=8888)
        db.add(orm.User(name="kim", _orm_spawners=[orm.Spawner(name="", server=server, state={"object_id": "1"})]))
        db.commit()
    return folder


def names(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM users")]


def alembic(database: Path, *command: str) -> None:
    """Another revision for a database."""
    ini = database.with_suffix(".ini")
    dbutil.write_alembic_ini(str(ini), f"sqlite:///{database}")
    subprocess.run(["alembic", "-c", ini, *command], check=True, capture_output=True)
    ini.unlink()


def test_while_the_hub_writes(kept: Path, tmp_path: Path) -> None:
    """What it has not committed yet is not in the copy, and nothing of the hub's is touched."""
    hub = sqlite3.connect(kept / NAME)
    hub.execute("INSERT INTO users (name, cookie_id) VALUES ('mia', 'x')")
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    copy = copied(kept, tmp_path / "here")
    migrate(copy)
    assert names(copy) == ["kim"]
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    hub.rollback()


KILLED = """
import os, sqlite3, sys
hub = sqlite3.connect(sys.argv[1])
hub.execute("PRAGMA cache_size = 1")
hub.execute("CREATE TABLE filler (text)")
hub.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 100)
hub.execute("UPDATE users SET name = 'half'")
os._exit(1)
"""


def test_what_a_killed_hub_left_is_taken_back(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the copy: the volume is mounted read-only."""
    subprocess.run([sys.executable, "-c", KILLED, kept / NAME], check=False)
    assert (kept / f"{NAME}-journal").stat().st_size > 0
    connect = sqlite3.connect

    def read_only(place: object, **options: bool) -> sqlite3.Connection:
        if "mode=ro" in str(place):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(place, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    copy = copied(kept, tmp_path / "here")
    monkeypatch.undo()
    assert names(copy) == ["kim"]


def test_locked(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_database, "PATIENCE", 0)
    other = sqlite3.connect(kept / NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseError, match="locked by another program"):
        copied(kept, tmp_path / "here")


def test_one_of_jupyterhub_5_is_migrated_in_the_copy_alone(tmp_path: Path) -> None:
    """With users, groups, tokens and what is known of servers, which the trial then forgets."""
    (tmp_path / "kept").mkdir()
    five = tmp_path / "kept" / NAME
    with sqlite3.connect(five) as connection:
        connection.executescript((ROOT / "tests/support/jupyterhub_5.sql").read_text())
    before = five.read_bytes()
    copy = copied(five.parent, tmp_path / "here")
    migrate(copy)
    with orm.new_session_factory(f"sqlite:///{copy}")() as db:
        kim, bob = (orm.User.find(db, name) for name in ("kim", "bob"))
        assert kim.admin and {role.name for role in kim.roles} == {"user", "admin"}
        assert orm.APIToken.find(db, "7c89add918d842fd8c792514d22b1cc1").user is kim
        assert [group.name for group in bob.groups] == ["family"]
        assert bob.orm_spawners[""].server is not None and bob.orm_spawners[""].state == {"object_id": "x"}
        forget_servers(db)
        db.expire_all()
        assert bob.orm_spawners[""].server is None and not bob.orm_spawners[""].state
    assert five.read_bytes() == before


def test_one_of_a_newer_jupyterhub(kept: Path) -> None:
    with sqlite3.connect(kept / NAME) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f7f7f7f7f7f7'")
    with pytest.raises(DatabaseError, match="does not know its revision f7f7f7f7f7f7") as caught:
        migrate(kept / NAME)
    assert caught.value.problem["label"] == "Do" and "git checkout" in caught.value.problem["write"]


def test_one_that_cannot_be_migrated(kept: Path) -> None:
    alembic(kept / NAME, "downgrade", FIVE)
    with sqlite3.connect(kept / NAME) as connection:
        connection.execute("DROP TABLE spawners")
    with pytest.raises(DatabaseError, match=rf"cannot migrate it from its revision {FIVE}: .*no such table: spawners"):
        migrate(kept / NAME)


def test_one_that_is_damaged(kept: Path, tmp_path: Path) -> None:
    text = bytearray((kept / NAME).read_bytes())
    text[100:4096] = b"\xff" * 3996
    (kept / NAME).write_bytes(text)
    with pytest.raises(DatabaseError, match="cannot be read: database disk image is malformed"):
        migrate(copied(kept, tmp_path / "here"))
