"""The walls around users' servers: firewall rules, in a table of the project's own, and what is opened in them.

Docker, ufw and firewalld change tables of their own alone; and what one table drops, no other accepts.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.network import addresses, chosen, label
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import EXAMPLE_VALUES, said

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Of IANA's registries of special-purpose addresses, what is not the internet: this host and network, private (RFC 1918,
# unique local), carriers' (RFC 6598), link-local with the clouds' metadata, benchmarking, multicast, reserved.
PRIVATE = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
)  # fmt: skip
HOME = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")  # of RFC 1918
PRIVATE_6 = ("::/127", "::ffff:0:0/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/9", "ff00::/8")
LARGEST = {4: 8, 6: 7}  # of private networks, by version of IP, in bits of their prefix
HUB_PORT = 8081
# What an IPv6 host must be told by its neighbours.
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }"

TABLE = """\
# Written by Ansible; edit the variables instead.
table inet {table}
delete table inet {table}
table inet {table} {{
    # Exactly what Docker's DNS asks on behalf of a server.
    chain resolvers {{
    }}
    # The machine's own networks, where they have public addresses.
    chain neighbours {{
    }}
    # What the owner opens.
    chain allowed {{
        jump resolvers{opened}
    }}
    # From a container of the project: hub and proxy may go anywhere, and whoever is asked may answer.
    chain known {{
        ip saddr {{ {services} }} accept
        ct direction reply accept
        ct state related accept
    }}
    chain between {{
        jump known
        ip daddr {{ {hubs} }} tcp dport {port} accept
        {neighbours} accept
        drop
    }}
    chain out {{
        jump known
        jump allowed
        jump neighbours
        ip daddr {{ {private} }} drop
        ip6 daddr {{ {private_6} }} drop
    }}
    # From elsewhere: what Docker sends on to the published port, and answers.
    chain in {{
        ct direction reply accept
        ct state related accept
        # Docker would send on what a neighbour's frame names as the machine's loopback.
        ct original ip daddr 127.0.0.0/8 drop
        ct status dnat accept
        drop
    }}
    chain host {{
        jump known
        {neighbours} accept
        jump allowed
        drop
    }}
    chain forward {{
        type filter hook forward priority filter - 5; policy accept;
        iifname "{bridge}" oifname "{bridge}" goto between
        iifname "{bridge}" goto out
        oifname "{bridge}" goto in
    }}
    chain input {{
        type filter hook input priority filter - 5; policy accept;
        iifname "{bridge}" goto host
    }}
}}
"""


class Opening(NamedTuple):
    """A network of one address or more, and a port or all (None)."""

    network: Network
    port: int | None


def opening_of(text: str) -> Opening | None:
    """Of ADDRESS, NETWORK/BITS, either with :PORT, an IPv6 one then in brackets; None for anything else."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:./]+)\](?::([0-9]{1,5}))?|([0-9.]+(?:/[0-9]+)?):([0-9]{1,5})|(.*)", text)
    if not match:
        return None
    where, port = next(((match[n], match[n + 1]) for n in (1, 3) if match[n]), (text, None))
    try:
        network = ipaddress.ip_network(where)
    except ValueError:
        return None
    return Opening(network, int(port) if port else None) if port is None or 1 <= int(port) <= 65535 else None


def instead_of(text: str) -> str:
    """What was probably meant by an opening that is none."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return EXAMPLE_VALUES[f"{PREFIX}allow"]


def check_walls(good: dict[str, Any], report: Report) -> None:
    """Check what is opened, and the network's addresses; both have their defaults where they are wrong."""
    for text in good["allow"]:
        opening = opening_of(text)
        if opening and opening.network.prefixlen < LARGEST[opening.network.version]:
            report.add(
                f"{PREFIX}allow",
                f"{said(text)} is more than a network at home: nearly everything would be open.",
                f"{PREFIX}allow: {EXAMPLE_VALUES[f'{PREFIX}allow']}",
            )
        elif not opening:
            report.add(
                f"{PREFIX}allow",
                f"{said(text)} is no IP address or network, with or without a port.",
                f"{PREFIX}allow: {instead_of(text)}" if "[" in instead_of(text) else f"- {instead_of(text)}",
            )
    if report.about("allow"):
        good["allow"] = []
    subnet = good["subnet"]
    if subnet and (why := subnet_problem(subnet)):
        report.add(f"{PREFIX}subnet", f"{said(subnet)} {why}.", f"{PREFIX}subnet: {better_subnet(subnet)}")
        good["subnet"] = ""


def better_subnet(text: str) -> str:
    """The subnet that was probably meant."""
    try:
        better = str(ipaddress.IPv4Network(text if "/" in text else f"{text}/24", strict=False))
    except ValueError:
        better = ""
    return better if better and not subnet_problem(better) else EXAMPLE_VALUES[f"{PREFIX}subnet"]


