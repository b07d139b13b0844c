"""disk: what the hub keeps for a full disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import disk
import pytest
import sqlalchemy
from jupyterhub.spawner import SpawnException
from sqlalchemy.exc import SQLAlchemyError


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk of so many bytes free, on which only the reserve is written."""
    space = SimpleNamespace(bytes=103 * 4096 - 1)
    monkeypatch.setattr(disk, "SLICE", 4096)
    monkeypatch.setattr(disk, "RESERVE", tmp_path / "reserve")
    monkeypatch.setattr(disk, "PLENTY", 100 * 4096)

    def free() -> int:
        taken: int = sum(path.stat().st_size for path in (tmp_path / "reserve").glob("*"))
        return int(space.bytes) - taken

    monkeypatch.setattr(disk, "free", free)
    return space


def there() -> int:
    return sum(path.exists() for path in disk.slices())


def test_the_reserve_is_made_while_there_is_plenty(space: SimpleNamespace) -> None:
    disk.refill()
    assert there() == 3
    disk.refill()
    assert there() == 3
    space.bytes = 10**9
    disk.refill()
    assert there() == disk.SLICES


def test_it_is_given_up_as_far_as_a_start_needs_it(space: SimpleNamespace) -> None:
    space.bytes = 10**9
    disk.refill()
    disk.make_room()
    assert there() == disk.SLICES
    for left in (disk.SLICES - 1, disk.SLICES - 2):
        space.bytes = (left + 1) * 4096  # somebody's file takes what was given up before
        disk.make_room()
        assert there() == left
    space.bytes = 0
    disk.make_room()
    disk.make_room()
    assert there() == 0


def test_a_database_is_written_without_new_blocks(tmp_path: Path) -> None:
    """Neither its file nor its journal grows, whatever the hub's day brings."""
    database = tmp_path / "hub.sqlite"
    connection = sqlite3.connect(database, isolation_level=None)
    disk.keep_journal(connection)
    connection.execute("CREATE TABLE users (name)")
    disk.room_for_records(database)
    journal = tmp_path / "hub.sqlite-journal"
    sizes = [path.stat().st_size for path in (database, journal)]
    assert min(sizes) >= disk.RECORDS
    for number in range(100):
        connection.execute("INSERT INTO users VALUES (?)", ["x" * 9000 + str(number)])
    assert [path.stat().st_size for path in (database, journal)] == sizes
    disk.room_for_records(database)
    assert [path.stat().st_size for path in (database, journal)] == sizes, "it was enough"
    connection.close()


def test_a_full_disk_has_words(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/hub.sqlite")
    sqlalchemy.event.listen(engine, "handle_error", disk.say_full)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 2")
        with pytest.raises(disk.DiskFullError) as raised:
            for number in range(9):
                connection.exec_driver_sql(f"CREATE TABLE t{number} (x)")
        assert isinstance(raised.value, SQLAlchemyError) and raised.value.status_code == 507
        with pytest.raises(sqlalchemy.exc.OperationalError):
            connection.exec_driver_sql("SELECT * FROM nothing")


def test_a_server_that_cannot_start_has_words() -> None:
    full = disk.refusal(OSError("write /var/lib/docker/x: No space left on device"))
    assert isinstance(full, SpawnException) and "disk of this machine is full" in full.message
    other = OSError("no such image")
    assert disk.refusal(other) is other
