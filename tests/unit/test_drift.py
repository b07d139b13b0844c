"""module_utils/drift: what an earlier run left of a project, and what was changed about it since."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, drift, guard
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import Finding, What, sentences
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint, fingerprint_of
from conftest import DOCKER_13, Program, docker


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", ""),
        ("ActiveState", "inactive"),
        ("UnitFileState", "disabled"),
        ("NeedDaemonReload", "yes"),
        ("FragmentPath", "/elsewhere/home-watch.service"),
    ],
)
def test_who_watches(program: Program, tmp_path: Path, name: str, value: str) -> None:
    shown = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    shown["FragmentPath"] = f"{tmp_path}/watch/home-watch.service"
    lines = "\n".join(f"{key}={text}" for key, text in (shown | ({name: value} if name else {})).items())
    program("systemctl", f"echo '{lines}'")
    assert drift.units_at_work("home", tmp_path) == ([] if name else ["home-watch.service"])
    program("systemctl", "exit 1")
    assert drift.units_at_work("home", tmp_path) == []


def test_each_unit_for_itself(program: Program, tmp_path: Path) -> None:
    shown = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\nFragmentPath="
    texts = [f"{shown}{tmp_path}/{file}" for file in contract.units("home").values()]
    # What timers start is linked, and not at work.
    shown = "\n\n".join(texts)
    for text in [text for text in texts if text.endswith(("-renew.service", "-backup.service"))]:
        shown = shown.replace(text, text.replace("=active", "=inactive").replace("=enabled", "=linked"))
    program("systemctl", f"echo '{shown}'")
    assert drift.units_at_work("home", tmp_path) == list(contract.units("home"))
    program("systemctl", "echo '" + shown.replace("=linked", "=").replace("=enabled", "=", 1) + "'")
    at_work = ["home-walls.service", "home-disks.service", "home-renew.timer", "home-backup.timer"]
    assert drift.units_at_work("home", tmp_path) == at_work


class Project:
    """A project as docker shows it: all as compose.yml says, until a test changes something."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.folder = folder
        self.known = {"hub:1": "sha256:hub", "proxy:1": "sha256:proxy", "guard:1": "sha256:guard"}
        (folder / "compose.yml").write_text("name: home\n")
        self.hashes = {"hub": "aaa", "proxy": "bbb", "guard": "ccc"}
        self.things: dict[str, dict[str, Any]] = {
            "home": {
                "Name": "home",
                "Id": "net1",
                "Labels": self.labels("network", "users"),
                "Containers": {},
                "Options": {contract.BRIDGE_NAME: contract.bridge("home")},
            },
            "home-data": {"Name": "home-data", "Driver": "local", "Labels": self.labels("volume", "data")},
        }
        for service in self.hashes:
            self.things[f"home-{service}"] = self.service(service)
        more = """compose) cat "$here/hashes" ;;
            ps) case $* in *service=*) cat "$here/renamed" ;; *status=running*) cat "$here/listed" ;;
                *) cat "$here/servers" ;; esac ;;
            inspect)
                case $2 in server) cat "$here/server" ;; *) cat "$here/things" ;; esac
                [ ! -e "$here/incomplete" ] ;;"""
        self.calls = docker(program, DOCKER_13, more=more)
        for name in ("servers", "renamed", "listed"):
            (self.calls.parent / name).touch()

    def service(self, name: str) -> dict[str, Any]:
        return {
            "Name": f"/home-{name}",
            "Image": f"sha256:{name}",
            "State": {"Status": "running"},
            "Config": {"Image": f"{name}:1", "Labels": {"com.docker.compose.config-hash": self.hashes[name]}},
            "Mounts": [],
            "NetworkSettings": {"Networks": {"home": {"NetworkID": "net1"}} if name != "guard" else {"none": {}}},
        }

    def labels(self, what: str, name: str) -> dict[str, str]:
        return {"com.docker.compose.project": "home", f"com.docker.compose.{what}": name, "other": "label"}

    def look(self) -> tuple[bool, list[str]]:
        """Whether it is settled, and what was found."""
        here = self.calls.parent
        (here / "hashes").write_text("".join(f"{name} {value}\n" for name, value in self.hashes.items()))
        (here / "things").write_text(json.dumps(list(self.things.values())))
        if len(self.things) < 5:  # docker inspect then prints the others, and fails
            (here / "incomplete").touch()
        self.state = drift.project_state("home", Record(self.folder), self.known, lambda: "2.26.1")
        return self.state["settled"], sentences(self.state["found"])


