"""An engine that the role itself has installed restarts, as after an upgrade, without anybody noticing."""

from __future__ import annotations

import re

from client import wait_until
from conftest import TIMEOUT, Machine, Run

# Runs until it sees a file, which the test writes when the engine is back: order, not time.
CELL = """
import pathlib, time
print('begun', flush=True)
while not pathlib.Path('go').exists():
    time.sleep(0.1)
print('done')
"""


def test_engine_that_the_role_installed(machine: Machine, run: Run) -> None:
    """In place of the one that was there before, and with no daemon.json of an owner's."""
    machine.do("apt-get remove --quiet --yes docker.io", "rm -rf /etc/docker/daemon.json")
    tried = run({}, "--check", "--diff")
    assert tried.returncode == 0 and "live-restore" in tried.stdout, tried.stdout[-3000:]
    done = run()
    assert done.returncode == 0, done.stdout[-3000:]
    again = run()
    assert again.returncode == 0 and re.search(r"\bchanged=0\b", again.stdout), again.stdout[-3000:]

    alice = machine.serves("alice")
    kernel = alice.kernel()
    for what in ("systemctl restart docker", "pkill -KILL -x dockerd"):
        cell = kernel.send(CELL)
        kernel.result(cell, until="begun")
        machine.harm(what)
        wait_until(lambda: alice.get("/hub/health").ok, "the hub", timeout=TIMEOUT)
        alice.save("go", "")
        assert kernel.result(cell).endswith("done\n"), "on the same websocket"
        alice.api("DELETE", "/contents/go").raise_for_status()
    kernel.close()
    machine.serves("bob")
    machine.lose_power()
    machine.serves("alice")
