"""jupyterhub.home.images with a docker, an apt-get and an mmdebstrap that are scripts."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import base_image, building
from ansible_collections.jupyterhub.home.plugins.modules import images, prune
from conftest import Program, RunModule

BUILD = {"name": "hub", "tag": "home/hub:1", "context": "/srv/images", "packages": ["numpy>=2", "pandas"]}
PRUNED = {"project": "home", "keep": ["debian:13", "home/hub:1"]}
PLAIN = {"name": "proxy", "tag": "home/proxy:1", "context": "/srv/images", "packages": []}
DEBIAN = """\
https://deb.example/debian bookworm Debian main
https://deb.example/debian bookworm Debian contrib
https://deb.example/debian bookworm-updates Debian main
https://deb.example/debian bookworm-backports Debian main
https://security.example/debian-security bookworm-security Debian main
https://deb.example/debian bookworm Debian main
https://download.example/linux/debian bookworm Docker stable
nonsense"""

# Keeps the engine's images in a file, one a line; a tag or context with `broken` in it cannot be had.
DOCKER = """
list=$here/images
touch "$list"
last() { for word; do :; done; echo "$word"; }
case "$1 $2" in
    'image inspect') grep -qxF -- "$3" "$list" ;;
    # The identity of each is its name; home/user:again is another name of an image that is in use.
    'image ls') grep -e ^home/ "$list" | sed 's/.*/& &/; s, .*again, home/user:served,' ;;
    'ps --all') echo 1 ;;
    'inspect 1') echo '[{"Name": "/a", "Image": "home/user:served"}, {"Name": "/b", "Image": "home/user:in-use"}]' ;;
    'image rm')
        grep -vxF -- "$3" "$list" >"$list.new"; mv "$list.new" "$list" ;;
    'pull --quiet')
        case $3 in *broken*) echo "no such host: $3" >&2; exit 1 ;; esac
        echo "$3" >>"$list" ;;
    'build --target')
        case $(last "$@") in *broken*) seq 100; echo "pip says no" >&2; exit 17 ;; esac
        previous=; for word; do [ "$previous" != --tag ] || echo "$word" >>"$list"; previous=$word; done ;;
    'import -') cat >/dev/null; echo sha256:empty ;;
    'run --rm')
        [ ! -e "$here/run-fails" ] || { cat "$here/run-fails" >&2; exit 125; }
        echo 'exec: "/no": stat /no: no such file or directory: unknown.' >&2; exit 127 ;;
    'import --change') cat >"$here/imported"; echo sha256:abc ;;
    'tag sha256:abc') echo "$3" >>"$list" ;;
    *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture(autouse=True)
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "LOCK", tmp_path / "lock")


@pytest.fixture
def docker(program: Program) -> Path:
    return program("docker", DOCKER)


@pytest.fixture
def have(docker: Path) -> Callable[..., None]:
    """have(image, ...): the engine has these images."""

    def put(*tags: str) -> None:
        (docker.parent / "images").write_text("".join(f"{tag}\n" for tag in tags))

    return put


TRIAL = ("import - ", "run --rm ", "image rm sha256:empty ")


def calls(docker: Path) -> list[str]:
    """What docker was asked to do, without questions and the trial."""
    asked = ("image inspect", "image ls", "ps", "inspect", *TRIAL)
    return [line for line in docker.read_text().splitlines() if not f"{line} ".startswith(asked)]


def asked(*builds: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"base": {"tag": "debian:13"}, "builds": list(builds), **more}


def test_nothing_is_done_when_all_is_there(run_module: RunModule, docker: Path, have: Callable[..., None]) -> None:
    have("home/hub:1", "home/proxy:1", "elsewhere/user")
    answer = run_module(images, asked(BUILD, PLAIN, pulls=["elsewhere/user"]))
    assert (answer["changed"], answer["made"]) == (False, [])
    assert calls(docker) == []


def test_only_what_is_missing_is_built(run_module: RunModule, docker: Path, have: Callable[..., None]) -> None:
    have("home/hub:1", "debian:13")
    answer = run_module(images, asked(BUILD, PLAIN))
    assert answer["made"] == ["home/proxy:1"]
    assert calls(docker) == [
        "build --target proxy --build-arg BASE=debian:13 --build-arg PACKAGES= "
        "--build-arg HUB_ID=58081 --build-arg PROXY_ID=58082 --tag home/proxy:1 /srv/images"
    ]
    assert not run_module(images, asked(BUILD, PLAIN))["changed"]


