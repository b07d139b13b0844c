"""spawner: a hub that asks a guard."""

import time
from typing import Any

import pytest
import requests
import spawner as spawner_module
from docker.errors import APIError, DockerException
from urllib3.exceptions import ProtocolError


def broken(error: type[OSError]) -> Exception:
    """What the client raises when its connection breaks, or there is none."""
    return requests.ConnectionError(ProtocolError("Connection aborted.", error(2, "No such file or directory")))


@pytest.mark.parametrize("error", [FileNotFoundError, ConnectionRefusedError])
def test_a_guard_that_is_being_restarted_is_waited_for(monkeypatch: pytest.MonkeyPatch, error: type[OSError]) -> None:
    monkeypatch.setattr(spawner_module, "GUARDED", True)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    answers = [broken(error), DockerException(f"version: {error}"), broken(error)]
    answers[1].__cause__ = broken(error)

    def ask() -> str:
        if answers:
            raise answers.pop()
        return "there"

    assert spawner_module.patiently(ask) == "there"


@pytest.mark.parametrize(
    ("guarded", "error", "patience"),
    [
        (False, broken(FileNotFoundError), 1000),
        (
            True,
            requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))),
            1000,
        ),
        (True, broken(ConnectionRefusedError), -1),
    ],
)
def test_what_may_have_been_done_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, guarded: bool, error: Exception, patience: float
) -> None:
    monkeypatch.setattr(spawner_module, "GUARDED", guarded)
    monkeypatch.setattr(spawner_module, "GUARD_RESTARTS", patience)
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        raise error

    with pytest.raises(requests.ConnectionError):
        spawner_module.patiently(ask)
    assert asked == [1]


def test_what_a_user_is_told_when_the_guard_makes_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = requests.Response()
    answer.status_code = 403
    refused = APIError("403", answer, "no user 'eve' is declared")
    assert spawner_module.refusal(refused) is refused, "of an engine, JupyterHub says it"
    monkeypatch.setattr(spawner_module, "GUARDED", True)
    told: Any = spawner_module.refusal(refused)
    assert told.message == "The guard has not made the server: no user 'eve' is declared."
    told = spawner_module.refusal(broken(FileNotFoundError))
    assert told.message == "The guard has not made the server: it does not answer."
