"""jupyterhub.home.firewall: the engine is restarted while containers go on, and is configured as before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.modules import firewall
from conftest import Program, RunModule

# Reads its configuration at its start and at SIGHUP, as dockerd does, and notes both.
ENGINE = """
import json, signal, sys
from pathlib import Path
here = Path(sys.argv[1])
def read(*_):
    config = json.loads((here / "daemon.json").read_text()) if (here / "daemon.json").exists() else {}
    (here / "live").write_text(str(config.get("live-restore", False)).lower())
signal.signal(signal.SIGHUP, read)
read()
print("ready", flush=True)
while True: signal.pause()
"""
DOCKER = """case $1 in
    info) cat "$here/../live" ;;
    version) cat "$here/../version" ;;
    ps) cat "$here/../running" ;;
    inspect) echo /printer; echo ;;
esac"""
SYSTEMCTL = """cp "$here/../live" "$here/../live-at-restart"
grep -qs '"live-restore": true' "$here/../daemon.json" && echo true >"$here/../live" || echo false >"$here/../live"
"""


@pytest.fixture
def engine(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an engine with systemd, and the calls of systemctl in programs/systemctl.calls."""
    program("docker", DOCKER)
    program("systemctl", SYSTEMCTL)
    (tmp_path / "version").write_text("26.1.5+dfsg1\n")
    (tmp_path / "running").touch()
    monkeypatch.setattr(firewall, "CONFIG", tmp_path / "daemon.json")
    monkeypatch.setattr(firewall, "PID", tmp_path / "docker.pid")
    monkeypatch.setattr(firewall, "SYSTEMD", tmp_path)
    monkeypatch.setattr(firewall, "TIMEOUT", 5)
    monkeypatch.setattr(
        firewall, "replace_file", lambda path, text, mode, owner, group: path.write_text(text) and path.chmod(mode)
    )
    with subprocess.Popen([sys.executable, "-c", ENGINE, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        (tmp_path / "docker.pid").write_text(f"{process.pid}\n")
        yield tmp_path
        process.kill()


@pytest.mark.parametrize("before", [None, '{"data-root": "/srv/docker"}'])
def test_containers_go_on_and_the_configuration_stays(engine: Path, run_module: RunModule, before: str | None) -> None:
    config = engine / "daemon.json"
    if before:
        config.write_text(before)
        config.chmod(0o600)
    tried = run_module(firewall, {}, check=True)
    assert tried["changed"] and (engine / "programs/systemctl.calls").read_text() == ""
    done = run_module(firewall, {})
    assert not done.get("failed"), done
    assert {**tried, "output": ""} == {**done, "output": ""}
    assert done["found"] == ["the firewall rules of Docker were gone."]
    assert (engine / "programs/systemctl.calls").read_text() == "restart docker\n"
    assert (engine / "live-at-restart").read_text() == "true"
    if before:
        assert config.read_text() == before and config.stat().st_mode & 0o777 == 0o600
    else:
        assert not config.exists()


def test_an_engine_that_keeps_them_anyway_is_only_restarted(engine: Path, run_module: RunModule) -> None:
    (engine / "live").write_text("true")
    (engine / "daemon.json").write_text('{"live-restore": true}')
    assert not run_module(firewall, {}).get("failed")
    assert (engine / "daemon.json").read_text() == '{"live-restore": true}'


def test_an_engine_that_has_it_in_memory_alone_is_told_again(engine: Path, run_module: RunModule) -> None:
    """As after an earlier run: it would start without, and end all containers."""
    (engine / "live").write_text("true")
    done = run_module(firewall, {})
    assert not done.get("failed"), done
    assert (engine / "live").read_text() == "true\n" and not (engine / "daemon.json").exists()


@pytest.mark.parametrize("check", [True, False])
def test_an_old_engine_would_remove_what_was_started_to_be_removed(
    engine: Path, run_module: RunModule, check: bool
) -> None:
    (engine / "version").write_text("20.10.24+dfsg1\n")
    (engine / "running").write_text("abc def\n")
    failed = run_module(firewall, {}, check=check)
    assert failed["failed"] and "printer" in failed["msg"] and "systemctl restart docker" in failed["msg"]
    assert (engine / "programs/systemctl.calls").read_text() == ""


def test_an_engine_that_cannot_keep_them_is_not_restarted(
    engine: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a swarm for example."""
    monkeypatch.setattr(firewall, "TIMEOUT", 0)
    (engine / "docker.pid").write_text(str(2**22 + 1))
    failed = run_module(firewall, {})
    assert failed["failed"] and (engine / "programs/systemctl.calls").read_text() == ""
    assert not (engine / "daemon.json").exists()


def test_a_broken_configuration_is_left_alone(engine: Path, run_module: RunModule) -> None:
    (engine / "daemon.json").write_text("no json")
    assert run_module(firewall, {})["failed"]
    assert (engine / "daemon.json").read_text() == "no json"
    assert json.loads((engine / "live").read_text()) is False
