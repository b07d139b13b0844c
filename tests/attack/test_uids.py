"""Somebody who shares a folder of the machine with another wants what the other keeps there for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from machine import playbook
from sessions import ClientFactory
from testinfra.host import Host

SHARED = "/srv/together"
MOUNTS = [{"source": SHARED, "target": "/home/jovyan/together"}]
UIDS = {"alice": 1001, "bob": 1002}
# What bob does: one file is for all, another one and what is in the folder are nobody's business.
KEEP = """
import os
os.chdir('/home/jovyan/together')
for name in ('plan', 'diary', 'box/letter'):
    os.makedirs(os.path.dirname(name) or '.', exist_ok=True)
    open(name, 'w').write('bob')
os.chmod('diary', 0o600)
os.chmod('box', 0o700)
"""
# What alice tries, and what she gets.
TAKE = """
import os, shutil
os.chdir('/home/jovyan/together')
def adds():
    open('plan', 'a').write(', alice')
def reads():
    open('diary').read()
def opens():
    os.chmod('diary', 0o666)
def deletes():
    shutil.rmtree('box')
for act in (adds, reads, opens, deletes):
    try:
        act()
        print(act.__name__)
    except PermissionError:
        pass
"""


def declare(host: Host, uids: dict[str, int], **variables: Any) -> str:
    """A run with these uids; what it says."""
    users = [
        {"name": name, "password": f"{name}-test-secret", "admin": name == "mia", **({"uid": uid} if uid else {})}
        for name, uid in [("mia", 0), *((name, uids.get(name, 0)) for name in UIDS)]
    ]
    done = playbook(host, {"jupyterhub_home_users": users, **variables}, shared=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.fixture
def shared(host: Host) -> Iterator[None]:
    """A folder for all, as docs/homes-and-folders.md says."""
    host.check_output(f"mkdir {SHARED} && chgrp users {SHARED} && chmod 2775 {SHARED}")
    yield
    declare(host, {})
    host.check_output(f"rm -r {SHARED}")


@pytest.mark.parametrize("uids", [UIDS, {}])
def test_a_shared_folder(host: Host, login: ClientFactory, shared: None, uids: dict[str, int]) -> None:
    """With a uid each, alice writes what is for all, and gets nothing else of bob's; without, she gets everything."""
    declare(host, uids, jupyterhub_home_mounts=MOUNTS)
    clients = {name: login(name) for name in UIDS}
    try:
        for client in clients.values():
            client.stop()
            client.spawn()
            client.enter().raise_for_status()
        clients["bob"].run(KEEP)
        taken = clients["alice"].run(TAKE).split()
    finally:
        for client in clients.values():
            client.stop()
    assert taken == (["adds"] if uids else ["adds", "reads", "opens", "deletes"])
    assert host.file(f"{SHARED}/plan").content_string == "bob, alice"
    assert {host.file(f"{SHARED}/{name}").uid for name in ("plan", "diary")} == {uids.get("bob", 1000)}
