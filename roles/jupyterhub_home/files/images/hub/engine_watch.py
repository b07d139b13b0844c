"""Whoever has a Docker socket that is good for nothing ends, to be restarted by Docker."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator

ENGINE = "/var/run/docker.sock"


def watch_engine(pause: float = 5) -> None:
    """Return when nobody listens on the engine's socket any more, seen twice with a pause (seconds) between.

    An engine that was upgraded while containers went on listens on a new one, which this container gets by a restart.
    """
    refused = 0
    while refused < 2:
        time.sleep(pause)
        with socket.socket(socket.AF_UNIX) as engine:
            refused = refused + 1 if engine.connect_ex(ENGINE) == errno.ECONNREFUSED else 0


def end_without_engine() -> None:
    """Have Docker restart this process, from a thread of its own, when its socket is good for nothing."""

    def watch() -> None:
        watch_engine()
        print("jupyterhub-home: the Docker engine has another socket; ending, to be restarted with it", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that it came from."""
    yield error
    for inner in (*error.args, error.__cause__ or error.__context__):
        if isinstance(inner, BaseException):
            yield from causes(inner)


def is_absent(error: BaseException) -> bool:
    """Whether nothing listens on the socket, so that nothing of a request was done."""
    return any(isinstance(one, (ConnectionRefusedError, FileNotFoundError)) for one in causes(error))
