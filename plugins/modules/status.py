#!/usr/bin/python
"""Say in a few lines how a hub is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.archive import shown_size
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import inspect, told
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import sentences
from ansible_collections.jupyterhub.home.plugins.module_utils.hub import HubError, request
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, strays

DOCUMENTATION = r"""
module: status
short_description: Say in a few lines how a hub is
description:
  - Of what M(jupyterhub.home.probe) has found and of what is asked besides. Changes nothing.
options:
  project: {type: str, required: true, description: The project of the hub.}
  directory: {type: path, required: true, description: Folder of the role's files.}
  url: {type: str, required: true, description: "Address of the hub through the proxy, with its slash."}
  machine: {type: dict, required: true, description: "What RV(jupyterhub.home.probe#module:machine) says."}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Look at the hub
  jupyterhub.home.status:
    project: jupyterhub-home
    directory: /opt/jupyterhub-home
    url: http://127.0.0.1:8000/
    machine: "{{ checked.machine }}"
  register: found
"""
RETURN = r"""
notes: {description: "How it is, a line a subject.", type: list, elements: str, returned: always}
"""

SHOWN = 20  # names in a line
JOBS = {contract.RENEW: "Renewal of images", contract.BACKUP: "Backups"}
WALLS = {
    "": "in place",
    "new": "none yet",
    "gone": "gone, so users' servers are not walled in",
    "edited": "edited by somebody",
    "older": "those of an older run",
}


class Server(NamedTuple):
    """A user's server that runs: its container, its user and the identity of its image."""

    name: str
    user: str
    image: str


class View(NamedTuple):
    """What is known: the options, the containers that Compose keeps as the engine inspects them, and the servers."""

    project: str
    directory: Path
    url: str
    machine: dict[str, Any]
    services: dict[str, dict[str, Any]]
    servers: list[Server]


def some(names: list[str]) -> str:
    """Names; many are counted."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def running(project: str) -> list[Server]:
    """The servers of users that run, by name."""
    ours = f"label={contract.PROJECT_LABEL}={project}"
    names = told("ps", "--filter", ours, "--format", "{{.Names}}").split()
    found = inspect(*names)
    return sorted(
        Server(name, thing["Config"]["Labels"].get(contract.USER_LABEL) or name, thing["Image"])
        for name, thing in found.items()
        if not thing["Config"]["Labels"].get(contract.TRIAL_LABEL)
    )


def hub(view: View) -> list[str]:
    """Whether it answers, through the proxy."""
    try:
        request(f"{view.url}hub/health")
        version = f"JupyterHub {json.loads(request(f'{view.url}hub/api/'))['version']}"
    except (HubError, ValueError, KeyError, TypeError) as error:
        return [f"Hub: does not answer at {view.url} ({error})"]
    return [f"Hub: answers at {view.url}, {version}"]


def engine(view: View) -> list[str]:
    """Docker, and the system that it is on."""
    docker, system = view.machine["docker"], view.machine["system"].get("pretty_name", "")
    compose = f", Compose {docker['compose']}" if docker["compose"] else ", no Compose"
    return [f"Docker: {docker['version']}{compose}, on {system}"]


def containers(view: View) -> list[str]:
    """The services of compose.yml, each with its state and health."""
    try:
        declared = (view.directory / contract.COMPOSE_FILE).read_text(encoding="utf-8")
    except OSError:
        declared = ""
    states = []
    for service, name in contract.containers(view.project).items():
        thing = view.services.get(name)
        if thing is None:
            states += [f"{service} not there"] if name in declared else []
            continue
        state = thing["State"]
        health = (state.get("Health") or {}).get("Status", "")
        states.append(f"{service} {state['Status']}{f' ({health})' if health else ''}")
    return [f"Containers: {', '.join(states)}"]


def walls(view: View) -> list[str]:
    """The firewall rules around users' servers."""
    state, problem = view.machine["walls"], view.machine["firewall"]
    return [f"Walls: {WALLS.get(state, state)}{f' ({problem})' if state and problem else ''}"]


def servers(view: View) -> list[str]:
    """Who has a server, and whose is of an older image than the one that starts today."""
    users = sorted({server.user for server in view.servers})
    lines = [f"Servers: {len(view.servers)} running{f', of {some(users)}' if users else ''}"]
    today = view.machine["images"].get(image_of_servers(view.directory))
    older = sorted({server.user for server in view.servers if today and server.image != today})
    if older:
        lines.append(f"On an older image until their next start: {some(older)}")
    return lines


def image_of_servers(directory: Path) -> str:
    """The name of the image that servers start from; '' where nobody can tell."""
    try:
        name: str = json.loads((directory / contract.SPAWNER_SETTINGS).read_text(encoding="utf-8"))["image"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return name


def images(view: View) -> list[str]:
    """When the images in use were made."""
    names = {service: thing["Config"]["Image"] for service, thing in view.services.items()}
    used = dict.fromkeys([*names.values(), image_of_servers(view.directory)])
    there = [name for name in used if name in view.machine["images"]]
    if not there:
        return ["Images: none"]
    made = told("image", "inspect", "--format", "{{.Created}}", *there).splitlines()
    short = [name.removeprefix(f"{view.project}/").partition(":")[0] for name in there]
    days = ", ".join(f"{name} of {day[:10]}" for name, day in zip(short, made, strict=False))
    return [f"Images: {days} (make renew makes them from today's packages)"]


def timers(view: View) -> list[str]:
    """What is done by a timer: when next, and how it went."""
    found = []
    for job, what in JOBS.items():
        if not view.machine["schedule"][job]["linked"]:
            found.append(f"{what}: by no timer (jupyterhub_home_{job})")
            continue
        timer, service = contract.timer(view.project, job), contract.timer_service(view.project, job)
        following = output("systemctl", "show", "--property=NextElapseUSecRealtime", "--value", timer) or "not set"
        last = output("systemctl", "show", "--property=ExecMainExitTimestamp", "--value", service)
        result = output("systemctl", "show", "--property=Result", "--value", service)
        said = f"last {last}: {result}" if last else "not run since the machine was started"
        found.append(f"{what}: next {following}; {said}")
    return found


def backup(view: View) -> list[str]:
    """The last backup, by a timer or by hand."""
    known = view.machine["backup"]
    if known["age"] is None and not known["why"]:
        return ["Last backup: none (make backup)"]
    age = "never" if known["age"] is None else f"{known['age'] // 3600} hours ago"
    return [f"Last backup: {age}{'; the last try failed: ' if known['why'] else ''}{known['why']}"]


def disk(view: View) -> list[str]:
    """Where images and homes are."""
    place, free = view.machine["disk"], view.machine["free_disk"]
    return [f"Disk: {shown_size(free)} free where Docker keeps images and homes, {place}"]


def repairs(view: View) -> list[str]:
    """What the next run would put right."""
    found: list[str] = list(view.machine["project"]["found"])
    record = Record(view.directory)
    named = {view.directory / path for path in record.before}
    foreign = [
        str(path.relative_to(view.directory)) for path in strays(view.directory, contract.exact_folders(), named)
    ]
    found += sentences(record.found(list(record.before), foreign))
    if view.machine["docker"]["rules_gone"]:
        found.append("Docker's firewall rules were gone.")
    if view.machine["systemd"] and record.before:
        wanted = {unit for unit, file in contract.units(view.project).items() if file in record.before}
        found += [f"the unit {unit} was not at work." for unit in sorted(wanted - set(view.machine["units"]))]
    if view.machine["dpkg_broken"]:
        found.append("a run of dpkg was killed.")
    return [f"To repair: {what}" for what in found] + (["make hub repairs it."] if found else ["Nothing to repair."])


# In the order in which a person reads them.
SUBJECTS: tuple[Callable[[View], list[str]], ...] = (
    hub, servers, containers, walls, disk, images, timers, backup, engine, repairs,
)  # fmt: skip
# Of what is known also while no engine answers.
WITHOUT_ENGINE: tuple[Callable[[View], list[str]], ...] = (disk, timers, backup)


def lines(view: View) -> list[str]:
    """How the hub is."""
    docker = view.machine["docker"]
    if not docker["installed"]:
        return ["Nothing is installed: this machine has no Docker. make hub installs it, and the hub."]
    if not docker["version"]:
        said = "Docker: does not answer, so there is no hub. systemctl status docker says why; make hub starts it."
        return [said, *(line for subject in WITHOUT_ENGINE for line in subject(view))]
    if not Record(view.directory).before and not view.services:
        return [f"There is no hub of the project {view.project} here. make hub makes it.", *engine(view), *disk(view)]
    return [line for subject in SUBJECTS for line in subject(view)]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "url": {"type": "str", "required": True},
            "machine": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    project, answers = wanted["project"], wanted["machine"]["docker"]["version"]
    view = View(
        project=project,
        directory=Path(wanted["directory"]),
        url=wanted["url"],
        machine=wanted["machine"],
        services=inspect(*contract.containers(project).values()) if answers else {},
        servers=running(project) if answers else [],
    )
    module.exit_json(changed=False, notes=lines(view))


if __name__ == "__main__":
    main()
