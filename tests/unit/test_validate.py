"""The validator's own functions. What a whole run says is in tests/input/."""

from __future__ import annotations

import datetime
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.plugin_utils.machine import check_machine, writes_much
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import misspelt
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.run import runs
from ansible_collections.jupyterhub.home.plugins.plugin_utils.uninstall import check_uninstall
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import (
    check_removals,
    check_renamed,
    check_user_name,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import WORK_FOLDER, size_in_bytes
from ansible_collections.jupyterhub.home.plugins.plugin_utils.variables import check_variables
from conftest import ROLE

SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
USERS = [{"name": "kim", "password": "hunter2", "admin": True}, {"name": "lee", "password_hash": "!"}]
GIB = 2**30


def checked(**variables: Any) -> tuple[dict[str, Any], str]:
    """What check_variables gives for the defaults with these in place of them, and what it reports."""
    report = Report()
    good = check_variables(
        {f"{PREFIX}users": USERS, **{PREFIX + key: value for key, value in variables.items()}}, SPECS, report
    )
    return good, "\n".join(report.mistakes)


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


@pytest.mark.parametrize("name", ["port", "cpu_limit", "pids_limit", "idle_timeout"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_to_work_with(name: str, value: float) -> None:
    assert f"{PREFIX}{name}: it is {value}, not a" in checked(**{name: value})[1]


def test_text_of_the_command_line_becomes_a_number() -> None:
    good, said = checked(port="8080", cpu_limit="1.5", idle_timeout="0")
    assert said == ""
    assert (good["port"], good["cpu_limit"], good["idle_timeout"]) == (8080, 1.5, 0)


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
        check_user_name("", name, report)
        for mistake in report.mistakes:
            again = Report()
            check_user_name("", mistake.rpartition("name: ")[2], again)
            assert again.mistakes == [], mistake


@pytest.mark.parametrize("text", ["jupyter", "", "//", "/a b/", "/../x", "http://a/", "/ü/", "a/./b", "/a//b"])
def test_the_suggested_base_url_can_be_used(text: str) -> None:
    said = checked(base_url=text)[1]
    assert said
    assert checked(base_url=said.rpartition(": ")[2])[1] == ""


@pytest.mark.parametrize("text", ["2gb", "2 GiB", "1,5G", "2048 m", "10", "x", "-1", "1GG"])
def test_the_suggested_memory_can_be_used(text: str) -> None:
    said = checked(memory_limit=text)[1]
    assert said
    assert checked(memory_limit=said.rpartition(": ")[2])[1] == ""


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512M", 512 * 2**20), ("1.5G", 3 * 2**29), ("2T", 2**41), ("1K", 1024), ("7", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "G", "1g", "1GB", "-1G", "1 G", ".5G", "1.G", "1e3", "9" * 400, "inf", "nan", "1G\n"]
)
def test_no_sizes(text: str) -> None:
    assert size_in_bytes(text) is None


@pytest.mark.parametrize(
    "image",
    [
        "debian",
        "debian:13",
        "a/b",
        "quay.io/jupyter/scipy-notebook:2026-11-02",
        "localhost:5000/x",
        "a.b/c__d-e.f:V1_x",
    ],
)
def test_images(image: str) -> None:
    assert checked(user_image=image)[1] == ""


@pytest.mark.parametrize(
    "image", ["A", "a b", "a:", "a/", "/a", "-a", "a:b:c", "a@sha256:12", "a//b", "a$b", "a\n", "a:é"]
)
def test_no_images(image: str) -> None:
    assert "is not an image reference" in checked(user_image=image)[1]


@pytest.mark.parametrize(
    "package",
    ["a", "numpy>=2,<3", "x[a,b]==1.*", "x!=1", "x~=1.0", "x===1", "zope.interface", "a-b_c<2"],
)
def test_requirements(package: str) -> None:
    assert checked(user_packages=[package])[1] == ""


@pytest.mark.parametrize(
    "package",
    ["", "-r x", "--pre", "a b", "a=1", "a>", "a,b", "a[b", "./a", "git+https://a/b", "a;b", "$(a)", "`a`", "a\n"],
)
def test_no_requirements(package: str) -> None:
    assert "is not a pip requirement" in checked(user_packages=[package])[1]


@pytest.mark.parametrize(
    "directory",
    ["/", "/opt", "/home/kim", "/usr/local", "/var/lib", "/etc/docker", "/usr/share/hub", "/proc/1",
     "/var/lib/docker/x", "hub", "/opt/../etc/x", "/opt/hub/", "/opt/a b", "/opt/a:b", "/opt/$HOME", "//opt/hub", ""],
)  # fmt: skip
def test_no_directories(directory: str) -> None:
    assert "of a folder of the role's own" in checked(directory=directory)[1]


@pytest.mark.parametrize(
    "directory", ["/opt/hub", "/srv/hub", "/home/kim/hub", "/var/lib/jupyterhub-home", "/usr/local/hub"]
)
def test_directories(directory: str) -> None:
    assert checked(directory=directory)[1] == ""


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


PW = {"password": "hunter2"}


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


@pytest.mark.parametrize(
    ("value", "fine"), [("remove", True), ("keep", True), ("Keep", False), (True, False), (None, False)]
)
def test_undeclared_users(value: Any, fine: bool) -> None:
    assert (checked(undeclared_users=value)[1] == "") is fine


def test_a_config_is_shown_without_its_values() -> None:
    for config in [
        "hunter2",
        ["hunter2"],
        {"X": "hunter2"},
        {"x": {"y": "hunter2"}},
        {"X": {"y": [{"z": b"hunter2"}]}},
    ]:
        said = checked(config=config)[1]
        assert said and "hunter2" not in said


def test_names_that_are_nearly_right() -> None:
    known = list(SPECS)
    for wrong, write in {
        f"{PREFIX}prot": "port", f"{PREFIX}memory": "memory_limit", f"{PREFIX}image": "user_image",
        f"{PREFIX}package": "hub_packages", f"{PREFIX}admin": "admin_access", "jupyterhub_hom_port": "port",
    }.items():  # fmt: skip
        report = Report()
        assert misspelt(wrong, known)
        check_variables({f"{PREFIX}users": USERS, wrong: "hunter2"}, SPECS, report)
        (mistake,) = report.mistakes
        assert mistake == f"{wrong}: there is no such variable.\n     Write: {PREFIX}{write}: ..."
    for other in ["jupyterhub_port", "jupyter_home", f"__{PREFIX}checked", "ansible_user", *known]:
        assert not misspelt(other, known)


def expanded(*mounts: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    good, said = checked(mounts=list(mounts), **variables)
    assert said == ""
    found: list[dict[str, Any]] = good["mounts"]
    return found


def test_mounts_for_everyone_and_for_some() -> None:
    assert expanded(
        {"source": "/a", "target": "/b"}, {"source": "/c", "target": "/d", "users": ["lee"], "read_only": True}
    ) == [
        {"source": "/a", "target": "/b", "read_only": False, "users": None},
        {"source": "/c", "target": "/d", "read_only": True, "users": ["lee"]},
    ]


def test_a_user_name_in_a_source() -> None:
    wish = {"source": "/home/{username}/x", "target": "/b"}
    assert [(m["source"], m["users"]) for m in expanded(wish)] == [("/home/kim/x", ["kim"]), ("/home/lee/x", ["lee"])]
    assert [m["source"] for m in expanded({**wish, "users": ["lee"]})] == ["/home/lee/x"]


def test_one_target_for_two_users() -> None:
    mine = {"source": "/a", "target": "/x", "users": ["kim"]}
    assert len(expanded(mine, {"source": "/b", "target": "/x", "users": ["lee"]})) == 2
    said = checked(mounts=[mine, {"source": "/b", "target": "/x"}])[1]
    assert "/a and /b both go to /x of user kim." in said


def test_a_list_of_users_that_cannot_be_read_makes_no_false_alarm() -> None:
    """Its own mistake is enough: who is in it is not known."""
    said = checked(users={"kim": "x"}, mounts=[{"source": "/a", "target": "/b", "users": ["kim"]}])[1]
    assert said.count("Write:") == 1
    said = checked(users=[{"name": "kim"}], config="x")[1]
    assert said.count("Write:") == 1


DOCKER = {"installed": True, "limits": ["cpu", "memory", "pids"]}
MACHINE = {
    "system": {"id": "debian", "version_id": "13", "pretty_name": "Debian GNU/Linux 13"},
    "root": True,
    "port": "",
    "directory": "",
    "disk": "/var/lib/docker",
    "memory": 24 * GIB,
    "processors": 4,
    "free_disk": 10 * GIB,
    "ca_bundle": True,
    "docker": DOCKER,
    "addresses": ["192.0.2.20"],
    "folders": {},
}


def looked_at(machine: dict[str, Any], **variables: Any) -> str:
    """What check_machine reports of this machine."""
    good, said = checked(**variables)
    assert said == ""
    report = Report()
    check_machine(good, {**MACHINE, **machine}, report)
    return "\n".join(report.mistakes)


def test_a_fine_machine() -> None:
    assert looked_at({}) == ""
    assert looked_at({"port": "ours"}) == ""
    assert looked_at({"docker": {**DOCKER, "installed": False}}) == ""


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ({"id": "ubuntu", "version_id": "24.04", "pretty_name": "Ubuntu 24.04.1 LTS"}, "Ubuntu 24.04.1 LTS"),
        ({"id": "debian", "version_id": "11", "pretty_name": "Debian GNU/Linux 11"}, "Debian GNU/Linux 11"),
        ({"id": "debian", "pretty_name": "Debian GNU/Linux forky/sid"}, "Debian GNU/Linux forky/sid"),
        ({}, "an unknown system"),
    ],
)
def test_an_unsupported_system(system: dict[str, str], name: str) -> None:
    said = looked_at({"system": system})
    assert f"This machine: it runs {name}; supported are Debian 12 and 13." in said
    assert said.count("Write:") == 1


@pytest.mark.parametrize(
    ("machine", "variables", "part"),
    [
        ({"root": False}, {}, "This machine: the tasks do not run as root."),
        ({"port": "Address already in use"}, {}, "port: 0.0.0.0:8000 cannot be used: Address already in use."),
        ({"port": "Address already in use"}, {"port": 65535}, "Write: jupyterhub_home_port: 8000, or stop"),
        (
            {"port": os.strerror(99)},
            {"bind_address": "192.0.2.9"},
            "Write: jupyterhub_home_bind_address: 192.0.2.20, or",
        ),
        ({"directory": "is a file"}, {}, "directory: /opt/jupyterhub-home is a file."),
        ({"free_disk": GIB}, {}, "only 1.0G are free for images and volumes, not 4G. Looked for in /var/lib/docker."),
        ({"ca_bundle": False}, {"ca_bundle": "/x.pem"}, "ca_bundle: /x.pem is no file"),
        (
            {"docker": {**DOCKER, "installed": False}},
            {"docker_source": "none"},
            "docker_source: it is 'none', but this machine has no",
        ),
    ],
)
def test_a_machine_that_lacks_something(machine: dict[str, Any], variables: dict[str, Any], part: str) -> None:
    said = looked_at(machine, **variables)
    assert part in said and said.count("Write:") == 1


@pytest.mark.parametrize(
    ("controller", "variables", "write"),
    [
        ("memory", {}, 'memory_limit: "" for none, or have it: add cgroup_enable=memory'),
        ("cpu", {"cpu_limit": 1.5}, "cpu_limit: 0"),
        ("pids", {}, "pids_limit: 0"),
    ],
)
def test_a_kernel_that_does_not_enforce_a_limit(controller: str, variables: dict[str, Any], write: str) -> None:
    machine = {"docker": {**DOCKER, "limits": sorted({"cpu", "memory", "pids"} - {controller})}}
    said = looked_at(machine, **variables)
    assert f"{PREFIX}{write.partition(':')[0]}: it is " in said and "of this machine does not enforce." in said
    assert f"Write: {PREFIX}{write}" in said and said.count("Write:") == 1
    assert looked_at(machine, memory_limit="", cpu_limit=0, pids_limit=0) == ""


@pytest.mark.parametrize(
    ("images", "installed", "tags", "variables", "writes"),
    [
        ([], True, {"docker", "images", "hub"}, {}, True),
        (["hub:1", "user:1"], True, {"docker", "images", "hub"}, {}, False),
        (["hub:1", "user:1"], True, {"images"}, {"user_image": "lab:2"}, True),
        ([], True, {"docker"}, {}, False),
        ([], True, set(), {}, False),  # --tags users
        ([], False, {"docker"}, {}, True),
        ([], False, set(), {}, False),
    ],
)
def test_who_asks_for_space(
    images: list[str], installed: bool, tags: set[str], variables: dict[str, Any], writes: bool
) -> None:
    """Only what is about to write gigabytes: what deletes a home, or lets a user in, does not."""
    good, _ = checked(**variables)
    machine = {
        **MACHINE,
        "images": dict.fromkeys(images, "id"),
        "docker": {**DOCKER, "installed": installed},
        "free_disk": 0,
    }
    builds = [{"tag": "hub:1"}, {"tag": "user:1"}]
    assert writes_much(good, machine, builds, tags) is writes
    report = Report()
    check_machine(good, machine, report, writes=writes)
    assert report.about("free_disk_min") is writes


def test_the_default_bundle_may_be_missing() -> None:
    assert looked_at({"ca_bundle": False}) == ""


def test_what_is_wrong_by_itself_is_not_held_against_the_machine() -> None:
    report = Report()
    wrong = {f"{PREFIX}users": USERS, f"{PREFIX}port": 0, f"{PREFIX}free_disk_min": "x"}
    good = check_variables(wrong, SPECS, report)
    check_machine(good, {**MACHINE, "port": "Address already in use", "free_disk": 0}, report)
    assert len(report.mistakes) == 2


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("memory_limit", "24G", ""),
        ("memory_limit", "26G", ""),  # built in are more than the kernel gives
        ("memory_limit", "", ""),
        ("memory_limit", "640G", "'640G' is more than this machine has, swap included (24.0G).\n     Write: "
         'jupyterhub_home_memory_limit: 12G, or "" for no limit'),
        ("cpu_limit", 4, ""),
        ("cpu_limit", 5, "5 is more than this machine has processors (4).\n     Write: jupyterhub_home_cpu_limit: 4"),
    ],
)  # fmt: skip
def test_more_than_the_machine_has(variable: str, value: Any, said: str) -> None:
    found = looked_at({}, **{variable: value})
    assert found.startswith(f"jupyterhub_home_{variable}: {said}") if said else found == ""


