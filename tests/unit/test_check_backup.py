"""plugin_utils/backup: what the variables of backups must be, and what the machine must have."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.backup import (
    backup_settings,
    check_backing_up,
    check_restore,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import Report
from checks import checked, told
from test_desired import SETTINGS


@pytest.mark.parametrize(
    "variables",
    [
        {"backup_repository": "/mnt/disk/hub"},
        {"backup_repository": "sftp:kim@nas:/backups", "backup_password": "correct horse"},
        {"backup_repository": "/opt/jupyterhub-home-backups"},
        {"backup_repository": "s3:https://host/bucket", "backup_environment": {"AWS_ACCESS_KEY_ID": "a"}},
        {"backup_keep": {}},
        {"backup_keep": {"last": 1, "yearly": 10}},
    ],
)
def test_what_is_right(variables: dict[str, Any]) -> None:
    assert checked(**variables)[1] == ""


@pytest.mark.parametrize(
    ("variables", "parts"),
    [
        ({"backup_repository": "backups"}, ["'backups' is neither a plain absolute path nor an address of restic's"]),
        ({"backup_repository": "nas:/backups"}, ["jupyterhub_home_backup_repository: sftp:nas:/backups"]),
        ({"backup_repository": "sftp:kim@nas"}, ["jupyterhub_home_backup_repository: sftp:kim@nas:/backups"]),
        ({"backup": 210}, ['Write: jupyterhub_home_backup: "03:30", in quotes, for without them YAML makes a number']),
        ({"backup": "Monday 3.30"}, ['jupyterhub_home_backup: "Mon 03:30"']),
        ({"backup": "Montag 3"}, ['jupyterhub_home_backup: "03:30"']),
        ({"backup_repository": "/opt/jupyterhub-home"}, ["is in the folder of the hub (jupyterhub_home_directory)"]),
        ({"backup_repository": "/opt/jupyterhub-home/b"}, ["is in the folder of the hub", "/mnt/disk/jupyterhub"]),
        ({"backup_repository": "rest :https://kim:geheim1@nas/"}, ["'rest :https://...@nas/' is neither"]),
        ({"backup_password": "geheim1"}, ["it is shorter than 8 signs"]),
        ({"backup_password": "geheim1\nx"}, ["or has control characters"]),
        ({"backup_password": 12345678}, ["it is a number, not text"]),
        ({"backup_environment": {"RESTIC_PASSWORD": "geheim1"}}, ["'RESTIC_PASSWORD' is no variable for restic's"]),
        ({"backup_environment": {"a b": "geheim1"}}, ["'a b' is no variable", 'AWS_ACCESS_KEY_ID: "..."']),
        ({"backup_environment": {"B2_ACCOUNT_ID": 7}}, ["the value of B2_ACCOUNT_ID is a number", 'B2_ACCOUNT_ID: "']),
        ({"backup_keep": {"dayly": 7}}, ["there is no 'dayly', only last, hourly, daily", "Write: daily: 7"]),
        ({"backup_keep": {"daily": 0}}, ["daily: 0 is no number of snapshots from 1 on"]),
        ({"backup_keep": {"daily": True}}, ["daily: true is no number"]),
        ({"backup_keep": 7}, ["it is 7, not a dictionary"]),
    ],
)
def test_what_is_not(variables: dict[str, Any], parts: list[str]) -> None:
    said = checked(**variables)[1]
    assert said.startswith("jupyterhub_home_backup") and said.count("Write: ") == 1
    assert [part for part in parts if part not in said] == [], said
    assert "geheim1" not in said


@pytest.mark.parametrize(
    ("root", "version", "part"),
    [
        (True, "26.1.5", ""),
        (False, "26.1.5", "do not run as root"),
        (True, None, "Do: make hub, if the hub is not there yet"),
    ],
)
def test_where_nothing_can_be_saved(root: bool, version: str | None, part: str) -> None:
    report = Report()
    check_backing_up({"root": root, "docker": {"version": version}}, report)
    assert bool(told(report)) == bool(part) and part in told(report)


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        (
            {"user": "alice", "file": "work/a b/../c"},
            "'work/a b/../c' is no path in the user's home. Write: FILE=work/",
        ),
        ({"user": "alice", "file": "/home/jovyan/x"}, "'/home/jovyan/x' is no path in the user's home"),
        ({"user": "alice", "file": "."}, "'.' is no path"),
        ({"file": "work/x"}, "there is no user. Write: USER=alice, too"),
        ({"snapshot": "latest"}, "'latest' is no snapshot. Write: SNAPSHOT=..., of make backups"),
        ({"user": "alice", "file": "work/*..x", "snapshot": "1f2e3d4c"}, ""),
    ],
)
def test_what_is_to_be_put_back(wanted: dict[str, str], part: str) -> None:
    report = Report()
    check_restore({f"restore_{name}": wanted.get(name, "") for name in ("user", "file", "snapshot")}, report)
    said = " ".join(told(report).split())
    assert bool(said) == bool(part) and part in said


def test_what_is_passed_on_has_no_secret() -> None:
    good = {**SETTINGS, "backup_password": "geheim1!", "backup_environment": {"A": "geheim1"}}
    found = backup_settings(good, {"job": {"checkout": "/home/kim/hub", "host": "x"}})
    assert found["checkout"] == "/home/kim/hub" and "geheim1" not in str(found)
    assert backup_settings(good, {"job": {}})["checkout"] == ""
