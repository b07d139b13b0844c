"""The machine under test, its hub and its users, as molecule/shared/inventory/hosts.yml declares them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import yaml
from client import HubClient
from machine import ROOT, address
from testinfra.host import Host

INVENTORY = yaml.safe_load((ROOT / "molecule/shared/inventory/hosts.yml").read_text(encoding="utf-8"))
DECLARED = INVENTORY["jupyterhub"]["vars"]["jupyterhub_home_users"]
# Of all who can log in; zoe is declared by a hash alone, as lou is, who is locked.
PASSWORDS = {user["name"]: user["password"] for user in DECLARED if "password" in user} | {"zoe": "zoe-test-secret"}

ClientFactory = Callable[[str], HubClient]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `last` ends the hub that the others need: it runs after them, whatever its file is called."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="module")
def url(host: Host) -> str:
    """The hub's address, as another device on the machine's network uses it."""
    return f"http://{address(host)}:8000"


@pytest.fixture(scope="module")
def login(url: str) -> ClientFactory:
    """Log a declared user in; each call is a new session."""

    def log_in(name: str) -> HubClient:
        client = HubClient(url, name, PASSWORDS[name])
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
