"""Attacks that want the machine filled up by one user's files, with a limit on the disk and without it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from client import HubClient
from conftest import ClientFactory
from machine import loop_devices, playbook
from testinfra.host import Host

pytestmark = pytest.mark.last  # users keep the disks that they are given
MIB = 2**20
LIMIT, ENOUGH = 300, 400  # MiB
FOLDERS = "/var/lib/docker/volumes/jupyterhub-home-user-{}"
# Prints how many bytes could be written in each place, and what was said then.
FILL = """
import json, os
found = {}
for place in ('/home/jovyan', '/home/jovyan/work', '/tmp', '/var/tmp', '/var/lib/extrausers'):
    taken, said = 0, ''
    try:
        with open(place + '/big', 'wb', buffering=0) as file:
            while taken < ENOUGH * 2**20:
                taken += file.write(os.urandom(2**20))
    except OSError as error:
        said = error.strerror
    found[place] = taken, said
print(json.dumps(found))
""".replace("ENOUGH", str(ENOUGH))
EMPTY = """
import glob, os, shutil
for place in ('/home/jovyan', '/home/jovyan/work', '/tmp', '/var/lib/extrausers'):
    for name in glob.glob(place + '/big'):
        os.remove(name)
shutil.rmtree('/home/jovyan/many', ignore_errors=True)
"""
COUNT = """
import os
os.makedirs('/home/jovyan/many')
made, said = 0, ''
try:
    for made in range(30_000):
        open('/home/jovyan/many/%d' % made, 'x').close()
except OSError as error:
    said = error.strerror
print(made, said)
"""
# The devices of all file systems on which something can be written.
WRITABLE = """
import os, subprocess
look = "find / -path /proc -prune -o -path /dev -prune -o -type d -writable -print 2>/dev/null"
places = subprocess.run(['sh', '-c', look], capture_output=True, text=True).stdout.splitlines()
print(*sorted({str(os.major(os.stat(place).st_dev)) for place in places}))
"""
FULL = "No space left on device"


@pytest.fixture(scope="module", params=["", f"{LIMIT}M", None], ids=["without a limit", "limited", "no more"])
def limited(request: pytest.FixtureRequest, host: Host, login: ClientFactory, serve: ClientFactory) -> Iterator[bool]:
    """Whether users have a limit; they have none in the end. What they had before is there in all cases."""
    if request.param is not None and not request.param:
        serve("alice").run(
            "open('/home/jovyan/kept', 'w').write('kept'); open('/home/jovyan/work/kept', 'w').write('kept')"
        )
    for name in ("alice", "bob"):
        login(name).stop()
    loop_devices(host)
    done = playbook(host, {"jupyterhub_home_disk_limit": request.param or ""}, shared=False)
    assert done.returncode == 0, done.stdout[-3000:]
    yield bool(request.param)
    login("alice").stop()


@pytest.fixture
def alice(limited: bool, serve: ClientFactory) -> Iterator[HubClient]:
    client = serve("alice")
    yield client
    client.run(EMPTY)


def test_files_are_where_they_were(alice: HubClient) -> None:
    assert alice.run("print(open('/home/jovyan/kept').read(), open('/home/jovyan/work/kept').read())") == "kept kept\n"


def test_to_fill_the_machine(alice: HubClient, serve: ClientFactory, limited: bool, host: Host) -> None:
    found = json.loads(alice.run(FILL))
    written = sum(taken for taken, _ in found.values()) / MIB
    kept = int(host.check_output(f"du -smcx {FOLDERS.format('alice')}* | tail -n 1").split()[0])
    if not limited:
        assert all(found[place][0] == ENOUGH * MIB for place in ("/home/jovyan", "/home/jovyan/work", "/tmp"))
        return
    assert {said for _, said in found.values()} == {FULL}
    assert written <= LIMIT + 1 and kept <= LIMIT + 1
    # Nobody else notices; and what she deletes is the machine's again.
    assert serve("bob").run("print(open('/home/jovyan/much', 'wb').write(bytes(100 * 2**20)))") == f"{100 * MIB}\n"
    alice.run(EMPTY)
    assert int(host.check_output(f"sync; du -smcx {FOLDERS.format('alice')}* | tail -n 1").split()[0]) < LIMIT // 2


def test_to_fill_it_with_empty_files(alice: HubClient, serve: ClientFactory, limited: bool) -> None:
    made, _, said = alice.run(COUNT).strip().partition(" ")
    assert (said == FULL and int(made) < 25_000) if limited else (made, said) == ("29999", "")
    assert serve("bob").run("print(open('/home/jovyan/one', 'w').write('x'))") == "1\n"


def test_to_write_elsewhere(alice: HubClient, limited: bool) -> None:
    """7 are loop devices, 0 what is in memory."""
    found = set(alice.run(WRITABLE).split())
    assert (found <= {"0", "7"}) or not limited


def test_who_is_at_the_limit_can_start_a_server_and_delete(
    alice: HubClient, serve: ClientFactory, limited: bool
) -> None:
    alice.run(FILL)
    alice.stop()
    alice = serve("alice")
    if limited:
        assert alice.run("print(open('/home/jovyan/big', 'rb').read(1) != b'')") == "True\n"
        alice.run(EMPTY)
        assert alice.run("print(open('/home/jovyan/again', 'wb').write(bytes(50 * 2**20)))") == f"{50 * MIB}\n"
