#!/usr/bin/python
"""Look at the target machine: what every later task and check needs, in one call."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import archive, contract, lease
from ansible_collections.jupyterhub.home.plugins.module_utils.backup_state import State
from ansible_collections.jupyterhub.home.plugins.module_utils.belongings import directory_problem, present, schedule
from ansible_collections.jupyterhub.home.plugins.module_utils.disk_files import capacity
from ansible_collections.jupyterhub.home.plugins.module_utils.drift import (
    declared_users,
    project_state,
    tried,
    units_at_work,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.engine_facts import engine, images
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import Finding, What, sentences
from ansible_collections.jupyterhub.home.plugins.module_utils.firewall_facts import rules_gone
from ansible_collections.jupyterhub.home.plugins.module_utils.homes import Homes
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import (
    addresses,
    dpkg_broken,
    free_disk,
    kept_disk,
    loop_devices,
    memory,
    port_holder,
    system,
    there,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record
from ansible_collections.jupyterhub.home.plugins.module_utils.walls_facts import firewall_problem, routes, walls
from ansible_collections.jupyterhub.home.plugins.module_utils.ways import Ways, noted_mount_points

DOCUMENTATION = r"""
module: probe
short_description: Look at the machine that is to become a JupyterHub
description:
  - Reads the system, the Docker engine, the port, the host folders, the free disk space and the addresses.
  - Changes nothing but the lease of a run and what it remembers until the next boot, so it also runs in check mode.
