"""The machine of molecule/faults, which loses its engine, its rules, its power or its disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from client import HubClient, HubError, wait_until
from machine import address, playbook
from testinfra.host import Host

TIMEOUT = 120  # seconds; all is back within a minute, on machines that do not run other tests beside
Run = Callable[..., subprocess.CompletedProcess[str]]


class Machine:
    """The machine, and what its users have of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.name: str = host.backend.name

    def do(self, *commands: str) -> str:
        """What commands print that are run on it, one after the other."""
        return "".join(self.host.check_output(command) for command in commands)

    def engine(self) -> str:
        """The engine's process; empty while it does not answer."""
        answers = self.host.run("docker info >/dev/null 2>&1").succeeded
        return self.host.run("pgrep -x dockerd").stdout.strip() if answers else ""

    def harm(self, fault: str, *, another_engine: bool = True) -> None:
        """A command that ends something of Docker's, and wait for the engine that comes after it."""
        self.do("systemctl reset-failed docker containerd")  # systemd gives up on what fails often, as in these tests
        before = self.engine()
        assert before
        self.do(fault)
        wait_until(lambda: self.engine() not in ("", before if another_engine else ""), "the engine", timeout=TIMEOUT)

    def lose_power(self) -> None:
        """Everything on it ends at once, and it boots."""
        for what in ("kill", "start"):
            subprocess.run(("docker", what, self.name), check=True, capture_output=True)

    def client(self, user: str) -> HubClient:
        """A user who has not logged in yet."""
        return HubClient(f"http://{address(self.host)}:8000", user, f"{user}-test-secret")

    def outside(self, user: str) -> bool:
        """Whether a user's server reaches what lies behind the machine: the mirror of its packages."""
        mirror = urlsplit(self.do("apt-get indextargets --format '$(REPO_URI)' | head -n 1"))
        script = f"timeout 10 bash -c '</dev/tcp/{mirror.hostname}/{mirror.port or 80}'"
        return bool(self.host.run(f'docker exec jupyterhub-home-user-{user} bash -c "{script}"').succeeded)

    def serves(self, user: str) -> HubClient:
        """Waits until a user has logged in and had a new server, which computes and reaches the outside."""
        served: list[HubClient] = []

        def starts() -> bool:
            client = self.client(user)
            try:
                client.login()
                client.stop(timeout=TIMEOUT)
                client.spawn(timeout=TIMEOUT)
            except HubError:
                return False  # the hub itself may just be restarting
            served.append(client)
            return True

        wait_until(starts, "a login and a new server", timeout=TIMEOUT)
        client = served[0]
        client.enter().raise_for_status()
        assert client.run("5 * 4") == "20"
        wait_until(lambda: self.outside(user), "a way out of the server", timeout=TIMEOUT)
        return client


@pytest.fixture(scope="module")
def machine(host: Host) -> Machine:
    """The one machine of all tests of this folder."""
    return Machine(host)


@pytest.fixture
def run(machine: Machine) -> Run:
    """run(variables): the main job."""
    return lambda variables=None, *options: playbook(machine.host, variables or {}, "site.yml", *options, shared=False)