@pytest.fixture
def project(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(contract, "compose_hashes", lambda project: f"{tmp_path}/{project}.hashes")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(drift, "replace_file", lambda path, text, mode, owner, group: path.write_text(text))
    return Project(program, tmp_path)


def test_a_settled_project(project: Project) -> None:
    assert project.look() == (True, [])
    assert project.calls.read_text().splitlines() == [
        "inspect home-hub home-proxy home-guard home home-data home-data-aside home-sockets "
        "home-trial home-trial-server home-trial-server-home",
        "ps --no-trunc --quiet --filter label=jupyterhub-home.project=home",
        f"compose -f {project.folder}/compose.yml config --hash *",
    ]
    # Which compose would do nothing about, for Docker starts it again.
    project.things["home-hub"]["State"]["Status"] = "restarting"
    assert project.look() == (True, [])


@pytest.mark.parametrize(
    ("labels", "options", "made"),
    [
        ({}, {}, ""),
        ({contract.NETWORK_LABEL: "as it should be"}, {}, ""),
        ({contract.NETWORK_LABEL: "as it should be"}, {contract.BRIDGE_NAME: "br-other"}, ""),
        ({}, {contract.BRIDGE_NAME: contract.bridge("home")}, ""),
        (
            {contract.NETWORK_LABEL: "as it should be"},
            {contract.BRIDGE_NAME: contract.bridge("home")},
            "as it should be",
        ),
    ],
)
def test_how_the_network_was_made(project: Project, labels: dict[str, str], options: dict[str, str], made: str) -> None:
    """Nobody has done anything to one of an older version, so nothing of it is told."""
    project.things["home"]["Labels"] |= labels
    project.things["home"]["Options"] = options
    assert project.look() == (True, []) and project.state["network"] == made
    del project.things["home"]
    project.look()
    assert project.state["network"] == "none"


def test_before_the_first_run_nothing_is_strange(project: Project, program: Program) -> None:
    project.hashes, project.things = {}, {}
    assert project.look() == (False, [])
    program("docker", "exit 1")
    with pytest.raises(EngineError):  # which makes no difference: see test_a_machine_without_an_engine_is_looked_at_too
        drift.project_state("home", Record(project.folder), {}, lambda: None)


@pytest.mark.parametrize(
    ("name", "found", "repair"),
    [
        ("home-hub", "the container home-hub was gone.", False),
        ("home-proxy", "the container home-proxy was gone.", False),
        ("home-data", "the volume home-data was gone.", False),
        ("home", "the network home was gone.", True),
    ],
)
def test_what_is_gone_is_said(project: Project, name: str, found: str, repair: bool) -> None:
    del project.things[name]
    assert project.look() == (False, [found])
    assert (project.state["repair"], project.state["start"]) == (repair, not repair)


def test_a_renamed_container(project: Project) -> None:
    del project.things["home-proxy"]
    (project.calls.parent / "renamed").write_text("elsewhere\n")
    assert project.look() == (False, ["the container home-proxy was renamed to elsewhere."])
    assert project.state["repair"] and not project.state["start"]


@pytest.mark.parametrize(
    ("mode", "found"), [("home", ["the server home-user-alice was not in the network."]), ("lab", [])]
)
def test_a_server_that_left_the_network(project: Project, mode: str, found: list[str]) -> None:
    """One that its owner made in another network never was in it."""
    (project.calls.parent / "servers").write_text("server\n")
    server = {"Name": "/home-user-alice", "HostConfig": {"NetworkMode": mode}}
    (project.calls.parent / "server").write_text(json.dumps([server]))
    assert project.look() == (not found, found)
    project.things["home"]["Containers"] = {"server": {"Name": "home-user-alice"}}
    assert project.look() == (True, [])


def test_a_run_that_was_killed_while_it_moved_the_volume(project: Project) -> None:
    """It is found even when all else looks as before the first run."""
    project.hashes = {}
    project.things = {"home-data-aside": {"Name": "home-data-aside", "Driver": "local", "Labels": {}}}
    assert project.look() == (False, ["a run had stopped while it moved the volume home-data."])
    assert project.state["repair"]


def test_a_run_that_was_killed_at_its_hub(project: Project) -> None:
    (project.folder / contract.BEFORE).mkdir()
    project.things["home-trial-server"] = {"Name": "/home-trial-server"}
    whens = "before the hub that it made was known to work", "while it tried new settings"
    assert project.look() == (False, [f"a run had stopped {when}." for when in whens]) and project.state["repair"]


@pytest.mark.parametrize("edit", ["name: home\n# by hand\n", None])
def test_against_an_edited_compose_file_nothing_is_compared(project: Project, edit: str | None) -> None:
    path = project.folder / "compose.yml"
    path.write_text("name: home\n")
    record = Record(project.folder)
    record.end({"compose.yml": fingerprint_of(path)})
    assert project.look() == (True, [])
    project.hashes = {"hub": "ccc", "proxy": "ccc", "guard": "ccc"} if edit else {}
    if edit:
        path.write_text(edit)
    else:
        path.unlink()
    assert project.look() == (False, [])
    del project.things["home-hub"]
    assert project.look() == (False, ["the container home-hub was gone."])


def test_what_was_made_from_an_edited_compose_file(project: Project) -> None:
    """Somebody edited the file and ran `docker compose up`, and perhaps took the edit back since."""
    path = project.folder / "compose.yml"
    Record(project.folder).end({path.name: fingerprint_of(path)})
    assert project.look() == (True, [])
    project.things["home-hub"]["Config"]["Labels"]["com.docker.compose.config-hash"] = "ccc"
    found = ["the container home-hub was made with other settings."]
    assert project.look() == (False, found)
    path.write_text("name: home\n# by hand\n")
    project.hashes["hub"] = "ccc"  # as Compose says of the edited file
    for _ in range(2):
        assert (*project.look(), project.state["start"]) == (False, found, True)
    # The role has written another file since Compose was asked, so that nothing is known of the one that was edited.
    Record(project.folder).end({path.name: fingerprint("name: home\n# another\n", 0o644, os.getuid(), os.getgid())})
    assert project.look() == (False, [])


def test_a_volume_that_is_elsewhere_has_its_own_labels(project: Project) -> None:
    project.things["home-data"] |= {"Labels": {}, "Options": {"type": "nfs"}}
    assert project.look() == (True, [])


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("State.Status", "exited", "the container home-hub was exited."),
        ("State.Status", "paused", "the container home-hub was paused."),
        ("State.Status", "created", "the container home-hub was created."),
        ("Config.Labels", {}, "the container home-hub was made with other settings."),
        ("Image", "sha256:older", "the container home-hub ran on an image that was removed or replaced."),
        ("Config.Image", "hub:0", "the container home-hub ran on an image that was removed or replaced."),
        ("NetworkSettings.Networks", {}, "the container home-hub was not in its network."),
        ("NetworkSettings.Networks.home.NetworkID", "net0", "the container home-hub was not in its network."),
    ],
)
def test_a_container_that_somebody_changed(project: Project, path: str, value: Any, found: str) -> None:
    *outer, last = path.split(".")
    place = project.things["home-hub"]
    for key in outer:
        place = place[key]
    place[last] = value
    assert project.look() == (False, [found])


