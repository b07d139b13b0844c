"""Where the hub is opened."""

from __future__ import annotations

import re
from typing import Any

EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def in_url(address: str) -> str:
    """An IP address as the host of a URL."""
    return f"[{address}]" if ":" in address else address


def local_url(settings: dict[str, Any]) -> str:
    """The hub's address for the machine itself, through the proxy."""
    address = EVERY.get(settings["bind_address"], settings["bind_address"])
    return f"http://{in_url(address)}:{settings['port']}{settings['base_url']}"


def invitation(settings: dict[str, Any], addresses: list[str]) -> list[str]:
    """Lines that say where to open it; addresses: those of the machine that other devices can reach."""
    bind = settings["bind_address"]
    own = re.match(r"127\.|::1$", bind)
    shown = addresses if bind in EVERY else [bind]
    return [
        "Open it on this machine:" if own else "Open it from any device on your network:",
        *(f"http://{in_url(address)}:{settings['port']}{settings['base_url']}" for address in shown),
    ]
