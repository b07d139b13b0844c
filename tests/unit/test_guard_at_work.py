"""module_utils/guard: whether the guard makes servers, asked on its socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, guard
from conftest import Program

HERE: dict[str, Any] = {"State": {"Status": "running", "Pid": os.getpid()}}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where its socket is; nobody waits."""
    monkeypatch.setattr(guard, "PATIENCE", 0.2)
    monkeypatch.setattr(contract, "GUARD_SOCKET", str(tmp_path / "guard.sock"))
    return tmp_path / "guard.sock"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n{}", ""),
        (b"HTTP/1.0 503 No\r\n\r\nnothing is done while the settings are broken", ""),  # which a run mends elsewhere
        (b"HTTP/1.0 503 No\r\n\r\nthe engine does not answer: X", "it did not reach the Docker engine"),
    ],
)
def test_what_it_answers(place: Path, answer: bytes, found: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):  # the end of the test
                while True:
                    client = server.accept()[0]
                    client.recv(65536)
                    client.sendall(answer)
                    client.close()

        threading.Thread(target=serve, daemon=True).start()
        assert guard.problem(HERE) == found


def test_nobody_answers(program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert guard.problem(HERE) == "nobody answered on its socket"
    monkeypatch.setattr(contract, "SOCKET", str(tmp_path))
    program("docker", 'case "$1" in logs) echo its words ;; *) echo "[]" ;; esac')
    said = guard.problem_of("home-guard")
    assert said.startswith(f"it is gone. {tmp_path} belongs to 0:0, d") and said.endswith("\nits words")


def test_where_it_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guard.problem({"State": {"Status": "running"}}) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert guard.problem(HERE) == ""


@pytest.mark.parametrize("status", ["paused", "exited", "created"])
def test_one_that_somebody_stopped_is_no_fault_of_its_own(status: str) -> None:
    """A paused one goes on, and need not be made anew."""
    assert guard.problem({"State": {**HERE["State"], "Status": status}}) == ""
