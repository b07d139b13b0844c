"""Each capability's tag alone, while people work: it does its part and disturbs nobody."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Run, recap
from machine import containers
from rows import USERS, user
from rows_config import announcement
from world import PROJECT, World

TAGS = ["docker", "users", "images", "hub", "verify"]
FOLDER = "/opt/jupyterhub-home"


@pytest.fixture
def busy(home: World) -> World:
    """The hub while alice and bob have servers and alice's kernel remembers something."""
    if "alice" not in home.kernels:
        home.compute("alice", "kept = 20")
    home.server("bob")
    return home


def goes_on(busy: World) -> bool:
    """Whether alice's kernel is still the one that remembers."""
    return busy.compute("alice", "print(kept)") == "20"


def only(run: Run, tag: str, **variables: Any) -> tuple[int, int]:
    """Run one tag; how many tasks changed something, and how many failed."""
    named = {f"jupyterhub_home_{name}": value for name, value in variables.items()}
    return recap(run(named, "site.yml", f"--tags={tag}"))


def images(busy: World) -> set[str]:
    """The names of the project's images."""
    form = "{{.Repository}}:{{.Tag}}"
    return set(busy.host.check_output(f"docker image ls --format '{form}' '{PROJECT}/*'").split())


def user_images(busy: World) -> set[str]:
    """Those that users' servers start from, or did."""
    return {name for name in images(busy) if name.startswith(f"{PROJECT}/user:")}


def files(busy: World) -> str:
    """Every file of the role's folder, with its content's hash and its times."""
    return str(busy.host.check_output(f"find {FOLDER} -type f -exec sha256sum {{}} + -exec stat -c '%n %a %z' {{}} +"))


@pytest.mark.parametrize("tag", TAGS)
def test_alone_with_nothing_to_do(busy: World, run: Run, tag: str) -> None:
    before = containers(busy.host), images(busy), files(busy)
    assert only(run, tag) == (0, 0)
    assert (containers(busy.host), images(busy), files(busy)) == before
    assert goes_on(busy)


def test_docker_adds_what_was_removed(busy: World, run: Run) -> None:
    before = containers(busy.host)
    busy.host.check_output("dpkg --remove mmdebstrap")
    changed, failed = only(run, "docker")
    assert changed and not failed
    assert busy.host.run("mmdebstrap --version").rc == 0
    assert containers(busy.host) == before
    assert goes_on(busy)


def test_users_lets_a_new_user_in(busy: World, run: Run) -> None:
    before = containers(busy.host)
    assert not busy.lets_in("newcomer")
    changed, failed = only(run, "users", users=[*USERS, user("newcomer")])
    assert changed and not failed
    assert busy.lets_in("newcomer")
    changed, failed = only(run, "users")
    assert changed and not failed
    assert not busy.lets_in("newcomer")
    assert containers(busy.host) == before
    assert goes_on(busy)


def test_images_builds_and_restarts_nothing(busy: World, run: Run) -> None:
    """Servers start from the image that the hub's settings name, until the tag `hub` writes the new one there."""
    present = busy.inspect("user-bob")["Config"]["Image"]
    busy.stop_servers()  # so that none of them keeps its image from being removed
    for name in user_images(busy) - {present}:
        busy.host.check_output(f"docker image rm {name}")  # left by an earlier run
    before = containers(busy.host)
    changed, failed = only(run, "images", user_packages=["iniconfig==2.0.0"])
    assert changed and not failed
    built = user_images(busy) - {present}
    assert len(built) == 1 and user_images(busy) == {present, *built}
    assert containers(busy.host) == before
    assert busy.installed_in_server("bob", "iniconfig") == ""

    busy.stop_servers()
    assert only(run, "hub", user_packages=["iniconfig==2.0.0"])[1] == 0
    assert user_images(busy) == built, "the older image is left"
    assert busy.installed_in_server("bob", "iniconfig") == "2.0.0"


def test_hub_applies_a_setting(busy: World, run: Run) -> None:
    """The hub and its guard are made anew, and nothing else."""
    before = containers(busy.host)
    config = {"JupyterHub": {"template_vars": {"announcement": "Cake at four"}}}
    changed, failed = only(run, "hub", config=config)
    assert changed and not failed
    assert announcement(busy) == "Cake at four"
    after = containers(busy.host)
    for service in ("hub", "guard"):
        assert after.pop(service) != before.pop(service)
    assert after == before
    assert goes_on(busy)
    assert only(run, "hub")[1] == 0
    assert announcement(busy) == ""
    assert goes_on(busy)


def test_verify_tells_a_hub_that_answers(busy: World, run: Run) -> None:
    """And writes nothing even where the variables differ from what runs."""
    before = containers(busy.host), images(busy), files(busy)
    done = run(
        {"jupyterhub_home_memory_limit": "600M", "jupyterhub_home_users": USERS[:1]}, "site.yml", "--tags=verify"
    )
    assert recap(done) == (0, 0)
    assert busy.url in done.stdout
    assert (containers(busy.host), images(busy), files(busy)) == before
    assert busy.lets_in("alice")