options:
  project: {type: str, required: true, description: Compose project whose own containers may hold the port.}
  bind_address: {type: str, required: true, description: Address that the port must be free on.}
  port: {type: int, required: true, description: TCP port that must be free or our own.}
  directory: {type: path, required: true, description: Folder that the role writes; its own or not there.}
  sources: {type: list, elements: path, required: true, description: Host folders that servers mount.}
  ca_bundle: {type: path, required: true, description: CA bundle that may be there or not.}
  homes: {type: bool, default: false, description: Whether to list who has a home volume.}
  archive: {type: list, elements: str, default: [], description: Who is gone and whose home is to be archived.}
  stay: {type: list, elements: str, default: [], description: "Who is not gone, if C(archive) means all others."}
  belongings: {type: bool, default: false, description: Whether to list all that the project has on the machine.}
  run:
    type: dict
    description: Takes the lease for this run if it is free. See module_utils/lease.py.
    suboptions:
      id: {type: str, description: "The run's identity; without one, the lease is let alone."}
      by: {type: str, description: Who started it.}
      machine: {type: str, description: The machine that it runs on.}
      boot: {type: str, description: Identity of that machine's present boot.}
      numbers: {type: str, description: Identity of the namespace of its process number.}
      pid: {type: int, description: Number of its process.}
      started: {type: str, description: "When that started, in the kernel's ticks."}
  ended: {type: str, default: "", description: Identity of a run whose lease may be taken over.}
  release: {type: str, default: "", description: Gives back the lease of the run of this identity.}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Look at the machine
  jupyterhub.home.probe:
    project: jupyterhub-home
    bind_address: 0.0.0.0
    port: 80
    directory: /opt/jupyterhub-home
    sources: [/srv/media]
    ca_bundle: /etc/ssl/certs/ca-certificates.crt
  register: probed
"""
RETURN = r"""
machine:
  description: See the function look in the source; every size is in bytes.
  type: dict
  returned: always
holder:
  description: The other run that has the lease, with its age in seconds; empty when the lease was had or not asked for.
  type: dict
  returned: always
"""


ARGUMENTS: dict[str, dict[str, Any]] = {
    "project": {"type": "str", "required": True},
    "bind_address": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "directory": {"type": "path", "required": True},
    "sources": {"type": "list", "elements": "path", "required": True},
    "ca_bundle": {"type": "path", "required": True},
    "homes": {"type": "bool", "default": False},
    "archive": {"type": "list", "elements": "str", "default": []},
    "stay": {"type": "list", "elements": "str", "default": []},
    "belongings": {"type": "bool", "default": False},
    "run": {
        "type": "dict",
        "options": {
            "id": {"type": "str"},
            "by": {"type": "str"},
            "machine": {"type": "str"},
            "boot": {"type": "str"},
            "numbers": {"type": "str"},
            "pid": {"type": "int"},
            "started": {"type": "str"},
        },
    },
    "ended": {"type": "str", "default": ""},
    "release": {"type": "str", "default": ""},
}
# Of an engine that does not answer: there is nothing to compare.
UNKNOWN: dict[str, Any] = {
    "settled": False, "found": [], "repair": False, "start": False, "before": False, "folder": "", "bridge": "",
    "network": "none",
}  # fmt: skip


def mounted(bundle: Path, sources: list[str], earlier: tuple[Path, Path]) -> dict[str, Any]:
    """What is mounted into servers, as keys of `machine` in RETURN; earlier: where the role's files are, or were."""
    ways = Ways()
    return {
        "ca_bundle": bundle.is_file(),
        "ca_bundle_loose": ways.loose(bundle) if bundle.is_file() else {},
        "folders": {path: ways.folder(Path(path)) for path in sources},
        "noted_mount_points": noted_mount_points(*earlier) if sources else {},
    }


def what_it_is() -> dict[str, Any]:
    """The machine itself, as keys of `machine` in RETURN."""
    return {
        "system": system(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "root": os.geteuid() == 0,
        "programs": [name for name in ("ip", "mkfs.ext4", "mmdebstrap", "nft", "restic") if shutil.which(name)],
        "memory": memory(),
        "processors": len(os.sched_getaffinity(0)),
    }


def homes(wanted: dict[str, Any]) -> dict[str, Any]:
    """Who has a home, if that is asked, and of those who are to be archived what archive.lack says."""
    users = Homes(wanted["project"], pretend=True)
    found: dict[str, Any] = {"homes": [], "archive_lack": {}}
    try:
        if wanted["homes"]:
            found["homes"] = users.users()
        if wanted["archive"]:
            folders = {
                user: list(users.folders(user).values()) for user in users.meant(wanted["archive"], wanted["stay"])
            }
            found["archive_lack"] = archive.lack(wanted["project"], folders)
    except (EngineError, OSError):
        pass  # where it matters, the run itself says why
    return found


def disks(images: str, root: str) -> dict[str, Any]:
    """The disks of images and volumes, and whether users can have some of their own, as keys of `machine` in RETURN."""
    disk = min(images, root, key=free_disk)
    return {
        "disk": disk,
        "free_disk": free_disk(disk),
        "disk_size": capacity(there(root)),
        "kept_disk": kept_disk(root),
        "loop": loop_devices(),
    }


def look(wanted: dict[str, Any]) -> dict[str, Any]:
    """The machine, as `machine` in RETURN."""
    directory = Path(wanted["directory"])
    record = Record(directory)
    # Most of the time goes to programs that are waited for.
    with ThreadPoolExecutor() as pool:
        asked_engine = pool.submit(engine)
        asked_dpkg = pool.submit(dpkg_broken)
        asked_port = pool.submit(port_holder, wanted["project"], wanted["bind_address"], wanted["port"])
        asked_units = pool.submit(units_at_work, wanted["project"], directory)
        asked_schedule = pool.submit(schedule, wanted["project"])
        asked_walls = pool.submit(walls, wanted["project"], directory)
        asked_routes = pool.submit(routes, wanted["project"])
        known_images = images()
        try:
            project = project_state(wanted["project"], record, known_images, lambda: asked_engine.result()["compose"])
        except (EngineError, OSError):
            project = UNKNOWN
        gone = rules_gone(project["bridge"])
    docker = asked_engine.result()
    earlier = Path(project["folder"] or directory), directory
    docker["rules_gone"] = gone and docker["version"] is not None
    walls_are, found = asked_walls.result(), project["found"]
    if walls_are in ("gone", "edited"):
        found = [*found, Finding(What.WALLS, wanted["project"], walls_are, "right")]
    more = present(wanted["project"], directory, docker) if wanted["belongings"] else {}
    return {
        **what_it_is(),
        "docker": docker,
        "images": known_images,
        "project": {**project, "found": sentences(found)},
        "units": asked_units.result(),
        "schedule": asked_schedule.result(),
        "backup": State(directory).told(),
        "walls": walls_are,
        "firewall": firewall_problem() if walls_are else "",  # which took them, if they are right
        "routes": asked_routes.result(),
        "dpkg_broken": asked_dpkg.result(),
        "port": asked_port.result(),
        "directory": directory_problem(directory, wanted["project"]),
        "written": record.intact(contract.exact_folders()),
        "tried": tried(record),
        **mounted(Path(wanted["ca_bundle"]), wanted["sources"], earlier),
        **disks(docker["images"], docker["root"] or "/var/lib/docker"),
        "addresses": addresses(6 if ":" in wanted["bind_address"] else 4),
        "users": declared_users(*earlier),
        **homes(wanted),
        **more,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wanted = module.params
    holder: dict[str, Any] = {}
    if os.geteuid() == 0:  # without it no run follows that would have to be alone
        try:
            lease.release(wanted["release"])
            run = wanted["run"] or {}
            if run.get("id"):
                holder = lease.take(run, wanted["ended"])
        except OSError as error:
            module.fail_json(
                msg=f"A run cannot make sure that it is alone on this machine, because {lease.PATH} cannot be read and "
                f"written: {error.strerror}. Nothing was changed. It is a file of a run under way; what else is there "
                "can go."
            )
    module.exit_json(changed=False, holder=holder, machine=look(wanted))


if __name__ == "__main__":
    main()
