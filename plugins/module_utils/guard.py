"""Whether the guard, which makes users' servers, is at work."""

from __future__ import annotations

import os
import socket
import stat
import time
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, inspect

PATIENCE = 3  # seconds; one that starts takes two
PAUSE = 0.25
NO_ENGINE = b"the engine does not answer"  # its words


def problem(container: dict[str, Any], *, at_once: bool = False) -> str:
    """Why the guard in a container makes no servers, asked as the hub asks it; '' if it does.

    at_once: do not wait for one that may be starting. Also '' where that cannot be known: without root, or of a
    container that Docker says nothing of.
    """
    state = container["State"]
    if "Pid" not in state or os.geteuid() != 0:
        return ""
    end = time.monotonic() + (0 if at_once else PATIENCE)
    while True:
        why = asked(f"/proc/{state['Pid']}/root{contract.GUARD_SOCKET}")
        if not why or time.monotonic() > end:
            return why
        time.sleep(PAUSE)


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
    end = time.monotonic() + 10 * PATIENCE
    while True:
        container = inspect(name).get(name)
        why = problem(container, at_once=True) if container else "it is gone"
        if not why or time.monotonic() > end:
            return why and f"{why}. {engine_socket()}.\n{log_of(name)}"
        time.sleep(PAUSE)


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
