#!/usr/bin/python
"""Repair what somebody changed about the project's network, hub volume and containers, and Compose would not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, guard
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import (
    EngineError,
    attached,
    compose_labels,
    docker,
    folder,
    inspect,
    is_ghost,
    is_plain,
    labelled,
    made_labels,
    network_made,
    remove_trial,
    strayed,
    unattached,
)

DOCUMENTATION = r"""
module: repair
short_description: Repair a Compose project where Compose itself would stop or look away
description:
  - The containers of a trial that a killed run left are removed.
  - A hub volume without Compose's labels gets them. Its files are not copied; their folder goes by a second volume.
  - A network without Compose's labels, or with another interface or other addresses, is made anew, and whoever was in
    it is connected again. So is a user's server that was disconnected.
  - The hub's and the proxy's containers get their names back and go on if they were paused. One that is not in the
    network, has no process while Docker says that it runs, or has a folder in whose place another was put, is removed,
    for Compose to make anew. So is a guard that makes no servers, and its volume without these labels.
  - A run that was killed is finished by the next one; no file is lost in between.
options:
  project: {type: str, required: true, description: Compose project.}
  directory: {type: path, required: true, description: Folder of its compose.yml.}
  network: {type: str, required: true, description: What its network is labelled with.}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Repair what Compose would not
  jupyterhub.home.repair:
    project: jupyterhub-home
    directory: /opt/jupyterhub-home
    network: br-jhh-f299fbd4 chosen 10.77.0.0/20
