"""What somebody changes by hand is found, said and repaired by the next run, and nobody's notebook is disturbed."""

from __future__ import annotations

import json

import pytest
from client import LoginRefused
from machine import containers
from notes import foretold
from rows import USERS
from story import Change, Story, changed_tasks
from testinfra.host import Host

ROLE = "jupyterhub_home : "
ACCOUNTS = f"{ROLE}users | Make accounts, the hub and home volumes match the list"
IMAGES = f"{ROLE}images | Build or pull what is missing (minutes on the first run)"
FILES = f"{ROLE}files | Write the compose project, the hub's settings and secrets"
REPAIR = f"{ROLE}hub | Repair what Compose would not"
START = f"{ROLE}hub | Start what changed"
P = "jupyterhub-home"
FOLDER = f"/opt/{P}"
VOLUMES = "/var/lib/docker/volumes"


def on(host: Host, *commands: str) -> str:
    """What commands print that somebody types on the machine, one after the other."""
    return "".join(host.check_output(command.format(P=P, FOLDER=FOLDER)) for command in commands)


def flat(output: str) -> str:
    """An output in one line; Ansible folds long ones."""
    return " ".join(output.split())


def both_say(change: Change, *lines: str) -> None:
    """Each line is in the output of the run, and in the conditional in that of the try."""
    for line in lines:
        assert foretold(line) in flat(change.tried), f"the try did not say: {foretold(line)}\n{change.tried[-3000:]}"
        assert line in flat(change.output), f"the run did not say: {line}\n{change.output[-3000:]}"


def labels(host: Host, kind: str, name: str) -> dict[str, str]:
    """Of a network or volume."""
    found: dict[str, str] = json.loads(
        host.check_output(f"docker {kind} inspect --format '{{{{json .Labels}}}}' {name}")
    )
    return found


# --- Containers and images ----------------------------------------------------------------------------------------
def test_removed_and_stopped(story: Story, host: Host) -> None:
    on(host, "docker rm --force {P}-hub", "docker stop {P}-proxy")
    change = story.change(cuts=True)
    assert change.tasks == [START]
    both_say(
        change,
        "Found: the container jupyterhub-home-hub was gone.",
        "Found: the container jupyterhub-home-proxy was exited.",
    )


def test_paused_and_renamed(story: Story, host: Host) -> None:
    """The same containers go on, with every websocket."""
    ids = on(host, "docker ps --quiet --no-trunc")
    on(host, "docker pause {P}-hub {P}-proxy", "docker rename {P}-proxy elsewhere")
    change = story.change()
    assert change.tasks == [REPAIR]
    both_say(
        change,
        "Found: the container jupyterhub-home-hub was paused.",
        "Found: the container jupyterhub-home-proxy was renamed to elsewhere.",
    )
    assert on(host, "docker ps --quiet --no-trunc") == ids


def test_disconnected_from_the_network(story: Story, host: Host) -> None:
    for name in ("hub", "user-alice"):
        on(host, f"docker network disconnect {P} {P}-{name}")
    change = story.change(restarts={"hub"}, cuts=True)
    assert change.tasks == [REPAIR, START]
    both_say(
        change,
        "Found: the container jupyterhub-home-hub was not in its network.",
        "Found: the server jupyterhub-home-user-alice was not in the network.",
        "Connected to the network: jupyterhub-home-user-alice",
    )


def test_a_folder_replaced_by_a_copy(story: Story, host: Host) -> None:
    """Containers would go on with the one before, and know of no change of users."""
    on(host, "cp -a {FOLDER}/users /root/copy && rm -r {FOLDER}/users && mv /root/copy {FOLDER}/users")
    change = story.change(restarts={"hub", "guard"})
    assert change.tasks == [REPAIR, START]
    still = f"still had what {FOLDER}/users was before."
    both_say(change, *(f"Found: the container {P}-{name} {still}" for name in ("hub", "guard")))
    story.serve("bob").stop()


