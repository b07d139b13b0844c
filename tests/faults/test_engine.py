"""Hub and proxy are back within a minute, with no run, whatever ended the engine or the machine."""

from __future__ import annotations

import pytest
from conftest import Machine


@pytest.mark.parametrize(
    ("fault", "another_engine"),
    [
        pytest.param("pkill -KILL -x dockerd", True, id="engine killed"),  # as the kernel does when memory runs out
        pytest.param("pkill -KILL -x dockerd; pkill -KILL -x containerd", True, id="engine and containerd killed"),
        pytest.param("systemctl restart docker", True, id="engine restarted"),
        pytest.param("systemctl restart containerd", False, id="containerd restarted"),
    ],
)
def test_engine(machine: Machine, fault: str, another_engine: bool) -> None:
    machine.serves("alice")  # her server is what the hub remembers of before
    machine.harm(fault, another_engine=another_engine)
    machine.serves("alice")


def test_power_cut(machine: Machine) -> None:
    machine.serves("alice")
    machine.lose_power()
    machine.serves("alice")
    show = "systemctl show --value --property=ActiveEnterTimestampMonotonic"
    walls, docker = (int(machine.do(f"{show} {unit}")) for unit in ("jupyterhub-home-walls", "docker"))
    assert 0 < walls <= docker, "nobody is without walls, not even for a moment"
    machine.do("nft list table inet jhh-jupyterhub-home")


def test_reboot_after_the_engine_was_killed(machine: Machine) -> None:
    """Both at once: the engine has no time to bring its containers back before the machine goes."""
    machine.do("pkill -KILL -x dockerd; systemctl stop docker.socket docker")
    machine.lose_power()
    machine.serves("alice")
