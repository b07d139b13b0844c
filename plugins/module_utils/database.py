"""The hub's database: a copy of it while the hub goes on, its revision and its schema."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

PATIENCE = 30  # seconds in which whoever has locked it may let go


def copy_database(source: Path, copy: Path) -> None:
    """Copy it as it is at one moment, readable for the owner alone; a copy that is there and the same stays untouched.

    Raises OSError, and sqlite3.Error where it is damaged or stays locked.
    """
    beside = copy.with_name(f".{copy.name}.new")
    beside.unlink(missing_ok=True)
    os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    there = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
    here = sqlite3.connect(beside)
    with contextlib.closing(there), contextlib.closing(here):
        there.execute("BEGIN")  # what waits; the copying itself would do so without an end
        there.execute("SELECT count(*) FROM sqlite_master").fetchone()
        here.execute("PRAGMA journal_mode = MEMORY")
        there.backup(here)
        wrong = [str(row[0]) for row in here.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
    if wrong:
        beside.unlink()
        raise sqlite3.DatabaseError("; ".join(wrong))
    if copy.is_file() and copy.read_bytes() == beside.read_bytes():
        beside.unlink()
    else:
        beside.replace(copy)


def rows(database: Path, query: str) -> list[tuple[str, ...]]:
    """What a query gives; nothing where the database cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error:
        return []


def revision(database: Path) -> str:
    """Its version, as alembic calls it; '' where none is noted."""
    found = rows(database, "SELECT version_num FROM alembic_version")
    return str(found[0][0]) if found else ""


def schema(database: Path) -> list[tuple[str, ...]]:
    """Its tables and indexes: the name of each, and the statement that makes it."""
    return rows(database, "SELECT name, sql FROM sqlite_master ORDER BY name")
