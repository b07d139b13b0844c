"""The machine of molecule/convergence."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from machine import playbook
from order import pytest_collection_modifyitems
from story import Story
from testinfra.host import Host
from world import World

__all__ = ["pytest_collection_modifyitems"]

Run = Callable[..., subprocess.CompletedProcess[str]]


def recap(done: subprocess.CompletedProcess[str]) -> tuple[int, int]:
    """How many tasks of a run changed something, and how many failed."""
    found = re.findall(r"changed=(\d+).*failed=(\d+)", done.stdout)
    assert len(found) == 1, done.stdout[-3000:]
    return int(found[0][0]), int(found[0][1])


@pytest.fixture(scope="module")
def run(host: Host) -> Run:
    """run(variables, playbook, options...): a playbook with the scenario's own inventory, which sets users alone."""

    def run_playbook(
        variables: dict[str, Any], name: str = "site.yml", *options: str
    ) -> subprocess.CompletedProcess[str]:
        return playbook(host, variables, name, *options, shared=False)

    return run_playbook


@pytest.fixture(scope="module")
def home(host: Host, run: Run) -> Iterator[World]:
    """The hub with the defaults; its servers are stopped at the end."""
    done = run({})
    assert done.returncode == 0, done.stdout[-3000:]
    world = World(host)
    yield world
    world.stop_servers()


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest, host: Host, run: Run) -> Iterator[Story]:
    """The hub with the module's USERS, while alice's kernel counts all the time; at the end with the inventory's."""
    done = run({"jupyterhub_home_users": request.module.USERS})
    assert done.returncode == 0, done.stdout[-4000:]
    story = Story(host, run, request.module.USERS)
    story.start_counting("alice")
    yield story
    done = run({})
    assert done.returncode == 0, done.stdout[-4000:]
