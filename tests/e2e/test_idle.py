"""Idle servers stop by themselves, busy ones never."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import requests
from client import wait_until
from conftest import ClientFactory
from testinfra.host import Host

SETTINGS = "/opt/jupyterhub-home/hub/spawner.json"
# Computes without any output, until it sees a file.
SILENT_CELL = """
import pathlib
print('begun', flush=True)
while not pathlib.Path('go').exists():
    pass
print('done')
"""
# What looks like a token in the memory of the Jupyter server that the kernel belongs to.
READ_TOKENS = """
import os, re
server, found = os.getppid(), set()
with open(f'/proc/{server}/maps') as maps, open(f'/proc/{server}/mem', 'rb', 0) as memory:
    for place, rights in (line.split()[:2] for line in maps if '[v' not in line):
        at, end = (int(one, 16) for one in place.split('-')) if rights.startswith('rw') else (0, 0)
        while at < end:
            memory.seek(at)
            part = memory.read(min(end - at, 2**20)) or b'?'
            found |= set(re.findall(rb'(?i)token\\W{1,2}([0-9a-f]{32})(?![0-9a-f])', part))
            at += len(part)
own = os.environ['JUPYTERHUB_API_TOKEN'].encode()
with open(f'/proc/{server}/environ', 'rb') as environment:
    assert own in environment.read()
print(*sorted(one.decode() for one in found | {own}))
"""


@pytest.fixture
def short_timeout(host: Host) -> Iterator[None]:
    """Servers stop after 20 idle seconds, which the role's variable does not allow. The culler takes it as it runs."""
    before = host.file(SETTINGS).content_string
    settings = json.loads(before)
    assert settings["idle_timeout"] == 42000
    host.check_output("printf %%s %s >%s", json.dumps(settings | {"idle_timeout": 20}), SETTINGS)
    yield
    host.check_output("printf %%s %s >%s", before, SETTINGS)


def test_idle_server_stops_and_a_busy_one_does_not(serve: ClientFactory, short_timeout: None) -> None:
    bob = serve("bob")
    kernel = bob.kernel()
    cell = kernel.send(SILENT_CELL)
    kernel.result(cell, until="begun")
    before = bob.server()

    mia = serve("mia")  # opens nothing
    alice = serve("alice.smith")  # later than bob's last sign of life, so never stopped before bob's
    assert alice.run("5 * 4") == "20"
    wait_until(lambda: alice.server() is None and mia.server() is None, "idle servers stopped", timeout=180)

    after = bob.server()
    assert before is not None and after is not None and after["started"] == before["started"]
    # bob's server has been asked for a while. What bob reads there opens no other server, and tells of nobody else.
    opened = []
    for token in bob.run(READ_TOKENS).split():
        answer = requests.get(f"{bob.url}/hub/api/user", headers={"Authorization": f"token {token}"}, timeout=30)
        if answer.status_code == 200:
            opened.append(answer.json())
    assert len(opened) > 1, "the culler's is not there: then this test proves nothing"
    for found in opened:
        assert found["name"] == "bob"
        assert all(scope.endswith(("=bob", "=bob/")) for scope in found["scopes"]), found["scopes"]

    bob.save("go", "")
    assert kernel.result(cell).endswith("done\n")
    kernel.close()
    bob.api("DELETE", "/contents/go").raise_for_status()
