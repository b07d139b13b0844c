"""The users: names, secrets, and who leaves the hub."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Place, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import (
    check_archive,
    check_removals,
    check_renamed,
    check_user_name,
)
from checks import PW, USERS, checked, told


def test_the_suggested_user_names_can_be_used() -> None:
    for name in [
        "Kim Lee",
        "..",
        "a..b",
        "-x-",
        "1234",
        "9lives",
        "é",
        "root",
        "www-data",
        "x" * 40,
        "a" * 31 + "-b",
        "_",
        ".",
    ]:
        report = Report()
        check_user_name(Place(""), name, report)
        for mistake in report.mistakes:
            again = Report()
            check_user_name(Place(""), mistake.write.removeprefix("name: "), again)
            assert again.mistakes == [], mistake


@pytest.mark.parametrize(
    ("secret", "fine"),
    [
        ({"password_hash": "$y$j9T$abc./$" + "x" * 43}, True),
        ({"password_hash": "!$y$j9T$abc./$" + "x" * 43}, True),
        ({"password_hash": "$6$salt$" + "x" * 86}, True),
        ({"password_hash": "$5$rounds=5000$salt$" + "x" * 43}, True),
        ({"password_hash": "$2b$04$" + "x" * 53}, True),
        ({"password_hash": "*"}, True),
        ({"password_hash": "$2b$99$" + "x" * 53}, False),
        ({"password_hash": "$2a$12$" + "x" * 53}, False),
        ({"password_hash": "$y$j9T$abc$" + "x" * 42}, False),
        ({"password_hash": "$6$salt$" + "x" * 86 + ":0"}, False),
        ({"password_hash": "$6$salt$" + "x" * 86 + "\n"}, False),
        ({"password_hash": "hunter2"}, False),
        ({"password_hash": None}, False),
        ({"password": "x"}, True),
        ({"password": "x" * 511}, True),
        ({"password": "€" * 171}, False),
        ({"password": "a\tb"}, False),
        ({"password": "$6$salt$" + "x" * 86}, False),
        ({"password": True}, False),
        ({}, False),
    ],
)
def test_secrets(secret: dict[str, Any], fine: bool) -> None:
    assert (checked(users=[{"name": "kim", **secret}])[1] == "") == fine


@pytest.mark.parametrize(
    "user",
    [
        {"name": "kim", "password:hunter2": None},
        {"name": "kim", "hunter2": None},
        {"name": "kim", "hunter2": True},
        {"name": "kim", "password": "x", "password=hunter2": "hunter2"},
        {"name": "kim", "passwd": ["hunter2"]},
        {"name": "kim", "password": ["hunter2"]},
        {"name": "kim", "password": 48151623},
        {"name": "kim", "password": {"hunter2": 1}},
        {"name": "kim", "password_hash": "hunter2"},
        {"name": "kim", "password": "hunter2\x07"},
        "kim:hunter2",
        ["kim", "hunter2"],
    ],
)
def test_no_message_shows_a_password(user: Any) -> None:
    said = checked(users=[user])[1]
    assert said and "hunter2" not in said and "48151623" not in said


@pytest.mark.parametrize(
    ("users", "delete_homes", "part"),
    [
        ([{"name": "kim", **PW}, {"name": "lee", "state": "absent"}], ["lee", "max"], ""),
        ([{"name": "kim", **PW, "state": "present"}], [], ""),
        ([{"name": "kim", **PW, "renamed_from": "lee"}, {"name": "lee", "state": "absent"}], ["max"], ""),
        ([{"name": "kim", **PW}, {"name": "lee", "state": "absent", "renamed_from": "kim"}], [], ""),
        ([{"name": "kim", **PW, "state": "gone"}], [], "users, user kim: state is 'gone', none of present, absent."),
        ([{"name": "kim", **PW, "renamed_from": "kim"}], [], "user kim: renamed_from is 'kim', who is in the list."),
        (
            [{"name": "kim", **PW, "renamed_from": "lee"}, {"name": "lee", **PW}],
            [],
            "user kim: renamed_from is 'lee', who is in the list.",
        ),
        (
            [{"name": "kim", **PW, "renamed_from": "max"}, {"name": "lee", **PW, "renamed_from": "max"}],
            [],
            "user lee: user kim is renamed from 'max', too.",
        ),
        (
            [{"name": "kim", **PW, "renamed_from": "max"}],
            ["max"],
            "delete_homes: the files of 'max' go to user kim.",
        ),
        ([{"name": "kim", **PW}], ["kim"], "'kim' is in jupyterhub_home_users, and would lose all files."),
    ],
)
def test_who_leaves(users: list[dict[str, Any]], delete_homes: list[str], part: str) -> None:
    said = checked(users=[*users, {"name": "zoe", **PW}], delete_homes=delete_homes)[1]
    assert (said == "") if not part else (part in said and said.count("Write:") == 1)


@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({"archive_homes": ["lee", "*"], "delete_homes": ["max"]}, ""),
        ({"archive_homes": ["zoe"]}, "archive_homes: 'zoe' is in jupyterhub_home_users, and may be at work."),
        ({"archive_homes": ["anne"]}, "archive_homes: the files of 'anne' go to user ann."),
        (
            {"archive_homes": ["max"], "delete_homes": ["max"]},
            "archive_homes: 'max' is in jupyterhub_home_delete_homes",
        ),
        ({"archive_homes": "*"}, "archive_homes: it is '*', not a list."),
    ],
)
def test_whose_home_is_archived(variables: dict[str, Any], part: str) -> None:
    users = [{"name": "zoe", **PW}, {"name": "ann", **PW, "renamed_from": "anne"}, {"name": "lee", "state": "absent"}]
    said = checked(users=users, **variables)[1]
    assert (said == "") if not part else (part in said and said.count("Write:") == 1)


@pytest.mark.parametrize(
    ("named", "decides", "undeclared", "lack", "parts"),
    [
        (["*"], True, "remove", {}, []),
        (["bob"], False, "keep", {}, []),
        (
            ["*"],
            False,
            "remove",
            {},
            ["'*' is everybody who is not in", "Write: jupyterhub_home_archive_homes: [alice]"],
        ),
        (["*", "bob"], True, "keep", {}, ["but the hub may have users that are not in it"]),
        (
            ["bob"],
            True,
            "remove",
            {"needed": 12_300_000_000, "free": 940_000_000},
            ["the archives need up to 12 GB", "/var/backups/home/archives is, or would be, are 940 MB free"],
        ),
    ],
)
def test_whether_homes_can_be_archived(
    named: list[str], decides: bool, undeclared: str, lack: dict[str, int], parts: list[str]
) -> None:
    report = Report()
    good = {"archive_homes": named, "undeclared_users": undeclared, "project": "home"}
    check_archive(good, decides, lack, report)
    said = told(report)
    assert len(report.mistakes) == bool(parts) and [part for part in parts if part not in said] == [], said


class Counted(int):
    """A number as Ansible reads it, with its place in the file: one that a range is searched for, number by number."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        assert self.compared < 100
        return int(self) == other

    __hash__ = int.__hash__


