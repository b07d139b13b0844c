"""What an owner asks the hub: how it is, and whose files are there."""

from __future__ import annotations

import re

from machine import containers, playbook
from testinfra.host import Host


def said(host: Host, book: str, *options: str) -> str:
    """What a playbook says that changes nothing, neither by Ansible's word nor by Docker's."""
    before = containers(host)
    done = playbook(host, {}, f"playbooks/{book}.yml", *options)
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout[-4000:]
    assert containers(host) == before
    return " ".join(done.stdout.split())


def test_status(host: Host) -> None:
    for options in ((), ("--check",)):
        text = said(host, "status", *options)
        assert re.search(r"Hub: answers at http://127\.0\.0\.1:\d+/\S*, JupyterHub \d", text), text[-4000:]
        for part in (
            "Containers: hub running (healthy), proxy running", "Walls: in place", "Servers: ", " free where Docker",
            "Images: hub of 2", "Renewal of images: by no timer", "Nothing to repair.",
        ):  # fmt: skip
            assert part in text, text[-4000:]
    other = {"jupyterhub_home_project": "other", "jupyterhub_home_directory": "/opt/other"}
    text = playbook(host, other, "playbooks/status.yml").stdout
    assert "There is no hub of the project other here" in text, text[-4000:]


def test_status_of_what_somebody_has_changed(host: Host) -> None:
    host.check_output("touch /opt/jupyterhub-home/hub/stray && docker pause jupyterhub-home-proxy")
    try:
        text = said(host, "status")
    finally:
        host.check_output("rm /opt/jupyterhub-home/hub/stray && docker unpause jupyterhub-home-proxy")
    for part in (
        "Hub: does not answer at", "proxy paused", "To repair: the container jupyterhub-home-proxy was paused.",
        "To repair: hub/stray was put there by somebody else.",
    ):  # fmt: skip
        assert part in text, text[-4000:]


def test_homes(host: Host) -> None:
    label = "--label jupyterhub-home.project=jupyterhub-home --label jupyterhub-home.user=max"
    host.check_output(f"docker volume create {label} jupyterhub-home-user-max")
    try:
        text = said(host, "homes")
    finally:
        host.check_output("docker volume rm jupyterhub-home-user-max")
    assert re.search(r"max +\d[\d.]* k?B\S* \d{4}-\d\d-\d\d not in the list of users", text), text[-4000:]
    assert "jupyterhub_home_archive_homes: [" in text
