"""The order of a stage's tests."""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `last` leaves another hub than the others need, or none: it runs after them, whatever its file is
    called."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
