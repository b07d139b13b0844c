"""The limit on users' disks: what the machine must be able to do, what is said of it, the unit that mounts them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.disks import disks_unit, notes_about_disks, volumes
from ansible_collections.jupyterhub.home.plugins.plugin_utils.systems import docker_needs
from checks import GIB, MACHINE, USERS, looked_at

GOOD: dict[str, Any] = {"disk_limit": "20G", "users": USERS, "free_disk_min": "4G", "undeclared_users": "remove"}


def notes(disk_size: int = 100 * GIB, *, list_decides: bool = True, systemd: bool = True, **values: Any) -> str:
    machine = {**MACHINE, "disk_size": disk_size, "systemd": systemd}
    return "\n".join(notes_about_disks({**GOOD, **values}, machine, list_decides=list_decides))


def test_a_kernel_that_mounts_no_files() -> None:
    assert "must mount files (loop devices)" in looked_at({"loop": False}, disk_limit="20G")
    assert looked_at({"loop": False}) == looked_at({}, disk_limit="20G") == ""


@pytest.mark.parametrize("size", [43, 44])
def test_more_than_the_machine_has(size: int) -> None:
    said = "what the 2 users may take, 40G, is more than the 39G of the machine's disk"
    assert (said in notes(size * GIB)) is (size == 43)


def test_whom_it_holds_for() -> None:
    assert notes() == ""
    for other in ({"list_decides": False}, {"undeclared_users": "keep"}):
        assert "others have no limit" in notes(**other)
    assert "nothing mounts users' disks after a reboot" in notes(systemd=False)
    assert notes(1, list_decides=False, systemd=False, disk_limit="") == ""


def test_where_docker_is_elsewhere() -> None:
    machine = {"docker": {"root": "/srv/docker"}}
    unit = disks_unit({"project": "home", "directory": "/opt/home"}, machine)
    assert "ExecStart=/bin/bash /opt/home/disks/disks /srv/docker/volumes home\n" in unit
    assert "Before=docker.service\nRequiresMountsFor=/opt/home /srv/docker/volumes\n" in unit
    assert volumes({"docker": {"root": None}}) == "/var/lib/docker/volumes"


@pytest.mark.parametrize(("limit", "wanted"), [("20G", ["e2fsprogs"]), ("", [])])
def test_what_makes_file_systems(limit: str, wanted: list[str]) -> None:
    docker = {"installed": True, "version": "26", "compose": "2", "client": "26", "buildx": True, "rules_gone": False}
    machine = {**MACHINE, "docker": docker, "programs": ["ip", "mmdebstrap", "nft"], "dpkg_broken": False}
    settings = {"docker_source": "distribution", "base_image": "", "disk_limit": limit, "backup": ""}
    assert docker_needs(settings, machine)["packages"] == wanted
