"""What cannot be uninstalled."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.uninstall import check_uninstall
from checks import told

PRESENT = {"containers": ["home-hub"], "networks": [], "images": [], "volumes": [], "folders": ["/opt/hub"]}
EMPTY: dict[str, list[str]] = {kind: [] for kind in PRESENT}


@pytest.mark.parametrize(
    ("machine", "parts"),
    [
        ({}, []),
        ({"belongings": {**EMPTY, "volumes": ["home-data"]}}, []),
        ({"root": False}, ["This machine: the tasks do not run as root."]),
        ({"belongings": None}, ["This machine: the Docker engine does not answer", "Do: systemctl start docker"]),
        (
            {"belongings": EMPTY, "projects": {"lab": "/opt/lab", "old": ""}, "owner": "lost"},
            [
                "project: there is nothing of the project 'home' on this machine.",
                f"{PREFIX}project: lab and {PREFIX}directory: /opt/lab, or {PREFIX}project: lost, or",
            ],
        ),
        ({"belongings": EMPTY, "projects": {}, "owner": ""}, ["Write: another host in inventory/home; of other"]),
        (
            {"projects": {"home": "/srv/home", "lab": "/opt/hub"}, "owner": "lab"},
            [
                "directory: /opt/hub belongs to the project lab, not to home.",
                f"Write: {PREFIX}directory: /srv/home, or {PREFIX}project: lab",
            ],
        ),
    ],
)
def test_what_cannot_be_uninstalled(machine: dict[str, Any], parts: list[str]) -> None:
    found = {"root": True, "belongings": PRESENT, "projects": {"home": "/opt/hub"}, "owner": "home", **machine}
    if found["belongings"] is None:
        del found["belongings"]
    report = Report()
    check_uninstall({"project": "home", "directory": "/opt/hub", "delete_packages": False}, found, report)
    said = told(report)
    assert len(report.mistakes) == bool(parts) and [part for part in parts if part not in said] == [], said


def test_packages_can_go_when_all_else_is_gone() -> None:
    report = Report()
    found = {"root": True, "belongings": EMPTY, "projects": {}, "owner": ""}
    check_uninstall({"project": "home", "directory": "/opt/hub", "delete_packages": True}, found, report)
    assert not report.mistakes
