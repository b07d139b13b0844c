#!/usr/bin/python
"""Remove what a hub has on a machine, and nothing of another project's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.belongings import (
    UNITS,
    belongings,
    foreign_entries,
    own_entries,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker

DOCUMENTATION = r"""
module: uninstall
short_description: Remove a hub and keep its data
description:
  - Removes a project's units, containers, network, firewall rules and images, and from its folder what the role wrote
    there.
  - Users' volumes and the hub's stay unless they are to be deleted, too. Docker itself always stays.
options:
  project: {type: str, required: true, description: Compose project; what carries its name and labels is removed.}
  directory: {type: path, required: true, description: Folder that the role wrote. Another project's is left alone.}
  delete_data: {type: bool, required: true, description: Whether the volumes go too.}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Remove the hub, and keep everybody's files
  jupyterhub.home.uninstall:
    project: jupyterhub-home
    directory: /opt/jupyterhub-home
    delete_data: false
"""
RETURN = r"""
notes: {description: "What goes and what stays, in words.", type: list, elements: str, returned: always}
"""


def clear(folders: list[str]) -> None:
    """Remove what the role wrote into each folder, and then the folder if nothing else is in it."""
    for folder in map(Path, folders):
        # The record last: after a kill, it tells the next run what else is the role's.
        for name in sorted(own_entries(folder), key=lambda name: name == contract.RECORD):
            entry = folder / name
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        # One that is a link or a disk of its own stays, empty.
        if not any(folder.iterdir()) and not folder.is_symlink() and not folder.is_mount():
            folder.rmdir()


def disable(units: list[str]) -> None:
    """Stop units and take them from systemd; without it, nothing of theirs is at work."""
    if shutil.which("systemctl"):
        subprocess.run(("systemctl", "disable", "--now", "--quiet", *units), check=False)
    for unit in units:
        (UNITS / unit).unlink(missing_ok=True)


def remove_walls(project: str) -> None:
    """Remove firewall rules, and what the program `walls` notes of them."""
    subprocess.run(("nft", "delete", "table", "inet", contract.table(project)), check=False)
    for note in contract.walls_notes(project):
        Path(note).unlink(missing_ok=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "delete_data": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    wanted, pretend = module.params, module.check_mode
    # What removes a thing, in the order in which it must go: the units start containers and set rules, containers hold
    # network, image and volumes, and have the rules around them to their end.
    steps: dict[str, Callable[[list[str]], object]] = {
        "units": disable,
        "containers": lambda names: docker("rm", "--force", "--volumes", *names),
        "networks": lambda names: docker("network", "rm", *names),
        "walls": lambda _: remove_walls(wanted["project"]),
        "images": lambda names: docker("image", "rm", "--force", *names),
        "sockets": lambda names: docker("volume", "rm", *names),
        "disks": lambda places: subprocess.run(("umount", *places), check=True),
        "folders": clear,
    }
    if wanted["delete_data"]:
        steps["volumes"] = lambda names: docker("volume", "rm", *names)
    notes: list[str] = []
    kept: list[str] = []
    try:
        found = belongings(wanted["project"], Path(wanted["directory"]))
        for folder in found["folders"]:
            if foreign := foreign_entries(Path(folder)):
                kept.append(f"Kept, of the folder {folder}, what is not the role's: {', '.join(foreign)}")
        for kind, remove in steps.items():
            if found[kind]:
                if not pretend:
                    remove(found[kind])
                notes.append(f"{'Would be removed' if pretend else 'Removed'}, {kind}: {', '.join(found[kind])}")
    except (EngineError, OSError, subprocess.CalledProcessError) as error:
        done = f"\n{'. '.join(notes)}. Run it again when that is mended." if notes else ""
        module.fail_json(msg=f"{error}{done}", changed=bool(notes), notes=notes)
    after = "".join(f"{note}\n" for note in notes)
    diff = {"before_header": "machine", "after_header": "machine", "before": "", "after": after}
    if not wanted["delete_data"] and found["volumes"]:
        kept.append(f"Kept, with everybody's files and the hub's database, volumes: {', '.join(found['volumes'])}")
        places = [place for place in found["disks"] if place.endswith(contract.DISK_PLACE)]
        if files := [str(Path(place).with_name(contract.DISK)) for place in places]:
            kept.append(f"What is in users' volumes is in disks, to be mounted with mount -o loop: {', '.join(files)}")
    module.exit_json(changed=bool(notes), notes=notes + kept, diff=diff)


if __name__ == "__main__":
    main()
