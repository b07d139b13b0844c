"""jupyterhub.home.repair: a project's network, hub volume and containers as Compose left them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, guard
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import docker as engine_docker
from ansible_collections.jupyterhub.home.plugins.modules import repair
from conftest import RunModule
from fake_engine import Engine
from notes import foretold

COMPOSES = {"com.docker.compose.project": "home", "com.docker.compose.network": "users"}
LABEL = f"{contract.bridge('home')} chosen 10.77.0.0/20"
NETWORK = COMPOSES | {contract.NETWORK_LABEL: LABEL}
OPTIONS = {contract.BRIDGE_NAME: contract.bridge("home")}
VOLUME = {"com.docker.compose.project": "home", "com.docker.compose.volume": "data"}
ASIDE = {"jupyterhub-home.project": "home"}


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """All as it should be, until a test changes something."""
    engine.state["containers"] = {
        "home-hub": engine.service("hub", "home-data"),
        "home-proxy": engine.service("proxy"),
        "home-user-alice": engine.container({"jupyterhub-home.project": "home"}, "home"),
        "other": engine.container({}, "home", aliases=["printer", "files"]),
    }
    engine.state["networks"] = {"home": {"Id": "net1", "Labels": NETWORK, "Options": OPTIONS}}
    engine.state["composed"] = {"Labels": {contract.NETWORK_LABEL: LABEL}, "Options": OPTIONS}
    engine.volume("home-data", VOLUME, "database")
    return engine


Repair = Callable[..., dict[str, Any]]


@pytest.fixture
def four_steps(engine: Engine, run_module: RunModule, tmp_path: Path) -> Repair:
    """four_steps(): check, real, real again, check again; what the first two say."""

    def run() -> dict[str, Any]:
        arguments = {"project": "home", "directory": str(tmp_path), "network": LABEL}
        engine.save()
        untouched, files = engine.load(), sorted((engine.here / "volumes").rglob("*"))
        tried = run_module(repair, arguments, check=True)
        assert engine.load() == untouched and sorted((engine.here / "volumes").rglob("*")) == files
        done = run_module(repair, arguments)
        assert not done.get("failed"), done
        assert tried["done"] == [foretold(note) for note in done["done"]]
        assert (tried["changed"], tried["renews"]) == (done["changed"], done["renews"])
        assert not tried["done"] or tried["diff"] != done["diff"]
        after = engine.load()
        for check in (False, True):
            again = run_module(repair, arguments, check=check)
            assert (again["changed"], again["done"]) == (False, []) and engine.load() == after
        return done

    return run


def test_nothing_to_repair(four_steps: Repair) -> None:
    done = four_steps()
    assert (done["changed"], done["done"], done["renews"]) == (False, [], False)


def test_what_a_trial_left_goes(engine: Engine, four_steps: Repair) -> None:
    for name in ("home-trial", "home-trial-server", "home-trial-server-home"):
        engine.state["containers"][name] = engine.container({"jupyterhub-home.trial": "home"}, "home")
    done = four_steps()
    assert done["done"] == [f"Removed, left by a trial: home-trial{part}" for part in ("", "-server", "-server-home")]


def test_paused_and_renamed_go_on(engine: Engine, four_steps: Repair) -> None:
    containers = engine.state["containers"]
    containers["elsewhere"] = containers.pop("home-proxy")
    for name in ("home-hub", "elsewhere"):
        containers[name]["status"] = "paused"
    done = four_steps()
    assert done["done"] == [
        "Paused no more: elsewhere",
        "Named home-proxy again: elsewhere",
        "Paused no more: home-hub",
    ]
    assert not done["renews"]
    assert {c["status"] for c in engine.load()["containers"].values()} == {"running"}


def test_a_second_one_of_a_service_goes(engine: Engine, four_steps: Repair) -> None:
    engine.state["containers"]["copy"] = engine.service("proxy")
    done = four_steps()
    assert done["done"] == ["Removed, to be made anew: copy"]
    assert "home-proxy" in engine.load()["containers"]


def test_who_left_the_network(engine: Engine, four_steps: Repair) -> None:
    """A service is removed, a server connected; others have their reasons."""
    containers = engine.state["containers"]
    for name in ("home-hub", "home-user-alice", "other"):
        containers[name]["in"] = {}
    containers["home-user-bob"] = {**engine.container({"jupyterhub-home.project": "home"}, "lab"), "mode": "lab"}
    done = four_steps()
    assert done["done"] == ["Removed, to be made anew: home-hub", "Connected to the network: home-user-alice"]
    assert done["renews"]
    after = engine.load()["containers"]
    assert "home-hub" not in after and after["home-user-alice"]["in"] == {"home": []}
    assert (after["other"]["in"], list(after["home-user-bob"]["in"])) == ({}, ["lab"])


def test_one_without_a_process_is_made_anew(engine: Engine, four_steps: Repair) -> None:
    engine.state["containers"]["home-hub"]["state"] = {"Pid": 2**22 + 1}
    done = four_steps()
    assert (done["done"], done["renews"]) == (["Removed, to be made anew: home-hub"], True)


def test_a_guard_that_makes_no_servers_is_made_anew(
    engine: Engine, four_steps: Repair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0)
    engine.state["containers"]["home-guard"] = {**engine.service("guard"), "state": {"Pid": os.getpid()}}
    assert four_steps()["done"] == ["Removed, to be made anew: home-guard"]


def test_the_guards_volume_of_somebody_else_goes(engine: Engine, four_steps: Repair) -> None:
    """With whoever has it, and nothing is lost."""
    engine.volume("home-sockets", {})
    done = four_steps()
    assert done["done"][-1] == "Removed, to be made anew: home-sockets"
    assert "home-sockets" not in engine.load()["volumes"]


def test_one_that_has_an_earlier_folder_is_made_anew(engine: Engine, four_steps: Repair, tmp_path: Path) -> None:
    mount = {"Type": "bind", "Source": str(tmp_path), "Destination": str(tmp_path.parent)}
    engine.state["containers"]["home-hub"] |= {"state": {"Pid": os.getpid()}, "mounts": [mount]}
    assert four_steps()["done"] == ["Removed, to be made anew: home-hub"]


@pytest.mark.parametrize("labels", [{}, COMPOSES, {**NETWORK, "com.docker.compose.network": "default"}, None])
def test_a_network_of_somebody_else(engine: Engine, four_steps: Repair, labels: dict[str, str] | None) -> None:
    """Everybody who was in it is connected again, with the same aliases; None: it is gone."""
    containers = engine.state["containers"]
    if labels is None:
        engine.state["networks"] = {}
        for container in containers.values():
            container["in"] = {}
    else:
        engine.state["networks"]["home"]["Labels"] = labels
    done = four_steps()
    assert done["done"] == [
        "Removed, to be made anew: home-hub",
        "Removed, to be made anew: home-proxy",
        "Network made anew: home",
        "Connected to the network: home-user-alice",
        *(["Connected to the network: other"] if labels is not None else []),
    ]
    assert done["renews"]
    after = engine.load()
    assert after["networks"]["home"]["Id"] == "new"
    assert list(after["containers"]) == ["home-user-alice", "other"]
    assert after["containers"]["home-user-alice"]["in"] == {"home": []}
    assert after["containers"]["other"]["in"] == ({"home": ["printer", "files"]} if labels is not None else {})


LABELLED = {**VOLUME, "com.docker.compose.version": "2.26.1"}


@pytest.mark.parametrize("labels", [{}, {**VOLUME, "com.docker.compose.project": "lab"}])
def test_a_volume_of_somebody_else(engine: Engine, four_steps: Repair, labels: dict[str, str]) -> None:
    engine.state["volumes"]["home-data"]["labels"] = labels
    place = engine.here / "volumes/home-data/_data/database"
    same = place.stat().st_ino
    done = four_steps()
    assert done["done"] == ["Removed, to be made anew: home-hub", "Labelled, with all its files: the volume home-data"]
    assert engine.load()["volumes"] == {"home-data": {"labels": LABELLED}}
    assert engine.files() == {"home-data": ["database"]} and place.stat().st_ino == same


CHANGING = {("volume", "create"), ("volume", "rm")}


@pytest.mark.parametrize("kill", range(1, 9))
def test_a_kill_at_any_step_loses_nothing(
    engine: Engine, run_module: RunModule, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kill: int
) -> None:
    """After as many steps as this, the run is killed; the next one finishes."""
    engine.state["volumes"]["home-data"]["labels"] = {}
    engine.save()
    steps = 0

    class Killed(BaseException):
        pass

    def counted(step: Callable[..., Any], changing: Callable[..., bool]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal steps
            if changing(*arguments):
                steps += 1
                if steps == kill:
                    raise Killed
            return step(*arguments)

        return call

    arguments = {"project": "home", "directory": str(tmp_path), "network": LABEL}
    with monkeypatch.context() as patch:
        patch.setattr(repair, "docker", counted(engine_docker, lambda *a: a[0] == "rm" or a[:2] in CHANGING))
        patch.setattr(Path, "rename", counted(Path.rename, lambda *a: True))
        project = repair.Project("home", tmp_path, LABEL, pretend=False)
        if kill <= 7:
            with pytest.raises(Killed):
                project.repair()
        else:
            project.repair()
    kept = [path.name for path in (engine.here / "volumes").rglob("database")]
    assert kept == ["database"]
    done = run_module(repair, arguments)
    assert not done.get("failed") and done["changed"] is (kill <= 7), done
    assert engine.load()["volumes"] == {"home-data": {"labels": LABELLED}}
    assert engine.files() == {"home-data": ["database"]}
    assert not run_module(repair, arguments)["changed"]


def test_an_empty_volume_is_moved_too(engine: Engine, four_steps: Repair) -> None:
    engine.state["volumes"]["home-data"]["labels"] = {}
    (engine.here / "volumes/home-data/_data/database").unlink()
    four_steps()
    assert engine.files() == {"home-data": []}


def test_only_the_empty_second_volume_is_there(engine: Engine, four_steps: Repair) -> None:
    """A run was killed while it moved an empty one."""
    engine.state["containers"].pop("home-hub")
    engine.state["volumes"] = {}
    (engine.here / "volumes/home-data/_data/database").unlink()
    (engine.here / "volumes/home-data/_data").rmdir()
    (engine.here / "volumes/home-data").rmdir()
    engine.volume("home-data-aside", ASIDE)
    four_steps()
    assert engine.files() == {"home-data": []}


@pytest.mark.parametrize("check", [True, False])
def test_two_volumes_with_files_are_left_alone(
    engine: Engine, run_module: RunModule, tmp_path: Path, check: bool
) -> None:
    engine.volume("home-data-aside", ASIDE, "older database")
    engine.save()
    failed = run_module(repair, {"project": "home", "directory": str(tmp_path), "network": LABEL}, check=check)
    assert failed["failed"] and "Both volumes home-data and home-data-aside have files" in failed["msg"]
    assert engine.files() == {"home-data": ["database"], "home-data-aside": ["older database"]}
    assert "home-hub" in engine.load()["containers"]


def test_a_volume_that_somebody_uses_is_left_alone(engine: Engine, run_module: RunModule, tmp_path: Path) -> None:
    engine.state["volumes"]["home-data"]["labels"] = {}
    engine.state["containers"]["backup"] = engine.container({}, volumes=("home-data",))
    engine.state["containers"].pop("home-hub")
    engine.save()
    failed = run_module(repair, {"project": "home", "directory": str(tmp_path), "network": LABEL})
    assert "The volume home-data is in use by backup. Remove that container" in failed["msg"]
    assert engine.files() == {"home-data": ["database"]}


def test_a_volume_that_is_elsewhere_stays_as_it_is(engine: Engine, four_steps: Repair) -> None:
    """Its owner made it so, on another machine for example."""
    engine.state["volumes"]["home-data"] = {"labels": {}, "options": {"type": "nfs"}}
    assert four_steps()["done"] == []


@pytest.mark.usefixtures("imagined")
def test_a_service_that_the_contract_has_is_repaired(engine: Engine, four_steps: Repair) -> None:
    containers = engine.state["containers"]
    containers["elsewhere"] = engine.service("spark") | {"status": "paused"}
    assert four_steps()["done"] == ["Paused no more: elsewhere", "Named home-spark again: elsewhere"]
