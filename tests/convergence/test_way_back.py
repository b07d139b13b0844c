"""A hub that is made anew and does not work makes way for the one before; a notebook computes all the while."""

from __future__ import annotations

import base64
import subprocess
from typing import Any

import requests
from client import wait_until
from machine import ROOT, containers, playbook_command
from rows import USERS
from story import DATABASE, Story, changed_tasks
from test_drift import FOLDER, P, flat, on
from testinfra.host import Host

VARIABLES = {"jupyterhub_home_users": USERS}
# When it has its own database, which a trial and the guard have not: after the migration, in the middle of its start.
BREAKS = """
import os
from jupyterhub.app import JupyterHub
def broken(app):
    raise RuntimeError('the cellar is full of water')
if os.path.exists('/srv/jupyterhub/jupyterhub.sqlite'):
    JupyterHub.init_hub = broken
"""
# The hub is killed in the middle of a migration: the tables are new, and the database says that they are old.
DIES = """
import os, signal, sqlite3
from jupyterhub import dbutil
database, upgrade = '/srv/jupyterhub/jupyterhub.sqlite', dbutil.upgrade
def dies(*given, **named):
    version = sqlite3.connect(database).execute('select version_num from alembic_version').fetchone()
    upgrade(*given, **named)
    with sqlite3.connect(database) as half:
        half.execute('update alembic_version set version_num = ?', version)
    os.kill(os.getpid(), signal.SIGKILL)
if os.path.exists(database):
    dbutil.upgrade = dies
"""
RESTARTS = "docker inspect --format '{{{{.RestartCount}}}}' {P}-hub"
HEAD = "f460b0348206"  # the last revision of JupyterHub's database
# A hub of before, which has our own code, too: it lacks two of the names that this patches.
HUB_OF_5 = r"""FROM {image}
USER root
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /tmp/pip && /tmp/pip/bin/pip --python /opt/hub/bin/python install -q --no-deps jupyterhub==5.5.1 \
    && cd /opt/hub/lib/python3*/site-packages/jupyterhub \
    && printf '\nclass SpawnException(Exception):\n    pass\n' >>spawner.py \
    && printf '\nUserServerAPIHandler.get_server_json_body = UserServerAPIHandler.get_json_body\n' \
        >>apihandlers/users.py
USER 58081:58081
"""


def sql(host: Host, statement: str, *values: str) -> str:
    """What a statement on the hub's database gives first."""
    program = (
        f"import sqlite3; c = sqlite3.connect('{DATABASE}'); r = c.execute('{statement}', {list(values)}).fetchone(); "
        "c.commit(); print(r and r[0])"
    )
    found: str = host.check_output(f'python3 -c "{program}"')
    return found


def revision(host: Host, new: str = "") -> str:
    """Of the hub's database, which gets a new one first."""
    if new:
        sql(host, "update alembic_version set version_num = ?", new)
    return sql(host, "select version_num from alembic_version")


def ran(story: Story, *, fails: bool = False, **variables: Any) -> str:
    """What a run says, on one line, through which the bystander's kernel has gone on."""
    done = story.run(VARIABLES | {f"jupyterhub_home_{name}": value for name, value in variables.items()})
    assert (done.returncode != 0) is fails, done.stdout[-6000:]
    story.still_counting()
    return flat(done.stdout)


def killed(host: Host, **variables: Any) -> None:
    """A run that is killed when it has made the hub anew, and does not know yet whether it works."""
    given = VARIABLES | {f"jupyterhub_home_{name}": value for name, value in variables.items()}
    command, environment = playbook_command(host, given, shared=False)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert any("users | Make accounts" in line for line in run.stdout)
        run.kill()


def state(host: Host) -> dict[str, str]:
    """Of the hub, what must come back; the record of files may have to look again."""
    find = "find . -type f ! -name written.json -exec sha256sum {} +"
    return {
        "files": host.check_output(f"cd {FOLDER} && {find} | sort"),
        "image": host.check_output(f"docker inspect --format '{{{{.Image}}}}' {P}-hub"),
        "images": on(host, "docker image ls --no-trunc --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}' | sort"),
        "database": revision(host),
        "copies": host.check_output(f"ls -d {DATABASE}* | grep -v journal"),
    }


def went_back(story: Story, host: Host) -> str:
    """What a run says that breaks the hub, and after which all is as before."""
    before, servers = state(host), containers(host)
    output = ran(story, fails=True, extra_config=BREAKS)
    assert "The new hub does not work, and the one from before is back, as it was." in output, output[-6000:]
    assert "the cellar is full of water" in output and "other settings (compose.yml" in output, output[-4000:]
    assert state(host) == before
    assert {name: what for name, what in containers(host).items() if name not in ("hub", "guard")} == {
        name: what for name, what in servers.items() if name not in ("hub", "guard")
    }
    assert story.client("bob").get("/hub/home").ok
    return output


