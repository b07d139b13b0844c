"""All variables together: what is reported, and what is gone on with. What a whole run says is in tests/input/."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX
from checks import SPECS, USERS, checked


def test_the_defaults_are_fine() -> None:
    good, said = checked()
    assert said == ""
    assert {PREFIX + name for name in good} == set(SPECS)
    assert (good["port"], good["mounts"], good["users"]) == (8000, [], USERS)


def test_a_variable_with_a_mistake_has_its_default() -> None:
    good, said = checked(port=0, bind_address="x", directory="/", free_disk_min="x", memory_limit=None, users="x")
    assert said.count("Write:") == 6
    names = ("port", "bind_address", "directory", "free_disk_min", "memory_limit", "users")
    assert {name: good[name] for name in names} == {name: SPECS[PREFIX + name]["default"] for name in names}


STRANGE: list[Any] = [
    None, True, False, 0, -1, 1.5, math.nan, math.inf, -math.inf, 10**400, datetime.date(2026, 11, 2),
    datetime.datetime(2026, 11, 2, 7, 30), b"bytes", {"a"}, ("a", "b"),
    "", " ", "x", "\x00", "\ud800", "ü€\u202e", "9" * 5000, "1e999", "{" * 500, "(" * 500, "/" + "a/" * 500, "../..",
    "a\nb", [], [None], [[]], [{}], [1], [math.nan], ["\ud800"], [["x"]], ["x", {}],
    {}, {"x": None}, {None: None}, {1: {2: 3}}, {"X": {"y": {"z": [math.nan]}}}, {"JupyterHub": None},
    {"JupyterHub": {}}, [{"name": None}], [{"name": []}], [{"name": {"a": 1}}], [{1: 2}],
    [{"name": "\ud800", "password": "x"}], [{"name": "kim", "password": "\ud800"}],
    [{"name": "kim", "password": math.nan}], [{"name": "kim", "groups": [None]}],
    [{"name": "kim", "state": []}], [{"name": [], "state": "absent"}], [{"name": "kim", "renamed_from": ["kim"]}],
    [{"name": {}, "renamed_from": "kim"}, {"renamed_from": "kim"}, {"name": "\ud800" * 99, "renamed_from": "kim"}],
    [{"name": "kim", "renamed_from": "\ud800"}, {"name": "lee", "renamed_from": "\ud800"}],
    [{"source": "/x", "target": "/y", "users": [None]}], [{"source": "/x", "target": "/y", "users": [{}]}],
    [{"source": "/{username}", "target": "/y", "users": [1]}], [{"source": None, "target": 1}],
]  # fmt: skip


@pytest.mark.parametrize("name", [name.removeprefix(PREFIX) for name in SPECS])
@pytest.mark.parametrize("config", [{}, {"JupyterHub": {"authenticator_class": "dummy"}}])
def test_nothing_crashes_the_checks(name: str, config: dict[str, Any]) -> None:
    """Whatever stands in a variable is used or reported, and every report can be printed as it is."""
    for value in STRANGE:
        good, said = checked(**{"config": config, name: value})
        said.encode()
        assert "\x00" not in said and "Traceback" not in said and len(said) < 3000
        assert f"{PREFIX}{name}" in said or good[name] is not None, (value, said)
        assert set(good) == {key.removeprefix(PREFIX) for key in SPECS}
        json.dumps({key: value for key, value in good.items() if key not in ("users", "config")}, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "fine"), [("remove", True), ("keep", True), ("Keep", False), (True, False), (None, False)]
)
def test_undeclared_users(value: Any, fine: bool) -> None:
    assert (checked(undeclared_users=value)[1] == "") is fine


def test_a_list_of_users_that_cannot_be_read_makes_no_false_alarm() -> None:
    """Its own mistake is enough: who is in it is not known."""
    said = checked(users={"kim": "x"}, mounts=[{"source": "/a", "target": "/b", "users": ["kim"]}])[1]
    assert said.count("Write:") == 1
    said = checked(users=[{"name": "kim"}], config="x")[1]
    assert said.count("Write:") == 1


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"subnet": "10.200.0.0"}, "jupyterhub_home_subnet: 10.200.0.0/24"),
        ({"subnet": "10.200.0.1/24"}, "jupyterhub_home_subnet: 10.200.0.0/24"),
        ({"subnet": "10.200.0.0/30"}, "jupyterhub_home_subnet: 10."),
        ({"allow": ["0.0.0.0/0"]}, "'0.0.0.0/0' is more than a network at home"),
        ({"allow": ["::/0"]}, "'::/0' is more than a network at home"),
        ({"allow": ["10.0.0.0/8", "fc00::/7"]}, ""),
        ({"allow": "192.168.1.5"}, 'jupyterhub_home_allow: ["192.168.1.5"]'),
        ({"archive_homes": "*"}, 'jupyterhub_home_archive_homes: ["*"]'),
        ({"delete_homes": ["*"]}, 'jupyterhub_home_archive_homes: ["*"], or their names here'),
        ({"disk_limit": "20TB"}, "jupyterhub_home_disk_limit: 20G"),
        ({"disk_limit": "2 GB"}, "jupyterhub_home_disk_limit: 2G"),
        ({"users": [{"name": "Zo\u00eb", "password": "a password"}]}, "name: zoe"),
    ],
)
def test_what_was_meant(variables: dict[str, Any], part: str) -> None:
    said = checked(**variables)[1]
    assert part in said and (said == "") == (part == ""), said