def test_images_removed(story: Story, host: Host) -> None:
    """Even by force, while they are in use."""
    tags = on(host, "docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' '{P}/*'").split()
    used = [tag for tag in tags if "/hub:" in tag or "/user:" in tag]
    before = containers(host)
    on(host, f"docker rmi --force {' '.join(used)}")
    done = story.run({"jupyterhub_home_users": USERS}, "site.yml", "--check")
    assert done.returncode == 0 and IMAGES in changed_tasks(done.stdout), done.stdout[-3000:]
    assert "Found: the container jupyterhub-home-hub ran on an image that was removed or replaced." in done.stdout
    done = story.run({"jupyterhub_home_users": USERS})
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(on(host, "docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' '{P}/*'").split()) == set(tags)
    after = containers(host)
    assert [after[name] for name in ("proxy", "user-alice")] == [before[name] for name in ("proxy", "user-alice")]
    done = story.run({"jupyterhub_home_users": USERS})
    assert done.returncode == 0 and changed_tasks(done.stdout) == [], done.stdout[-3000:]
    story.still_counting()


# --- Network and volume -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", ["gone", "made anew"])
def test_the_network(story: Story, host: Host, way: str) -> None:
    right = labels(host, "network", P)
    for name in ("hub", "proxy", "user-alice"):
        on(host, f"docker network disconnect {P} {P}-{name}")
    on(host, "docker network rm {P}")
    if way != "gone":
        on(host, "docker network create {P}")
    if way == "made anew":
        for name in ("hub", "proxy", "user-alice --alias desk"):
            container, *alias = name.split(maxsplit=1)
            on(host, f"docker network connect {' '.join(alias)} {P} {P}-{container}")
    change = story.change(restarts={"hub", "proxy"}, cuts=True)
    assert change.tasks == [REPAIR, START]
    both_say(
        change,
        f"Found: the network jupyterhub-home {'was gone' if way == 'gone' else 'had other labels'}.",
        "Connected to the network: jupyterhub-home-user-alice",
    )
    assert labels(host, "network", P) == right
    networks = json.loads(on(host, "docker inspect {P}-user-alice"))[0]["NetworkSettings"]["Networks"]
    assert list(networks) == [P] and ("desk" in networks[P]["Aliases"]) is (way == "made anew")


def relabelled(host: Host) -> None:
    """The hub's volume as somebody has it who put a copy back."""
    on(
        host,
        "docker rm --force {P}-hub",
        f"cp --archive {VOLUMES}/{{P}}-data/_data /root/copy",
        "docker volume rm {P}-data",
        "docker volume create {P}-data",
        f"rmdir {VOLUMES}/{{P}}-data/_data && mv /root/copy {VOLUMES}/{{P}}-data/_data",
    )


def of_the_hub(host: Host) -> str:
    """The hub's secret and the number of its database's file, which a copy would not have."""
    return on(
        host, f"cd {VOLUMES}/{{P}}-data/_data && sha256sum jupyterhub_cookie_secret && stat -c %i jupyterhub.sqlite"
    )


def test_the_volume_has_other_labels(story: Story, host: Host) -> None:
    right = labels(host, "volume", f"{P}-data")
    relabelled(host)
    before = of_the_hub(host)
    change = story.change()
    assert change.tasks == [REPAIR, START]
    both_say(change, "Found: the volume jupyterhub-home-data had other labels.")
    assert labels(host, "volume", f"{P}-data") == right
    assert of_the_hub(host) == before
    assert f"{P}-data-aside" not in on(host, "docker volume ls --quiet").split()


def test_a_run_was_killed_while_it_moved_the_volume(story: Story, host: Host) -> None:
    """The hub must not be started on an empty one."""
    before = of_the_hub(host)
    on(
        host,
        "docker rm --force {P}-hub",
        "docker volume create --label jupyterhub-home.project={P} {P}-data-aside",
        f"rmdir {VOLUMES}/{{P}}-data-aside/_data && mv {VOLUMES}/{{P}}-data/_data {VOLUMES}/{{P}}-data-aside/_data",
        "docker volume rm {P}-data",
    )
    done = story.run({"jupyterhub_home_users": USERS})
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Found: a run had stopped while it moved the volume jupyterhub-home-data." in flat(done.stdout)
    assert of_the_hub(host) == before
    assert f"{P}-data-aside" not in on(host, "docker volume ls --quiet").split()
    story.still_counting()


# --- Accounts -----------------------------------------------------------------------------------------------------
def test_useradd_in_the_containers(host: Host, story: Story) -> None:
    for name in ("hub", "proxy", "guard"):
        done = host.run(f"docker exec --user root {P}-{name} useradd eve")
        assert done.rc != 0 and "eve" not in host.check_output(f"docker exec {P}-{name} cat /etc/passwd")
    assert story.refuses("eve", "")


