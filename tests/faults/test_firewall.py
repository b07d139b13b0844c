"""Docker's firewall rules, which whoever loads a firewall anew wipes, are found, made again and said by one run."""

from __future__ import annotations

import re

import pytest
from conftest import Machine, Run


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("systemctl restart nftables", id="nftables restarted"),  # with Debian's own /etc/nftables.conf
        pytest.param("iptables -t nat -F", id="addresses flushed"),
        pytest.param("iptables -F", id="filters flushed"),
    ],
)
def test_rules(machine: Machine, run: Run, fault: str) -> None:
    if "nftables" in fault:
        machine.do("apt-get update --quiet", "apt-get install --quiet --yes --no-install-recommends nftables")
    machine.do("systemctl reset-failed docker")
    alice = machine.serves("alice")
    kernel = alice.kernel()
    kernel.execute("mine = 6 * 7")
    owners = machine.host.run("cat /etc/docker/daemon.json").stdout
    machine.do(fault)
    if (
        "iptables -F" not in fault
    ):  # an engine that finds packets forwarded at its start does not forbid what it does not know
        assert not machine.outside("alice")

    before = machine.engine()
    tried = run({}, "--check", "--diff")
    assert tried.returncode == 0 and machine.engine() == before, tried.stdout[-3000:]
    done = run()
    for output in (tried.stdout, done.stdout):
        assert "Found: the firewall rules of Docker were gone." in output, output[-3000:]
        assert re.search(r"\bchanged=1\b.*\bfailed=0\b", output), output[-3000:]
    again = run()
    assert re.search(r"\bchanged=0\b.*\bfailed=0\b", again.stdout), again.stdout[-3000:]

    assert machine.outside("alice")
    assert kernel.execute("mine") == "42", "on the same websocket"
    kernel.close()
    assert machine.host.run("cat /etc/docker/daemon.json").stdout == owners
    machine.serves("bob")
