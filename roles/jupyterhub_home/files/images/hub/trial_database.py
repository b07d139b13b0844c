"""The hub's database as a trial has it: a copy in memory, which is migrated there first."""

import contextlib
import shutil
import sqlite3
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from alembic.script import ScriptDirectory
from jupyterhub import dbutil, orm
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError as SQLError
from sqlalchemy.orm import Session
from trial_servers import Problem

NAME = "jupyterhub.sqlite"
PATIENCE = 30  # seconds in which whoever has locked it may let go


class DatabaseError(Exception):
    """The hub that is tried cannot have this database; problem: as a trial prints it."""

    def __init__(self, what: str, do: str) -> None:
        super().__init__(what)
        self.problem: Problem = {"variable": "The hub's database", "what": what, "label": "Do", "write": do}


def unreadable(error: Exception) -> DatabaseError:
    """The error of a file that SQLite cannot read."""
    why = " ".join(str(getattr(error, "orig", None) or error).split())
    return DatabaseError(
        f"{NAME} in the hub's volume cannot be read: {why}.",
        "put a copy back in its place, or move it aside: the next start makes a new one, and the users, their "
        "passwords and files are not in it",
    )


def copied(kept: Path, folder: Path) -> Path:
    """A copy of the database in one folder, made in another while the hub goes on; DatabaseError if none can be had."""
    source, copy = kept / NAME, folder / NAME
    end = time.monotonic() + PATIENCE

    def wait(status: int, _remaining: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > end:
            raise TimeoutError

    folder.mkdir(parents=True, exist_ok=True)
    try:
        try:
            address = f"{source.absolute().as_uri()}?mode=ro"
            there, here = sqlite3.connect(address, uri=True), sqlite3.connect(copy)
            with contextlib.closing(there), contextlib.closing(here):
                there.backup(here, progress=wait, sleep=0.05)
        except sqlite3.OperationalError:
            # A hub that was killed has left what is to be taken back first, which cannot be written here.
            for path in kept.glob(f"{NAME}*"):
                if path.name.removeprefix(NAME) in ("", "-journal", "-wal"):
                    shutil.copyfile(path, folder / path.name)
            with contextlib.closing(sqlite3.connect(copy)) as here:
                here.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except TimeoutError:
        raise DatabaseError(f"{NAME} is locked by another program.", "end that program, then run again") from None
    except (sqlite3.Error, OSError) as error:
        raise unreadable(error) from error
    return copy


def migrate(database: Path) -> None:
    """Make a copy what this JupyterHub needs, as its start would; DatabaseError where it cannot."""
    url = f"sqlite:///{database}"
    engine = create_engine(url)
    try:
        orm.check_db_revision(engine)
        return
    except orm.DatabaseSchemaMismatch:
        pass
    except SQLError as error:
        raise unreadable(error) from error
    with engine.connect() as connection:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    hub = f"JupyterHub {version('jupyterhub')}"
    if revision not in {script.revision for script in ScriptDirectory(dbutil.ALEMBIC_DIR).walk_revisions()}:
        raise DatabaseError(
            f"it is of a newer JupyterHub than the hub's image has: {hub} does not know its revision {revision}.",
            "take the version of this project that it ran with last (git log, git checkout), or put a copy from before "
            f"into its place: a hub that migrates its database leaves one beside it, {NAME}.DATE",
        )
    with tempfile.TemporaryDirectory() as folder:
        settings = f"{folder}/alembic.ini"
        dbutil.write_alembic_ini(settings, url)
        command = ["alembic", "--config", settings, "upgrade", "head"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        raise DatabaseError(
            f"{hub} cannot migrate it from its revision {revision}: {last_error(lines)}",
            "take the version of this project that it ran with last, and report this as a bug; the database was not "
            "changed",
        )


def last_error(lines: list[str]) -> str:
    """The last line that says what went wrong; SQLAlchemy ends with a link to its own pages."""
    said = [line for line in lines if line.strip() and not line.startswith(("[SQL", "(Background"))]
    return (said or lines)[-1].strip()


def forget_servers(db: Session) -> None:
    """Take from a copy what it knows of running servers: a trial must not find, ask or stop anybody's."""
    db.execute(text("UPDATE spawners SET server_id = NULL, state = NULL"))
    db.commit()
