"""The lease on a target: the run that holds it is the only one that changes the machine."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

# For all projects, which share Docker and the packages. Gone after a reboot, as every run then is.
PATH = Path("/run/jupyterhub-home.lease")


@contextlib.contextmanager
def _locked() -> Iterator[TextIO]:
    """The lease's file, made if need be; other processes wait until the block is left."""
    while True:
        with os.fdopen(os.open(PATH, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if os.fstat(stream.fileno()).st_nlink:  # released while this process waited, it has no name any more
                yield stream
                return


def _holder(stream: TextIO) -> dict[str, Any]:
    """The run that holds the lease; empty for a new file and for one that a kill left half written."""
    try:
        holder = json.load(stream)
        return {**holder, "id": str(holder["id"]), "taken": float(holder["taken"])}
    except (ValueError, KeyError, TypeError):
        return {}


def take(run: dict[str, Any], ended: str = "") -> dict[str, Any]:
    """Take the lease; returns an empty dictionary, or the run that has it, with its `age` in seconds and the
    `path` of the lease.

    run: what the next run shall learn about this one, its `id` at least; ended: the id of a run whose lease may be
    taken over. An age that is negative is from before a reboot.
    """
    now = time.clock_gettime(time.CLOCK_BOOTTIME)  # no one sets this clock
    with _locked() as stream:
        holder = _holder(stream)
        if holder and holder["id"] not in (run["id"], ended):
            return {**holder, "age": now - holder["taken"], "path": str(PATH)}
        stream.seek(0)
        stream.truncate()
        json.dump({**run, "taken": now}, stream)
    return {}


def release(run: str) -> None:
    """Give the lease back, if the run with this id holds it; without an id, do nothing."""
    if not run or not PATH.exists():
        return
    with _locked() as stream:
        if _holder(stream).get("id", run) == run:
            PATH.unlink()
