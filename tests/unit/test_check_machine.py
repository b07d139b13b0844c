"""The machine against the variables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.machine import (
    check_machine,
    notes_about_disk,
    writes_much,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.variables import check_variables
from checks import DOCKER, FORKY, GIB, IN_USE, KEPT, MACHINE, SPECS, USERS, checked, looked_at


def test_a_fine_machine() -> None:
    assert looked_at({}) == ""
    assert looked_at({"port": {"state": "ours", "error": ""}}) == ""
    assert looked_at({"docker": {**DOCKER, "installed": False}}) == ""


def test_a_system_that_is_tried_is_let_through() -> None:
    assert looked_at({"system": FORKY}) == ""


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ({"id": "ubuntu", "version_id": "24.04", "pretty_name": "Ubuntu 24.04.1 LTS"}, "Ubuntu 24.04.1 LTS"),
        ({"id": "debian", "version_id": "11", "pretty_name": "Debian GNU/Linux 11"}, "Debian GNU/Linux 11"),
        (
            {"id": "debian", "version_codename": "duke", "pretty_name": "Debian GNU/Linux duke/sid"},
            "Debian GNU/Linux duke/sid",
        ),
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
        ({"port": IN_USE}, {}, "port: 0.0.0.0:8000 cannot be used: Address already in use."),
        ({"port": IN_USE}, {"port": 65535}, "Write: jupyterhub_home_port: 8000, or stop"),
        (
            {"port": {"state": "EADDRNOTAVAIL", "error": "in the target's own words"}},
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
    ("missing", "installed", "tags", "writes"),
    [
        (["user:1"], True, {"docker", "images", "hub"}, True),
        ([], True, {"docker", "images", "hub"}, False),
        (["lab:2"], True, {"images"}, True),
        (["user:1"], True, {"docker"}, False),
        (["user:1"], True, set(), False),  # --tags users
        (["user:1"], False, {"docker"}, True),
        (["user:1"], False, set(), False),
    ],
)
def test_who_asks_for_space(missing: list[str], installed: bool, tags: set[str], writes: bool) -> None:
    """Only what is about to write gigabytes: what deletes a home, or lets a user in, does not."""
    good, _ = checked()
    machine = {**MACHINE, "docker": {**DOCKER, "installed": installed}, "free_disk": 0}
    assert writes_much(machine, missing, tags) is writes
    report = Report()
    check_machine(good, machine, report, writes=writes)
    assert report.about("free_disk_min") is writes


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"bytes": 4 * GIB}, ""),
        ({"bytes": 0, "kind": "xfs"}, "Users' files can fill the disk of /var/lib/docker, and stop this machine with "
         "it: unlike ext4, its file system (xfs) keeps nothing for root."),
        ({"bytes": 2 * GIB}, "When users' files fill the disk of /var/lib/docker, 2.0G are kept for this machine, not "
         "4G (jupyterhub_home_free_disk_min). To keep as much: tune2fs -r 1048576 /dev/sda1"),
    ],
)  # fmt: skip
def test_what_a_disk_that_users_fill_leaves_to_the_machine(kept: dict[str, Any], said: str) -> None:
    good, _ = checked()
    notes = notes_about_disk(good, {"kept_disk": {**KEPT, **kept}})
    assert "".join(notes) == said


def test_the_default_bundle_may_be_missing() -> None:
    assert looked_at({"ca_bundle": False}) == ""


def test_what_is_wrong_by_itself_is_not_held_against_the_machine() -> None:
    report = Report()
    wrong = {f"{PREFIX}users": USERS, f"{PREFIX}port": 0, f"{PREFIX}free_disk_min": "x"}
    good = check_variables(wrong, SPECS, report)
    check_machine(good, {**MACHINE, "port": IN_USE, "free_disk": 0}, report)
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
    said = looked_at({"port": IN_USE}, port=5999)
    assert "Write: jupyterhub_home_port: 6001, or stop" in said
