"""What a run derives from the checked variables and the machine: data in, data out."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils import desired as desired_module
from ansible_collections.jupyterhub.home.plugins.plugin_utils.addresses import invitation, local_url
from ansible_collections.jupyterhub.home.plugins.plugin_utils.desired import desired, with_content
from ansible_collections.jupyterhub.home.plugins.plugin_utils.hub import start_digest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.images import desired_images, tree
from ansible_collections.jupyterhub.home.plugins.plugin_utils.systems import DOCKER_PACKAGES, SYSTEMS, docker_needs
from checks import FORKY, GIB, KEPT
from conftest import ROLE

DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
SETTINGS = {name.removeprefix("jupyterhub_home_"): value for name, value in DEFAULTS.items()}
MACHINE: dict[str, Any] = {
    "system": {"id": "debian", "version_id": "13"},
    "docker": {
        "installed": True, "version": "26.1.5", "compose": "2.26.1", "buildx": True, "client": "26.1.5",
        "rules_gone": False, "socket_gid": 109, "root": "/var/lib/docker",
    },
    "programs": ["ip", "mmdebstrap", "nft"],
    "systemd": True,
    "job": {"checkout": "/home/kim/100% mine", "host": "localhost"},
    "units": [],
    "schedule": {job: {"linked": False, "failed": False} for job in contract.TIMERS},
    "backup": {"age": None, "why": ""},
    "project": {"network": "none", "bridge": ""},
    "routes": [],
    "dpkg_broken": False,
    "images": {},
    "ca_bundle": True,
    "kept_disk": KEPT,
    "disk_size": 100 * GIB,
    "addresses": ["192.168.1.20", "2001:db8::2"],
}  # fmt: skip

Derive = Callable[..., dict[str, Any]]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values, nested ones too."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and isinstance(result[key], dict) else value
    return result


def derive(machine: dict[str, Any] | None = None, role: Path = ROLE, **settings: Any) -> dict[str, Any]:
    """What follows from the defaults, with other values for some settings."""
    good = {**SETTINGS, "config": {}, "extra_config": "", **settings}
    found = merged(MACHINE, machine or {})
    images = desired_images(good, role / desired_module.CONTEXTS, found["images"])
    return desired(good, good["mounts"], found, images, role)


# --- Docker -----------------------------------------------------------------------------------------------------------
NO_DOCKER: dict[str, Any] = {"installed": False, "version": "", "compose": "", "buildx": False, "client": ""}


def needs(
    *, release: str = "13", programs: list[str] | None = None, source: str = "distribution", **docker: Any
) -> Any:
    programs = MACHINE["programs"] if programs is None else programs
    system = FORKY if release == "forky" else {"id": "debian", "version_id": release}
    machine = {**merged(MACHINE, {"docker": docker, "programs": programs}), "system": system}
    return docker_needs({**SETTINGS, "docker_source": source}, machine)


def test_a_machine_that_has_all_is_left_alone() -> None:
    assert needs() == {
        "packages": [], "repository": False, "compose_wheel": False, "cannot_build": False, "ready": True
    }  # fmt: skip
    for lacking in ({"rules_gone": True}, {"version": ""}, {"compose": ""}, {"buildx": False}):
        assert not needs(**lacking)["ready"], lacking


@pytest.mark.parametrize(("version", "wheel"), [("12", True), ("13", False), ("forky", False)])
def test_each_release_gets_its_own_packages(version: str, wheel: bool) -> None:
    lacking = needs(release=version, programs=[], **NO_DOCKER)
    engine = list(SYSTEMS["debian", version].engine)
    assert lacking["packages"][: len(engine)] == engine
    assert {"mmdebstrap", "iproute2"} <= set(lacking["packages"])
    assert lacking["compose_wheel"] is wheel is ("python3-venv" in lacking["packages"])
    assert not lacking["ready"] and not lacking["repository"]


def test_dockers_own_packages_bring_compose() -> None:
    for version in ("12", "13", "forky"):
        lacking = needs(release=version, source="docker", **NO_DOCKER)
        assert lacking["packages"] == list(DOCKER_PACKAGES)
        assert lacking["repository"] and not lacking["compose_wheel"]


def test_an_engine_that_is_there_is_added_to() -> None:
    assert needs(compose="")["packages"] == ["python3-venv", "ca-certificates"], "of the owner's, so not from Debian"
    assert needs(client="")["packages"] == ["docker-cli"]
    assert needs(buildx=False)["packages"] == ["docker-buildx"]
    assert needs(buildx=False, client="20.10.24")["packages"] == []
    lacking = needs(release="12", buildx=False)
    assert lacking["cannot_build"] and lacking["packages"] == []


def test_only_a_system_that_is_not_supported_is_noted() -> None:
    assert derive()["notes"] == []
    assert derive({"system": {"version_id": "12"}})["notes"] == []
    (note,) = derive({"system": {**FORKY, "version_id": ""}})["notes"]
    assert "Debian GNU/Linux forky/sid" in note and "not supported" in note and "Debian 12 and 13" in note


# --- Images -----------------------------------------------------------------------------------------------------------
def tags(**settings: Any) -> dict[str, str]:
    found: dict[str, str] = derive(**settings)["images"]["tags"]
    return found


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({"user_packages": ["numpy"]}, {"user"}),
        ({"hub_packages": ["oauthenticator"]}, {"hub"}),
        ({"base_image": "debian:13"}, {"hub", "proxy", "user"}),
        ({"user_image": "quay.io/x:1"}, {"user"}),
        ({"project": "lab"}, {"hub", "proxy", "user"}),
        ({"port": 9000, "memory_limit": "1G"}, set()),
    ],
)
def test_a_tag_follows_what_the_image_is_made_of(settings: dict[str, Any], others: set[str]) -> None:
    before, after = tags(), tags(**settings)
    assert {name for name in before if before[name] != after[name]} == others


def test_a_tag_follows_the_build_context(tmp_path: Path) -> None:
    shutil.copytree(ROLE / "files", tmp_path / "files")
    assert derive(role=tmp_path)["images"] == derive()["images"]
    (tmp_path / "files/images/hub/__pycache__").mkdir(exist_ok=True)
    (tmp_path / "files/images/hub/__pycache__/x.pyc").write_bytes(b"\xff")
    (tmp_path / "files/images/hub/.hidden").touch()
    assert derive(role=tmp_path)["images"] == derive()["images"]
    with (tmp_path / "files/images/hub/culler.py").open("a") as stream:
        stream.write("# another\n")
    found = derive(role=tmp_path)
    assert {name for name, tag in tags().items() if tag != found["images"]["tags"][name]} == {"hub"}
    assert found["files_digest"] != derive()["files_digest"]


def test_only_what_the_engine_lacks_is_missing() -> None:
    have = {tag: "sha256:1" for name, tag in tags().items() if name != "proxy"}
    found = derive({"images": have})["images"]
    assert found["missing"] == [found["tags"]["proxy"]]
    found = derive(user_image="quay.io/x:1")["images"]
    assert [build["name"] for build in found["builds"]] == ["hub", "proxy"]
    assert "quay.io/x:1" in found["missing"]
    assert derive(base_image="debian:13")["images"]["base"] == {"tag": "debian:13"}


# --- The compose project and the hub's settings -----------------------------------------------------------------------
def compose(**settings: Any) -> dict[str, Any]:
    text = derive(**settings)["files"]["compose.yml"]["content"]
    assert text.startswith("# Written by Ansible; edit the variables instead.\n")
    assert not re.search(r"[:-] &", text), "an anchor, which nobody wants to read"
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def changed_services(**settings: Any) -> set[str]:
    before, after = compose()["services"], compose(**settings)["services"]
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("settings", "services"),
    [
        ({"port": 9000}, {"proxy"}),
        ({"bind_address": "127.0.0.1"}, {"proxy"}),
        ({"admin_access": False}, {"hub", "guard"}),
        ({"config": {"JupyterHub": {"active_server_limit": 3}}}, {"hub", "guard"}),
        ({"extra_config": "x = 1"}, {"hub", "guard"}),
        ({"base_url": "/home/"}, {"hub", "proxy", "guard"}),
        ({"memory_limit": "1G", "idle_timeout": 10, "users": [{"name": "kim"}]}, set()),
    ],
)
def test_only_a_service_that_must_is_made_anew(settings: dict[str, Any], services: set[str]) -> None:
    assert changed_services(**settings) == services


def test_the_admins_of_another_login_are_read_at_the_start() -> None:
    config = {"JupyterHub": {"authenticator_class": "github"}}
    kim: dict[str, Any] = {"name": "kim", "admin": True}
    lee: dict[str, Any] = {"name": "lee"}
    digests = [
        start_digest({}, config, "", users)
        for users in (
            [kim],
            [kim, lee],
            [kim, {"name": "max", "admin": True, "state": "absent"}],
            [kim, {**lee, "admin": True}],
        )
    ]
    assert digests[0] == digests[1] == digests[2] != digests[3]
    assert start_digest({}, {}, "", [kim]) == start_digest({}, {}, "", [])


def test_what_servers_take_at_their_next_start() -> None:
    spawner = derive(memory_limit="", cpu_limit=0, pids_limit=0)["spawner"]
    assert [spawner[key] for key in ("memory_limit", "cpu_limit", "pids_limit")] == [None, None, None]
    assert derive({"ca_bundle": False})["spawner"]["ca_bundle"] is None
    assert json.loads(derive(memory_limit="1G")["files"]["hub/spawner.json"]["content"])["memory_limit"] == "1G"


# --- Files ------------------------------------------------------------------------------------------------------------
def test_no_secret_is_returned() -> None:
    found = derive(config={"JupyterHub": {"cookie_secret": "hunter2"}}, extra_config="word = 'hunter2'")
    assert "hunter2" not in json.dumps(found)


def test_the_digest_of_the_files_follows_all_that_is_written() -> None:
    variants: list[dict[str, Any]] = [
        {}, {"port": 9000}, {"memory_limit": "1G"}, {"config": {"Spawner": {}}}, {"extra_config": "x = 1"},
        {"trial": False}, {"user_packages": ["numpy"]},
    ]  # fmt: skip
    assert len({derive(**settings)["files_digest"] for settings in variants}) == len(variants)
    assert derive()["files_digest"] == derive(idle_timeout=SETTINGS["idle_timeout"], free_disk_min="1M")["files_digest"]


def test_the_order_of_keys_makes_no_difference() -> None:
    """An owner who sorts the lines of a mount, or another YAML writer, changes nothing."""
    mount = {"source": "/srv", "target": "/srv", "read_only": True}
    config = {"Spawner": {"start_timeout": 5, "http_timeout": 6}, "JupyterHub": {}}
    there = derive(mounts=[mount], config=config)
    again = derive(mounts=[turned(mount)], config=turned({**config, "Spawner": turned(config["Spawner"])}))
    assert json.dumps(there, sort_keys=True) == json.dumps(again, sort_keys=True)


def turned(data: dict[str, Any]) -> dict[str, Any]:
    """The same with its keys in the opposite order."""
    return dict(reversed(data.items()))


def test_the_digest_is_the_same_from_another_checkout(tmp_path: Path) -> None:
    shutil.copytree(ROLE / "files", tmp_path / "files")
    assert derive(role=tmp_path)["files_digest"] == derive()["files_digest"]


def test_another_version_of_the_writers_writes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = derive()["files_digest"]
    for name in desired_module.WRITERS:
        there = tmp_path / name
        there.parent.mkdir(exist_ok=True)
        shutil.copy(desired_module.PLUGINS / name, there)
    monkeypatch.setattr(desired_module, "PLUGINS", tmp_path)
    assert derive()["files_digest"] == before
    with (tmp_path / desired_module.WRITERS[-1]).open("a") as stream:
        stream.write("# another\n")
    assert derive()["files_digest"] != before


def test_every_source_is_there() -> None:
    found = derive()
    whole = {path: with_content(file) for path, file in found["files"].items()}
    assert all(file.get("content") or file.get("generate") for file in whole.values())
    assert set(found["contexts"]) == {path for path in whole if path.startswith("images/")}


# --- What is to be tried ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "again"),
    [
        ({"users": [{"name": "kim"}]}, False),
        ({"memory_limit": "1G"}, False),
        ({"port": 9000}, False),
        ({"config": {"Spawner": {"start_timeout": 5}}}, True),
        ({"extra_config": "x = 1"}, True),
        ({"default_url": "/tree"}, True),
        ({"mounts": [{"source": "/srv", "target": "/srv"}]}, True),
        ({"user_image": "quay.io/x:1"}, True),
        ({"hub_packages": ["x"]}, True),
    ],
)
def test_a_trial_follows_what_may_break(settings: dict[str, Any], again: bool) -> None:
    assert (derive(**settings)["trial_digest"] != derive()["trial_digest"]) is again
    found = derive(trial=False, **settings)
    assert found["trial_digest"] == "nothing" and found["files"]["hub/tried"]["content"] == "nothing\n"


# --- Where it is opened -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "own", "shown"),
    [
        ("0.0.0.0", "127.0.0.1", ["192.168.1.20", "[2001:db8::2]"]),
        ("::", "[::1]", ["192.168.1.20", "[2001:db8::2]"]),
        ("192.168.1.20", "192.168.1.20", ["192.168.1.20"]),
        ("2001:db8::2", "[2001:db8::2]", ["[2001:db8::2]"]),
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1"]),
        ("::1", "[::1]", ["[::1]"]),
    ],
)
def test_where_it_is_opened(address: str, own: str, shown: list[str]) -> None:
    settings = {**SETTINGS, "bind_address": address, "port": 9000, "base_url": "/home/"}
    assert local_url(settings) == f"http://{own}:9000/home/"
    head, *lines = invitation(settings, MACHINE["addresses"])
    assert lines == [f"http://{host}:9000/home/" for host in shown]
    inside = address in ("127.0.0.1", "::1")
    assert head == ("Open it on this machine:" if inside else "Open it from any device on your network:")


def test_a_tree_has_a_folders_texts(tmp_path: Path) -> None:
    for name, text in {
        "Dockerfile": "FROM x\n", "inner/a.py": "ä\n", ".hidden": "x", ".cache/b": "x", "__pycache__/a.pyc": "x",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert tree(tmp_path) == {"Dockerfile": "FROM x\n", "inner/a.py": "ä\n"}


# --- The Dockerfile ---------------------------------------------------------------------------------------------------
def test_every_image_is_a_target_and_every_id_an_argument() -> None:
    text = (ROLE / "files/images/Dockerfile").read_text()
    targets = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.M))
    assert {build["name"] for build in derive()["images"]["builds"]} <= targets
    assert set(contract.build_arguments()) <= set(re.findall(r"^ARG (\w+)", text, re.M))
    assert not re.search(r"5808\d", text)


# --- The contract -----------------------------------------------------------------------------------------------------
def test_a_service_and_a_folder_of_the_contract_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Added there and nowhere else."""
    spark = contract.Service("spark", 58084, contract.HUB.group, (contract.PROXY_TOKEN,))
    monkeypatch.setattr(contract, "SERVICES", (*contract.SERVICES, spark))
    monkeypatch.setattr(contract, "FOLDERS", (*contract.FOLDERS, contract.Folder("spark", exact=True)))
    found = derive()
    service = yaml.safe_load(found["files"]["compose.yml"]["content"])["services"]["spark"]
    assert service["container_name"] == "jupyterhub-home-spark" and service["user"] == "58084:58081"
    assert service["image"] == found["images"]["tags"]["spark"]
    assert service["labels"] == {"jupyterhub-home.tokens": "<sha256 of secrets/proxy-token>"}
    assert "spark" in [build["name"] for build in found["images"]["builds"]]
    assert contract.build_arguments()["SPARK_ID"] == "58084"
    assert "spark" in found["exact_folders"]


