"""What an earlier run left of a project, and what somebody else has changed about it since."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract, guard
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import (
    attached,
    compose_labels,
    inspect,
    is_ghost,
    is_plain,
    labelled,
    network_made,
    strayed,
    told,
    unattached,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import Finding, What
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint_of
from ansible_collections.jupyterhub.home.plugins.module_utils.way_back import Before


def config_hashes(project: str, record: Record, version: str | None, edited: bool) -> dict[str, str]:
    """What Compose of this version labels each service's container with; empty where it cannot tell.

    edited: somebody else changed compose.yml; then this is of the file as it was left. Compose takes a tenth of a
    second, and is asked once about a file.
    """
    file, kept = record.root / contract.COMPOSE_FILE, Path(contract.compose_hashes(project))
    left = record.before[file.name][0] if edited else fingerprint_of(file)
    about = f"{version} {left.split()[0]}"
    try:
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["about"] == about:
            hashes: dict[str, str] = known["hashes"]
            return hashes
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there yet, or of no use
    if edited or not file.exists():
        return {}
    listed = told("compose", "-f", str(file), "config", "--hash", "*")
    hashes = dict(line.split() for line in listed.splitlines())
    if hashes and version and os.geteuid() == 0:
        replace_file(kept, json.dumps({"about": about, "hashes": hashes}), mode=0o600, owner=0, group=0)
    return hashes


def project_state(
    project: str, record: Record, known_images: dict[str, str], compose_version: Callable[[], str | None]
) -> dict[str, Any]:
    """What somebody else changed about the services and what they need, against compose.yml.

    settled: Compose would have nothing to do. found: what was found, a list of Finding; nothing before the first run.
    start: some of that is for Compose to repair. repair: some of it Compose would not. before: a hub from
    before is kept, of a run that was killed. folder: from which the hub was started, '' if it is not there. bridge: the
    network's interface on the machine, '' without one; network: see network_made.
    """
    names = contract.containers(project)
    volumes = contract.data_volume(project), contract.aside_volume(project), contract.sockets_volume(project)
    things = inspect(*names.values(), contract.network(project), *volumes, *contract.trial_containers(project))
    outside = unattached(project, things.get(contract.network(project)))
    edited = bool(record.how_strange(contract.COMPOSE_FILE))
    hashes = config_hashes(project, record, compose_version(), edited)
    before_first_run = not hashes and not edited
    found = left_by_runs(project, things, record.root)
    if not before_first_run:
        found += what_services_need(project, things, outside)
        for service in names:
            found += service_state(project, service, things, hashes.get(service), known_images)
    found.sort(key=is_for_compose)  # what the role repairs itself comes first, as it does in a run
    network, hub = things.get(contract.network(project)) or {}, things.get(names[contract.HUB.name])
    named = (network.get("Options") or {}).get(contract.BRIDGE_NAME)
    return {
        "settled": not found and not edited and not before_first_run,
        "found": found,
        "repair": not all(map(is_for_compose, found)),
        "before": Before(record.root).exists(),
        "start": any(map(is_for_compose, found)),
        "folder": (hub["Config"]["Labels"].get(contract.COMPOSE_FOLDER) or "") if hub else "",
        "bridge": named or (f"br-{network['Id'][:12]}" if network else ""),
        "network": network_made(project, things.get(contract.network(project))),
    }


def is_for_compose(finding: Finding) -> bool:
    """Whether Compose itself repairs this; the rest is for M(jupyterhub.home.repair)."""
    if finding.what is What.CONTAINER:
        return finding.current != "paused"
    return finding.what in (What.VOLUME, What.CONTAINER_SETTINGS, What.CONTAINER_IMAGE)


def left_by_runs(project: str, things: dict[str, Any], root: Path) -> list[Finding]:
    """What runs that were killed left in the engine, and of a hub from before."""
    found = []
    if Before(root).exists():
        found.append(Finding(What.BEFORE, project, "kept", "known not to be needed"))
    if contract.aside_volume(project) in things:
        found.append(Finding(What.VOLUME_MOVE, contract.data_volume(project), "begun", "done"))
    if left := things.keys() & set(contract.trial_containers(project)):
        found.append(Finding(What.TRIAL, project, ", ".join(sorted(left)), "none"))
    return found


def what_services_need(project: str, things: dict[str, Any], outside: list[str]) -> list[Finding]:
    """What is wrong with the volume and the network; outside: servers that are not in the network and should be."""
    found = []
    data, users = contract.data_volume(project), contract.network(project)
    volume, network = things.get(data), things.get(users)
    labels = {
        What.VOLUME_LABELS: compose_labels(project, "volume", contract.DATA),
        What.NETWORK_LABELS: compose_labels(project, "network", contract.NETWORK),
    }
    if not volume:
        found.append(Finding(What.VOLUME, data, "gone", "there"))
    elif is_plain(volume) and not labelled(volume, labels[What.VOLUME_LABELS]):
        found.append(other_labels(What.VOLUME_LABELS, volume, labels[What.VOLUME_LABELS]))
    sockets = things.get(contract.sockets_volume(project))
    if sockets and not labelled(sockets, wanted := compose_labels(project, "volume", contract.SOCKETS)):
        found.append(other_labels(What.VOLUME_LABELS, sockets, wanted))
    if not network:
        found.append(Finding(What.NETWORK, users, "gone", "there"))
    elif not labelled(network, labels[What.NETWORK_LABELS]):
        found.append(other_labels(What.NETWORK_LABELS, network, labels[What.NETWORK_LABELS]))
    return found + [Finding(What.SERVER_NETWORK, name, "outside", users) for name in outside]


def other_labels(what: What, thing: dict[str, Any], desired: dict[str, str]) -> Finding:
    """That a network or volume has not the labels that it should have."""
    texts = [
        ", ".join(f"{key}={value}" for key, value in (one or {}).items()) for one in (thing.get("Labels"), desired)
    ]
    return Finding(what, thing["Name"], *texts)


def service_state(
    project: str, service: str, things: dict[str, Any], config_hash: str | None, known_images: dict[str, str]
) -> list[Finding]:
    """How a service's container differs from compose.yml; config_hash: None where it cannot be told."""
    name, network = contract.container(project, service), things.get(contract.network(project))
    container = things.get(name)
    if not container:
        renamed = other_name(project, service)
        if renamed:
            return [Finding(What.CONTAINER_NAME, name, renamed, name)]
        return [Finding(What.CONTAINER, name, "gone", "running")]
    found = []
    status, ghost = container["State"]["Status"], is_ghost(container)
    if ghost:
        found.append(Finding(What.CONTAINER_PROCESS, name, "none", "one"))
    elif status not in ("running", "restarting"):
        found.append(Finding(What.CONTAINER, name, status, "running"))
    made_with = container["Config"]["Labels"].get(contract.COMPOSE_HASH)
    if config_hash not in (None, made_with):
        found.append(Finding(What.CONTAINER_SETTINGS, name, made_with or "", config_hash or ""))
    image = known_images.get(container["Config"]["Image"])
    if image != container["Image"]:
        found.append(Finding(What.CONTAINER_IMAGE, name, container["Image"], image or ""))
    known = contract.service_named(service)
    if known and known.place > 0 and network is not None and not attached(container, network):
        networks = ", ".join(container["NetworkSettings"]["Networks"])
        found.append(Finding(What.CONTAINER_NETWORK, name, networks, network["Name"]))
    if service == contract.GUARD.name and (why := guard.problem(container)):
        found.append(Finding(What.CONTAINER_WORK, name, why, "at work"))
    if places := strayed(container):
        found.append(Finding(What.CONTAINER_FOLDER, name, " and ".join(places), "what is there"))
    return found


