"""Jobs by a schedule: timers on the machine, one of which does there what `make renew` does, another what `make backup`
does."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import said

DAYS_OF_WEEK = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = f"({'|'.join(DAYS_OF_WEEK)})"
# Of systemd.time(7), what nobody has to look up.
CALENDAR = re.compile(rf"({DAY}(,{DAY})* )?([01][0-9]|2[0-3]):[0-5][0-9]")
INSTEAD = {
    contract.RENEW: f'{PREFIX}renew: "", and a line for cron as docs/security.md has it',
    contract.BACKUP: f'{PREFIX}backup: "", and a line for cron as docs/backup.md has it',
}
# What a timer's service has beside the job, and the timer beside its time.
ENVIRONMENT = "Environment=LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1"
# Several machines do not all write into one repository at the same minute, and one that was off does it when it is on.
BACKUP_TIMER = "RandomizedDelaySec=30min\nPersistent=true\n"
MODULE_UTILS = Path(contract.__file__).parent
# Of module_utils, what the program of backups is made of.
PROGRAM = ("atomic", "backup", "backup_state", "contract", "database", "disk_files", "engine", "restic", "ways")
DAYS = 24 * 3600


def job(connection: str, inventories: Collection[str], checkout: Path, host: str) -> dict[str, str]:
    """How the machine itself can do this run again, as {checkout, host}; {} where it cannot.

    It can where it is the controller, and the run is one of the checkout's own inventory, as those of `make` are.
    """
    own = [Path(inventory).resolve() for inventory in inventories] == [checkout / "inventory/home"]
    plain = re.fullmatch(r"[\w.-]+", host) and str(checkout).isprintable()
    return {"checkout": str(checkout), "host": host} if connection == "local" and own and plain else {}


def check_schedule(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the machine can do them."""
    for name in contract.TIMERS:
        if not good[name]:
            continue
        if name == contract.RENEW and not machine["job"]:
            why = "that needs a run by make hub on the machine itself, with inventory/home; this one is another"
        elif not machine["systemd"]:
            why = "this machine has no systemd, whose timer would do it"
        else:
            continue
        report.add(f"{PREFIX}{name}", f"it is {said(good[name])}, but {why}.", INSTEAD[name])


def schedule_files(settings: dict[str, Any], job: dict[str, str]) -> dict[str, Any]:
    """The timers and what they start, as files; none without a schedule. See also contract.BACKUP_SETTINGS."""
    files: dict[str, Any] = {}
    if settings["renew"]:
        does = f"""After=docker.service network-online.target
Wants=network-online.target

[Service]
Type=oneshot
User=root
WorkingDirectory={job["checkout"].replace("%", "%%")}
{ENVIRONMENT} ANSIBLE_NO_TARGET_SYSLOG=1
Environment="ARGS=--limit {job["host"]}"
ExecStart=/usr/bin/python3 scripts/hub.py renew
"""
        files |= units(settings, contract.RENEW, "Renew the images of", does, "")
    if settings["backup"]:
        folder, module = f"{settings['directory']}/{contract.BACKUP}", "ansible_collections.jupyterhub.home.plugins"
        does = f"""After=docker.service network-online.target
Wants=network-online.target

[Service]
Type=oneshot
User=root
{ENVIRONMENT} PYTHONPATH={folder}
Nice=10
IOSchedulingClass=idle
ExecStart=/usr/bin/python3 -m {module}.module_utils.backup {settings["directory"]}/{contract.BACKUP_SETTINGS}
"""
        files |= units(settings, contract.BACKUP, "Back up", does, BACKUP_TIMER)
        files |= {contract.program_file(name): {"src": str(MODULE_UTILS / f"{name}.py")} for name in PROGRAM}
    return files


def units(settings: dict[str, Any], job: str, what: str, does: str, more: str) -> dict[str, Any]:
    """A job's timer and service."""
    project = settings["project"]
    timer, service = contract.timer_files(project, job)
    texts = {
        service: f"[Unit]\nDescription={what} {project}\n{does}",
        timer: f"""[Unit]
Description={what} {project} by a schedule

[Timer]
OnCalendar={settings[job]}
{more}
[Install]
WantedBy=timers.target
""",
    }
    return {file: {"content": f"# Written by Ansible.\n{text}"} for file, text in texts.items()}


def timers(good: dict[str, Any], machine: dict[str, Any]) -> list[dict[str, Any]]:
    """The jobs, each with the paths of its `units` on the machine, whether they are `wanted`, and whether what systemd
    has of them is `right`."""
    found = []
    for name in contract.TIMERS:
        files = contract.timer_files(good["project"], name)
        at_work = {file.rpartition("/")[2] for file in files} <= set(machine["units"])
        found.append(
            {
                "wanted": bool(good[name]),
                "units": [f"{good['directory']}/{file}" for file in files],
                "right": at_work if good[name] else not machine["schedule"][name]["linked"],
            }
        )
    return found


def notes_about_schedule(good: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    """What is to be said when the last renewal or backup has failed, or backups are not made."""
    notes = []
    if good["renew"] and machine["schedule"][contract.RENEW]["failed"]:
        unit = contract.timer_service(good["project"], contract.RENEW)
        notes.append(
            f"The images could not be renewed when it was time ({PREFIX}renew). It said why: journalctl -u {unit}"
        )
    backup, unit = machine["backup"], contract.timer_service(good["project"], contract.BACKUP)
    if backup["why"]:
        notes.append(f"The last backup failed: {backup['why']}.")
    elif good["backup"] and backup["age"] is None:
        notes.append("No backup has been made yet. Do: make backup, which also shows the password if it makes one")
    if good["backup"] and (backup["age"] or 0) > (8 if " " in good["backup"] else 2) * DAYS:
        old = backup["age"] // DAYS
        notes.append(f"The last backup is {old} days old ({PREFIX}backup). Why it was not made: journalctl -u {unit}")
    return notes