def test_the_port_offered_instead_is_one_that_browsers_open() -> None:
    said = looked_at({"port": "Address already in use"}, port=5999)
    assert "Write: jupyterhub_home_port: 6001, or stop" in said


@pytest.mark.parametrize(
    ("target", "uid", "gid", "mode", "fine"),
    [
        (WORK_FOLDER, 1000, 1000, 0o755, True),
        (WORK_FOLDER, 1234, 1234, 0o755, True),  # the server runs as that owner
        (WORK_FOLDER, 1234, 1234, 0o555, False),
        (WORK_FOLDER, 0, 0, 0o755, False),
        (WORK_FOLDER, 0, 50, 0o775, True),
        (WORK_FOLDER, 0, 0, 0o775, False),  # root's group is not taken on either
        (WORK_FOLDER, 0, 0, 0o777, True),
        ("/data", 1000, 0, 0o700, True),
        ("/data", 1234, 1234, 0o755, False),
        ("/data", 1234, 1234, 0o775, True),
        ("/data", 0, 0, 0o755, False),
    ],
)
def test_folders_that_a_server_can_write_to(target: str, uid: int, gid: int, mode: int, fine: bool) -> None:
    folder = {"exists": True, "uid": uid, "gid": gid, "mode": mode}
    mounts = [{"source": "/a", "target": target}]
    said = looked_at({"folders": {"/a": folder}}, mounts=mounts)
    assert (said == "") == fine
    assert fine or f"/a belongs to {uid}:{gid}, mode {mode:04o}; a server could not write there." in said
    assert looked_at({"folders": {"/a": folder}}, mounts=[{**mounts[0], "read_only": True}]) == ""