def other_name(project: str, service: str) -> str:
    """What somebody has named the container of a service; '' if there is none."""
    labels = {contract.COMPOSE_PROJECT: project, contract.COMPOSE_SERVICE: service}
    filters = [part for key, value in labels.items() for part in ("--filter", f"label={key}={value}")]
    return told("ps", "--all", *filters, "--format", "{{.Names}}").partition("\n")[0]


def units_at_work(project: str, directory: Path) -> list[str]:
    """Those of the project's units that are at work, or will be started by another, and stay so after a reboot."""
    names = "ActiveState,UnitFileState,NeedDaemonReload,FragmentPath"
    units = contract.units(project)
    timed = {contract.timer_service(project, job) for job in contract.TIMERS}
    # The properties of each, an empty line between two.
    printed = output("systemctl", "show", f"--property={names}", *units) or ""
    right = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    found = []
    for (unit, file), text in zip(units.items(), printed.split("\n\n"), strict=False):
        shown = dict(line.split("=", 1) for line in text.splitlines())
        place = os.path.realpath(shown.pop("FragmentPath", ""))
        if unit in timed and shown.get("UnitFileState") == "linked":
            shown |= {"ActiveState": "active", "UnitFileState": "enabled"}  # as its timer is
        if shown == right and place == os.path.realpath(directory / file):
            found.append(unit)
    return found


def tried(record: Record) -> str:
    """The digest of what has been found to work, as the role left it; '' where that is not known."""
    kept = record.root / contract.TRIED
    return "" if record.how_strange(contract.TRIED) or not kept.is_file() else kept.read_text(encoding="utf-8").strip()


def declared_users(*directories: Path) -> list[str]:
    """The names of the list that the hub has now, in the first of these folders with one; nothing before any run."""
    for directory in directories:
        try:
            return sorted(json.loads((directory / contract.USERS / contract.USERS_LIST).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            pass
    return []
