"""The machine of molecule/backup, whose hub is saved while its users work."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from client import HubClient, wait_until
from machine import address, playbook
from testinfra.host import Host

NAME = "jupyterhub_home_"
DIRECTORY, BACKUPS = "/opt/jupyterhub-home", "/var/backups/jupyterhub-home"
VOLUMES = "/var/lib/docker/volumes"
PASSWORD = "saved by nobody else"


class Machine:
    """The machine, its users and its backups."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def do(self, *commands: str) -> str:
        """What commands print that are run on it, one after the other."""
        return "".join(self.host.check_output(command) for command in commands)

    def play(self, book: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """A playbook, with variables without their prefix."""
        given = {NAME + name: value for name, value in {"backup_password": PASSWORD, **variables}.items()}
        return playbook(self.host, given, f"playbooks/{book}.yml", *options, shared=False)

    def backup(self, *options: str, **variables: Any) -> str:
        """What a backup says, which must not fail, on one line."""
        done = self.play("backup", *options, **variables)
        assert done.returncode == 0, done.stdout[-4000:]
        return flat(done)

    def refused(self, book: str, *options: str, **variables: Any) -> str:
        """What a playbook says that must fail, on one line."""
        done = self.play(book, *options, **variables)
        assert done.returncode != 0, done.stdout[-4000:]
        return flat(done)

    def state(self) -> dict[str, Any]:
        """How the last backups went."""
        state: dict[str, Any] = json.loads(self.do(f"cat {DIRECTORY}/state/backup.json"))
        return state

    def restic(self, command: str, repository: str = f"{BACKUPS}/repository") -> str:
        """What a command of restic prints that somebody types."""
        return self.do(f"RESTIC_PASSWORD='{PASSWORD}' restic --repo {repository} {command}")

    def client(self, user: str) -> HubClient:
        """A user who has just logged in."""
        client = HubClient(f"http://{address(self.host)}:8000", user, f"{user}-test-secret")
        client.login()
        return client

    def serve(self, user: str) -> HubClient:
        """A user who has logged in and entered a server, which is started if need be."""
        client = self.client(user)
        if client.server() is None:
            client.spawn()
        client.enter().raise_for_status()
        return client

    def going_on(self, user: str) -> None:
        """Wait until a user's kernel, which writes a number into the file `count`, has counted on."""

        def count() -> int:
            return int(self.do(f"cat {VOLUMES}/jupyterhub-home-user-{user}/_data/count") or 0)

        before = count()
        wait_until(lambda: count() > before, f"the kernel of {user} goes on")


def flat(done: subprocess.CompletedProcess[str]) -> str:
    """What a playbook has printed, on one line and without the escapes of JSON."""
    return " ".join(done.stdout.replace('\\"', '"').split())


@pytest.fixture(scope="module")
def machine(host: Host) -> Machine:
    """The one machine of all tests of this folder."""
    return Machine(host)
