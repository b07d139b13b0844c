"""plugin_utils/schedule: timers that renew the images, where the machine can do it by itself, and back up."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import belongings, contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.desired import with_content
from ansible_collections.jupyterhub.home.plugins.plugin_utils.schedule import job
from checks import MACHINE, checked, looked_at
from conftest import Program
from test_desired import derive

FILES = {"renew/jupyterhub-home-renew.service", "renew/jupyterhub-home-renew.timer"}


@pytest.mark.parametrize("job", contract.TIMERS)
@pytest.mark.parametrize("calendar", ["", "04:30", "23:59", "Sun 04:30", "Tue,Fri 04:30"])
def test_a_calendar(job: str, calendar: str) -> None:
    good, said = checked(**{job: calendar})
    assert (good[job], said) == (calendar, "")


@pytest.mark.parametrize(
    ("calendar", "nearest"),
    [
        ("sun 04:30", "Sun 04:30"),
        ("Sun 4:30", "Sun 04:30"),
        ("04:30\n", "04:30"),
        *((none, None) for none in ("weekly", "Sun 24:00", "Fri..Mon 04:30", "*")),
    ],
)
def test_what_is_no_calendar(calendar: str, nearest: str | None) -> None:
    assert checked(backup=calendar)[1].endswith(f'Write: jupyterhub_home_backup: "{nearest or "03:30"}"')
    good, said = checked(renew=calendar)
    assert good["renew"] == ""
    assert said.startswith("jupyterhub_home_renew: ") and "is not a time such as 04:30" in said
    assert said.endswith(f'Write: jupyterhub_home_renew: "{nearest or "Sun 04:30"}"')


def test_a_time_without_quotes_is_a_number_of_minutes_to_yaml() -> None:
    assert 'Write: jupyterhub_home_renew: "12:30", in quotes' in checked(renew=750)[1]


def test_which_runs_the_machine_can_do_again(tmp_path: Path) -> None:
    own = str(tmp_path / "inventory/home")
    assert job("local", [own], tmp_path, "localhost") == {"checkout": str(tmp_path), "host": "localhost"}
    other: list[tuple[str, list[str], str]] = [
        ("ssh", [own], "localhost"),
        ("local", [], "localhost"),
        ("local", [own, "/etc/ansible/hosts"], "localhost"),
        ("local", [own + "2"], "localhost"),
        ("local", [own], "a;b"),
    ]
    assert [job(connection, inventories, tmp_path, host) for connection, inventories, host in other] == [{}] * 5


@pytest.mark.parametrize(
    ("machine", "why"),
    [({"job": {}}, "needs a run by make hub on the machine itself"), ({"systemd": False}, "has no systemd")],
)
def test_where_it_cannot_be(machine: dict[str, Any], why: str) -> None:
    said = looked_at(machine, renew="Sun 04:30")
    assert said.startswith("jupyterhub_home_renew: it is 'Sun 04:30', but ") and why in said
    assert said.endswith('Write: jupyterhub_home_renew: "", and a line for cron as docs/security.md has it')
    assert looked_at(machine) == looked_at(MACHINE, renew="Sun 04:30", backup="03:30") == ""


def test_where_no_backup_can_be() -> None:
    """A machine that another one sets up does its own, for it needs no vault."""
    assert looked_at({"job": {}}, backup="03:30") == ""
    said = looked_at({"systemd": False}, backup="03:30")
    assert said.endswith('Write: jupyterhub_home_backup: "", and a line for cron as docs/backup.md has it')


def test_the_units() -> None:
    assert FILES.isdisjoint(derive()["files"])
    found = derive(renew="Sun 04:30")
    service, timer = (found["files"][name]["content"].splitlines() for name in sorted(FILES))
    assert {"WorkingDirectory=/home/kim/100%% mine", "ExecStart=/usr/bin/python3 scripts/hub.py renew"} < set(service)
    assert 'Environment="ARGS=--limit localhost"' in service
    assert {"OnCalendar=Sun 04:30", "WantedBy=timers.target"} < set(timer)
    renew, backup = found["timers"]
    assert [unit.removeprefix("/opt/jupyterhub-home/") for unit in renew["units"]] == sorted(FILES, reverse=True)
    assert (renew["wanted"], renew["right"], backup["wanted"], backup["right"]) == (True, False, False, True)
    at_work = {"units": ["jupyterhub-home-renew.timer", "jupyterhub-home-renew.service"]}
    assert derive(at_work, renew="Sun 04:30")["timers"][0]["right"]
    linked = {"schedule": {"renew": {"linked": True, "failed": False}}}
    assert not derive(linked)["timers"][0]["right"]


def test_the_program_of_backups_is_whole(tmp_path: Path) -> None:
    """It runs on the machine, which has neither the collection nor Ansible, and leaves nothing in the folder."""
    assert not any(file.startswith("backup/") for file in derive(renew="04:30")["files"])
    found = derive(backup="Sun 03:30", directory=str(tmp_path))["files"]
    for name, file in found.items():
        if name.startswith("backup/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(with_content(file)["content"])
    timer = (tmp_path / "backup/jupyterhub-home-backup.timer").read_text().splitlines()
    assert {"OnCalendar=Sun 03:30", "RandomizedDelaySec=30min", "Persistent=true"} < set(timer)
    service = (tmp_path / "backup/jupyterhub-home-backup.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", service, re.M)
    (environment,) = re.findall(r"^Environment=(.*)$", service, re.M)
    settings = {
        "project": "no-such", "directory": str(tmp_path), "checkout": "", "repository": "", "password": "",
        "environment": {}, "keep": {}, "notify": "",
    }  # fmt: skip
    (tmp_path / "backup/settings.json").write_text(json.dumps(settings))
    done = subprocess.run(
        ["env", "-i", *environment.split(), *start.split()], text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "") and "There is no password for the backups yet" in done.stderr
    assert not list(tmp_path.rglob("*.pyc"))


def test_secrets_of_backups_reach_the_files_and_nothing_else() -> None:
    secret: dict[str, Any] = {
        "backup_password": "geheim1!",
        "backup_environment": {"A": "geheim"},
        "backup_notify": "curl geheim",
    }
    found = derive(backup="03:30", **secret)
    assert "geheim" not in str(found) and found["backup_settings"] == "backup/settings.json"
    assert found["files_digest"] != derive(backup="03:30")["files_digest"]
    assert derive(**secret)["files_digest"] == derive()["files_digest"] and derive()["backup_settings"] == ""


@pytest.mark.parametrize(
    ("backup", "variables", "note"),
    [
        ({"age": 100}, {"backup": "03:30"}, ""),
        ({"age": None}, {}, ""),
        ({"age": None}, {"backup": "03:30"}, "No backup has been made yet. Do: make backup"),
        ({"age": 100, "why": "the disk is full"}, {}, "The last backup failed: the disk is full."),
        ({"age": 3 * 86400}, {"backup": "Sun 03:30"}, ""),
        ({"age": 3 * 86400}, {}, ""),
        ({"age": 3 * 86400}, {"backup": "03:30"}, "The last backup is 3 days old (jupyterhub_home_backup). Why it was"),
        ({"age": 9 * 86400}, {"backup": "Sun 03:30"}, "The last backup is 9 days old"),
    ],
)
def test_what_is_said_of_backups(backup: dict[str, Any], variables: dict[str, Any], note: str) -> None:
    notes = [text for text in derive({"backup": backup}, **variables)["notes"] if "backup" in text]
    assert len(notes) == bool(note) and "".join(notes).startswith(note)


def test_a_renewal_that_failed_is_said() -> None:
    """As long as there is a schedule."""
    failed = {"schedule": {"renew": {"failed": True}}}
    (note,) = (note for note in derive(failed, renew="04:30")["notes"] if "renew" in note)
    assert note.endswith("It said why: journalctl -u jupyterhub-home-renew.service")
    assert not any("renew" in note for one in (derive(failed), derive(renew="04:30")) for note in one["notes"])


def test_what_systemd_has_of_it(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belongings, "UNITS", tmp_path)
    program("systemctl", "echo inactive; exit 3")
    nothing = {"linked": False, "failed": False}
    assert belongings.schedule("home") == {"renew": nothing, "backup": nothing}
    (tmp_path / "home-renew.service").symlink_to("/gone")  # half of it, of a run that was killed
    program("systemctl", "echo failed")
    assert belongings.schedule("home") == {"renew": {"linked": True, "failed": True}, "backup": nothing}
