"""The hub on a full disk: room kept for its own records and for starting servers, and words for who gets none.

SQLite needs no new blocks of the disk while its file has free pages and its journal is there, large enough. What
Docker writes for a container that starts takes the place of files that are given up one after the other.
"""

import contextlib
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import sqlalchemy.engine
import sqlalchemy.event
from jupyterhub.spawner import SpawnException
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError

DATABASE = Path("/srv/jupyterhub/jupyterhub.sqlite")
RESERVE = Path("/srv/jupyterhub/reserve")
MIB = 1024 * 1024
RECORDS = 8 * MIB  # bytes, of the database and of its journal
SLICE = 8 * MIB  # bytes that a container writes at its start, with room to spare
SLICES = 8
PLENTY = 256 * MIB  # bytes that stay free when the reserve is made
PAUSE = 10  # seconds
WORDS = (
    "The disk of this machine is full. Whoever has a server can delete files in it; all goes on when there is space."
)
FULL = ("disk is full", "no space left")


class DiskFullError(HTTPError, SQLAlchemyError):
    """The database could not be written; JupyterHub shows the words, and rolls back as for any error of it."""

    def __init__(self) -> None:
        HTTPError.__init__(self, 507, WORDS, reason="The disk is full")


def is_full(error: object) -> bool:
    """Whether an error says that there is no space."""
    return any(words in str(error).lower() for words in FULL)


def keep_journal(connection: Any, _: Any = None) -> None:
    """Have SQLite write its journal over the last one; for SQLAlchemy's event."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode = PERSIST").close()


def say_full(context: Any) -> None:
    """Have a page and the API say that the disk is full; for SQLAlchemy's event."""
    if is_full(context.original_exception):
        raise DiskFullError from context.original_exception


def room_for_records(database: Path) -> None:
    """Give the database free pages, and its journal its size, if they have less than half of it.

    Raises sqlite3.Error when it cannot, and OSError.
    """
    journal = database.with_name(f"{database.name}-journal")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        keep_journal(connection)
        (pages,), (size,) = (
            connection.execute(f"PRAGMA {what}").fetchone() for what in ("freelist_count", "page_size")
        )
        if pages * size >= RECORDS // 2 and journal.exists() and journal.stat().st_size >= RECORDS // 2:
            return
        # A row takes a page; the journal gets a copy of each that is changed, and the pages are free in the end.
        connection.execute("DROP TABLE IF EXISTS reserve")
        connection.execute("CREATE TABLE reserve (content BLOB)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO reserve VALUES (zeroblob(?))", [(size * 3 // 4,)] * (RECORDS // size))
        connection.execute("COMMIT")
        connection.execute("UPDATE reserve SET content = randomblob(length(content))")
        connection.execute("DROP TABLE reserve")


def free() -> int:
    """Bytes that the hub, which is not root, may write."""
    stat = os.statvfs(RESERVE.parent)
    return stat.f_bavail * stat.f_frsize


def slices() -> list[Path]:
    """The files of the reserve that are not there, then those that are."""
    return sorted((RESERVE / str(number) for number in range(SLICES)), key=lambda path: (path.exists(), path.name))


def refill() -> None:
    """Make what is missing of the reserve while there is plenty of space."""
    RESERVE.mkdir(exist_ok=True)
    for path in slices():
        if path.exists() or free() < PLENTY:
            return
        beside = RESERVE / "new"
        try:
            with beside.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, SLICE)
            beside.rename(path)
        finally:
            beside.unlink(missing_ok=True)


def make_room() -> None:
    """Before a server starts: give up as much of the reserve as its start needs."""
    for path in reversed(slices()):
        if not path.exists() or free() >= SLICE:
            return
        path.unlink()


def refusal(error: Exception) -> Exception:
    """What JupyterHub is to be told of a server that did not start."""
    return SpawnException(WORDS, reason="disk full", status_code=507) if is_full(error) else error


def keep(url: str) -> None:
    """Keep room from now on; url: the hub's database."""
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "handle_error", say_full)
    if url == f"sqlite:///{DATABASE}":
        sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", keep_journal)
        try:
            room_for_records(DATABASE)
        except (sqlite3.Error, OSError) as error:
            print(f"jupyterhub-home: no room was kept for the database: {error}", file=sys.stderr)

    def refill_often() -> None:
        while True:
            with contextlib.suppress(OSError):
                refill()
            time.sleep(PAUSE)

    threading.Thread(target=refill_often, daemon=True).start()
