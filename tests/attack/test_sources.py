"""Somebody who has a folder of the machine wants another one: all of them, or those of whoever runs the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from client import HubClient, HubError
from machine import address, containers, playbook
from testinfra.host import Host

USER = "bob"
SETTINGS = "/opt/jupyterhub-home/hub/spawner.json"
SHARED, PRIVATE = "/srv/shared", "/srv/shared/private"
MOUNTS: list[dict[str, Any]] = [
    {"source": SHARED, "target": "/home/jovyan/shared"},
    {"source": f"{PRIVATE}/{{username}}", "target": "/home/jovyan/private", "users": [USER]},
]
DISK = "/srv/a disk"
MOUNT = f"mount -t tmpfs -o size=1m,uid=1000,mode=755 none '{DISK}'"
ON_DISK = {"jupyterhub_home_mounts": [{"source": DISK, "target": "/home/jovyan/disk", "users": [USER]}]}
REPLACE = """
import os
shared = '/home/jovyan/shared'
os.rename(f'{shared}/private', f'{shared}/old')
os.mkdir(f'{shared}/private')
os.symlink('/', f'{shared}/private/bob')
"""
READ = "print(open('/home/jovyan/private/etc/machine-id').read())"


@pytest.fixture
def user(host: Host) -> Iterator[HubClient]:
    """A user who has no server."""
    client = HubClient(f"http://{address(host)}:8000", USER, f"{USER}-test-secret")
    client.login()
    client.stop()
    yield client
    client.stop()


@pytest.fixture
def shared(host: Host) -> Iterator[None]:
    """A folder for all on the machine, with everybody's own below, as many have it."""
    host.check_output(f"rm -rf {SHARED} && mkdir -p {PRIVATE}/{USER} && chown -R 1000:100 {SHARED}")
    yield
    host.check_output(f"rm -rf {SHARED}")


@pytest.fixture
def older(host: Host, shared: None) -> Iterator[dict[str, Any]]:
    """What a run without the checks would have had the hub mount: settings to change, and to `place`."""
    text = host.file(SETTINGS).content_string
    yield json.loads(text)
    place(host, text)


def place(host: Host, text: str) -> None:
    """Give the hub these settings of servers; the file's owner and mode stay."""
    host.check_output("printf %%s %s >%s", text, SETTINGS)


def mounts_of(owner: int) -> list[dict[str, Any]]:
    """The mounts as the hub has them, of folders of this owner."""
    filled = [{**mount, "source": mount["source"].replace("{username}", USER)} for mount in MOUNTS]
    plain = {"users": [USER], "read_only": False, "gid": 100, "mount_point": "/"}
    return [{**plain, **filled[0], "uid": 1000}, {**plain, **filled[1], "uid": owner}]


