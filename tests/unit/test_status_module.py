"""jupyterhub.home.status: how a hub is, in a few lines, whatever is there of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint_of
from ansible_collections.jupyterhub.home.plugins.modules import status
from conftest import Program, RunModule, Serve

MACHINE: dict[str, Any] = {
    "docker": {"installed": True, "version": "26.1.5", "compose": "2.26.1", "rules_gone": False},
    "system": {"pretty_name": "Debian GNU/Linux 13"}, "systemd": True, "dpkg_broken": False,
    "project": {"found": []}, "units": ["home-watch.service"],
    "schedule": {job: {"linked": False, "failed": False} for job in contract.TIMERS},
    "backup": {"age": None, "why": ""},
    "walls": "", "firewall": "", "images": {"home/hub:1": "id-hub", "home/user:2": "id-new"},
    "disk": "/var/lib/docker", "free_disk": 12_000_000_000,
}  # fmt: skip


def container(name: str, image: str, image_id: str, **labels: str) -> dict[str, Any]:
    return {
        "Name": f"/{name}", "State": {"Status": "running", "Health": {"Status": "healthy"}}, "Image": image_id,
        "Config": {"Image": image, "Labels": labels},
    }  # fmt: skip


@pytest.fixture
def engine(program: Program) -> Path:
    """A hub without a proxy, two servers, one of them on an older image, and a home that is being readied."""
    ours = {"jupyterhub-home.project": "home"}
    servers = [
        container("home-user-bob", "home/user:1", "id-old", **ours, **{"jupyterhub-home.user": "bob"}),
        container("home-user-a-2eo", "home/user:2", "id-new", **ours, **{"jupyterhub-home.user": "a.o"}),
    ]
    calls = program(
        "docker",
        'case "$1" in ps) echo home-user-bob home-user-a-2eo ;; inspect) cat "$here/$2" ;; '
        "image) echo 2026-11-01T10:00:00Z; echo 2026-11-20T10:00:00Z ;; *) exit 1 ;; esac",
    )
    (calls.parent / "home-hub").write_text(json.dumps([container("home-hub", "home/hub:1", "id-hub")]))
    (calls.parent / "home-user-bob").write_text(json.dumps(servers))
    return calls


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The role's folder, as a run has left it."""
    folder = tmp_path / "home"
    texts = {
        "hub/spawner.json": '{"image": "home/user:2"}',
        "watch/home-watch.service": "",
        "compose.yml": "home-hub home-proxy",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for path in (folder, folder / "hub", folder / "watch"):
        path.chmod(0o755)
    Record(folder).end({name: fingerprint_of(folder / name) for name in texts})
    return folder


def look(run_module: RunModule, directory: Path, url: str, **machine: Any) -> list[str]:
    arguments = {"project": "home", "directory": str(directory), "url": url, "machine": MACHINE | machine}
    answer = run_module(status, arguments)
    assert not answer["changed"], answer
    notes: list[str] = answer["notes"]
    return notes


@pytest.mark.usefixtures("engine")
def test_a_hub_that_is_well(run_module: RunModule, directory: Path, serve: Serve) -> None:
    web = serve((200, {}), (200, {"version": "6.1.1"}))
    assert look(run_module, directory, web.url) == [
        f"Hub: answers at {web.url}, JupyterHub 6.1.1",
        "Servers: 2 running, of a.o, bob",
        "On an older image until their next start: bob",
        "Containers: hub running (healthy), proxy not there",
        "Walls: in place",
        "Disk: 12 GB free where Docker keeps images and homes, /var/lib/docker",
        "Images: hub of 2026-11-01, user of 2026-11-20 (make renew makes them from today's packages)",
        "Renewal of images: by no timer (jupyterhub_home_renew)",
        "Backups: by no timer (jupyterhub_home_backup)",
        "Last backup: none (make backup)",
        "Docker: 26.1.5, Compose 2.26.1, on Debian GNU/Linux 13",
        "Nothing to repair.",
    ]


@pytest.mark.usefixtures("engine")
def test_what_a_run_would_repair(run_module: RunModule, directory: Path) -> None:
    (directory / "compose.yml").write_text("name: other")
    (directory / "hub/stray").touch()
    found = ["the container home-proxy was gone."]
    notes = look(
        run_module, directory, "http://127.0.0.1:9/", project={"found": found}, walls="gone", units=[],
        docker={**MACHINE["docker"], "rules_gone": True}, dpkg_broken=True,
    )  # fmt: skip
    assert notes[0].startswith("Hub: does not answer at http://127.0.0.1:9/ (")
    assert "Walls: gone, so users' servers are not walled in" in notes
    assert [note for note in notes if "epair" in note] == [
        "To repair: the container home-proxy was gone.",
        "To repair: compose.yml was edited.",
        "To repair: hub/stray was put there by somebody else.",
        "To repair: Docker's firewall rules were gone.",
        "To repair: the unit home-watch.service was not at work.",
        "To repair: a run of dpkg was killed.",
        "make hub repairs it.",
    ]


def test_the_timer(run_module: RunModule, directory: Path, engine: Path, program: Program) -> None:
    """One that has failed, and one that had nothing to do yet; what is known of backups beside it."""
    shown = 'case "$*" in *Next*) echo Sun 04:30 ;; *Exit*) cat "$here/last" ;; *) echo exit-code ;; esac'
    program("systemctl", shown)
    schedule = {job: {"linked": True, "failed": True} for job in contract.TIMERS}
    backups = {"age": 7300, "why": "no space is left"}
    for last, said in (("Sun 04:31", "last Sun 04:31: exit-code"), ("", "not run since the machine was started")):
        (engine.parent / "last").write_text(last)
        notes = look(run_module, directory, "http://127.0.0.1:9/", schedule=schedule, backup=backups)
        assert f"Renewal of images: next Sun 04:30; {said}" in notes
        assert f"Backups: next Sun 04:30; {said}" in notes
        assert "Last backup: 2 hours ago; the last try failed: no space is left" in notes


def test_an_engine_that_is_down(run_module: RunModule, directory: Path, program: Program) -> None:
    calls = program("docker", "exit 1")
    notes = look(run_module, directory, "http://127.0.0.1:9/", docker={**MACHINE["docker"], "version": None})
    assert notes[0].startswith("Docker: does not answer, so there is no hub.") and len(notes) == 5
    assert calls.read_text() == "", "it was asked all the same"


def test_nothing_is_installed(run_module: RunModule, tmp_path: Path, program: Program) -> None:
    docker = {"installed": False, "version": None, "compose": None, "rules_gone": False}
    said = "Nothing is installed: this machine has no Docker. make hub installs it, and the hub."
    assert look(run_module, tmp_path, "http://127.0.0.1:9/", docker=docker) == [said]
    program("docker", "exit 1")
    notes = look(run_module, tmp_path, "http://127.0.0.1:9/")
    assert notes[0] == "There is no hub of the project home here. make hub makes it." and len(notes) == 3
