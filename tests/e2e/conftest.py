"""The machine under test, its hub and its users, as molecule/shared/inventory/hosts.yml declares them."""

from __future__ import annotations

import pytest
import yaml
from machine import ROOT
from sessions import ClientFactory, login, serve, url

__all__ = ["PASSWORDS", "ClientFactory", "login", "serve", "url"]

INVENTORY = yaml.safe_load((ROOT / "molecule/shared/inventory/hosts.yml").read_text(encoding="utf-8"))
DECLARED = INVENTORY["jupyterhub"]["vars"]["jupyterhub_home_users"]
# Of all who can log in; zoe is declared by a hash alone, as lou is, who is locked.
PASSWORDS = {user["name"]: user["password"] for user in DECLARED if "password" in user} | {"zoe": "zoe-test-secret"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `last` ends the hub that the others need: it runs after them, whatever its file is called."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def passwords() -> dict[str, str]:
    """Who can log in."""
    return PASSWORDS
