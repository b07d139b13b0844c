"""Idle servers stop by themselves, busy ones never."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
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
    bob.save("go", "")
    assert kernel.result(cell).endswith("done\n")
    kernel.close()
    bob.api("DELETE", "/contents/go").raise_for_status()