def test_settings_that_pass_the_trial_and_break_the_hub(story: Story, host: Host) -> None:
    output = went_back(story, host)
    assert "database" not in output.partition("Tried:")[2].partition("Why not:")[0]
    # The next run has the hub of the variables, and no word of this.
    assert "Found:" not in ran(story, extra_config="c.JupyterHub.active_server_limit = 30\n")
    assert "Found:" not in ran(story)
    assert changed_tasks(story.run(VARIABLES).stdout) == []


def test_a_run_that_was_killed_is_mended(story: Story, host: Host) -> None:
    """The one after it goes on, or back if that hub does not work either."""
    whole = state(host)
    killed(host, extra_config=BREAKS)
    assert "Found: a run had stopped before the hub that it made was known to work." in ran(story)
    assert state(host) == whole
    killed(host, extra_config=BREAKS)
    output = ran(story, fails=True, extra_config=BREAKS)
    assert "is back, as it was" in output and "the cellar is full of water" in output, output[-4000:]
    assert state(host) == whole
    ran(story)


def test_a_newer_database_is_refused(story: Story, host: Host) -> None:
    on(host, "docker stop {P}-hub")
    revision(host, "f7f7f7f7f7f7")
    before = state(host)
    output = ran(story, fails=True, extra_config="c.JupyterHub.active_server_limit = 30\n")
    assert "of a newer JupyterHub than the hub's image has" in output and "f7f7f7f7f7f7" in output, output[-3000:]
    assert state(host) == before
    revision(host, HEAD)
    ran(story)


def version(host: Host) -> str:
    """Of the JupyterHub that runs."""
    found: str = host.check_output(f"docker exec {P}-hub jupyterhub --version")
    return found.strip()


def test_jupyterhub_5_becomes_6(story: Story, host: Host) -> None:
    """With users, groups, tokens, a running server and a kernel that computes; the first time it is taken back."""
    image = host.check_output(f"docker inspect --format '{{{{.Config.Image}}}}' {P}-hub")
    today = host.check_output(f"docker image inspect --format '{{{{.Id}}}}' {image}")
    text = base64.b64encode(HUB_OF_5.format(image=image).encode()).decode()
    secrets = "--secret id=ca,src=/etc/ssl/certs/ca-certificates.crt --secret id=pip,src=$(ls /etc/pip.conf || mktemp)"
    assert story.bystander and story.kernel
    story.kernel.close()
    story.bystander.stop()
    host.check_output(
        f"docker tag {image} of-today && echo {text} | base64 -d "
        f"| docker build -qt {image} {secrets} - && docker stop {P}-hub"
    )
    host.check_output(f"mkdir /root/of-6 && mv {DATABASE}* /root/of-6")
    family = {"jupyterhub_home_users": [{**user, "groups": ["family"]} for user in USERS]}
    done = story.run(family)
    assert done.returncode == 0, done.stdout[-6000:]
    assert version(host) == "5.5.1" and revision(host) != HEAD
    story.start_counting("alice")
    story.count = 0
    token = story.client("mia").hub("POST", "/users/mia/tokens", json={"note": "kept"}).json()["token"]
    users, of_5, before = story.rows(), revision(host), state(host)
    assert users["alice"]["groups"] == {"family"} and users["mia"]["admin"]

    on(host, f"docker tag {today} {image}")
    done = story.run(family | {"jupyterhub_home_extra_config": BREAKS})
    output = flat(done.stdout)
    assert done.returncode != 0 and "is back, as it was" in output, output[-6000:]
    assert f"a database migrated from revision {of_5} to {HEAD}" in output, output[-6000:]
    now = state(host)
    assert {what: now[what] for what in ("database", "copies", "files", "image")} == {
        what: before[what] for what in ("database", "copies", "files", "image")
    }
    assert version(host) == "5.5.1" and story.client("mia").get("/hub/home").ok
    story.still_counting()

    on(host, f"docker tag {today} {image}")
    killed(host, users=family["jupyterhub_home_users"], extra_config=DIES)
    wait_until(lambda: int(on(host, RESTARTS)) > 0, "the hub killed in the middle of its migration")
    assert revision(host) == of_5 and state(host)["copies"] != before["copies"]
    done = story.run(family)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Found: a run had stopped before the hub that it made was known to work." in flat(done.stdout)
    assert version(host).startswith("6.") and revision(host) == HEAD and story.rows() == users
    assert state(host)["copies"] != before["copies"]  # JupyterHub's own, of before the migration
    story.still_counting()
    answer = requests.get(f"{story.url}/hub/api/users/alice", headers={"Authorization": f"token {token}"}, timeout=30)
    assert answer.ok and answer.json()["servers"][""]["ready"], answer.text
    bob = story.serve("bob")
    bob.stop()
    host.check_output("docker image rm of-today")
    again = story.run(family)
    assert again.returncode == 0 and changed_tasks(again.stdout) == [], again.stdout[-3000:]
