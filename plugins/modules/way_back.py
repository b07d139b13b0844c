#!/usr/bin/python
"""Keep the hub as it is before it is made anew, go back to it, or let go of it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.database import copy_database, revision, schema
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import (
    EngineError,
    docker,
    folder,
    inspect,
    remove_image,
    told,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.way_back import Before, put_back

DOCUMENTATION = r"""
module: way_back
short_description: Keep the hub as it is, go back to it, or let go of it
description:
  - Of the files, M(jupyterhub.home.files) has kept those that it replaced.
  - A hub that does not run, or is not healthy, is not kept. What an earlier run has kept, and did not come to its end,
    stays kept, for it is what was last known to work.
options:
  state:
    type: str
    choices: [undo, keep, back, drop]
    required: true
    description:
      - V(undo) puts the database back if a migration was killed in the middle, with the run that made the hub anew. No
        hub could begin again with what it left.
      - V(keep) notes which images the containers run on, and copies the hub's database while it is in use.
      - V(back) gives names of images and files back what they were, and the database if a migration has changed its
        revision or its schema. The containers are then Compose's to make anew.
      - V(drop) lets go of all.
  project: {type: str, required: true, description: The project's name.}
  directory: {type: path, required: true, description: The project's folder.}
  images:
    type: list
    elements: str
    default: []
    description: With V(keep), names that go to other images; with V(drop), RV(replaced) of V(back).
  network: {type: str, default: "", description: "With V(keep), how the network was made."}
attributes:
  check_mode: {support: full, description: Does nothing there, and says of V(undo) whether it would do something.}
"""
EXAMPLES = r"""
- name: Keep the hub as it is
  jupyterhub.home.way_back:
    state: keep
    project: jupyterhub-home
    directory: /opt/jupyterhub-home
"""
RETURN = r"""
kept: {description: "With V(keep), whether there is a hub to go back to.", type: bool, returned: always}
tried: {description: "With V(back), what was changed, in words.", type: list, elements: str, returned: always}
folder: {description: "With V(back), the folder that the hub is to be started from.", type: str, returned: always}
network: {description: "With V(back), how the network was made.", type: str, returned: always}
url: {description: "With V(back), where that hub answers; empty where it cannot be told.", type: str, returned: always}
replaced: {description: "With V(back), identities of images that lost their names.", type: list, returned: always}
"""

NOTHING: dict[str, Any] = {"kept": False, "tried": [], "folder": "", "network": "", "url": "", "replaced": []}


def image_of(name: str) -> str:
    """The identity of an image; '' if it is not there."""
    return told("image", "inspect", "--format", "{{.Id}}", name)


def database_of(project: str) -> Path | None:
    """The hub's database, in the volume that is its own; None where there is none, or it is elsewhere."""
    try:
        path = folder(contract.data_volume(project)) / contract.DATABASE
    except EngineError:
        return None
    return path if path.is_file() else None


def copies(database: Path | None) -> list[str]:
    """Names of the copies that JupyterHub has made of it before it migrated."""
    return sorted(path.name for path in database.parent.glob(f"{database.name}.*")) if database else []


def url_of(proxy: dict[str, Any] | None) -> str:
    """Where a hub answers through its proxy, on the machine itself; '' where the proxy does not say."""
    if proxy is None:
        return ""
    bound = next(iter((proxy["HostConfig"].get("PortBindings") or {}).values()), None)
    base = [text.partition("=")[2] for text in proxy["Config"]["Env"] if text.startswith("HUB_BASE_URL=")]
    if not bound or not base:
        return ""
    address = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound[0]["HostIp"], bound[0]["HostIp"])
    return f"http://{f'[{address}]' if ':' in address else address}:{bound[0]['HostPort']}{base[0]}"


def works(hub: dict[str, Any] | None) -> bool:
    """Whether the hub's container is one to go back to."""
    if hub is None or hub["State"]["Status"] != "running":
        return False
    return (hub["State"].get("Health") or {}).get("Status") != "unhealthy"


def keep(before: Before, wanted: dict[str, Any]) -> bool:
    """Keep what files there are not; returns whether there is a hub to go back to, and something that changes."""
    if before.state():
        return True
    project = wanted["project"]
    containers = inspect(*contract.containers(project).values())
    if not works(containers.get(contract.container(project, contract.HUB.name))):
        drop(before, project, [])
        return False
    hub = containers[contract.container(project, contract.HUB.name)]
    # The hub's last: where the guard, of the same name, has another image, it is the hub's that counts.
    tags = {thing["Config"]["Image"]: thing["Image"] for thing in (*containers.values(), hub)}
    other = [tag for tag, identity in tags.items() if image_of(tag) != identity]
    started_from = hub["Config"]["Labels"].get(contract.COMPOSE_FOLDER) or wanted["directory"]
    if not (before.exists() or other or wanted["images"] or started_from != wanted["directory"]):
        return False
    for tag, identity in tags.items():
        docker("tag", identity, f"{tag.rpartition(':')[0]}:{contract.KEPT}")
    before.folder.mkdir(mode=0o700, exist_ok=True)
    database = database_of(project)
    if database:
        copy_database(database, before.database)
    before.note({
        "tags": {**{name: image_of(name) for name in wanted["images"]}, **tags},
        "folder": started_from,
        "network": wanted["network"],
        "url": url_of(containers.get(contract.container(project, contract.PROXY.name))),
        "copies": copies(database),
    })  # fmt: skip
    return True


def migrated(before: Before, database: Path) -> str:
    """What a migration, or half of one, has done to the database since it was kept, in words; '' if there was none."""
    if not before.database.is_file():
        return ""
    was, now = revision(before.database), revision(database)
    if now != was:
        return f"a database migrated from revision {was} to {now}"
    # Each statement counts at once, the revision is noted last.
    half = schema(database) != schema(before.database)
    return f"a migration of the database, begun at revision {was}" if half else ""


def put_database_back(before: Before, project: str, database: Path) -> None:
    """Put it back, and remove the copies that JupyterHub has made since; the hub is stopped."""
    docker("stop", contract.container(project, contract.HUB.name))
    put_back(before.database, database)
    for name in set(copies(database)) - set(before.state()["copies"]):
        (database.parent / name).unlink()


def undo(before: Before, project: str, *, pretend: bool) -> bool:
    """Put the database back if a migration has not come to its end; returns whether it has not."""
    database = database_of(project) if before.state() else None
    # One that has, is of another revision, and may have been used since.
    if not database or revision(database) != revision(before.database) or not migrated(before, database):
        return False
    if not pretend:
        put_database_back(before, project, database)
    return True


def back(before: Before, project: str) -> dict[str, Any]:
    """Go back; returns what the module answers."""
    state, tried = before.state(), []
    if files := [name for name in before.changed_files() if name not in (contract.RECORD, contract.TRIED)]:
        tried.append(f"other settings ({', '.join(files)})")
    others = {tag: new for tag, old in state["tags"].items() if old and (new := image_of(tag)) != old}
    if others:
        tried.append(f"other images ({', '.join(sorted(others))})")
    for tag in others:
        docker("tag", state["tags"][tag], tag)
    before.put_files_back()
    database = database_of(project)
    if database and (done := migrated(before, database)):
        tried.append(done)
        put_database_back(before, project, database)
    found = {key: state[key] for key in ("folder", "network", "url")}
    return {"tried": tried, "replaced": sorted(others.values()), **found}


def drop(before: Before, project: str, images: list[str]) -> None:
    """Let go of all, but of images that are in use or have another name."""
    unnamed = [one for one in images if told("image", "inspect", "--format", "{{len .RepoTags}}", one) == "0"]
    for image in [*(f"{project}/{name}:{contract.KEPT}" for name in contract.service_images()), *unnamed]:
        remove_image(image)
    before.drop()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["undo", "keep", "back", "drop"], "required": True},
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "network": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted, answer = module.params, dict(NOTHING)
    before = Before(Path(wanted["directory"]))
    if module.check_mode and wanted["state"] != "undo":
        module.exit_json(changed=False, **answer)
    undone = False
    try:
        if wanted["state"] == "undo":
            undone = undo(before, wanted["project"], pretend=module.check_mode)
        elif wanted["state"] == "keep":
            answer["kept"] = keep(before, wanted)
        elif wanted["state"] == "back":
            answer |= back(before, wanted["project"])
        else:
            drop(before, wanted["project"], wanted["images"])
    except (EngineError, OSError, sqlite3.Error, KeyError) as error:
        what = {
            "undo": f"The database from before a migration that was killed, in {before.folder}, cannot be put back",
            "keep": "The hub cannot be kept as it is, so it is not made anew, and goes on",
            "back": f"The hub from before, in {before.folder}, cannot be put back; the next run tries it again",
            "drop": f"What was kept of the hub from before, in {before.folder}, cannot be removed",
        }[wanted["state"]]
        module.fail_json(msg=f"{what}: {error}", **answer)
    # It says nothing of how the machine is set up, and so is no change; but going back is.
    module.exit_json(changed=undone or wanted["state"] == "back", **answer)


if __name__ == "__main__":
    main()
