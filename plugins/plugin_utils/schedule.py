"""Renewing the images by a schedule: a timer on the machine that does what `make renew` does there."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import said

DAY = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
# Of systemd.time(7), what nobody has to look up.
CALENDAR = re.compile(rf"({DAY}(,{DAY})* )?([01][0-9]|2[0-3]):[0-5][0-9]")
INSTEAD = f'{PREFIX}renew: "", and a line for cron as docs/security.md has it'


def job(connection: str, inventories: Collection[str], checkout: Path, host: str) -> dict[str, str]:
    """How the machine itself can do this run again, as {checkout, host}; {} where it cannot.

    It can where it is the controller, and the run is one of the checkout's own inventory, as those of `make` are.
    """
    own = [Path(inventory).resolve() for inventory in inventories] == [checkout / "inventory/home"]
    plain = re.fullmatch(r"[\w.-]+", host) and str(checkout).isprintable()
    return {"checkout": str(checkout), "host": host} if connection == "local" and own and plain else {}


def check_schedule(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the machine can do it."""
    if not good["renew"]:
        return
    if not machine["job"]:
        why = "that needs a run by make hub on the machine itself, with inventory/home; this one is another"
    elif not machine["systemd"]:
        why = "this machine has no systemd, whose timer would do it"
    else:
        return
    report.add(f"{PREFIX}renew", f"it is {said(good['renew'])}, but {why}.", INSTEAD)


def schedule_files(settings: dict[str, Any], job: dict[str, str]) -> dict[str, Any]:
    """The timer and what it starts, as files; none without a schedule."""
    project, calendar = settings["project"], settings["renew"]
    if not calendar:
        return {}
    service = f"""# Written by Ansible.
[Unit]
Description=Renew the images of {project}
After=docker.service network-online.target
Wants=network-online.target

[Service]
Type=oneshot
User=root
WorkingDirectory={job["checkout"].replace("%", "%%")}
Environment=LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 ANSIBLE_NO_TARGET_SYSLOG=1
Environment="ARGS=--limit {job["host"]}"
ExecStart=/usr/bin/python3 scripts/hub.py renew
"""
    timer = f"""# Written by Ansible.
[Unit]
Description=Renew the images of {project} by a schedule

[Timer]
OnCalendar={calendar}

[Install]
WantedBy=timers.target
"""
    return {
        contract.renew_file(contract.renew_service(project)): {"content": service},
        contract.renew_file(contract.renew_timer(project)): {"content": timer},
    }


def notes_about_schedule(good: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    """What is to be said when the last renewal has failed."""
    unit = contract.renew_service(good["project"])
    if not good["renew"] or not machine["schedule"]["failed"]:
        return []
    return [f"The images could not be renewed when it was time ({PREFIX}renew). It said why: journalctl -u {unit}"]