def test_a_source_that_a_user_can_replace_is_not_taken(host: Host, shared: None) -> None:
    """And nothing has changed. Once root alone can replace it, it is fine."""
    before, settings = containers(host), host.file(SETTINGS).content_string
    done = playbook(host, {"jupyterhub_home_mounts": MOUNTS}, "site.yml", "--check", shared=False)
    said = " ".join(done.stdout.split())
    assert done.returncode != 0
    assert f"in the place of {PRIVATE}, on the way to {PRIVATE}/{USER}: {SHARED} belongs to 1000:100, mode 0755" in said
    assert "Write: a folder that root alone can replace, such as /srv/bob" in said
    assert (containers(host), host.file(SETTINGS).content_string) == (before, settings)
    host.check_output(f"chown root {SHARED} {PRIVATE} && chmod 1777 {SHARED}")
    done = playbook(host, {"jupyterhub_home_mounts": MOUNTS}, "site.yml", "--check", shared=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("checked", [True, False])
def test_a_link_in_the_place_of_a_source_is_not_mounted(
    host: Host, user: HubClient, older: dict[str, Any], checked: bool
) -> None:
    """The hub sees that the folder is not whose it was. One that does not look gives the user the machine's root."""
    older["mounts"] = mounts_of(1000)
    place(host, json.dumps(older))
    user.spawn()
    user.enter().raise_for_status()
    user.run(REPLACE)
    user.stop()
    if checked:
        with pytest.raises(HubError, match=r"424.*the folder for /home/jovyan/private is not the one"):
            user.spawn()
        assert host.run(f"docker container inspect jupyterhub-home-user-{USER}").failed
        log = host.check_output("docker logs --since 1m jupyterhub-home-guard 2>&1")
        assert f"The server of bob is not started: {PRIVATE}/bob belongs to 0 now, not to 1000" in log
    else:
        older["mounts"] = mounts_of(0)  # root's, as the link leads to
        place(host, json.dumps(older))
        user.spawn()
        user.enter().raise_for_status()
        assert user.run(READ).strip() == host.file("/etc/machine-id").content_string.strip()


def test_a_folder_that_is_gone_is_said(host: Host, user: HubClient, older: dict[str, Any]) -> None:
    """The engine finds nothing to mount, as where a folder is on a disk that is away."""
    older["mounts"] = mounts_of(1000)
    place(host, json.dumps(older))
    host.check_output(f"rm -r {PRIVATE}")
    with pytest.raises(HubError, match=r"424.*the folder for /home/jovyan/private is not the one"):
        user.spawn()
    log = host.check_output("docker logs --since 1m jupyterhub-home-guard 2>&1")
    assert f"The server of bob is not started: {PRIVATE}/bob is not there. Is its disk mounted?" in log


@pytest.fixture
def disk(host: Host) -> Iterator[str]:
    """A file system that is mounted, on a folder with the same owner, and a hub that was set up with it."""
    host.check_output(f"mkdir -p '{DISK}' && chown 1000 '{DISK}' && {MOUNT}")
    try:
        done = playbook(host, ON_DISK, shared=False)
        assert done.returncode == 0, done.stdout[-3000:]
        yield DISK
    finally:
        host.run(f"umount '{DISK}'")
        done = playbook(host, {}, shared=False)
        host.check_output(f"rmdir '{DISK}'")
    assert done.returncode == 0, done.stdout[-3000:]
    # Without the entry in between, it is meant.
    assert DISK not in host.file(SETTINGS).content_string


def test_an_empty_folder_in_the_place_of_a_disk_is_not_filled(host: Host, disk: str, user: HubClient) -> None:
    """It was mounted when the hub was set up, and is not any more: neither at a run nor at the start of a server. The
    guard sees it at once, and fills the folder where nothing is noted of a disk."""
    user.spawn()
    user.stop()
    host.check_output(f"umount '{disk}'")
    settings = host.file(SETTINGS).content_string
    done = playbook(host, ON_DISK, shared=False)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert f"nothing is mounted at {disk}, where {disk} is, and something was when this hub was last set up" in said
    assert f"Do: mount '{disk}'" in said
    assert host.file(SETTINGS).content_string == settings

    with pytest.raises(HubError, match=r"424.*the folder for /home/jovyan/disk is not the one"):
        user.spawn()
    assert host.run(f"docker container inspect jupyterhub-home-user-{USER}").failed
    log = host.check_output("docker logs --since 1m jupyterhub-home-guard 2>&1")
    assert f"The server of bob is not started: {disk} is not on its disk: nothing is mounted at {disk} now" in log
    assert host.check_output(f"ls -A '{disk}'") == ""

    unnoted = json.loads(settings)
    for mount in unnoted["mounts"]:
        mount["mount_point"] = "/"
    place(host, json.dumps(unnoted))
    user.spawn()
    user.enter().raise_for_status()
    user.run("open('/home/jovyan/disk/lost', 'w').close()")
    user.stop()
    assert host.check_output(f"ls -A '{disk}'") == "lost"
    place(host, settings)
    host.check_output(f"rm '{disk}/lost' && {MOUNT}")
    user.spawn()
