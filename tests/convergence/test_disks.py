"""A limit on the disk comes, follows a renamed user, outlives a power cut and an uninstallation; files do so, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from client import HubError
from machine import images_aside, loop_devices
from rows import USERS
from story import Run, Story
from test_drift import ACCOUNTS, flat
from testinfra.host import Host
from world import World

LIMIT = "300M"
RENAMED: list[dict[str, Any]] = [
    {**user, "name": "rob", "renamed_from": "bob"} if user["name"] == "bob" else user for user in USERS
]
PACKAGES = "jupyterhub_home : docker | Install the packages"
WAITS = "No disk of 300M yet, for their servers run: alice. Stop them, then run again"
PLACES = "grep -o '/[^ ]*jupyterhub-home-user-[^ ]*' /proc/mounts | sort"


@pytest.fixture(autouse=True)
def devices(host: Host) -> Iterator[None]:
    loop_devices(host)
    yield


def test_a_limit_for_those_whose_servers_do_not_run(story: Story, host: Host) -> None:
    bob = story.serve("bob")
    bob.save("notes.txt", "kept")
    bob.stop()
    change = story.change(disk_limit=LIMIT)
    assert change.tasks == [PACKAGES, ACCOUNTS]
    assert "Disks of 300M would be made, with the files that were there: bob, mia" in flat(change.tried)
    assert "Disks of 300M made, with the files that were there: bob, mia" in flat(change.output)
    assert WAITS in flat(change.tried) and WAITS in flat(change.output)
    assert story.serve("bob").load("notes.txt") == "kept"
    story.client("bob").stop()


def test_a_power_cut(story: Story, host: Host) -> None:
    """Nothing is mounted, and no server starts on an empty folder; the unit or the next run mounts all again."""
    mounted = host.check_output(PLACES)
    host.check_output(f"for place in $({PLACES} | sort -r); do umount $place; done")
    assert host.check_output(PLACES) == ""
    with pytest.raises(HubError):
        story.client("bob").spawn()
    change = story.change(disk_limit=LIMIT)
    assert change.tasks == [ACCOUNTS] and "Disks mounted: bob, mia" in flat(change.output)
    assert host.check_output(PLACES) == mounted
    host.check_output(f"for place in $({PLACES} | sort -r); do umount $place; done")
    host.check_output("systemctl restart jupyterhub-home-disks")
    assert host.check_output(PLACES) == mounted
    assert story.serve("bob").load("notes.txt") == "kept"
    story.client("bob").stop()


def test_a_disk_follows_a_renamed_user(story: Story) -> None:
    change = story.change(disk_limit=LIMIT, users=RENAMED, undeclared_users="remove")
    assert change.tasks == [ACCOUNTS] and "Home of bob carried over to rob" in flat(change.output)
    rob = story.serve("rob", "bob-test-secret")
    assert rob.load("notes.txt") == "kept"
    rob.stop()


@pytest.mark.last
def test_uninstalling_keeps_disks(home: World, host: Host, run: Run) -> None:
    """Another run finds the files again."""
    limited = {"jupyterhub_home_disk_limit": LIMIT}
    done = run(limited)
    assert done.returncode == 0, done.stdout[-3000:]
    home.server("bob").save("notes.txt", "kept once more")
    home.stop_servers()
    assert "user-bob" in host.check_output(PLACES)
    with images_aside(host):
        done = run({}, "playbooks/uninstall.yml")
    assert done.returncode == 0 and "disk.img" in flat(done.stdout), done.stdout[-3000:]
    assert host.check_output(PLACES) == ""
    done = run(limited)
    assert done.returncode == 0, done.stdout[-3000:]
    assert home.server("bob").load("notes.txt") == "kept once more"
