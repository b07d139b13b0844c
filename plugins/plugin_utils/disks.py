"""Users' disks: what the run makes of the limit, and the unit that mounts them."""

from __future__ import annotations

from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import present
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import size_in_bytes


def volumes(machine: dict[str, Any]) -> str:
    """Docker's folder of volumes; before there is a Docker, where it will be."""
    return f"{machine['docker']['root'] or '/var/lib/docker'}/volumes"


def check_disks(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the machine can have users' disks."""
    if good["disk_limit"] and not machine["loop"]:
        report.add(
            f"{PREFIX}disk_limit",
            f"it is {good['disk_limit']!r}, for which the kernel of this machine must mount files (loop devices).",
            f'{PREFIX}disk_limit: "", or use a kernel with the module loop, as Debian\'s own has it',
        )


def notes_about_disks(good: dict[str, Any], machine: dict[str, Any], *, list_decides: bool) -> list[str]:
    """What is to be said of the limit at the end of every run."""
    limit = size_in_bytes(good["disk_limit"]) or 0
    if not limit:
        return []
    users = [user for user in good["users"] if present(user)]
    together, there = limit * len(users), machine["disk_size"] - (size_in_bytes(good["free_disk_min"]) or 0)
    notes = []
    if together > there:
        notes.append(
            f"{PREFIX}disk_limit: what the {len(users)} users may take, {together / 2**30:.0f}G, is more than the "
            f"{max(there, 0) / 2**30:.0f}G of the machine's disk without {PREFIX}free_disk_min. If it fills, "
            "it does so for everybody, and files that are being written may be damaged."
        )
    if not list_decides or good["undeclared_users"] == "keep":
        notes.append(f"{PREFIX}disk_limit holds for users in {PREFIX}users alone; others have no limit.")
    if not machine["systemd"]:
        notes.append("Without systemd, nothing mounts users' disks after a reboot: run this again then.")
    return notes


def disks_unit(settings: dict[str, Any], machine: dict[str, Any]) -> str:
    """The text of PROJECT-disks.service, which does nothing where there are no disks."""
    project, directory = settings["project"], settings["directory"]
    return f"""# Written by Ansible.
[Unit]
Description=Disks of users of {project}
Before=docker.service
RequiresMountsFor={directory} {volumes(machine)}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/bash {directory}/{contract.DISKS_PROGRAM} {volumes(machine)} {project}

[Install]
WantedBy=multi-user.target
"""