def removed(there: list[str], *users: dict[str, Any], new_vault: bool = False, **variables: Any) -> str:
    """What check_removals and check_renamed report of this list, on a hub with these users and zoe's old home."""
    good, said = checked(users=[{"name": "kim", **PW}, *users], **variables)
    assert said == ""
    report = Report()
    check_removals(good, there, new_vault, report)
    check_renamed(good, there, ["zoe"], report)
    return "\n".join(report.mistakes)


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


@pytest.mark.parametrize(
    ("wanted", "skipped", "asked"),
    [(["all"], [], True), (["users"], [], True), (["hub", "users"], [], True), (["tagged"], [], True),
     (["hub"], [], False), (["always"], [], True), (["all"], ["users"], False), (["users"], ["hub"], True)],
)  # fmt: skip
def test_the_tags_of_a_run(wanted: list[str], skipped: list[str], asked: bool) -> None:
    assert runs("users", {"ansible_run_tags": wanted, "ansible_skip_tags": skipped}) is asked


def test_nobody_is_told_to_give_a_system_folder_away() -> None:
    folder = {"exists": True, "uid": 0, "gid": 0, "mode": 0o700}
    for source, told in (
        ("/root", "such as /srv/shared"),
        ("/home/lee", "such as /srv/shared"),
        ("/srv/a", "chown 1000 /srv/a"),
    ):
        mount = {"source": source, "target": "/x"}
        said = looked_at({"folders": {source: folder}}, mounts=[mount])
        assert told in said and ("chown" in said) == (source == "/srv/a")


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
    check_uninstall({"project": "home", "directory": "/opt/hub"}, found, report)
    said = "\n".join(report.mistakes)
    assert len(report.mistakes) == bool(parts) and [part for part in parts if part not in said] == [], said


def test_the_report_counts() -> None:
    report = Report()
    report.add("a", "b.", "c")
    assert report.text() == "1 thing has to be put right first; nothing was changed.\n  1. a: b.\n     Write: c"
    report.add("d", "e.", "f")
    assert report.text().startswith("2 things have to be put right first;")


def test_extra_config_is_not_run(tmp_path: Path) -> None:
    assert checked(extra_config=f"open({str(tmp_path / 'made')!r}, 'w')\nc.X.y = '\\d'\n")[1] == ""
    assert list(tmp_path.iterdir()) == []
