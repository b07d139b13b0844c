"""Whether the guard, which makes users' servers, is at work."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, inspect

PATIENCE = 3  # seconds; one that starts takes two
PAUSE = 0.25
NO_ENGINE = b"the engine does not answer"  # its words


def problem(container: dict[str, Any]) -> str:
    """Why the guard in a container makes no servers, asked as the hub asks it; '' if it does, or a while later.

    Also '' where that cannot be known, without root, and of one that was stopped or paused, which is found otherwise.
    """
    return last_answer(lambda: at_once(container), PATIENCE)


def last_answer(ask: Callable[[], str], seconds: float) -> str:
    """'' as soon as that is what is answered; else the answer after so many seconds: a guard may be starting."""
    end = time.monotonic() + seconds
    while (why := ask()) and time.monotonic() <= end:
        time.sleep(PAUSE)
    return why


def at_once(container: dict[str, Any]) -> str:
    """The same, without waiting."""
    state = container["State"]
    if state["Status"] not in ("running", "restarting") or "Pid" not in state or os.geteuid() != 0:
        return ""
    return asked(f"/proc/{state['Pid']}/root{contract.GUARD_SOCKET}")


def asked(path: str) -> str:
    """What a guard's answer on its socket comes to."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(path)
            client.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            answer = client.recv(65536)
    except OSError:
        return "nobody answered on its socket"
    return "it did not reach the Docker engine" if NO_ENGINE in answer else ""


def problem_of(name: str) -> str:
    """The same of a container that was just started, with what helps to mend it."""

    def look() -> str:
        container = inspect(name).get(name)
        return at_once(container) if container else "it is gone"

    why = last_answer(look, 10 * PATIENCE)
    return why and f"{why}. {engine_socket()}.\n{log_of(name)}"


def log_of(name: str) -> str:
    """The last lines of a container's log."""
    try:
        return docker("logs", "--tail", "5", name, merged=True)
    except EngineError as error:
        return error.why


def engine_socket() -> str:
    """Who may use the engine's socket, in words."""
    try:
        found = Path(contract.SOCKET).stat()
    except OSError as error:
        return f"{contract.SOCKET}: {error.strerror}"
    owner, mode = f"{found.st_uid}:{found.st_gid}", stat.filemode(found.st_mode)
    return f"{contract.SOCKET} belongs to {owner}, {mode}; Docker makes it so that a group of its own may use it"
