#!/usr/bin/python
"""Remove what a hub has on a machine, and nothing of another project's."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import build_cache, contract
from ansible_collections.jupyterhub.home.plugins.module_utils.archive import shown_size
from ansible_collections.jupyterhub.home.plugins.module_utils.belongings import (
    UNITS,
    belongings,
    foreign_entries,
    of_the_machine,
    own_entries,
    projects,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker
from ansible_collections.jupyterhub.home.plugins.module_utils.installed import (
    forget,
    installed,
    needed_by,
    of_python,
    removal,
    remove,
)

DOCUMENTATION = r"""
module: uninstall
short_description: Remove a hub and keep its data
description:
  - Removes a project's units, containers, network, firewall rules, images and what their builds left, and from its
    folder what the role wrote there.
  - Users' volumes, the hub's and archives stay unless they are to be deleted, too. So do Docker and the other packages
    and files that a run has installed, which are named when no other project is left.
options:
  project: {type: str, required: true, description: Compose project; what carries its name and labels is removed.}
  directory: {type: path, required: true, description: Folder that the role wrote. Another project's is left alone.}
  delete_data: {type: bool, required: true, description: Whether volumes and archives go too.}
  delete_packages:
    type: bool
    required: true
    description: Whether what was installed goes too, unless other projects, containers or packages need it.
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Remove the hub, and keep everybody's files
  jupyterhub.home.uninstall:
    project: jupyterhub-home
    directory: /opt/jupyterhub-home
    delete_data: false
    delete_packages: false
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
    systemd = shutil.which("systemctl")
    if systemd:
        subprocess.run(("systemctl", "disable", "--now", "--quiet", *units), check=False)
    for unit in units:
        (UNITS / unit).unlink(missing_ok=True)
    if systemd:  # that it forgets them, and how they ended
        subprocess.run(("systemctl", "daemon-reload"), check=False)
        subprocess.run(("systemctl", "reset-failed", "--quiet", *units), capture_output=True, check=False)


def remove_walls(project: str) -> None:
    """Remove firewall rules, and what the program `walls` notes of them."""
    subprocess.run(("nft", "delete", "table", "inet", contract.table(project)), check=False)
    for note in contract.walls_notes(project):
        Path(note).unlink(missing_ok=True)


def tidy(project: str, alone: bool) -> None:
    """Remove what runs leave in passing, of which nobody need be told; alone: no other project is there."""
    for note in contract.notes(project):
        Path(note).unlink(missing_ok=True)
    folder = Path(contract.archives(project))
    for path in (folder, folder.parent):
        with contextlib.suppress(OSError):  # it is not there, or something is in it
            path.rmdir()
    for path in map(Path, of_the_machine() if alone else []):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove_files(names: list[str]) -> None:
    """Remove files."""
    for name in names:
        Path(name).unlink()


def remove_cache(*, pretend: bool) -> str:
    """Remove what builds of ours have left in the engine; returns how much, in words, '' where that is nothing."""
    if not shutil.which("docker") or not (found := build_cache.ours(build_cache.records())):
        return ""
    if not pretend:
        build_cache.prune([record.name for record in found])
    return shown_size(sum(record.size for record in found))


def stays(wanted: dict[str, Any], found: dict[str, list[str]]) -> list[str]:
    """What is kept of the project's, in words."""
    kept = []
    for folder in found["folders"]:
        if foreign := foreign_entries(Path(folder)):
            kept.append(f"Kept, of the folder {folder}, what is not the role's: {', '.join(foreign)}")
    if wanted["delete_data"]:
        return kept
    if found["archives"]:
        kept.append(f"Kept, archives of users' homes: {', '.join(found['archives'])}")
    if found["volumes"]:
        kept.append(f"Kept, with everybody's files and the hub's database, volumes: {', '.join(found['volumes'])}")
    places = [place for place in found["disks"] if place.endswith(contract.DISK_PLACE)]
    if files := [str(Path(place).with_name(contract.DISK)) for place in places]:
        kept.append(f"What is in users' volumes is in disks, to be mounted with mount -o loop: {', '.join(files)}")
    return kept


def after_all(wanted: dict[str, Any], found: dict[str, list[str]], *, pretend: bool) -> tuple[list[str], str, Any]:
    """What is to be done when no project is left but this one: what is done, what is kept, in words, and what does it.

    Raises EngineError.
    """
    packages, files = installed()
    if not packages and not files:
        return [], "", forget
    kept, gone = ([], found["volumes"]) if wanted["delete_data"] else (found["volumes"], [])
    word = removal(found["containers"], [*found["sockets"], *gone], kept)
    purging = "" if word == "purge" else " (apt-get purge would delete all volumes that Docker has)"
    if not wanted["delete_packages"]:
        return [], stay("others may use it by now", packages, files, word) + purging, lambda: None
    left = of_python(packages)
    going = [name for name in packages if name not in left]
    if needs := needed_by(going, found["containers"]):
        return [], stay(f"of {', '.join(needs)}", packages, files, word) + purging, lambda: None
    done = "Would be removed" if pretend else "Removed"
    notes = [f"{done}, {kind}: {', '.join(names)}" for kind, names in (("packages", going), ("files", files)) if names]
    why = "make and Ansible run with it"
    return notes, stay(why, left, [], word) if left else "", lambda: remove(word, going, files, left)


def stay(why: str, packages: list[str], files: list[str], word: str) -> str:
    """That what was installed is kept, and how packages go."""
    said = f"Kept, because {why}, what was installed: {', '.join([*packages, *files])}."
    return f"{said} To remove these packages: apt-get {word} {' '.join(packages)}" if packages else said


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "delete_data": {"type": "bool", "required": True},
            "delete_packages": {"type": "bool", "required": True},
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
        steps["archives"] = remove_files
    notes: list[str] = []
    done = "Would be removed" if pretend else "Removed"
    try:
        found = belongings(wanted["project"], Path(wanted["directory"]))
        alone = not projects().keys() - {wanted["project"]}
        kept = stays(wanted, found)
        last, more, finish = after_all(wanted, found, pretend=pretend) if alone else ([], "", lambda: None)
        for kind, take in steps.items():
            if found[kind]:
                if not pretend:
                    take(found[kind])
                notes.append(f"{done}, {kind}: {', '.join(found[kind])}")
        if alone and (size := remove_cache(pretend=pretend)):
            notes.append(f"{done}, of the cache of builds: {size}")
        if not pretend:
            finish()
            tidy(wanted["project"], alone)
    except (EngineError, OSError, subprocess.CalledProcessError) as error:
        so_far = f"\n{'. '.join(notes)}. Run it again when that is mended." if notes else ""
        module.fail_json(msg=f"{error}{so_far}", changed=bool(notes), notes=notes)
    notes += last
    after = "".join(f"{note}\n" for note in notes)
    diff = {"before_header": "machine", "after_header": "machine", "before": "", "after": after}
    module.exit_json(changed=bool(notes), notes=[*notes, *kept, *filter(None, [more])], diff=diff)


if __name__ == "__main__":
    main()
