"""Fixtures of a stage whose users log in to the hub of its machine; the stage's own `passwords` says who they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from client import HubClient
from machine import address
from testinfra.host import Host

ClientFactory = Callable[[str], HubClient]


@pytest.fixture(scope="module")
def url(host: Host) -> str:
    """The hub's address, as another device on the machine's network uses it."""
    return f"http://{address(host)}:8000"


@pytest.fixture(scope="module")
def login(url: str, passwords: dict[str, str]) -> ClientFactory:
    """Log a declared user in; each call is a new session."""

    def log_in(name: str) -> HubClient:
        client = HubClient(url, name, passwords[name])
        client.login()
        return client

    return log_in


@pytest.fixture(scope="module")
def serve(login: ClientFactory) -> Iterator[ClientFactory]:
    """Log a declared user in, with their server running and entered; it is stopped at the end."""
    clients: dict[str, HubClient] = {}

    def log_in_and_start(name: str) -> HubClient:
        if name not in clients:
            clients[name] = login(name)
        client = clients[name]
        if client.server() is None:
            client.spawn()
        client.enter().raise_for_status()
        return client

    yield log_in_and_start
    for client in clients.values():
        client.stop()
