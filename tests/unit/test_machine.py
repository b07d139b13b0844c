"""module_utils/machine: what the probe says of the machine itself."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import machine
from conftest import DOCKER_13, Program, docker


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


IN_USE = {"state": "EADDRINUSE", "error": "Address already in use"}


def test_a_free_port() -> None:
    assert machine.port_holder("home", "127.0.0.1", free_port()) == {"state": "free", "error": ""}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_of_somebody_else(held: int, address: str) -> None:
    assert machine.port_holder("home", address, held) == IN_USE


def test_an_address_of_another_machine() -> None:
    found = machine.port_holder("home", "203.0.113.7", free_port())
    assert found == {"state": "EADDRNOTAVAIL", "error": "Cannot assign requested address"}


def test_a_port_of_our_own(held: int, program: Program) -> None:
    calls = docker(program, DOCKER_13, more=f"ps) echo '8001/tcp, 0.0.0.0:{held}->8000/tcp, :::{held}->8000/tcp' ;;")
    assert machine.port_holder("home", "127.0.0.1", held)["state"] == "ours"
    assert "label=com.docker.compose.project=home" in calls.read_text()


def test_a_port_that_only_looks_like_ours(held: int, program: Program) -> None:
    docker(program, DOCKER_13, more=f"ps) echo '0.0.0.0:1{held}->{held}/tcp, {held}/tcp' ;;")
    assert machine.port_holder("home", "127.0.0.1", held) == IN_USE


def test_the_system(os_release: Callable[[ModuleType, str], None]) -> None:
    os_release(
        machine, "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n# note\n\nHOME_URL='https://a/?b=c'\n"
    )
    assert machine.system() == {
        "id": "debian",
        "version_id": "12",
        "version_codename": "bookworm",
        "home_url": "https://a/?b=c",
    }


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert machine.free_disk(str(tmp_path / "a/b/c")) > 0


INTERFACES = [
    ("lo", "127.0.0.1", "host"),
    ("eth0", "192.0.2.20", "global"),
    ("eth0", "169.254.3.4", "link"),
    ("wlan0", "198.51.100.5", "global"),
    ("docker0", "172.17.0.1", "global"),
    ("br-0123456789ab", "172.18.0.1", "global"),
    ("br0", "192.0.2.21", "global"),
    ("veth12", "172.19.0.1", "global"),
    ("virbr0", "192.168.122.1", "global"),
]


def test_addresses_are_those_that_a_tablet_can_open(program: Program) -> None:
    shown = [{"ifname": name, "addr_info": [{"local": local, "scope": scope}]} for name, local, scope in INTERFACES]
    program("ip", f"cat <<'END'\n{json.dumps(shown)}\nEND")
    # The machine's own comes first, whatever it is.
    found = machine.addresses()
    assert [address for address in found if address in {local for _, local, _ in INTERFACES}] == [
        "192.0.2.20",
        "198.51.100.5",
        "192.0.2.21",
    ]
    assert len(found) == len(set(found))


def test_addresses_without_the_ip_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(machine.addresses()) <= 1


def test_a_command_that_fails_or_is_missing(program: Program) -> None:
    program("good", "echo ' text '")
    program("bad", "echo text; exit 3")
    assert (machine.output("good"), machine.output("bad"), machine.output("no-such-command")) == ("text", None, None)


def test_what_a_disk_keeps_for_root() -> None:
    """Also of a folder that is not there yet."""
    found = machine.kept_disk("/proc/not/there")
    assert found == {"bytes": 0, "block": 4096, "kind": "proc", "device": "proc", "path": "/proc/not/there"}