@pytest.mark.parametrize("status", ["running", "exited"])
def test_a_container_without_a_process_that_docker_takes_for_a_running_one(project: Project, status: str) -> None:
    """Its list says so; its own record may, or not."""
    project.things["home-hub"]["State"] = {"Status": status, "Pid": 0 if status == "exited" else 2**22 + 1}
    if status == "exited":
        assert project.look() == (False, ["the container home-hub was exited."])
        (project.calls.parent / "listed").write_text("hub\n")
    assert project.look() == (
        False,
        ["the container home-hub had no process, though Docker took it for a running one."],
    )
    assert project.state["repair"] and not project.state["start"]
    project.things["home-hub"]["State"] = {"Status": "running", "Pid": os.getpid()}
    assert project.look() == (True, [])


def test_a_container_with_an_earlier_folder(project: Project, tmp_path: Path) -> None:
    """Somebody has put a copy in its place; one that is gone counts, but no file of the kernel's and no volume."""
    now, before = tmp_path / "users", tmp_path / "earlier"
    now.mkdir()
    before.mkdir()
    hub = project.things["home-hub"]
    hub["State"] = {"Status": "running", "Pid": os.getpid()}
    of_kernel = {"Type": "bind", "Source": "/proc/1/mountinfo", "Destination": "/run/mountinfo"}
    hub["Mounts"] = [of_kernel, {"Type": "volume", "Source": "/v", "Destination": "/w"}]
    hub["Mounts"].append({"Type": "bind", "Source": str(now), "Destination": str(now)})
    assert project.look() == (True, [])
    hub["Mounts"][-1]["Destination"] = str(before)
    assert project.look() == (False, [f"the container home-hub still had what {now} was before."])
    assert project.state["repair"] and not project.state["start"]
    now.rmdir()
    assert not project.look()[0]


def test_a_guard_that_is_not_at_work(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "problem", lambda container: container["Name"] == "/home-guard" and "it sleeps")
    assert project.look() == (False, ["the container home-guard was not at work: it sleeps."])
    assert project.state["repair"] and not project.state["start"]