def subnet_problem(text: str) -> str:
    """Why the network cannot have these addresses; '' if it can."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return "is no IPv4 network such as 10.77.0.0/24, with zeros after its bits"
    if network.prefixlen > 26:
        return "has too few addresses for hub, proxy and servers: fewer than 64"
    if not any(network.subnet_of(ipaddress.IPv4Network(private)) for private in HOME):
        return f"is no private network, one of {', '.join(HOME)}"
    return ""


def overlaps(subnet: str, routes: list[dict[str, str]]) -> str:
    """What the machine itself has or needs at addresses of the subnet, in words; '' for nothing.

    routes: {to, by}, a network and its interface, without the project's own; or an address and '', for a resolver.
    """
    wanted = ipaddress.IPv4Network(subnet)
    for route in routes:
        if ipaddress.IPv4Network(route["to"], strict=False).overlaps(wanted):
            what = (
                f" on {route['by']}, a network of this machine"
                if route["by"]
                else ", which this machine asks for names"
            )
            return route["to"] + what
    return ""


def free_subnet(routes: list[dict[str, str]]) -> str:
    """A network that overlaps none of the machine's."""
    candidates = [f"10.{second}.0.0/20" for second in (*range(77, 256), *range(77))]
    return next((one for one in candidates if not overlaps(one, routes)), candidates[0])


def others(machine: dict[str, Any]) -> list[dict[str, str]]:
    """The machine's networks but the hub's own."""
    return [route for route in machine["routes"] if route["by"] != machine["project"]["bridge"]]


def network_label(good: dict[str, Any], machine: dict[str, Any]) -> str:
    """What the network is labelled with. What the role has once chosen stays."""
    subnet = good["subnet"] or chosen(machine["project"]["network"]) or free_subnet(others(machine))
    return label(good["project"], good["subnet"], subnet)


def check_overlap(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the network can have the addresses on this machine."""
    if good["subnet"] and (other := overlaps(good["subnet"], others(machine))):
        report.add(
            f"{PREFIX}subnet",
            f"{good['subnet']} overlaps {other}.",
            f"{PREFIX}subnet: {free_subnet(others(machine))}",
        )


def notes_about_walls(good: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    """What is to be said of the walls at the end of every run."""
    notes = []
    if not machine["systemd"]:
        notes.append(
            "Without systemd, nothing sets the walls around users' servers again after a reboot or a firewall's "
            "restart: run this again then, before anybody's server starts."
        )
    subnet = "" if good["subnet"] else chosen(machine["project"]["network"])
    if subnet and (other := overlaps(subnet, others(machine))):
        notes.append(
            f"The hub's network {subnet} overlaps {other}: what is there and the hub may not reach each other. Write "
            f"{PREFIX}subnet: {free_subnet(others(machine))}"
        )
    return notes


def openings(allow: list[str]) -> list[str]:
    """Rules for what is opened.

    An address is opened as the server names it, also where Docker sends its port on to a container; one of the
    machine's own is opened only so, and not by a network that it is in.
    """
    rules = []
    for text in allow:
        opening = opening_of(text)
        assert opening  # it has been checked
        network, port = opening
        family = "ip6" if network.version == 6 else "ip"
        ports = f"meta l4proto {{ tcp, udp }} ct original proto-dst {port} " if port else ""
        if network.num_addresses == 1:
            rules.append(f"{ports}ct original {family} daddr {network.network_address} accept")
        elif network.prefixlen == 0:
            rules.append(f"fib daddr type != local meta nfproto {'ipv6' if family == 'ip6' else 'ipv4'} {ports}accept")
        else:
            rules.append(f"fib daddr type != local {family} daddr {network} {ports}accept")
    return rules


def rules(settings: dict[str, Any], network: str) -> str:
    """The table, as nft reads it; network: its label. The program `walls` adds what the machine alone knows."""
    project, known = settings["project"], addresses(network.rpartition(" ")[2])
    return TABLE.format(
        table=contract.table(project),
        bridge=contract.bridge(project),
        services=", ".join([*known.services.values(), known.trial]),
        hubs=f"{known.services[contract.HUB.name]}, {known.trial}",
        port=HUB_PORT,
        opened="".join(f"\n        {rule}" for rule in openings(settings["allow"])),
        neighbours=NEIGHBOURS,
        private=", ".join(PRIVATE),
        private_6=", ".join(PRIVATE_6),
    )


def walls_command(settings: dict[str, Any], action: str) -> list[str]:
    """How the program is called."""
    project, directory = settings["project"], settings["directory"]
    return [
        "/bin/bash", f"{directory}/{contract.WALLS_PROGRAM}", action, f"{directory}/{contract.WALLS_RULES}",
        contract.table(project), contract.bridge(project),
    ]  # fmt: skip


def walls_unit(settings: dict[str, Any]) -> str:
    """The text of PROJECT-walls.service. They are set before Docker starts, and again whenever they are not there."""
    before, keep = (" ".join(walls_command(settings, action)) for action in ("set", "keep"))
    return f"""# Written by Ansible.
[Unit]
Description=Walls around users' servers of {settings["project"]}
After=nftables.service
Before=docker.service
RequiresMountsFor={settings["directory"]}
StartLimitIntervalSec=0

[Service]
ExecStartPre={before}
ExecStart={keep}
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
