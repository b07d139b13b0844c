#!/usr/bin/python
"""Try the hub's settings, and servers of users, in throwaway containers."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import (
    EngineError,
    docker,
    has_image,
    inspect,
    made_labels,
    network_made,
    remove_trial,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.network import addresses, options

DOCUMENTATION = r"""
module: trial
short_description: Fail if the hub could not start with these settings, or users' servers could not serve
description:
  - Starts the hub's image beside the hub with the settings, and with these, one after another, servers of users, one
    for each different set of mounts. Nothing of the real hub's or of users' can change by it, and nothing stays.
  - That hub has a copy of the real one's database, in memory, which it migrates if need be. A database that is newer
    than the hub's image, or cannot be migrated, fails.
options:
  project: {type: str, required: true, description: The project's name.}
  image: {type: str, required: true, description: The hub's image.}
  user_image: {type: str, required: true, description: The image of users' servers.}
  owner: {type: int, required: true, description: User and group id of the hub.}
  socket_gid: {type: int, description: Group of the engine's socket.}
  directory: {type: path, required: true, description: The project's folder.}
  guard: {type: bool, default: true, description: Whether the guard must be able to make these servers.}
  settings:
    type: str
    required: true
    description: The hub's settings files as JSON text, file name to text. They are in no output.
  network: {type: str, required: true, description: What the project's network is labelled with.}
  timeout: {type: int, default: 120, description: Seconds that the hub may take to get ready.}
attributes:
  check_mode:
    support: full
    details: Tries what the engine has the images for.
"""
EXAMPLES = r"""
- name: Try the settings beside the hub
  jupyterhub.home.trial:
    project: jupyterhub-home
    image: jupyterhub-home/hub:0123456789ab
    user_image: jupyterhub-home/user:0123456789ab
    owner: 58081
    directory: /opt/jupyterhub-home
    network: br-jhh-f299fbd4 chosen 10.77.0.0/20
    settings: "{{ {'hub.json': settings | to_json} | to_json }}"
"""
RETURN = r"""
problems:
  description:
    - What does not work. Each has the variable, what is wrong, what to write or, with a label, to do, and perhaps the
      end of a log.
  type: list
  elements: dict
  returned: always
"""

# All servers of a trial together; each has a bound of its own, too.
SERVERS_TIMEOUT = 1800


def has_network(project: str, label: str, *, make: bool) -> bool:
    """Whether the project's network is there; make: as Compose would."""
    network = contract.network(project)
    if network in inspect(network):
        return True
    if not make:
        return False
    labels = made_labels(project, "network", contract.NETWORK)
    more = (f"--label={key}={value}" for key, value in labels.items())
    docker("network", "create", *options(project, label), *more, network)
    return True


def command_line(wanted: dict[str, Any], network: str) -> list[str]:
    """How docker runs the container that the hub's service has, but for what the hub keeps."""
    owner, project = f"{wanted['owner']}:{wanted['owner']}", wanted["project"]
    name = contract.trial_containers(project)[0]
    memory = f"uid={wanted['owner']},gid={wanted['owner']},mode=0700"
    kept = (contract.HUB_HOME, contract.HUB_SETTINGS_FOLDER, contract.SECRETS_FOLDER)
    run_options = [
        f"--name={name}", f"--label={contract.TRIAL_LABEL}={project}", f"--network={network or 'bridge'}",
        f"--user={owner}", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--pids-limit=512",
        "--log-driver=none", "--tmpfs=/tmp", *(f"--tmpfs={path}:{memory}" for path in kept),
        f"--volume={contract.SOCKET}:{contract.SOCKET}",
    ]  # fmt: skip
    made = network_made(project, inspect(network).get(network)) if network else ""
    if made:  # the firewall rules around servers know the hub by it
        run_options.append(f"--ip={addresses(made.rpartition(' ')[2]).trial}")
    if wanted["socket_gid"] is not None:
        run_options.append(f"--group-add={wanted['socket_gid']}")
    users = Path(wanted["directory"]) / contract.USERS
    if users.is_dir():
        run_options.append(f"--volume={users}:{contract.EXTRAUSERS}:ro")
    data = contract.data_volume(project)
    if data in inspect(data):
        run_options.append(f"--volume={data}:/run/kept:ro")
    program = ["python", f"{contract.PROGRAMS}/trial.py"]
    return ["run", "--rm", "--interactive", "--init", *run_options, wanted["image"], *program]


def try_out(wanted: dict[str, Any], network: str) -> dict[str, Any]:
    """What the trial answers, {problems: ...}."""
    settings = json.loads(wanted["settings"])
    request = {
        "files": {f"{contract.HUB_SETTINGS_FOLDER}/{name}": text for name, text in settings.items()},
        "host": contract.trial_containers(wanted["project"])[0],
        "network": network, "seconds": wanted["timeout"], "guard": wanted["guard"],
    }  # fmt: skip
    limit = wanted["timeout"] + 60 + (SERVERS_TIMEOUT if network else 0)
    remove_trial(wanted["project"])  # of a run that was killed
    printed, status, why = "", 0, ""
    try:
        printed = docker(*command_line(wanted, network), text=json.dumps(request), timeout=limit)
    except EngineError as error:
        if error.status is None:
            return unanswered(f"the hub does not come to an end with it within {limit} s.")
        printed, status, why = error.printed, error.status, error.why
    finally:
        remove_trial(wanted["project"])
    try:
        answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    except (ValueError, IndexError):
        if status == 125:  # Docker's own, before anything of ours runs
            return unanswered(f"the trial's container could not be started: {why}")
        return unanswered(f"the hub ends with it without a word (exit status {status}).")
    return answer


def unanswered(what: str) -> dict[str, Any]:
    """The answer of a trial that gave none."""
    variable = "jupyterhub_home_config, jupyterhub_home_extra_config"
    return {"problems": [{"variable": variable, "what": what, "write": "what the hub can start with"}]}


def text_of(problems: list[dict[str, str]]) -> str:
    """Problems as the owner reads them."""
    count = len(problems)
    head = "1 thing has" if count == 1 else f"{count} things have"
    lines = [f"{head} to be put right first. It was tried beside the hub, which goes on as it was."]
    for number, problem in enumerate(problems, 1):
        lines.append(f"  {number}. {problem['variable']}: {problem['what']}")
        lines.append(f"     {problem.get('label', 'Write')}: {problem['write']}")
        if problem.get("log"):
            lines += ["     The end of its log:", textwrap.indent(problem["log"], " " * 7)]
    if any("label" not in problem for problem in problems):  # what is to be done is needed without a trial, too
        lines.append("To go on without a trial: jupyterhub_home_trial: false")
    return "\n".join(lines)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "user_image": {"type": "str", "required": True},
            "owner": {"type": "int", "required": True},
            "socket_gid": {"type": "int"},
            "directory": {"type": "path", "required": True},
            "guard": {"type": "bool", "default": True},
            "settings": {"type": "str", "required": True, "no_log": True},
            "network": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    project = wanted["project"]
    if not has_image(wanted["image"]):  # check mode, before the first run
        module.exit_json(changed=False, problems=[])
    try:
        servers = (
            has_image(wanted["user_image"])
            and not Path(contract.walls_notes(project)[1]).exists()  # nobody reaches anything until they can be set
            and has_network(project, wanted["network"], make=not module.check_mode)
        )
    except EngineError as error:
        module.fail_json(msg=str(error))
    answer = try_out(wanted, project if servers else "")
    if answer["problems"]:
        module.fail_json(msg=text_of(answer["problems"]), **answer)
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