def test_packages_and_secrets_reach_the_build(
    run_module: RunModule, docker: Path, have: Callable[..., None], tmp_path: Path
) -> None:
    have("debian:13")
    (tmp_path / "ca.pem").touch()
    secrets = {"pip": "", "npm": str(tmp_path / "nothing"), "ca": str(tmp_path / "ca.pem")}
    run_module(images, asked(BUILD, secrets=secrets))
    (build,) = calls(docker)
    assert "--build-arg PACKAGES=numpy>=2 pandas" in build
    assert f"--secret id=ca,src={tmp_path}/ca.pem" in build
    assert "id=pip" not in build and "id=npm" not in build


def test_a_missing_base_is_pulled_once(run_module: RunModule, docker: Path) -> None:
    answer = run_module(images, asked(BUILD, PLAIN))
    assert answer["made"] == ["debian:13", "home/hub:1", "home/proxy:1"]
    assert [call.split()[0] for call in calls(docker)] == ["pull", "build", "build"]


def test_the_base_is_left_alone_when_nothing_stands_on_it(
    run_module: RunModule, docker: Path, have: Callable[..., None]
) -> None:
    have("home/hub:1")
    assert not run_module(images, asked(BUILD))["changed"]
    assert calls(docker) == []


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        (
            "HOME=/\0container=lxc\0TERM=linux\0",
            "itself a container (lxc), and must be allowed to hold others. On Proxmox: pct",
        ),
        ("HOME=/\0TERM=linux\0", "Look at journalctl -u docker"),
    ],
)
def test_an_engine_that_cannot_start_a_container(
    run_module: RunModule, docker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str, remedy: str
) -> None:
    """It is said before anything is made."""
    (docker.parent / "run-fails").write_text("docker: OCI runtime create failed: mount proc: permission denied\n")
    (tmp_path / "environ").write_text(environment)
    monkeypatch.setattr(images, "INIT_ENVIRONMENT", tmp_path / "environ")
    answer = run_module(images, asked(BUILD, PLAIN))
    assert answer["failed"] and answer["made"] == [] and calls(docker) == []
    assert answer["msg"].startswith("The Docker engine cannot start a container: docker: OCI runtime create failed:")
    assert remedy in answer["msg"]


def test_the_trial_is_made_once_and_leaves_nothing(
    run_module: RunModule, docker: Path, have: Callable[..., None]
) -> None:
    run_module(images, asked(BUILD, PLAIN))
    run_module(images, asked(BUILD, PLAIN))
    tried = [line for line in docker.read_text().splitlines() if f"{line} ".startswith(TRIAL)]
    assert [f"{line} ".startswith(part) for line, part in zip(tried, TRIAL, strict=True)] == [True] * 3


def test_check_mode_only_asks(run_module: RunModule, docker: Path) -> None:
    answer = run_module(images, asked(BUILD, PLAIN, pulls=["elsewhere/user"]), check=True)
    assert answer["made"] == ["elsewhere/user", "debian:13", "home/hub:1", "home/proxy:1"]
    assert calls(docker) == [] and "run --rm" not in docker.read_text()


def test_a_failing_build_shows_its_last_lines(run_module: RunModule, docker: Path, have: Callable[..., None]) -> None:
    have("debian:13")
    broken = {**PLAIN, "context": "/srv/broken"}
    answer = run_module(images, asked(BUILD, broken))
    assert answer["failed"]
    assert answer["msg"].startswith("Building home/proxy:1 failed (exit status 17). Its last lines:\n")
    assert answer["msg"].splitlines()[1:] == [*(str(number) for number in range(72, 101)), "pip says no"]
    # What was built stays, and the next run goes on from there.
    assert run_module(images, asked(BUILD, PLAIN))["made"] == ["home/proxy:1"]


def test_a_failing_pull_names_the_image(run_module: RunModule, docker: Path) -> None:
    answer = run_module(images, asked(pulls=["broken/image"]))
    assert answer["failed"]
    assert "Pulling broken/image failed" in answer["msg"] and "no such host" in answer["msg"]


