"""All that a run derives from the checked variables and what was found on the machine, as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.yaml.dumper import AnsibleDumper
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.addresses import invitation, local_url
from ansible_collections.jupyterhub.home.plugins.plugin_utils.backup import backup_settings, secret_settings
from ansible_collections.jupyterhub.home.plugins.plugin_utils.compose import compose_project, watch_unit
from ansible_collections.jupyterhub.home.plugins.plugin_utils.disks import disks_unit, notes_about_disks, volumes
from ansible_collections.jupyterhub.home.plugins.plugin_utils.hub import (
    has_other_login,
    hub_settings,
    spawner_settings,
    start_digest,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.images import SHARED, digest, tree
from ansible_collections.jupyterhub.home.plugins.plugin_utils.machine import notes_about_disk
from ansible_collections.jupyterhub.home.plugins.plugin_utils.schedule import (
    notes_about_schedule,
    schedule_files,
    timers,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.systems import docker_needs, notes_about
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import size_in_bytes
from ansible_collections.jupyterhub.home.plugins.plugin_utils.walls import (
    network_label,
    notes_about_walls,
    rules,
    walls_command,
    walls_unit,
)

# Of what images are built with, in the role's folder.
CONTEXTS = "files/images"
PLUGINS = Path(__file__).parents[1]
# What writes the files: another version of it may write them otherwise.
WRITERS = ("modules/files.py", "module_utils/atomic.py", "module_utils/contract.py", "module_utils/record.py")
# A file that the hub reads, and nobody else.
WITHOUT_GUARD = (
    "The hub has the Docker socket (jupyterhub_home_guard: false): whoever takes over the hub has this machine"
)
FOR_THE_HUB = {"mode": "0640", "owner": 0, "group": contract.HUB.group}


def with_content(file: dict[str, Any]) -> dict[str, Any]:
    """A file's specification with the text in place of `src`, a path on the controller."""
    if "src" not in file:
        return file
    content = Path(file["src"]).read_text(encoding="utf-8")
    return {**{key: value for key, value in file.items() if key != "src"}, "content": content}


def nice_json(data: Any) -> str:
    """JSON as a person reads it, with a newline at its end."""
    return json.dumps(data, indent=4, sort_keys=True) + "\n"


def compose_text(project: dict[str, Any]) -> str:
    """compose.yml."""
    text: str = yaml.dump(project, Dumper=AnsibleDumper, allow_unicode=True, default_flow_style=False, width=120)
    return f"# Written by Ansible; edit the variables instead.\n{text}"


def writers() -> list[str]:
    """The text of what writes the files."""
    return [(PLUGINS / name).read_text(encoding="utf-8") for name in WRITERS]


def context_files(images: dict[str, Any], contexts: Path) -> dict[str, Any]:
    """The files that images are built with, below the role's folder on the machine."""
    own = [f"{build['name']}/{path}" for build in images["builds"] for path in tree(contexts / build["name"])]
    return {f"{contract.IMAGES}/{path}": {"src": str(contexts / path)} for path in (*SHARED, *own)}


def project_files(settings: dict[str, Any], compose: dict[str, Any], spawner: Any, tried: str) -> dict[str, Any]:
    """The other files without a secret of the owner's; tried: what the hub's folder notes as known to work."""
    return {
        contract.USERS_TOKEN: {**FOR_THE_HUB, "generate": 32},
        contract.PROXY_TOKEN: {**FOR_THE_HUB, "generate": 32},
        # A hub that was started while somebody's edits were in its settings goes on with them, so it is made anew.
        contract.GENERATION: {
            **FOR_THE_HUB,
            "generate": 8,
            "renew_with": [contract.HUB_SETTINGS, contract.EXTRA_CONFIG],
        },
        contract.TRIED: {**FOR_THE_HUB, "content": f"{tried}\n"},
        contract.SPAWNER_SETTINGS: {**FOR_THE_HUB, "content": nice_json(spawner)},
        contract.COMPOSE_FILE: {"content": compose_text(compose)},
        contract.watch_file(settings["project"]): {"content": watch_unit(settings)},
        contract.walls_file(settings["project"]): {"content": walls_unit(settings)},
    }