@pytest.mark.parametrize(
    ("uid", "said"),
    [
        (1000, ""),
        (60000, ""),
        (1668600500, ""),  # of a directory
        (0, "uid 0 cannot be a person's: 1000 to 60000, or 65536 and more, and none of 58081, 58082, 58083"),
        (-1, "uid -1 cannot be a person's"),
        (999, "uid 999 cannot be a person's"),
        (58082, "uid 58082 cannot be a person's"),
        (65534, "uid 65534 cannot be a person's"),
        (2**31, "uid 2147483648 cannot be a person's"),
        ("1001", "uid is '1001', not a whole number."),
        (True, "uid is true, not a whole number."),
        (1003, "uid 1003 is user lee's, too"),
    ],
)
def test_uids(uid: Any, said: str) -> None:
    uid = Counted(uid) if type(uid) is int else uid
    others = [{"name": "lee", **PW, "uid": 1003}, {"name": "max", "state": "absent", "uid": 1000}]
    found = checked(users=[*others, {"name": "kim", **PW, "uid": uid}])[1]
    assert (found == "") if not said else (f"users, user kim: {said}" in found and found.count("Write:") == 1)
    assert "cannot be" not in said or "uid: 1001, or what id -u kim prints" in found


@pytest.mark.parametrize("users", [[], [{"name": "kim", "state": "absent"}]])
def test_a_list_without_anybody_must_be_meant(users: list[dict[str, Any]]) -> None:
    said = checked(users=users)[1]
    assert "there are no users, so nobody could log in." in said and f"{PREFIX}allow_no_users: true" in said
    assert checked(users=users, allow_no_users=True)[1] == ""
    assert checked(users=users, config={"JupyterHub": {"authenticator_class": "dummy"}})[1] == ""
    # What cannot be read is no empty list.
    said = checked(users="x", allow_no_users=True)[1]
    assert "it is text, not a list" in said and said.count("Write:") == 1


