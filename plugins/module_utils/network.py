"""The addresses in a project's network, and how the engine makes one with them."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from ansible_collections.jupyterhub.home.plugins.module_utils import contract

TRIAL = 10  # the place of a trial's hub; those of the services are in the contract


class Addresses(NamedTuple):
    """Of a network: its own, its router's, those that servers get, none of which is one of the rest."""

    subnet: str
    gateway: str
    servers: str
    services: dict[str, str]
    trial: str


def addresses(subnet: str) -> Addresses:
    """Those of a network with at least 64 of them; the second half is for servers."""
    network = ipaddress.IPv4Network(subnet)
    first, second = network.subnets()
    services = {one.name: str(first[one.place]) for one in contract.SERVICES if one.place}
    return Addresses(subnet, str(first[1]), str(second), services, str(first[TRIAL]))


def label(project: str, given: str, subnet: str) -> str:
    """What a network is labelled with; given: the subnet that the owner wants, '' where the role has chosen one."""
    return f"{contract.bridge(project)} {'given' if given else 'chosen'} {subnet}"


def chosen(label_found: str) -> str:
    """The subnet that the role has chosen, of a network with this label; '' for any other."""
    _, _, choice = label_found.partition(" ")
    return choice.removeprefix("chosen ") if choice.startswith("chosen ") else ""


def options(project: str, label_wanted: str) -> list[str]:
    """How `docker network create` is called for it."""
    known = addresses(label_wanted.rpartition(" ")[2])
    return [
        f"--opt={contract.BRIDGE_NAME}={contract.bridge(project)}", f"--label={contract.NETWORK_LABEL}={label_wanted}",
        f"--subnet={known.subnet}", f"--gateway={known.gateway}", f"--ip-range={known.servers}",
    ]  # fmt: skip