def test_a_volume_of_the_guards_socket_that_compose_would_not_take(project: Project) -> None:
    sockets = {"Name": "home-sockets", "Driver": "local", "Labels": project.labels("volume", "sockets")}
    project.things["home-sockets"] = sockets
    assert project.look() == (True, [])
    sockets["Labels"] = {}
    assert project.look() == (False, ["the volume home-sockets had other labels."])


@pytest.mark.parametrize(("name", "what"), [("home", "network"), ("home-data", "volume")])
@pytest.mark.parametrize("labels", [None, {}, {"com.docker.compose.project": "lab"}])
def test_labels_of_somebody_else(project: Project, name: str, what: str, labels: dict[str, str] | None) -> None:
    project.things[name]["Labels"] = labels
    assert project.look() == (False, [f"the {what} {name} had other labels."])


def test_another_compose_file_is_another_hash(project: Project) -> None:
    project.hashes = {"hub": "ccc", "proxy": "bbb", "guard": "ccc"}
    assert project.look() == (False, ["the container home-hub was made with other settings."])


def test_compose_is_asked_once_about_a_file(project: Project) -> None:
    asked = f"compose -f {project.folder}/compose.yml config --hash *"

    def times() -> int:
        return project.calls.read_text().splitlines().count(asked)

    for _ in range(3):
        assert project.look() == (True, [])
    assert times() == 1
    with (project.folder / "compose.yml").open("a") as file:
        file.write("# another\n")
    project.look()
    assert times() == 2
    drift.project_state("home", Record(project.folder), project.known, lambda: "2.40.0")
    assert times() == 3
    drift.project_state("home", Record(project.folder), project.known, lambda: None)
    drift.project_state("home", Record(project.folder), project.known, lambda: None)
    assert times() == 5, "which Compose that is cannot be told"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"about": 1}', "no json"])
def test_what_is_remembered_may_be_broken(project: Project, text: str) -> None:
    (project.folder / "home.hashes").write_text(text)
    assert project.look() == (True, [])


def test_the_list_that_the_hub_has(tmp_path: Path, project: Project) -> None:
    """Wherever it was started from: a fresh clone has forgotten that folder."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    assert drift.declared_users(elsewhere, here) == []
    for folder, text in [(here, '{"old": {}}'), (elsewhere, '{"mia": {}, "alice": {"admin": true}}')]:
        (folder / "users").mkdir(parents=True)
        (folder / "users/users.json").write_text(text)
    assert drift.declared_users(elsewhere, here) == ["alice", "mia"]
    (elsewhere / "users/users.json").write_text("no json")
    assert drift.declared_users(elsewhere, here) == ["old"]
    labels = project.things["home-hub"]["Config"]["Labels"]
    labels["com.docker.compose.project.working_dir"] = str(elsewhere)
    project.look()
    assert project.state["folder"] == str(elsewhere)


@pytest.mark.usefixtures("imagined")
def test_a_service_that_the_contract_has_is_looked_at(project: Project) -> None:
    project.hashes["spark"] = "ddd"
    assert project.look() == (False, ["the container home-spark was gone."])
    project.known["spark:1"] = "sha256:spark"
    project.things["home-spark"] = project.service("spark")
    assert project.look() == (True, [])
    project.things["home-spark"]["State"]["Status"] = "paused"
    assert project.look() == (False, ["the container home-spark was paused."])


def test_what_is_found_is_a_record(project: Project) -> None:
    """How it was and how it should be; what the role itself repairs comes first, whatever the sentence says."""
    project.things["home-hub"]["Config"]["Labels"]["com.docker.compose.config-hash"] = "ccc"
    project.things["home-hub"]["NetworkSettings"]["Networks"] = {"lab": {"NetworkID": "net2"}}
    project.things["home-proxy"]["State"]["Status"] = "paused"
    del project.things["home-data"]
    project.look()
    assert project.state["found"] == [
        Finding(What.CONTAINER_NETWORK, "home-hub", "lab", "home"),
        Finding(What.CONTAINER, "home-proxy", "paused", "running"),
        Finding(What.VOLUME, "home-data", "gone", "there"),
        Finding(What.CONTAINER_SETTINGS, "home-hub", "ccc", "aaa"),
    ]
    assert project.state["repair"] and project.state["start"]
    project.things["home"]["Labels"] = {"a": "b"}
    project.look()
    labels = "com.docker.compose.project=home, com.docker.compose.network=users"
    assert project.state["found"][0] == Finding(What.NETWORK_LABELS, "home", "a=b", labels)
