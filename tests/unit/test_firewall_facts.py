"""module_utils/firewall_facts: whether the engine's firewall rules are there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import firewall_facts
from conftest import Program

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
    monkeypatch.setattr(firewall_facts, "PID", f"{tmp_path}/docker.pid")
    monkeypatch.setattr(firewall_facts, "CONFIG", f"{tmp_path}/daemon.json")
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
    assert firewall_facts.rules_gone(bridge) is gone


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
    assert firewall_facts.rules_gone(BRIDGE) is makes


@pytest.mark.parametrize("word", ["--iptables=false", "--firewall-backend=nftables"])
def test_an_engine_that_was_started_to_make_no_rules(program: Program, engine_files: Path, word: str) -> None:
    firewall(program, WIPED, WIPED)
    with subprocess.Popen(["sh", "-c", "read line", word], stdin=subprocess.PIPE) as engine:
        (engine_files / "docker.pid").write_text(str(engine.pid))
        assert not firewall_facts.rules_gone(BRIDGE)
    assert firewall_facts.rules_gone(BRIDGE), "that one has ended"


def test_without_iptables_nobody_can_tell(program: Program) -> None:
    program("iptables", "exit 4")
    assert not firewall_facts.rules_gone(BRIDGE)
