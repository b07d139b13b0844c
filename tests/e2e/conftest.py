"""The machine under test, its hub and its users, as molecule/shared/inventory/hosts.yml declares them."""

from __future__ import annotations

import pytest
import yaml
from machine import ROOT
from order import pytest_collection_modifyitems
from sessions import ClientFactory, login, serve, url

__all__ = ["PASSWORDS", "ClientFactory", "login", "pytest_collection_modifyitems", "serve", "url"]

INVENTORY = yaml.safe_load((ROOT / "molecule/shared/inventory/hosts.yml").read_text(encoding="utf-8"))
DECLARED = INVENTORY["jupyterhub"]["vars"]["jupyterhub_home_users"]
# Of all who can log in; zoe is declared by a hash alone, as lou is, who is locked.
PASSWORDS = {user["name"]: user["password"] for user in DECLARED if "password" in user} | {"zoe": "zoe-test-secret"}


@pytest.fixture(scope="session")
def passwords() -> dict[str, str]:
    """Who can log in."""
    return PASSWORDS
