"""What an earlier run left of a project, and what somebody else has changed about it since."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import (
    attached,
    compose_labels,
    inspect,
    is_ghost,
    is_plain,
    labelled,
    told,
    unattached,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, mark_of

# What Compose said of a compose.yml, by project.
HASHES = "/run/jupyterhub-home-{}.hashes"
GHOST = "had no process, though Docker took it for a running one"


def config_hashes(project: str, record: Record, version: str | None, edited: bool) -> dict[str, str]:
    """What Compose of this version labels each service's container with; empty where it cannot tell.

    edited: somebody else changed compose.yml; then this is of the file as it was left. Compose takes a tenth of a
    second, and is asked once about a file.
    """
    file, kept = record.root / contract.COMPOSE_FILE, Path(HASHES.format(project))
    left = record.before[file.name][0] if edited else mark_of(file)
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
    """What somebody else changed about hub, proxy and what they need, against compose.yml.

    settled: Compose would have nothing to do. found: what was found, in words; nothing before the first run.
    start: some of that is for Compose to mend. mend: some of it Compose would not mend. folder: from which the hub was
    started, '' if it is not there. bridge: the network's interface on the machine, '' without one.
    """
    data, aside = contract.data_volume(project), contract.aside_volume(project)
    users, trial = contract.network(project), contract.trial_containers(project)
    names = contract.containers(project)
    things = inspect(*names.values(), users, data, aside, *trial)
    outside = unattached(project, things.get(users))
    edited = bool(record.how_strange(contract.COMPOSE_FILE))
    hashes = config_hashes(project, record, compose_version(), edited)
    before_first_run = not hashes and not edited
    for_compose, for_mend = [], []
    if aside in things:
        for_mend.append(f"a run had stopped while it moved the volume {data}.")
    if things.keys() & set(trial):
        for_mend.append("a run had stopped while it tried new settings.")
    if not before_first_run:
        volume, network = things.get(data), things.get(users)
        if not volume:
            for_compose.append(f"the volume {data} was gone.")
        elif is_plain(volume) and not labelled(volume, compose_labels(project, "volume", contract.DATA)):
            for_mend.append(f"the volume {data} had other labels.")
        if not network:
            for_mend.append(f"the network {users} was gone.")
        elif not labelled(network, compose_labels(project, "network", contract.NETWORK)):
            for_mend.append(f"the network {users} had other labels.")
        for_mend += [f"the server {name} was not in the network." for name in outside]
        for service, name in names.items():
            if name not in things:
                renamed = other_name(project, service)
                gone = f"the container {name} was {f'renamed to {renamed}' if renamed else 'gone'}."
                (for_mend if renamed else for_compose).append(gone)
                continue
            mended = {"was paused", "was not in its network", GHOST}
            for what in strangeness(things[name], hashes.get(service), network, known_images):
                (for_mend if what in mended else for_compose).append(f"the container {name} {what}.")
    found = for_mend + for_compose
    network = things.get(users) or {}
    hub = things.get(names[contract.HUB.name])
    named = (network.get("Options") or {}).get("com.docker.network.bridge.name")
    return {
        "settled": not found and not edited and not before_first_run,
        "found": found,
        "mend": bool(for_mend),
        "start": bool(for_compose),
        "folder": (hub["Config"]["Labels"].get(contract.COMPOSE_FOLDER) or "") if hub else "",
        "bridge": named or (f"br-{network['Id'][:12]}" if network else ""),
    }


def other_name(project: str, service: str) -> str:
    """What somebody has named the container of a service; '' if there is none."""
    labels = {contract.COMPOSE_PROJECT: project, contract.COMPOSE_SERVICE: service}
    filters = [part for key, value in labels.items() for part in ("--filter", f"label={key}={value}")]
    return told("ps", "--all", *filters, "--format", "{{.Names}}").partition("\n")[0]


def strangeness(
    container: dict[str, Any], config_hash: str | None, network: dict[str, Any] | None, known_images: dict[str, str]
) -> list[str]:
    """How a service's container differs from compose.yml, in words; config_hash: None where it cannot be told."""
    status = container["State"]["Status"]
    ghost = is_ghost(container)
    checks = {
        GHOST: not ghost,
        f"was {status}": ghost or status in ("running", "restarting"),
        "was made with other settings":
            config_hash in (None, container["Config"]["Labels"].get(contract.COMPOSE_HASH)),
        "ran on an image that was removed or replaced":
            known_images.get(container["Config"]["Image"]) == container["Image"],
        "was not in its network": network is None or attached(container, network),
    }  # fmt: skip
    return [text for text, fine in checks.items() if not fine]


def watched(project: str, directory: Path) -> bool:
    """Whether what starts hub and proxy where Docker gives up is at work, and stays so after a reboot."""
    unit = contract.watch_unit(project)
    names = "ActiveState,UnitFileState,NeedDaemonReload,FragmentPath"
    shown = dict(
        line.split("=", 1) for line in (output("systemctl", "show", f"--property={names}", unit) or "").splitlines()
    )
    place = os.path.realpath(shown.pop("FragmentPath", ""))
    right = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    return shown == right and place == os.path.realpath(directory / "watch" / unit)


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