"""
RETURN = r"""
done: {description: "What was, or would be, repaired, in words.", type: list, elements: str, returned: always}
renews: {description: "Whether Compose has to make a container now.", type: bool, returned: always}
"""


def holds_files(path: Path) -> bool:
    """Whether a folder is there with anything in it."""
    return path.is_dir() and any(path.iterdir())


class Project:
    """A Compose project's things in the engine. With pretend nothing is changed, and what would be is said."""

    def __init__(self, name: str, directory: Path, label: str, *, pretend: bool) -> None:
        self.name, self.directory, self.label, self.pretend = name, directory, label, pretend
        self.network = contract.network(name)
        self.done: list[str] = []
        self.removed: set[str] = set()  # containers

    def say(self, done: str, would: str) -> None:
        """What was done, or with pretend what would be."""
        self.done.append(would if self.pretend else done)

    def do(self, *arguments: str) -> None:
        """A docker command that changes something."""
        if not self.pretend:
            docker(*arguments)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Those that Compose knows as the project's, by name."""
        ids = docker("ps", "--all", "--quiet", "--filter", f"label={contract.COMPOSE_PROJECT}={self.name}").split()
        return {name: thing for name, thing in inspect(*ids).items() if name not in self.removed}

    def remove(self, name: str) -> None:
        """Remove a container, which Compose makes anew."""
        self.do("rm", "--force", name)
        self.removed.add(name)
        self.say(f"Removed, to be made anew: {name}", f"Would be removed, to be made anew: {name}")

    def repair(self) -> None:
        """All of it, in the order in which a kill does least harm; raises EngineError."""
        if left := sorted(inspect(*contract.trial_containers(self.name))):
            if not self.pretend:
                remove_trial(self.name)
            for name in left:
                self.say(f"Removed, left by a trial: {name}", f"Would be removed, left by a trial: {name}")
        self.repair_volume()
        self.repair_sockets()
        network = inspect(self.network).get(self.network)
        whole = (
            network
            and labelled(network, compose_labels(self.name, "network", contract.NETWORK))
            and network_made(self.name, network) == self.label
        )
        for name, container in sorted(self.containers().items()):
            self.repair_container(name, container, network if whole else None)
        members = {} if whole else self.renew_network(network)
        for server in unattached(self.name, network if whole else None):
            members.setdefault(server, [])
        for member, aliases in sorted(members.items()):
            self.do("network", "connect", *(f"--alias={alias}" for alias in aliases), self.network, member)
            self.say(f"Connected to the network: {member}", f"Would be connected to the network: {member}")

    def repair_container(self, name: str, container: dict[str, Any], network: dict[str, Any] | None) -> None:
        """Have a container go on as it is, or remove it if it cannot."""
        service = contract.service_named(container["Config"]["Labels"].get(contract.COMPOSE_SERVICE) or "")
        if service is None:
            return  # Compose removes what is none of its services
        right = contract.container(self.name, service.name)
        in_the_way = name != right and inspect(right)
        outside = service.place and not (network and attached(container, network))
        idle = service is contract.GUARD and guard.problem(container)
        if outside or in_the_way or is_ghost(container) or idle or strayed(container):
            self.remove(name)
            return
        if container["State"]["Status"] == "paused":
            self.do("unpause", name)
            self.say(f"Paused no more: {name}", f"Would be paused no more: {name}")
        if name != right:
            self.do("rename", name, right)
            self.say(f"Named {right} again: {name}", f"Would be named {right} again: {name}")

    def renew_network(self, network: dict[str, Any] | None) -> dict[str, list[str]]:
        """Make the network as Compose does; returns the aliases of whoever was in it and is to be in it again."""
        names = sorted(member["Name"] for member in ((network or {}).get("Containers") or {}).values())
        members = {
            name: thing["NetworkSettings"]["Networks"][self.network].get("Aliases") or []
            for name, thing in inspect(*names).items()
            if name not in self.removed
        }
        for name in members:
            self.do("network", "disconnect", "--force", self.network, name)
        if network:
            self.do("network", "rm", network["Id"])
        # The only way to have exactly the labels that this Compose gives; it makes the proxy's container besides.
        file = str(self.directory / contract.COMPOSE_FILE)
        self.do("compose", "--file", file, "create", "--no-build", "--pull", "never", contract.PROXY.name)
        self.say(f"Network made anew: {self.network}", f"Network would be made anew: {self.network}")
        return members

    def repair_volume(self) -> None:
        """Give the hub's volume its labels: its folder goes to a second volume, and to a new one of the old name."""
        name, aside = contract.data_volume(self.name), contract.aside_volume(self.name)
        labels = compose_labels(self.name, "volume", contract.DATA)
        volumes = {volume["Name"]: volume for volume in self.volumes(name, aside)}
        there = volumes.get(name)
        right = there is not None and (labelled(there, labels) or not is_plain(there))
        if right and aside not in volumes:
            return
        if not there and aside not in volumes:
            return  # Compose makes it
        if aside in volumes and holds_files(folder(aside)):
            if there and holds_files(folder(name)):
                raise EngineError(
                    f"Both volumes {name} and {aside} have files, and neither was touched. A run was interrupted while "
                    f"it moved the hub's database, and something else began a new one in {name} since. Look into both "
                    f"({folder(name)} and {folder(aside)}), then remove the volume that you do not want."
                )
            moved = True
        else:
            moved = right  # with right labels only the empty second volume is left over
        self.release(name, aside)
        if not self.pretend:
            if not moved:
                docker("volume", "create", f"--label={contract.PROJECT_LABEL}={self.name}", aside)
                if there and folder(name).is_dir():
                    folder(name).rename(folder(aside))
            if not right:
                if there:
                    docker("volume", "rm", name)
                made = made_labels(self.name, "volume", contract.DATA)
                docker("volume", "create", *(f"--label={key}={value}" for key, value in made.items()), name)
            if folder(aside).is_dir() and not holds_files(folder(name)):
                folder(aside).rename(folder(name))
            docker("volume", "rm", aside)
        self.say(
            f"Labelled, with all its files: the volume {name}",
            f"Would be labelled, with all its files: the volume {name}",
        )

    def repair_sockets(self) -> None:
        """Remove the volume with the guard's socket if Compose would not take it; nothing in it outlives the guard."""
        name = contract.sockets_volume(self.name)
        for volume in self.volumes(name):
            if not labelled(volume, compose_labels(self.name, "volume", contract.SOCKETS)):
                self.release(name)
                self.do("volume", "rm", name)
                self.say(f"Removed, to be made anew: {name}", f"Would be removed, to be made anew: {name}")

    def volumes(self, *names: str) -> list[dict[str, Any]]:
        """What the engine knows of those volumes that are there."""
        known = docker("volume", "ls", "--quiet").splitlines()
        there = [name for name in names if name in known]
        found: list[dict[str, Any]] = json.loads(docker("volume", "inspect", *there)) if there else []
        return found

    def release(self, *volumes: str) -> None:
        """Remove the hub's container, which holds the volume; EngineError when another container does too."""
        holding = [part for volume in volumes for part in ("--filter", f"volume={volume}")]
        own = self.containers()
        for name in docker("ps", "--all", *holding, "--format", "{{.Names}}").split():
            if name not in own:
                raise EngineError(
                    f"The volume {volumes[0]} is in use by {name}. Remove that container, then run again."
                )
            self.remove(name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "network": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    project = Project(wanted["project"], Path(wanted["directory"]), wanted["network"], pretend=module.check_mode)
    try:
        project.repair()
    except EngineError as error:
        module.fail_json(msg=str(error), changed=bool(project.done), done=project.done)
    after = "".join(f"{line}\n" for line in project.done)
    diff = {"before_header": "Docker", "after_header": "Docker", "before": "", "after": after}
    module.exit_json(changed=bool(project.done), done=project.done, renews=bool(project.removed), diff=diff)


if __name__ == "__main__":
    main()
