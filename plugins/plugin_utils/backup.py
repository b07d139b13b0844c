"""Backups: whether the variables say where to, with what password and how long; what the machine needs of them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.mounts import plain_path
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import nearest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, THIS_MACHINE, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import EXAMPLE_VALUES, SECRET, kind, said

PERIODS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")  # restic's
# Restic's backends. Anything else is a path on the machine.
BACKEND = re.compile(r"(azure|b2|gs|rclone|rest|s3|swift):.+|sftp:(//[^/]+/.+|[^:/]+:.+)")
# What a repository or password of restic's is given by, which other variables are for.
TAKEN = re.compile(r"RESTIC_(REPOSITORY|PASSWORD)(_FILE|_COMMAND)?|RESTIC_CACHE_DIR")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_backup(good: dict[str, Any], report: Report) -> None:
    """Check the variables of backups; what is wrong is reported, secrets without their value."""
    repository, password = good["backup_repository"], good["backup_password"]
    meant = EXAMPLE_VALUES[f"{PREFIX}backup_repository"]
    if found := re.fullmatch(
        r"(?:sftp:)?([A-Za-z0-9_.@-]{1,60})(?::(/[A-Za-z0-9_./-]{1,60}))?", repository
    ):  # as scp and rsync have it
        meant = f"sftp:{found[1]}:{found[2] or '/backups'}"
    example = f"{PREFIX}backup_repository: {meant}"
    if repository and not BACKEND.fullmatch(repository) and not plain_path(repository):
        report.add(
            f"{PREFIX}backup_repository",
            f"{said(repository)} is neither a plain absolute path nor an address of restic's.",
            example,
        )
    elif f"{repository}/".startswith(f"{good['directory']}/"):
        report.add(
            f"{PREFIX}backup_repository",
            f"{said(repository)} is in the folder of the hub ({PREFIX}directory), which may go while backups stay.",
            example,
        )
    if password and (len(password) < 8 or not password.isprintable()):
        report.add(
            f"{PREFIX}backup_password", "it is shorter than 8 signs, or has control characters.",
            f'{PREFIX}backup_password: "...", a longer one, in quotes',
        )  # fmt: skip
    good["backup_environment"] = checked_environment(good["backup_environment"], report)
    good["backup_keep"] = checked_keep(good["backup_keep"], report)


def checked_environment(environment: dict[Any, Any], report: Report) -> dict[str, str]:
    """The variables that are right."""
    variable, right = f"{PREFIX}backup_environment", {}
    for name, value in environment.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or TAKEN.fullmatch(name):
            report.add(
                variable,
                f"{said(name)} is no variable for restic's backends.",
                f"{variable}: {EXAMPLE_VALUES[variable]}",
            )
        elif not isinstance(value, str):
            report.add(variable, f"the value of {name} is {kind(value)}, not text.", f'{name}: "..."')
        else:
            right[name] = value
    return right


def checked_keep(keep: dict[Any, Any], report: Report) -> dict[str, int]:
    """The numbers of snapshots that are right."""
    variable, right = f"{PREFIX}backup_keep", {}
    for period, count in keep.items():
        if period not in PERIODS:
            like = nearest(str(period), PERIODS) or "daily"
            report.add(variable, f"there is no {said(period)}, only {', '.join(PERIODS)}.", f"{like}: {said(count)}")
        elif isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 10000:
            report.add(
                variable,
                f"{period}: {said(count)} is no number of snapshots from 1 on.",
                f"{period}: 7, or nothing of it",
            )
        else:
            right[period] = count
    return right


def check_restore(good: dict[str, Any], report: Report) -> None:
    """Check what is to be put back, as far as it can be known before the snapshot is read."""
    file, user, snapshot = good["restore_file"], good["restore_user"], good["restore_snapshot"]
    path = PurePosixPath(file)
    if file and (path.is_absolute() or ".." in path.parts or not path.parts or "\0" in file):
        report.add(
            f"{PREFIX}restore_file",
            f"{said(file)} is no path in the user's home.",
            "FILE=work/report.ipynb, from /home/jovyan on",
        )
    if file and not user:
        report.add(f"{PREFIX}restore_file", "it is in a user's home, and there is no user.", "USER=alice, too")
    if snapshot and not re.fullmatch("[0-9a-f]{6,64}", snapshot):
        report.add(f"{PREFIX}restore_snapshot", f"{said(snapshot)} is no snapshot.", "SNAPSHOT=..., of make backups")


def check_backing_up(machine: dict[str, Any], report: Report) -> None:
    """Whether the machine has what is to be saved, and lets it be read."""
    if not machine["root"]:
        report.add(THIS_MACHINE, "the tasks do not run as root.", "become: true, as playbooks/backup.yml does")
    elif machine["docker"]["version"] is None:
        report.add(
            THIS_MACHINE,
            "the Docker engine does not answer (docker info), so that nobody can tell where users' files are.",
            "make hub, if the hub is not there yet; or systemctl start docker",
            label="Do",
        )


def backup_settings(good: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """What the modules and the timer's program need, without what may be secret: see Backup in module_utils."""
    return {
        "project": good["project"],
        "directory": good["directory"],
        "checkout": machine["job"].get("checkout", ""),
        "keep": good["backup_keep"],
    }


def secret_settings(good: dict[str, Any]) -> dict[str, Any]:
    """What beside these may be secret."""
    names = [name.removeprefix(PREFIX) for name in SECRET if name.startswith(f"{PREFIX}backup_")]
    return {name: good[name] for name in sorted(names)} if good["backup"] else {}
