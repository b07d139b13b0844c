"""What a machine is for the walls around users' servers: its kernel, its networks, and whether they are in place."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import subprocess
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output

# One of each kind of rule that plugin_utils/walls.py writes.
SAMPLE = """
table inet jhh-sample {
    chain sample {
        type filter hook forward priority filter - 5; policy accept;
        ip saddr { 192.0.2.2, 192.0.2.3 } ct direction reply ct state related ct status dnat accept
        fib daddr type != local meta l4proto { tcp, udp } ct original ip daddr 192.0.2.1 ct original proto-dst 53 accept
    }
}
"""
BRIDGES = Path("/proc/sys/net/bridge")
RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def firewall_problem() -> str:
    """Why the kernel does not take the rules; '' where it does, or nobody can tell before nft is there."""
    try:
        tried = subprocess.run(
            ("nft", "--check", "--file", "-"), input=SAMPLE, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    if tried.returncode != 0:
        return next((line for line in tried.stderr.splitlines() if "rror" in line), "nft --check fails").rstrip(".")
    if not BRIDGES.is_dir() and output("modprobe", "--dry-run", "br_netfilter") is None:
        return "it has no br_netfilter"
    return ""


def walls(project: str, directory: Path) -> str:
    """What is wrong with the rules, as the program `walls` says it: gone, edited, older; '' where they are right.

    'new' before the first run.
    """
    program = directory / contract.WALLS_PROGRAM
    if not program.is_file():
        return "new"
    said = output(
        "bash", str(program), "check", str(directory / contract.WALLS_RULES), contract.table(project),
        contract.bridge(project),
    )  # fmt: skip
    return "gone" if said is None else said


def routes(project: str) -> list[dict[str, str]]:
    """The machine's IPv4 networks but the project's: {to, by}, a network and its interface, or a resolver and ''."""
    found = []
    for route in json.loads(output("ip", "-json", "-4", "route", "show", "table", "all") or "[]"):
        name = route.get("dev", "")
        if route.get("type", "unicast") == "unicast" and route["dst"] != "default" and name != contract.bridge(project):
            found.append({"to": route["dst"], "by": name})
    return [*found, *({"to": resolver, "by": ""} for resolver in resolvers())]


def resolvers() -> list[str]:
    """The IPv4 addresses that the machine asks for names, but its own."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in RESOLVERS if path.is_file()]
    found = set()
    for address in re.findall(r"^nameserver[ \t]+(\S+)", "\n".join(texts), re.M):
        with contextlib.suppress(ValueError):  # IPv6, or somebody's slip, which nobody can ask
            if not ipaddress.IPv4Address(address).is_loopback:
                found.add(address)
    return sorted(found)