# --- The guard --------------------------------------------------------------------------------------------------------
MOUNTED = "/proc/1/mountinfo:/run/mountinfo:ro"


def services(**settings: Any) -> Any:
    return yaml.safe_load(derive(**settings)["files"]["compose.yml"]["content"])["services"]


def test_the_guard_alone_has_the_engines_socket() -> None:
    project = services()
    with_socket = [name for name, service in project.items() if "docker.sock" in " ".join(service["volumes"])]
    assert with_socket == ["guard"] == [name for name, service in project.items() if "group_add" in service]
    guard, hub = project["guard"], project["hub"]
    assert guard["network_mode"] == "none" and "networks" not in guard and "ports" not in guard
    assert guard["user"] == "58083:58081" and guard["image"] == hub["image"]
    assert (guard["read_only"], guard["cap_drop"], guard["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert hub["environment"] == {"DOCKER_HOST": "unix:///run/guard/docker.sock"}
    assert "sockets:/run/guard:ro" in hub["volumes"] and "sockets:/run/guard" in guard["volumes"]
    assert not any("run/guard" in volume for volume in project["proxy"]["volumes"])
    # And it alone sees what is mounted on the machine.
    assert [name for name, service in project.items() if MOUNTED in service["volumes"]] == ["guard"]


def test_without_the_guard_the_hub_has_the_socket_and_every_run_says_so() -> None:
    hub = services(guard=False)["hub"]
    assert {"/var/run/docker.sock:/var/run/docker.sock", MOUNTED} < set(hub["volumes"]) and hub["group_add"]
    assert "environment" not in hub
    assert any("jupyterhub_home_guard: false" in note for note in derive(guard=False)["notes"])
    assert not any("guard" in note for note in derive()["notes"])