def test_accounts_added_and_changed_by_hand(host: Host, story: Story) -> None:
    """On the machine, in the files of the accounts, and in what they may do."""
    word = host.check_output(
        "python3 -c \"import ctypes; c = ctypes.CDLL('libcrypt.so.1').crypt; "
        "c.restype = ctypes.c_char_p; print(c(b'eve-test-secret', b'$6$saltsalt').decode())\""
    ).strip()
    host.check_output(f"id eve || useradd --password '{word}' eve")
    assert story.refuses("eve")
    on(
        host,
        "echo 'eve:x:100900:100000::/nonexistent:/usr/sbin/nologin' >>{FOLDER}/users/passwd",
        f"echo 'eve:{word}:::::::' >>{{FOLDER}}/users/shadow",
        'sed -i \'/"bob"/,/}}/s/"admin": false/"admin": true/\' {FOLDER}/users/users.json',
    )
    with pytest.raises(LoginRefused):
        story.client("eve")
    change = story.change()
    assert change.tasks == [ACCOUNTS]
    both_say(change, "Found: users/passwd, users/shadow and users/users.json were edited.", "Accounts removed: eve")
    assert story.refuses("eve") and story.client("bob").get("/hub/admin").status_code == 403


# --- Files --------------------------------------------------------------------------------------------------------
def test_files_edited(story: Story, host: Host) -> None:
    """The hub is made anew, for it might have been started with the edits; here it was."""
    on(
        host,
        "echo \"c.JupyterHub.template_vars = {{'announcement': 'by hand'}}\" >>{FOLDER}/hub/extra.py",
        "sed -i 's/2G/1G/' {FOLDER}/hub/spawner.json",
        "echo '# by hand' | tee -a {FOLDER}/compose.yml {FOLDER}/images/Dockerfile",
        "rm {FOLDER}/images/proxy/entry.js",
        "chmod 666 {FOLDER}/hub/hub.json && chmod 777 {FOLDER}/secrets",
        "echo stray >{FOLDER}/hub/stray.py",
        "docker restart {P}-hub",
    )
    change = story.change(restarts={"hub", "guard"})
    assert change.tasks == [FILES, START]
    both_say(
        change,
        "Found: jupyterhub-home/secrets and hub/hub.json were given another owner or mode.",
        "Found: compose.yml, hub/extra.py, hub/spawner.json and images/Dockerfile were edited.",
        "Found: images/proxy/entry.js was gone.",
        "Found: hub/stray.py was put there by somebody else.",
    )
    assert "by hand" not in story.client("bob").get("/hub/home").text
    story.settled()


@pytest.mark.parametrize("taken_back", [False, True])
def test_compose_file_edited_and_applied(story: Story, host: Host, taken_back: bool) -> None:
    compose = "docker compose --file {FOLDER}/compose.yml up --detach --no-build --pull never --quiet-pull hub"
    on(
        host,
        "cp --archive {FOLDER}/compose.yml /root/compose.yml",
        "sed -i 's/max-size: 10m/max-size: 11m/' {FOLDER}/compose.yml",
        compose,
        *(["cp --archive /root/compose.yml {FOLDER}/compose.yml"] if taken_back else []),
    )
    change = story.change(restarts={"hub"})
    assert change.tasks == ([] if taken_back else [FILES]) + [START]
    both_say(change, "Found: the container jupyterhub-home-hub was made with other settings.")


def test_secrets_edited_and_removed(story: Story, host: Host) -> None:
    on(host, "echo easy >{FOLDER}/secrets/proxy-token", "rm {FOLDER}/hub/users-token")
    change = story.change(restarts={"hub", "proxy"}, cuts=True)
    assert change.tasks == [FILES, START]
    both_say(change, "Found: secrets/proxy-token was edited.", "Found: hub/users-token was gone.")
    assert len(on(host, "cat {FOLDER}/secrets/proxy-token").strip()) == 64


def test_a_change_by_variable_is_not_found(story: Story) -> None:
    change = story.change(memory_limit="1G")
    assert change.tasks == [FILES] and "Found:" not in change.output
    done = story.run({"jupyterhub_home_users": USERS})
    assert changed_tasks(done.stdout) == [FILES] and "Found:" not in done.stdout
