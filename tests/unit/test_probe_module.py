"""jupyterhub.home.probe: what it sees of a machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.module_utils import belongings
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, mark, mark_of
from ansible_collections.jupyterhub.home.plugins.modules import probe
from conftest import ROLE, Program, RunModule

DOCKER_13 = {
    "ServerVersion": "26.1.5+dfsg1",
    "DockerRootDir": "/var/lib/docker",
    "ClientInfo": {"Plugins": [{"Name": "buildx", "Version": "0.13.1"}, {"Name": "compose", "Version": "2.26.1"}]},
}


def docker(program: Program, info: object, more: str = "", status: int = 0) -> Path:
    """A docker whose `info` prints this."""
    text = info if isinstance(info, str) else json.dumps(info)
    return program(
        "docker",
        f"""case $1 in
        info) cat <<'END'\n{text}\nEND\nexit {status} ;;
        --version) echo 'Docker version 26.1.5+dfsg1, build a72d7cd' ;;
        {more}\nesac""",
    )


def test_an_engine_with_its_plugins(program: Program) -> None:
    docker(program, DOCKER_13)
    found = probe.engine()
    assert {key: found[key] for key in ("installed", "version", "client", "compose", "buildx", "root")} == {
        "installed": True,
        "version": "26.1.5+dfsg1",
        "client": "26.1.5+dfsg1",
        "compose": "2.26.1",
        "buildx": "0.13.1",
        "root": "/var/lib/docker",
    }


def test_an_engine_that_does_not_answer(program: Program) -> None:
    """docker info then fails, but prints what it knows of the client."""
    docker(program, {"ServerErrors": ["Cannot connect"], "ClientInfo": DOCKER_13["ClientInfo"]}, status=1)
    program("dockerd", "")
    found = probe.engine()
    assert (found["installed"], found["version"], found["compose"], found["socket_gid"]) == (True, None, "2.26.1", None)


@pytest.mark.parametrize("info", ["", "no json", "{}", {"ClientInfo": None}, {"ClientInfo": {"Plugins": None}}])
def test_an_engine_that_says_nothing(program: Program, info: object) -> None:
    docker(program, info)
    found = probe.engine()
    assert (found["version"], found["compose"], found["buildx"], found["root"]) == (None, None, None, None)


def test_no_docker_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = probe.engine()
    assert (found["installed"], found["version"], found["client"]) == (False, None, "")


def test_limits_are_the_engines_word_where_it_answers() -> None:
    known = {"ServerVersion": "26.1.5", "MemoryLimit": False, "CpuCfsQuota": True, "PidsLimit": True}
    assert probe.limits(known) == ["cpu", "pids"]
    assert probe.limits({"ServerVersion": "26.1.5"}) == ["memory", "cpu", "pids"], "an engine that does not say"


@pytest.mark.parametrize(
    ("unified", "v1", "found"),
    [
        ("cpuset cpu io pids\n", None, {"cpuset", "cpu", "io", "pids"}),
        (None, "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nmemory\t0\t1\t0\n", {"cpu"}),
        (None, None, {"memory", "cpu", "pids"}),
    ],
    ids=["v2", "v1", "neither"],
)
def test_limits_before_there_is_an_engine(
    unified: str | None, v1: str | None, found: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("CONTROLLERS", unified), ("V1_CONTROLLERS", v1)):
        monkeypatch.setattr(probe, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    assert set(probe.limits({})) == found


CONTAINERD = {"DockerRootDir": "/srv/docker", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


def test_images_are_in_the_engines_folder_or_in_containerds(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "containerd.sock"
    monkeypatch.setattr(probe, "OWN_CONTAINERD", str(socket))
    assert probe.image_folder({**CONTAINERD, "DriverStatus": [["Backing Filesystem", "extfs"]]}) == "/srv/docker"
    assert probe.image_folder({}) == "/var/lib/docker"
    program("containerd", "exit 1")
    assert probe.image_folder(CONTAINERD) == "/var/lib/containerd"
    program("containerd", """[ "$*" = 'config dump' ] && printf "root = '/srv/big'\nstate = '/run/containerd'\n" """)
    assert probe.image_folder(CONTAINERD) == "/srv/big"
    socket.touch()
    assert probe.image_folder(CONTAINERD) == "/srv/docker/containerd/daemon"


@pytest.fixture
def held() -> Iterator[int]:
    """A port on 127.0.0.1 that somebody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


