"""The end of a hub; by its name the last file that runs."""

from __future__ import annotations

from machine import playbook
from testinfra.host import Host

DIRECTORY = "/opt/jupyterhub-home"


def test_uninstall_keeps_what_people_made(host: Host) -> None:
    before = host.check_output("docker volume ls --quiet").split()
    assert {"jupyterhub-home-data", "jupyterhub-home-user-bob"} <= set(before)
    done = playbook(host, {}, "playbooks/uninstall.yml")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "jupyterhub-home-user-bob" in done.stdout, "what is kept is said"

    assert host.check_output("docker ps --all --quiet") == ""
    assert host.check_output("docker image ls --quiet --filter 'reference=jupyterhub-home/*'") == ""
    assert "jupyterhub-home" not in host.check_output("docker network ls")
    assert not host.file(DIRECTORY).exists
    assert host.check_output("docker volume ls --quiet").split() == before
    host.check_output("docker compose version")

    again = playbook(host, {}, "playbooks/uninstall.yml")
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-4000:]


def test_uninstall_deletes_what_people_made_when_told(host: Host) -> None:
    """And leaves a folder alone that is not the role's."""
    host.check_output(f"mkdir {DIRECTORY} && touch {DIRECTORY}/compose.yml")
    done = playbook(host, {"jupyterhub_home_delete_data": True}, "playbooks/uninstall.yml")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "jupyterhub-home" not in host.check_output("docker volume ls --quiet")
    assert host.file(f"{DIRECTORY}/compose.yml").exists