def test_an_absent_user_needs_no_secret_and_has_no_mount() -> None:
    users = [*USERS, {"name": "max", "state": "absent"}, {"name": "ben", "state": "absent", "password": "old words"}]
    mount = {"source": "/home/{username}", "target": "/data"}
    good, said = checked(users=users, mounts=[mount])
    assert (said, [entry["users"] for entry in good["mounts"]]) == ("", [["kim"], ["lee"]])
    assert (
        "user 'max' is not in jupyterhub_home_users." in checked(users=users, mounts=[{**mount, "users": ["max"]}])[1]
    )
    assert "this name stands in the list twice" in checked(users=[*users, {"name": "max", "password": "x"}])[1]


def removed(there: list[str], *users: dict[str, Any], new_vault: bool = False, **variables: Any) -> str:
    """What check_removals and check_renamed report of this list, on a hub with these users and zoe's old home."""
    good, said = checked(users=[{"name": "kim", **PW}, *users], **variables)
    assert said == ""
    report = Report()
    check_removals(good, there, new_vault, report)
    check_renamed(good, there, ["zoe"], report)
    return told(report)


MANY = [f"user{number:02}" for number in range(30)]


@pytest.mark.parametrize(
    ("there", "users", "fine"),
    [
        ([], [], True),
        (["kim"], [], True),
        (["bob"], [], True),  # one is no mistake
        (["bob", "lee"], [], False),
        (["bob", "kim", "lee"], [], False),
        (["bob", "kim", "lee", "max"], [{"name": "max", **PW}], True),  # half of them
        (["bob", "kim", "lee"], [{"name": "lee", "state": "absent"}], True),
        (["bob", "kim", "lee"], [{"name": "rob", **PW, "renamed_from": "bob"}], True),
        (MANY, [], False),
    ],
)
def test_who_would_be_removed(there: list[str], users: list[dict[str, Any]], fine: bool) -> None:
    said = removed(there, *users)
    assert (said == "") is fine
    assert removed(there, *users, allow_mass_removal=True) == ""
    assert removed(there, *users, config={"JupyterHub": {"authenticator_class": "dummy"}}) == ""
    if not fine:
        gone = [name for name in there if name != "kim"]
        shown = ", ".join(gone[:20]) + (" and 10 more" if len(gone) == 30 else "")
        assert f"{len(gone)} of the hub's {len(there)} users are not in the list any more" in said
        assert f"would be removed: {shown}.\n" in said and f'make hub ARGS="-e {PREFIX}allow_mass_removal=true"' in said


def test_a_new_vault_beside_a_hub() -> None:
    assert removed([], new_vault=True) == ""
    said = removed(["kim"], new_vault=True)  # with another password
    assert "the vault was made just now, but this machine has a hub already, with the users kim." in said
    assert "group_vars/jupyterhub/vault.yml and .vault-password" in said
    assert removed(["kim", "lee", "max"], new_vault=True, allow_mass_removal=True) == ""


@pytest.mark.parametrize(
    ("user", "write"),
    [
        ({"name": "bobby", "renamed_from": "bbo"}, "renamed_from: bob"),
        ({"name": "bobby", "renamed_from": "xyz"}, "{name: bobby, ...} without renamed_from"),
        ({"name": "bobby", "renamed_from": "kin"}, "{name: bobby, ...} without renamed_from"),  # kim is in the list
        ({"name": "bobby", "renamed_from": "bob"}, ""),
        ({"name": "zoe", "renamed_from": "sue"}, ""),  # she has her home, and was away for a while
        ({"name": "lee", "renamed_from": "leo"}, ""),  # long ago
        ({"name": "bobby", "renamed_from": "bbo", "state": "absent"}, ""),
    ],
)
def test_former_names(user: dict[str, Any], write: str) -> None:
    said = removed(["bob", "kim", "lee"], {**user, **PW}, {"name": "max", "state": "absent"}, allow_mass_removal=True)
    assert (said == "") if not write else ("that nobody has or had" in said and said.endswith(f"Write: {write}")), said
    assert removed([], {**user, **PW}) == "", "a new machine, and lines that are years old"
