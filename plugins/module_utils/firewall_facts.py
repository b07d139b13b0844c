"""Whether the Docker engine's firewall rules are there."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output

PID, CONFIG = "/run/docker.pid", "/etc/docker/daemon.json"


def makes_rules() -> bool:
    """Whether the engine is one that makes firewall rules by iptables, as it does unless its owner says otherwise."""
    words = ""
    with contextlib.suppress(OSError, ValueError):
        words = Path(f"/proc/{int(Path(PID).read_text(encoding='utf-8'))}/cmdline").read_text(encoding="utf-8")
    configured: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        configured = json.loads(Path(CONFIG).read_text(encoding="utf-8"))
    return (
        "--iptables=false" not in words.split("\0")
        and configured.get("iptables") is not False
        and "--firewall-backend=nftables" not in words.split("\0")
        and configured.get("firewall-backend") != "nftables"
    )


def rules_gone(bridge: str) -> bool:
    """Whether the engine's firewall rules are gone, all of them or those of a bridge ('' for none).

    What loads a firewall anew (nftables, `iptables -F`) removes them, and containers have no way out. False where
    nobody can tell.
    """
    nat, rules = output("iptables", "-w", "-t", "nat", "-S"), output("iptables", "-w", "-S")
    if nat is None or rules is None or not makes_rules():
        return False
    needed = [(nat, r"-A PREROUTING .*-j DOCKER"), (rules, r"-A FORWARD .*-j DOCKER")]
    if bridge:
        needed += [(nat, rf"-A POSTROUTING .* {bridge} .*-j MASQUERADE"), (rules, rf"-A .* {bridge} ")]
    return not all(re.search(f"^{pattern}", text, re.M) for text, pattern in needed)
