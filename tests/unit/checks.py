"""What the tests of the checks share: the defaults with some variables in place of them, and a fine machine."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.jupyterhub.home.plugins.plugin_utils.machine import check_machine
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.variables import check_variables
from conftest import ROLE

SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
USERS = [{"name": "kim", "password": "hunter2", "admin": True}, {"name": "lee", "password_hash": "!"}]
PW = {"password": "hunter2"}
GIB = 2**30


def told(report: Report) -> str:
    """The mistakes as their owner reads them."""
    return "\n".join(mistake.text() for mistake in report.mistakes)


def checked(**variables: Any) -> tuple[dict[str, Any], str]:
    """What check_variables gives for the defaults with these in place of them, and what it reports."""
    report = Report()
    good = check_variables(
        {f"{PREFIX}users": USERS, **{PREFIX + key: value for key, value in variables.items()}}, SPECS, report
    )
    return good, told(report)


IN_USE = {"state": "EADDRINUSE", "error": "Address already in use"}
FORKY = {"id": "debian", "version_codename": "forky", "pretty_name": "Debian GNU/Linux forky/sid"}  # no version_id
DOCKER = {"installed": True, "limits": ["cpu", "memory", "pids"]}
KEPT = {"bytes": 5 * GIB, "block": 4096, "kind": "ext4", "device": "/dev/sda1", "path": "/var/lib/docker"}
MACHINE = {
    "system": {"id": "debian", "version_id": "13", "pretty_name": "Debian GNU/Linux 13"},
    "root": True,
    "port": {"state": "free", "error": ""},
    "directory": "",
    "disk": "/var/lib/docker",
    "memory": 24 * GIB,
    "processors": 4,
    "free_disk": 10 * GIB,
    "kept_disk": KEPT,
    "loop": True,
    "ca_bundle": True,
    "ca_bundle_loose": {},
    "docker": DOCKER,
    "addresses": ["192.0.2.20"],
    "folders": {},
    "noted_mount_points": {},
    "firewall": "",
    "systemd": True,
    "job": {"checkout": "/home/kim/hub", "host": "localhost"},
    "routes": [],
    "project": {"network": "none", "bridge": ""},
}


def looked_at(machine: dict[str, Any], **variables: Any) -> str:
    """What check_machine reports of this machine."""
    good, said = checked(**variables)
    assert said == ""
    report = Report()
    check_machine(good, {**MACHINE, **machine}, report)
    return told(report)
