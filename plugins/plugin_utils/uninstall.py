"""Uninstalling: whether what is to be removed is there, and is no other project's."""

from __future__ import annotations

from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, THIS_MACHINE, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import said


def check_root(machine: dict[str, Any], report: Report) -> None:
    """Whether the tasks run as root, without whom little can be seen and nothing removed."""
    if not machine["root"]:
        report.add(THIS_MACHINE, "the tasks do not run as root.", "become: true, as playbooks/uninstall.yml does")


def check_uninstall(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether what is to be removed is there, and is no other project's."""
    project, directory = good["project"], good["directory"]
    check_root(machine, report)
    if not machine["root"]:
        return
    if "belongings" not in machine:
        report.add(
            THIS_MACHINE,
            "the Docker engine does not answer (docker info), so that nobody can tell what is to be removed.",
            "systemctl start docker, or look at journalctl -u docker",
            label="Do",
        )
        return
    others = {name: folder for name, folder in machine["projects"].items() if name != project}
    if machine["owner"] not in ("", project):
        others.setdefault(machine["owner"], directory)
    if not any(machine["belongings"].values()) and not good["delete_packages"]:
        lines = [
            f"{PREFIX}project: {name}" + (f" and {PREFIX}directory: {folder}" if folder not in ("", directory) else "")
            for name, folder in sorted(others.items())
        ]
        report.add(
            f"{PREFIX}project",
            f"there is nothing of the project {said(project)} on this machine.",
            ", or ".join(lines) or "another host in inventory/home; of other projects there is nothing either",
        )
    elif machine["owner"] not in ("", project):
        own = machine["projects"].get(project) or next(iter(machine["belongings"]["folders"]), "")
        report.add(
            f"{PREFIX}directory",
            f"{directory} belongs to the project {machine['owner']}, not to {project}.",
            f"{PREFIX}directory: {own or 'the folder of ' + project}, or {PREFIX}project: {machine['owner']}",
        )