BRIDGE = "br-1fd9676c64e0"
NAT = f"""-N DOCKER
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.19.0.0/16 ! -o {BRIDGE} -j MASQUERADE
"""
RULES = f"""-P FORWARD ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -i {BRIDGE} ! -o {BRIDGE} -j ACCEPT
"""
WIPED = "-P FORWARD ACCEPT\n"


def firewall(program: Program, nat: str, rules: str) -> None:
    """An iptables that shows these."""
    program("iptables", f"case $* in *nat*) printf %s '{nat}' ;; *) printf %s '{rules}' ;; esac")


@pytest.fixture
def engine_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what the engine and its owner say of it."""
    monkeypatch.setattr(probe, "PID", f"{tmp_path}/docker.pid")
    monkeypatch.setattr(probe, "CONFIG", f"{tmp_path}/daemon.json")
    return tmp_path


@pytest.mark.parametrize(
    ("nat", "rules", "bridge", "gone"),
    [
        (NAT, RULES, BRIDGE, False),
        (NAT, RULES, "br-000000000000", True),
        (NAT, RULES, "", False),
        (WIPED, WIPED, "", True),
        (WIPED, RULES, BRIDGE, True),
        (NAT, WIPED, BRIDGE, True),
        (NAT.replace("-A PREROUTING", "-A OTHER"), RULES, BRIDGE, True),
        (NAT.replace("-A POSTROUTING", "-A OTHER"), RULES, BRIDGE, True),
        (NAT, RULES.replace("-A FORWARD -j", "-A OTHER -j"), BRIDGE, True),
    ],
)
@pytest.mark.usefixtures("engine_files")
def test_rules_that_are_gone(program: Program, nat: str, rules: str, bridge: str, gone: bool) -> None:
    firewall(program, nat, rules)
    assert probe.rules_gone(bridge) is gone


@pytest.mark.parametrize(
    ("config", "makes"),
    [
        ("{}", True),
        ("no json", True),
        ('{"live-restore": true, "iptables": true}', True),
        ('{"iptables": false}', False),
        ('{"firewall-backend": "nftables"}', False),
    ],
)
def test_an_engine_that_makes_no_rules_misses_none(
    program: Program, engine_files: Path, config: str, makes: bool
) -> None:
    firewall(program, WIPED, WIPED)
    (engine_files / "daemon.json").write_text(config)
    assert probe.rules_gone(BRIDGE) is makes


@pytest.mark.parametrize("word", ["--iptables=false", "--firewall-backend=nftables"])
def test_an_engine_that_was_started_to_make_no_rules(program: Program, engine_files: Path, word: str) -> None:
    firewall(program, WIPED, WIPED)
    with subprocess.Popen(["sh", "-c", "read line", word], stdin=subprocess.PIPE) as engine:
        (engine_files / "docker.pid").write_text(str(engine.pid))
        assert not probe.rules_gone(BRIDGE)
    assert probe.rules_gone(BRIDGE), "that one has ended"


def test_without_iptables_nobody_can_tell(program: Program) -> None:
    program("iptables", "exit 4")
    assert not probe.rules_gone(BRIDGE)


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
    assert probe.watched("home", tmp_path) is (not name)
    program("systemctl", "exit 1")
    assert not probe.watched("home", tmp_path)


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


IN_USE = {"state": "EADDRINUSE", "error": "Address already in use"}


def test_a_free_port() -> None:
    assert probe.port_holder("home", "127.0.0.1", free_port()) == {"state": "free", "error": ""}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_of_somebody_else(held: int, address: str) -> None:
    assert probe.port_holder("home", address, held) == IN_USE


def test_an_address_of_another_machine() -> None:
    found = probe.port_holder("home", "203.0.113.7", free_port())
    assert found == {"state": "EADDRNOTAVAIL", "error": "Cannot assign requested address"}


def test_a_port_of_our_own(held: int, program: Program) -> None:
    calls = docker(program, DOCKER_13, more=f"ps) echo '8001/tcp, 0.0.0.0:{held}->8000/tcp, :::{held}->8000/tcp' ;;")
    assert probe.port_holder("home", "127.0.0.1", held)["state"] == "ours"
    assert "label=com.docker.compose.project=home" in calls.read_text()


def test_a_port_that_only_looks_like_ours(held: int, program: Program) -> None:
    docker(program, DOCKER_13, more=f"ps) echo '0.0.0.0:1{held}->{held}/tcp, {held}/tcp' ;;")
    assert probe.port_holder("home", "127.0.0.1", held) == IN_USE


def test_the_system(os_release: Callable[[ModuleType, str], None]) -> None:
    os_release(probe, "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n# note\n\nHOME_URL='https://a/?b=c'\n")
    assert probe.system() == {
        "id": "debian",
        "version_id": "12",
        "version_codename": "bookworm",
        "home_url": "https://a/?b=c",
    }


def test_folders(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    assert probe.folder(str(tmp_path)) == {
        "exists": True,
        "uid": os.getuid(),
        "gid": tmp_path.stat().st_gid,
        "mode": tmp_path.stat().st_mode & 0o7777,
    }
    (tmp_path / "file").touch()
    assert probe.folder(str(tmp_path / "file")) == {"exists": False}
    assert probe.folder(str(tmp_path / "nothing")) == {"exists": False}


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert probe.free_disk(str(tmp_path / "a/b/c")) > 0


INTERFACES = [
    ("lo", "127.0.0.1", "host"),
    ("eth0", "192.0.2.20", "global"),
    ("eth0", "169.254.3.4", "link"),
    ("wlan0", "198.51.100.5", "global"),
    ("docker0", "172.17.0.1", "global"),
    ("br-0123456789ab", "172.18.0.1", "global"),
    ("br0", "192.0.2.21", "global"),
    ("veth12", "172.19.0.1", "global"),
    ("virbr0", "192.168.122.1", "global"),
]


def test_addresses_are_those_that_a_tablet_can_open(program: Program) -> None:
    shown = [{"ifname": name, "addr_info": [{"local": local, "scope": scope}]} for name, local, scope in INTERFACES]
    program("ip", f"cat <<'END'\n{json.dumps(shown)}\nEND")
    # The machine's own comes first, whatever it is.
    found = probe.addresses()
    assert [address for address in found if address in {local for _, local, _ in INTERFACES}] == [
        "192.0.2.20",
        "198.51.100.5",
        "192.0.2.21",
    ]
    assert len(found) == len(set(found))


def test_addresses_without_the_ip_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(probe.addresses()) <= 1


def test_a_command_that_fails_or_is_missing(program: Program) -> None:
    program("good", "echo ' text '")
    program("bad", "echo text; exit 3")
    assert (probe.output("good"), probe.output("bad"), probe.output("no-such-command")) == ("text", None, None)


IMAGES = """\
debian:13 debian@sha256:aaa sha256:111
jupyterhub-home/hub:0123 jupyterhub-home/hub@<none> sha256:222
<none>:<none> <none>@<none> sha256:333
quay.io/jupyter/scipy-notebook:<none> quay.io/jupyter/scipy-notebook@sha256:bbb sha256:444
"""


def test_images_go_by_tag_and_by_digest(program: Program) -> None:
    calls = docker(program, DOCKER_13, more=f"image) cat <<'END'\n{IMAGES}END\n;;")
    assert probe.images() == {
        "debian:13": "sha256:111",
        "debian@sha256:aaa": "sha256:111",
        "jupyterhub-home/hub:0123": "sha256:222",
        "quay.io/jupyter/scipy-notebook@sha256:bbb": "sha256:444",
    }
    assert calls.read_text().startswith("image ls --no-trunc --digests")


def test_no_engine_has_no_images(program: Program) -> None:
    program("docker", "echo 'Cannot connect' >&2; exit 1")
    assert probe.images() == {}


class Project:
    """A project as docker shows it: all as compose.yml says, until a test changes something."""

    known: ClassVar[dict[str, str]] = {"hub:1": "sha256:hub", "proxy:1": "sha256:proxy"}

    def __init__(self, program: Program, folder: Path) -> None:
        self.folder = folder
        (folder / "compose.yml").write_text("name: home\n")
        self.hashes = {"hub": "aaa", "proxy": "bbb"}
        self.things: dict[str, dict[str, Any]] = {
            "home": {"Name": "home", "Id": "net1", "Labels": self.labels("network", "users"), "Containers": {}},
            "home-data": {"Name": "home-data", "Driver": "local", "Labels": self.labels("volume", "data")},
        }
        for service in self.hashes:
            self.things[f"home-{service}"] = {
                "Name": f"/home-{service}",
                "Image": f"sha256:{service}",
                "State": {"Status": "running"},
                "Config": {"Image": f"{service}:1", "Labels": {"com.docker.compose.config-hash": self.hashes[service]}},
                "NetworkSettings": {"Networks": {"home": {"NetworkID": "net1"}}},
            }
        more = """compose) cat "$here/hashes" ;;
            ps) case $* in *service=*) cat "$here/renamed" ;; *status=running*) cat "$here/listed" ;;
                *) cat "$here/servers" ;; esac ;;
            inspect)
                case $2 in server) cat "$here/server" ;; *) cat "$here/things" ;; esac
                [ ! -e "$here/incomplete" ] ;;"""
        self.calls = docker(program, DOCKER_13, more=more)
        for name in ("servers", "renamed", "listed"):
            (self.calls.parent / name).touch()

    def labels(self, what: str, name: str) -> dict[str, str]:
        return {"com.docker.compose.project": "home", f"com.docker.compose.{what}": name, "other": "label"}

    def look(self) -> tuple[bool, list[str]]:
        """Whether it is settled, and what was found."""
        here = self.calls.parent
        (here / "hashes").write_text("".join(f"{name} {value}\n" for name, value in self.hashes.items()))
        (here / "things").write_text(json.dumps(list(self.things.values())))
        if len(self.things) < 4:  # docker inspect then prints the others, and fails
            (here / "incomplete").touch()
        self.state = probe.project_state("home", Record(self.folder), self.known, lambda: "2.26.1")
        return self.state["settled"], self.state["found"]


@pytest.fixture
def project(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(probe, "HASHES", f"{tmp_path}/{{}}.hashes")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(probe, "replace_file", lambda path, text, mode, owner, group: path.write_text(text))
    return Project(program, tmp_path)


def test_a_settled_project(project: Project) -> None:
    assert project.look() == (True, [])
    assert project.calls.read_text().splitlines() == [
        "inspect home-hub home-proxy home home-data home-data-aside "
        "home-trial home-trial-server home-trial-server-home",
        "ps --no-trunc --quiet --filter label=jupyterhub-home.project=home",
        f"compose -f {project.folder}/compose.yml config --hash *",
    ]
    # Which compose would do nothing about, for Docker starts it again.
    project.things["home-hub"]["State"]["Status"] = "restarting"
    assert project.look() == (True, [])


NOTHING = {"settled": False, "found": [], "mend": False, "start": False, "folder": "", "bridge": ""}


def test_before_the_first_run_nothing_is_strange(project: Project, program: Program) -> None:
    project.hashes, project.things = {}, {}
    assert project.look() == (False, [])
    program("docker", "exit 1")
    with pytest.raises(EngineError):  # which makes no difference: see test_a_machine_without_an_engine_is_looked_at_too
        probe.project_state("home", Record(project.folder), {}, lambda: None)


@pytest.mark.parametrize(
    ("name", "found", "mend"),
    [
        ("home-hub", "the container home-hub was gone.", False),
        ("home-proxy", "the container home-proxy was gone.", False),
        ("home-data", "the volume home-data was gone.", False),
        ("home", "the network home was gone.", True),
    ],
)
def test_what_is_gone_is_said(project: Project, name: str, found: str, mend: bool) -> None:
    del project.things[name]
    assert project.look() == (False, [found])
    assert (project.state["mend"], project.state["start"]) == (mend, not mend)


def test_a_renamed_container(project: Project) -> None:
    del project.things["home-proxy"]
    (project.calls.parent / "renamed").write_text("elsewhere\n")
    assert project.look() == (False, ["the container home-proxy was renamed to elsewhere."])
    assert project.state["mend"] and not project.state["start"]


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
    assert project.state["mend"]


def test_a_run_that_was_killed_during_a_trial(project: Project) -> None:
    project.things["home-trial-server"] = {"Name": "/home-trial-server"}
    assert project.look() == (False, ["a run had stopped while it tried new settings."])
    assert project.state["mend"]


@pytest.mark.parametrize("edit", ["name: home\n# by hand\n", None])
def test_against_an_edited_compose_file_nothing_is_compared(project: Project, edit: str | None) -> None:
    path = project.folder / "compose.yml"
    path.write_text("name: home\n")
    record = Record(project.folder)
    record.end({"compose.yml": mark_of(path)})
    assert project.look() == (True, [])
    project.hashes = {"hub": "ccc", "proxy": "ccc"} if edit else {}
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
    Record(project.folder).end({path.name: mark_of(path)})
    assert project.look() == (True, [])
    project.things["home-hub"]["Config"]["Labels"]["com.docker.compose.config-hash"] = "ccc"
    found = ["the container home-hub was made with other settings."]
    assert project.look() == (False, found)
    path.write_text("name: home\n# by hand\n")
    project.hashes["hub"] = "ccc"  # as Compose says of the edited file
    for _ in range(2):
        assert (*project.look(), project.state["start"]) == (False, found, True)
    # The role has written another file since Compose was asked, so that nothing is known of the one that was edited.
    Record(project.folder).end({path.name: mark("name: home\n# another\n", 0o644, os.getuid(), os.getgid())})
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
    assert project.look() == (False, [f"the container home-hub {probe.GHOST}."])
    assert project.state["mend"] and not project.state["start"]
    project.things["home-hub"]["State"] = {"Status": "running", "Pid": os.getpid()}
    assert project.look() == (True, [])


@pytest.mark.parametrize(("name", "what"), [("home", "network"), ("home-data", "volume")])
@pytest.mark.parametrize("labels", [None, {}, {"com.docker.compose.project": "lab"}])
def test_labels_of_somebody_else(project: Project, name: str, what: str, labels: dict[str, str] | None) -> None:
    project.things[name]["Labels"] = labels
    assert project.look() == (False, [f"the {what} {name} had other labels."])


def test_another_compose_file_is_another_hash(project: Project) -> None:
    project.hashes = {"hub": "ccc", "proxy": "bbb"}
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
    probe.project_state("home", Record(project.folder), project.known, lambda: "2.40.0")
    assert times() == 3
    probe.project_state("home", Record(project.folder), project.known, lambda: None)
    probe.project_state("home", Record(project.folder), project.known, lambda: None)
    assert times() == 5, "which Compose that is cannot be told"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"about": 1}', "no json"])
def test_what_is_remembered_may_be_broken(project: Project, text: str) -> None:
    (project.folder / "home.hashes").write_text(text)
    assert project.look() == (True, [])


def test_the_whole_look(program: Program, run_module: RunModule, held: int, tmp_path: Path) -> None:
    docker(program, {**DOCKER_13, "DockerRootDir": str(tmp_path)})
    (tmp_path / "file").touch()
    answer = run_module(
        probe,
        {
            "project": "home", "bind_address": "127.0.0.1", "port": held, "directory": str(tmp_path / "file"),
            "sources": [str(tmp_path), "/no/such/folder"], "ca_bundle": "",
        },
        check=True,
    )  # fmt: skip
    machine = answer["machine"]
    assert answer["changed"] is False
    assert machine["port"] == IN_USE
    assert machine["directory"] == "is a file" and not machine["ca_bundle"]
    assert machine["folders"][str(tmp_path)]["exists"] and not machine["folders"]["/no/such/folder"]["exists"]
    assert machine["root"] == (os.geteuid() == 0)
    assert (machine["images"], machine["project"]) == ({}, NOTHING)


@pytest.mark.parametrize("there", [False, True])
def test_a_machine_without_an_engine_is_looked_at_too(
    program: Program, run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool
) -> None:
    """No docker at all, and one whose engine does not run, beside what an earlier run wrote."""
    calls = program("dpkg", "")
    (tmp_path / "hub").mkdir()
    if there:
        docker(program, "{}", more="compose) echo hub 1; echo proxy 2 ;; *) echo no engine >&2; exit 1 ;;", status=1)
        (tmp_path / "hub/compose.yml").touch()
    monkeypatch.setenv("PATH", f"{calls.parent}:/usr/bin" if there else str(calls.parent))
    wanted = {"project": "home", "bind_address": "127.0.0.1", "port": 1, "directory": str(tmp_path / "hub")}
    answer = run_module(probe, {**wanted, "sources": [], "ca_bundle": "/no/bundle"})
    assert answer["machine"]["docker"]["version"] is None
    assert answer["machine"]["project"] == NOTHING


def test_the_list_that_the_hub_has(tmp_path: Path, project: Project) -> None:
    """Wherever it was started from: a fresh clone has forgotten that folder."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    assert probe.declared_users(elsewhere, here) == []
    for folder, text in [(here, '{"old": {}}'), (elsewhere, '{"mia": {}, "alice": {"admin": true}}')]:
        (folder / "users").mkdir(parents=True)
        (folder / "users/users.json").write_text(text)
    assert probe.declared_users(elsewhere, here) == ["alice", "mia"]
    (elsewhere / "users/users.json").write_text("no json")
    assert probe.declared_users(elsewhere, here) == ["old"]
    labels = project.things["home-hub"]["Config"]["Labels"]
    labels["com.docker.compose.project.working_dir"] = str(elsewhere)
    project.look()
    assert project.state["folder"] == str(elsewhere)


def test_no_stray_is_overlooked() -> None:
    """Whatever the last task keeps exactly, the look compares."""
    (task,) = yaml.safe_load((ROLE / "tasks/files.yml").read_text())
    assert task["jupyterhub.home.files"]["exact"] == belongings.OWN_FOLDERS


def test_the_folder_must_be_the_roles_own(tmp_path: Path) -> None:
    folder = tmp_path / "hub-files"
    assert belongings.directory_problem(folder, "home") == ""
    folder.mkdir()
    (folder / "compose.yml").write_text("# Written\nname: home\nservices:\n  name: other\n")
    (folder / "images").mkdir()
    assert belongings.directory_problem(folder, "home") == ""
    assert belongings.directory_problem(folder, "lab") == "belongs to the project home"
    (folder / "thesis.tex").touch()
    assert belongings.directory_problem(folder, "home") == "holds what is not the role's (thesis.tex)"
