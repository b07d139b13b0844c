"""plugin_utils/schedule: a timer that renews the images, where the machine can do it by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import belongings
from ansible_collections.jupyterhub.home.plugins.plugin_utils.schedule import job
from checks import MACHINE, checked, looked_at
from conftest import Program
from test_desired import derive

FILES = {"renew/jupyterhub-home-renew.service", "renew/jupyterhub-home-renew.timer"}


@pytest.mark.parametrize("calendar", ["", "04:30", "23:59", "Sun 04:30", "Tue,Fri 04:30"])
def test_a_calendar(calendar: str) -> None:
    good, said = checked(renew=calendar)
    assert (good["renew"], said) == (calendar, "")


@pytest.mark.parametrize("calendar", ["weekly", "sun 04:30", "Sun 4:30", "Sun 24:00", "Fri..Mon 04:30", "04:30\n", "*"])
def test_what_is_no_calendar(calendar: str) -> None:
    good, said = checked(renew=calendar)
    assert good["renew"] == ""
    assert said.startswith("jupyterhub_home_renew: ") and "is not a time such as 04:30" in said
    assert said.endswith('Write: jupyterhub_home_renew: "Sun 04:30"')


def test_a_time_without_quotes_is_a_number_of_minutes_to_yaml() -> None:
    assert 'Write: jupyterhub_home_renew: "Sun 04:30"' in checked(renew=750)[1]


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
    assert looked_at(machine) == looked_at(MACHINE, renew="Sun 04:30") == ""


def test_the_units() -> None:
    assert FILES.isdisjoint(derive()["files"])
    found = derive(renew="Sun 04:30")
    service, timer = (found["files"][name]["content"].splitlines() for name in sorted(FILES))
    assert {"WorkingDirectory=/home/kim/100%% mine", "ExecStart=/usr/bin/python3 scripts/hub.py renew"} < set(service)
    assert 'Environment="ARGS=--limit localhost"' in service
    assert {"OnCalendar=Sun 04:30", "WantedBy=timers.target"} < set(timer)
    assert [unit.removeprefix("/opt/jupyterhub-home/") for unit in found["renew_units"]] == sorted(FILES, reverse=True)


def test_a_renewal_that_failed_is_said() -> None:
    """As long as there is a schedule."""
    failed = {"schedule": {"failed": True}}
    (note,) = (note for note in derive(failed, renew="04:30")["notes"] if "renew" in note)
    assert note.endswith("It said why: journalctl -u jupyterhub-home-renew.service")
    assert not any("renew" in note for one in (derive(failed), derive(renew="04:30")) for note in one["notes"])


def test_what_systemd_has_of_it(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belongings, "UNITS", tmp_path)
    program("systemctl", "echo inactive; exit 3")
    assert belongings.schedule("home") == {"linked": False, "failed": False}
    (tmp_path / "home-renew.service").symlink_to("/gone")  # half of it, of a run that was killed
    program("systemctl", "echo failed")
    assert belongings.schedule("home") == {"linked": True, "failed": True}