def places(settings: dict[str, Any]) -> dict[str, Any]:
    """Where the tasks find things on the machine, and whose they are."""
    project, directory = settings["project"], settings["directory"]
    return {
        "hub_id": contract.HUB.user,
        "for_the_hub": FOR_THE_HUB,
        "exact_folders": contract.exact_folders(),
        "images_folder": contract.IMAGES,
        "users_folder": f"{directory}/{contract.USERS}",
        "users_token": f"{directory}/{contract.USERS_TOKEN}",
        "installed_note": contract.INSTALLED,
        "compose_file": f"{directory}/{contract.COMPOSE_FILE}",
        "watch_unit": f"{directory}/{contract.watch_file(project)}",
        "walls_unit": f"{directory}/{contract.walls_file(project)}",
        "disks_unit": f"{directory}/{contract.disks_file(project)}",
        "backup_settings": contract.BACKUP_SETTINGS if settings["backup"] else "",
        "walls_command": walls_command(settings, "set"),
        "hub_container": contract.container(project, contract.HUB.name),
        "guard_container": contract.container(project, contract.GUARD.name) if settings["guard"] else "",
    }


def notes(good: dict[str, Any], machine: dict[str, Any], images: dict[str, Any]) -> list[str]:
    """What is to be said of the machine at the end of the run."""
    list_decides = not has_other_login(good["config"], good["extra_config"])
    return [
        *notes_about(machine),
        *notes_about_walls(good, machine),
        *notes_about_schedule(good, machine),
        *notes_about_disks(good, machine, list_decides=list_decides),
        *([] if good["guard"] else [WITHOUT_GUARD]),
        # Only when a run has much to do: the owner has read it, and may want it so.
        *(notes_about_disk(good, machine) if images["missing"] else []),
    ]


def desired(
    good: dict[str, Any], mounts: Any, machine: dict[str, Any], images: dict[str, Any], role: Path
) -> dict[str, Any]:
    """What the tasks place and compare.

    good: the checked variables; mounts: that variable as written; machine: what was found; images: see desired_images;
    role: the role's folder. Returns, without the owner's secrets, `docker` (see docker_needs), `notes` (of the
    machine, for the report), `images`, `hub`, `spawner` (their settings), `files` (below the role's folder on the
    machine), `contexts` (those of them that builds need), `files_digest`, `trial_digest` ('nothing' without a trial),
    `local_url`, `invitation` (lines), `list_decides` (whether the list of users decides whom the hub knows), `timers`,
    `backup` (see there) and the places of `places`.
    """
    config, extra = good["config"], good["extra_config"]
    hub, tags = hub_settings(good), images["tags"]
    spawner = spawner_settings(good, tags["user"], bool(machine["ca_bundle"]))
    secret = {**hub, "config": config}
    trial = (
        digest(tags["hub"], tags["user"], secret, extra, good["default_url"], mounts, good["guard"])
        if good["trial"]
        else "nothing"
    )
    network = network_label(good, machine)
    compose = compose_project(
        good, tags, machine["docker"]["socket_gid"], start_digest(hub, config, extra, good["users"]), network
    )
    there = context_files(images, role / CONTEXTS)
    files = {
        **there,
        **project_files(good, compose, spawner, trial),
        **schedule_files(good, machine["job"]),
        contract.WALLS_RULES: {"content": rules(good, network)},
        contract.WATCH_PROGRAM: {"src": str(role / "files/watch/watch")},
        contract.WALLS_PROGRAM: {"src": str(role / "files/walls/walls")},
        contract.DISKS_PROGRAM: {"src": str(role / "files/disks/disks")},
        contract.disks_file(good["project"]): {"content": disks_unit(good, machine)},
    }
    whole = {path: with_content(file) for path, file in files.items()}
    return {
        "docker": docker_needs(good, machine),
        "notes": notes(good, machine, images),
        "images": images,
        "hub": hub,
        "spawner": spawner,
        "contexts": there,
        "files": files,
        "files_digest": digest(whole, secret, extra, secret_settings(good), writers()),
        "trial_digest": trial,
        "local_url": local_url(good),
        "invitation": invitation(good, machine["addresses"]),
        "network": network,
        "disk_limit": size_in_bytes(good["disk_limit"]) or 0,
        "volumes": volumes(machine),
        **places(good),
        "timers": timers(good, machine),
        "backup": backup_settings(good, machine),
        "list_decides": not has_other_login(config, extra),
    }
