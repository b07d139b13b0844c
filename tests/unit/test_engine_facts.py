"""module_utils/engine_facts: what the probe says of the Docker engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import engine_facts
from conftest import DOCKER_13, Program, docker


def test_an_engine_with_its_plugins(program: Program) -> None:
    docker(program, DOCKER_13)
    found = engine_facts.engine()
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
    found = engine_facts.engine()
    assert (found["installed"], found["version"], found["compose"], found["socket_gid"]) == (True, None, "2.26.1", None)


@pytest.mark.parametrize("info", ["", "no json", "{}", {"ClientInfo": None}, {"ClientInfo": {"Plugins": None}}])
def test_an_engine_that_says_nothing(program: Program, info: object) -> None:
    docker(program, info)
    found = engine_facts.engine()
    assert (found["version"], found["compose"], found["buildx"], found["root"]) == (None, None, None, None)


def test_no_docker_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = engine_facts.engine()
    assert (found["installed"], found["version"], found["client"]) == (False, None, "")


def test_limits_are_the_engines_word_where_it_answers() -> None:
    known = {"ServerVersion": "26.1.5", "MemoryLimit": False, "CpuCfsQuota": True, "PidsLimit": True}
    assert engine_facts.limits(known) == ["cpu", "pids"]
    assert engine_facts.limits({"ServerVersion": "26.1.5"}) == ["memory", "cpu", "pids"], "an engine that does not say"


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
        monkeypatch.setattr(engine_facts, name, tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)
    assert set(engine_facts.limits({})) == found


CONTAINERD = {"DockerRootDir": "/srv/docker", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


def test_images_are_in_the_engines_folder_or_in_containerds(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "containerd.sock"
    monkeypatch.setattr(engine_facts, "OWN_CONTAINERD", str(socket))
    assert engine_facts.image_folder({**CONTAINERD, "DriverStatus": [["Backing Filesystem", "extfs"]]}) == "/srv/docker"
    assert engine_facts.image_folder({}) == "/var/lib/docker"
    program("containerd", "exit 1")
    assert engine_facts.image_folder(CONTAINERD) == "/var/lib/containerd"
    program("containerd", """[ "$*" = 'config dump' ] && printf "root = '/srv/big'\nstate = '/run/containerd'\n" """)
    assert engine_facts.image_folder(CONTAINERD) == "/srv/big"
    socket.touch()
    assert engine_facts.image_folder(CONTAINERD) == "/srv/docker/containerd/daemon"


IMAGES = """\
debian:13 debian@sha256:aaa sha256:111
jupyterhub-home/hub:0123 jupyterhub-home/hub@<none> sha256:222
<none>:<none> <none>@<none> sha256:333
quay.io/jupyter/scipy-notebook:<none> quay.io/jupyter/scipy-notebook@sha256:bbb sha256:444
"""


def test_images_go_by_tag_and_by_digest(program: Program) -> None:
    calls = docker(program, DOCKER_13, more=f"image) cat <<'END'\n{IMAGES}END\n;;")
    assert engine_facts.images() == {
        "debian:13": "sha256:111",
        "debian@sha256:aaa": "sha256:111",
        "jupyterhub-home/hub:0123": "sha256:222",
        "quay.io/jupyter/scipy-notebook@sha256:bbb": "sha256:444",
    }
    assert calls.read_text().startswith("image ls --no-trunc --digests")


def test_no_engine_has_no_images(program: Program) -> None:
    program("docker", "echo 'Cannot connect' >&2; exit 1")
    assert engine_facts.images() == {}