def test_old_images_go_and_others_stay(run_module: RunModule, docker: Path, have: Callable[..., None]) -> None:
    kept = ["home/hub:1", "home/hub:kept", "home/user:in-use", "debian:13"]
    have("home/hub:0", "home/user:served", "home/user:again", *kept)
    foretold = run_module(prune, PRUNED, check=True)
    assert calls(docker) == []
    answer = run_module(prune, PRUNED)
    assert (answer["changed"], answer["removed"]) == (True, foretold["removed"])
    assert answer["removed"] == ["home/hub:0", "home/user:served", "home/user:again"]
    assert (docker.parent / "images").read_text().split() == kept
    # What is in use is no change that is foretold and not made.
    have(*kept)
    assert not run_module(prune, PRUNED, check=True)["changed"] and not run_module(prune, PRUNED)["changed"]


@pytest.fixture
def bookworm(os_release: Callable[[ModuleType, str], None]) -> None:
    os_release(base_image, 'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_CODENAME=bookworm\n')


def apt_prints(program: Program, text: str) -> None:
    program("apt-get", f"cat <<'END'\n{text}\nEND")


def test_mirrors_are_those_of_apt(program: Program, bookworm: None) -> None:
    apt_prints(program, DEBIAN)
    assert base_image.mirrors("trixie") == [
        "deb https://deb.example/debian trixie main",
        "deb https://deb.example/debian trixie-updates main",
        "deb https://security.example/debian-security trixie-security main",
    ]


@pytest.mark.parametrize("listing", ["", "https://download.example/linux/debian bookworm Docker main", "a b"])
def test_no_mirror_of_debian(program: Program, bookworm: None, listing: str) -> None:
    apt_prints(program, listing)
    with pytest.raises(building.ImageError, match="no mirror of Debian's bookworm"):
        base_image.mirrors("trixie")


def test_an_apt_that_fails(program: Program, bookworm: None) -> None:
    program("apt-get", "echo 'E: The list is damaged' >&2; exit 100")
    with pytest.raises(building.ImageError, match=r"(?s)Asking apt for its mirrors failed.*E: The list is damaged"):
        base_image.mirrors("trixie")


BASE = {
    "tag": "home/base:1",
    "suite": "trixie",
    "packages": ["python3", "ca-certificates"],
    "dpkg": "force-unsafe-io\n",
}


@pytest.fixture
def scratch(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a base is made in, with what a killed run left there."""
    program("unshare", 'shift; exec "$@"')  # it takes root
    scratch = tmp_path / "scratch"
    (scratch / "mmdebstrap.killed/dev").mkdir(parents=True)
    monkeypatch.setattr(base_image, "SCRATCH", scratch)
    return scratch


def test_a_base_is_made_of_packages(
    run_module: RunModule, program: Program, docker: Path, bookworm: None, scratch: Path
) -> None:
    apt_prints(program, DEBIAN)
    made = program(
        "mmdebstrap",
        """for word; do case $word in --dpkgopt=*) cat "${word#--dpkgopt=}" ;; *.list) cat "$word" ;; esac; done""",
    )
    answer = run_module(images, {"base": BASE, "builds": [BUILD]})
    assert answer["made"] == ["home/base:1", "home/hub:1"]
    assert "--include=python3,ca-certificates" in made.read_text()
    assert (docker.parent / "imported").read_text().splitlines()[:2] == [
        "force-unsafe-io",
        "deb https://deb.example/debian trixie main",
    ]
    assert "BASE=home/base:1" in calls(docker)[-1]
    assert not scratch.exists()


def test_a_base_that_fails_leaves_nothing(
    run_module: RunModule, program: Program, docker: Path, bookworm: None, scratch: Path
) -> None:
    apt_prints(program, DEBIAN)
    program("mmdebstrap", "echo half; echo 'E: unable to fetch' >&2; exit 1")
    answer = run_module(images, {"base": BASE, "builds": [BUILD]})
    assert answer["failed"]
    assert "could not make the base image. Its last lines:\nE: unable to fetch" in answer["msg"]
    assert not scratch.exists()
    assert (docker.parent / "images").read_text() == ""


def test_check_mode_foretells_on_a_machine_without_docker(
    run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert run_module(images, asked(BUILD), check=True)["made"] == ["debian:13", "home/hub:1"]
    assert not run_module(prune, PRUNED, check=True)["changed"]


def test_what_a_killed_run_goes_on_building_is_not_built_twice(
    docker: Path, have: Callable[..., None], run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    have()
    monkeypatch.setattr(fcntl, "flock", lambda *_: have(PLAIN["tag"]))
    assert run_module(images, asked(PLAIN))["made"] == []
    assert calls(docker) == []
