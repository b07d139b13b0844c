"""A test machine of molecule's: playbooks run on it, its address, its containers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forked import ansible_playbook
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]


def playbook_command(
    host: Host, variables: dict[str, Any], name: str = "site.yml", *options: str, shared: bool = True
) -> tuple[list[str], dict[str, str]]:
    """How a playbook is run on the scenario's machine, with other values for some variables, and the environment.

    shared: below the scenario's own inventory lies the one that scenarios share.
    """
    scenario = os.environ.get("MOLECULE_SCENARIO_NAME") or host.backend.name.removeprefix("jhh-")
    folders = ("shared", scenario) if shared else (scenario,)
    where = [f"--inventory={ROOT}/molecule/{folder}/inventory/hosts.yml" for folder in folders]
    where.append(f"--limit={host.backend.name}")
    environment = {"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "MOLECULE_PROJECT_DIRECTORY": str(ROOT)}
    command = ["ansible-playbook", name, *where, *options, "--extra-vars", json.dumps(variables)]
    return command, os.environ | environment


def playbook(
    host: Host, variables: dict[str, Any], name: str = "site.yml", *options: str, shared: bool = True
) -> subprocess.CompletedProcess[str]:
    """A playbook on the scenario's machine; see playbook_command."""
    command, environment = playbook_command(host, variables, name, *options, shared=shared)
    return ansible_playbook(command, ROOT, environment)


def loop_devices(host: Host) -> None:
    """Let the machine mount files: what the kernel has for it shows in a real machine's /dev by itself."""
    nodes = "for n in $(seq 0 63); do test -e /dev/loop$n || mknod /dev/loop$n b 7 $n; done"
    host.check_output(f"test -e /dev/loop-control || mknod /dev/loop-control c 10 237; {nodes}")


@contextlib.contextmanager
def images_aside(host: Host) -> Iterator[None]:
    """Have the images under other names meanwhile, which uninstalling leaves alone, so that none is built anew."""
    listed = "docker image ls --format '{{.Repository}}:{{.Tag}}'"
    host.check_output(f"{listed} 'jupyterhub-home/*' | while read name; do docker tag $name kept-$name; done")
    yield
    back = "docker tag $name ${name#kept-} && docker image rm $name"
    host.check_output(f"{listed} 'kept-jupyterhub-home/*' | while read name; do {back}; done")


def address(host: Host) -> str:
    """The machine's IPv4 address on the network that it shares with the tests."""
    return next(one for one in map(str, host.interface("eth0").addresses) if ":" not in one)


def containers(host: Host) -> dict[str, str]:
    """Each running container's identity and start, by name without the default project's."""
    names = host.check_output("docker ps --format '{{.Names}}'").split()
    form = "{{.Name}} {{.Id}} {{.State.StartedAt}}"
    lines = host.check_output(f"docker inspect --format '{form}' {' '.join(names)}").splitlines()
    return {line.split()[0].removeprefix("/").removeprefix("jupyterhub-home-"): line for line in lines}
