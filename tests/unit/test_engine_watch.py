"""engine_watch: a hub whose Docker socket is good for nothing ends."""

import socket
import time
from pathlib import Path

import engine_watch
import pytest


def test_a_socket_that_nobody_listens_on_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing for now, or is silent only once, is not."""
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(engine_watch, "ENGINE", str(path))
    engines: list[socket.socket] = []
    steps = ["missing", "answers", "silent", "missing", "silent", "silent", "left over"]

    def pause(_: float) -> None:
        path.unlink(missing_ok=True)
        if (step := steps.pop(0)) != "missing":
            engines.append(socket.socket(socket.AF_UNIX))
            engines[-1].bind(str(path))
            if step == "answers":
                engines[-1].listen()

    monkeypatch.setattr(time, "sleep", pause)
    engine_watch.watch_engine()
    assert steps == ["left over"]
    for engine in engines:
        engine.close()
