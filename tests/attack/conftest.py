"""Who attacks, and whom: mia is an admin, alice and bob are ordinary users."""

from __future__ import annotations

import pytest
from order import pytest_collection_modifyitems
from sessions import ClientFactory, login, serve, url

__all__ = ["ClientFactory", "login", "pytest_collection_modifyitems", "serve", "url"]


@pytest.fixture(scope="session")
def passwords() -> dict[str, str]:
    """Of the inventory of molecule/security."""
    return {name: f"{name}-test-secret" for name in ("mia", "alice", "bob")}
