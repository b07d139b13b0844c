"""What somebody else has changed, or a killed run has left: records, of which sentences are made at the end, here."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class What(StrEnum):
    """What can differ."""

    CONTAINER = "container"  # whether it is there, and its status
    CONTAINER_NAME = "container's name"
    CONTAINER_PROCESS = "container's process"
    CONTAINER_SETTINGS = "container's settings"
    CONTAINER_IMAGE = "container's image"
    CONTAINER_NETWORK = "container's network"
    CONTAINER_FOLDER = "container's folder"
    CONTAINER_WORK = "container's work"
    SERVER_NETWORK = "server's network"
    NETWORK = "network"
    NETWORK_LABELS = "network's labels"
    VOLUME = "volume"
    VOLUME_LABELS = "volume's labels"
    VOLUME_MOVE = "move of a volume"
    TRIAL = "trial"
    BEFORE = "hub from before"
    FIREWALL = "firewall rules"
    WALLS = "walls"
    FILE = "file"


class Finding(NamedTuple):
    """A difference: what differs of the thing of this name, how it was found, and how it should be."""

    what: What
    name: str
    current: str
    desired: str


# Of findings that are told one by one.
SENTENCES = {
    What.CONTAINER: "the container {name} was {current}.",
    What.CONTAINER_NAME: "the container {name} was renamed to {current}.",
    What.CONTAINER_PROCESS: "the container {name} had no process, though Docker took it for a running one.",
    What.CONTAINER_SETTINGS: "the container {name} was made with other settings.",
    What.CONTAINER_IMAGE: "the container {name} ran on an image that was removed or replaced.",
    What.CONTAINER_NETWORK: "the container {name} was not in its network.",
    What.CONTAINER_FOLDER: "the container {name} still had what {current} was before.",
    What.CONTAINER_WORK: "the container {name} was not at work: {current}.",
    What.SERVER_NETWORK: "the server {name} was not in the network.",
    What.NETWORK: "the network {name} was {current}.",
    What.NETWORK_LABELS: "the network {name} had other labels.",
    What.VOLUME: "the volume {name} was {current}.",
    What.VOLUME_LABELS: "the volume {name} had other labels.",
    What.VOLUME_MOVE: "a run had stopped while it moved the volume {name}.",
    What.TRIAL: "a run had stopped while it tried new settings.",
    What.BEFORE: "a run had stopped before the hub that it made was known to work.",
    What.WALLS: "the firewall rules around servers of {name} were {current}.",
    What.FIREWALL: "the firewall rules of {name} were {current}.",
}
# Of a file or folder, by how it was found.
GONE, EDITED, MODE, FOREIGN = "gone", "edited", "mode", "foreign"
FILES = {
    GONE: "gone",
    EDITED: "edited",
    MODE: "given another owner or mode",
    FOREIGN: "put there by somebody else",
}
SHOWN = 5  # names in one line


def sentences(findings: Iterable[Finding]) -> list[str]:
    """One for each finding, but one for all files of which the same is to be told, where the first of them comes."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.current if finding.what is What.FILE else finding, []).append(finding)
    return [sentence(group) for group in groups.values()]


def sentence(group: list[Finding]) -> str:
    """A sentence of findings of which the same is to be told."""
    first = group[0]
    if first.what is not What.FILE:
        return SENTENCES[first.what].format(**first._asdict())
    return f"{listed([one.name for one in group])} {'was' if len(group) == 1 else 'were'} {FILES[first.current]}."


def listed(names: list[str]) -> str:
    """Names as a sentence has them; many are counted."""
    shown = names if len(names) <= SHOWN else [*names[: SHOWN - 1], f"{len(names) - SHOWN + 1} more files"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def named(text: str, names: list[str]) -> list[str]:
    """[text with the names in place of {}], or nothing without names; many are counted."""
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return [text.format(shown)] if names else []


class Notes(NamedTuple):
    """Lines of the report: what was done, or would be, and what is only told."""

    done: list[str]
    told: list[str]
