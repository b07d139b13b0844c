"""A user's files come back, with the restic that this Debian has; tests/backup looks at all else."""

from __future__ import annotations

import re
import subprocess

from conftest import ClientFactory
from machine import playbook
from testinfra.host import Host

GIVEN = {"jupyterhub_home_backup_password": "saved by nobody else", "jupyterhub_home_backup_repository": "/srv/saved"}
WORK = "/var/lib/docker/volumes/jupyterhub-home-user-bob/_data"
SUMS = f"cd {WORK} && find . -type f -exec sha256sum {{}} + | sort"


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-4000:]
    return " ".join(done.stdout.split())


def test_a_users_files_come_back(serve: ClientFactory, host: Host) -> None:
    bob = serve("bob")
    bob.save("kept.txt", "by bob")
    bob.stop()
    host.check_output(f"truncate --size=20M {WORK}/sparse && printf end >>{WORK}/sparse")
    sums = host.check_output(SUMS)
    for new in (r"[1-9]\d*", "[0-2]"):  # the hub's database may have noted something
        saved = said(playbook(host, GIVEN, "playbooks/backup.yml"))
        assert re.search(rf"Saved \d+ files, \S+, of which {new} were new or changed", saved), saved[-2000:]

    host.check_output(f"rm {WORK}/sparse && echo other >{WORK}/kept.txt")
    restored = said(playbook(host, GIVEN | {"jupyterhub_home_restore_user": "bob"}, "playbooks/restore.yml"))
    assert "Restored the files of bob" in restored, restored[-2000:]
    assert host.check_output(SUMS) == sums
    bob.spawn()
    bob.enter().raise_for_status()
    assert bob.load("kept.txt") == "by bob"
    bob.stop()
    kept = "docker volume ls --quiet --filter name=jupyterhub-home-kept-"
    assert host.check_output(f"{kept} | wc -l") != "0"
    host.check_output(f"docker volume rm $({kept}) && rm -r {WORK}/sparse {WORK}/kept.txt /srv/saved")
