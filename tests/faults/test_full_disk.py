"""One user's file fills Docker's disk: the others work and are told, and all goes on by itself when there is space.

The tests build on each other in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import HubClient, HubError, wait_until
from conftest import TIMEOUT, Machine, Run

DISK = "/var/lib/docker"
VOLUMES = f"{DISK}/volumes"
RESERVE = f"{VOLUMES}/jupyterhub-home-data/_data/reserve"
HUB = "jupyterhub-home-hub"
WORDS = "The disk of this machine is full"
WATCH = "jupyterhub-home-watch"


def fill(machine: Machine) -> None:
    """Alice's file takes all the space that there is."""
    machine.host.run(
        f"sh -c 'for size in 1M 4K; do dd if=/dev/zero bs=$size oflag=append conv=notrunc of={VOLUMES}/fill; done'"
    )
    assert machine.do(f"df --output=avail {DISK}").split()[-1] == "0"


def make_space(machine: Machine) -> None:
    machine.do(f"rm {VOLUMES}/fill")


def end_hub(machine: Machine) -> None:
    """The hub's process ends, and Docker has tried to start it again."""
    pid = machine.do(f"docker inspect --format '{{{{.State.Pid}}}}' {HUB}").strip()
    machine.do(f"kill -KILL {pid}")
    wait_until(
        lambda: "no space left" in machine.do(f"docker inspect --format '{{{{.State.Error}}}}' {HUB}"),
        "Docker's try", timeout=TIMEOUT,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alice(machine: Machine) -> Iterator[HubClient]:
    """A user with a server on a machine with a small disk; the hub has its reserve. Then the disk is large again."""
    script = (Path(__file__).parent / "small_disk.sh").read_text()
    machine.do("apt-get clean")
    machine.do(f"cat >/root/small_disk.sh <<'END'\n{script}\nEND", "sh /root/small_disk.sh")
    client = machine.serves("alice")
    wait_until(lambda: len(machine.do(f"ls {RESERVE}").split()) == 8, "the reserve", timeout=TIMEOUT)
    yield client
    machine.lose_power()
    machine.serves("alice")


def test_who_is_known_can_log_in_start_a_server_and_delete(machine: Machine, alice: HubClient) -> None:
    alice.save("notes.txt", "short")
    container = "docker exec --workdir /home/jovyan/work jupyterhub-home-user-alice"
    machine.host.run(
        f"{container} sh -c 'for s in 1M 4K; do dd if=/dev/zero bs=$s oflag=append conv=notrunc of=big; done'"
    )
    assert machine.do(f"df --output=avail {DISK}").split()[-1] == "0"
    bob = machine.client("bob")
    bob.login()
    bob.spawn(timeout=TIMEOUT)
    bob.enter().raise_for_status()
    alice.stop()
    machine.host.run(f"dd if=/dev/zero bs=4K of={VOLUMES}/fill")  # what her server has left
    again = machine.client("alice")
    again.login()
    again.spawn(timeout=TIMEOUT)
    again.enter().raise_for_status()
    assert again.load("notes.txt") == "short"
    again.api("DELETE", "/contents/big").raise_for_status()
    make_space(machine)
    assert int(machine.do(f"df --output=avail {DISK}").split()[-1]) > 100_000
    bob.stop()
    again.stop()
    wait_until(lambda: len(machine.do(f"ls {RESERVE}").split()) == 8, "the reserve", timeout=TIMEOUT)


def test_everybody_else_reads_why(machine: Machine, alice: HubClient) -> None:
    machine.do(f"rm -r {RESERVE}", f"touch {RESERVE}")  # given up to others before
    fill(machine)
    bob = machine.client("bob")
    bob.login()
    with pytest.raises(HubError, match=f"507.*{WORDS}"):
        bob.spawn()
    make_space(machine)
    machine.do(f"rm {RESERVE}")


def test_a_hub_that_docker_could_not_start_comes_back(machine: Machine, alice: HubClient) -> None:
    machine.do(f"rm -rf {RESERVE}", f"touch {RESERVE}")
    fill(machine)
    end_hub(machine)
    make_space(machine)
    machine.do(f"rm {RESERVE}")
    machine.serves("bob")


def test_a_hub_that_docker_takes_for_running_is_repaired_by_a_run(machine: Machine, run: Run, alice: HubClient) -> None:
    """Where nothing watches, as on a machine without systemd."""
    machine.do(f"systemctl stop {WATCH}", f"rm -rf {RESERVE}", f"touch {RESERVE}")
    fill(machine)
    end_hub(machine)
    make_space(machine)
    machine.do(f"rm {RESERVE}")
    small = {"jupyterhub_home_free_disk_min": "1M"}
    before = machine.do(f"docker ps --all --format '{{{{.Names}}}} {{{{.ID}}}} {{{{.State}}}}' --filter name={HUB}")
    tried = run(small, "--check", "--diff")
    assert (
        machine.do(f"docker ps --all --format '{{{{.Names}}}} {{{{.ID}}}} {{{{.State}}}}' --filter name={HUB}")
        == before
    )
    done = run(small)
    for output in (tried.stdout, done.stdout):
        assert f"the container {HUB} had no process, though Docker took it for a running one." in " ".join(
            output.split()
        ), output[-3000:]
        assert re.search(r"\bchanged=3\b.*\bfailed=0\b", output), output[-3000:]  # removed, made anew, watched again
    again = run(small)
    assert re.search(r"\bchanged=0\b.*\bfailed=0\b", again.stdout), again.stdout[-3000:]
    machine.serves("bob")
