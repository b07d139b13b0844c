"""Every public variable set, changed and removed, and what the running system shows each time; see table.py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client import wait_until
from conftest import Run, recap
from machine import ROOT, containers
from rows import STEPS, USERS, Row, compose, user
from rows_images import TRUST
from table import ROWS
from testinfra.host import Host
from world import PROJECT, World, answers


@pytest.fixture(scope="module")
def furnished(host: Host) -> None:
    """What the values name is on the machine."""
    host.check_output(
        "cd /srv && mkdir -p first then probe of-alice of-bob && chmod 0777 first then probe of-*"
        " && touch first/first.txt then/then.txt of-alice/alice.txt of-bob/bob.txt"
    )
    for name in ("first", "then"):
        host.check_output(
            f"cat /etc/ssl/certs/ca-certificates.crt >/etc/ssl/{name}.pem && echo '# {name}' >>/etc/ssl/{name}.pem"
        )


@pytest.fixture(scope="module")
def latest(home: World) -> list[World]:
    """The hubs of the runs so far; the last one is there now."""
    return [home]


@pytest.fixture(scope="module", params=STEPS)
def step(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def world(step: str, host: Host, run: Run, latest: list[World], furnished: None) -> Iterator[World]:
    """The hub after one run with a value of each row."""
    for row in ROWS:
        if row.before:
            row.before(latest[-1])
    variables = latest[-1].filled(compose(ROWS, step))
    done = run(variables, "site.yml", "-v", "--diff")
    if done.returncode != 0:
        pytest.fail(f"the run with all variables {step} failed:\n{done.stdout[-3000:]}", pytrace=False)
    latest.append(World(host, variables, done.stdout))
    yield latest[-1]
    latest[-1].stop_servers()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.variable) for row in ROWS])
def test_variable(row: Row, step: str, world: World) -> None:
    seen, expected = row.see(world), row.expected(step)
    setting = f"{row.variable} {step}" + (f" to {row.value(step)!r}" if step != "removed" else "")
    if seen != expected:
        pytest.fail(f"{setting}: the running hub shows {seen!r}, not {expected!r}", pytrace=False)


def test_a_second_run_without_variables_changes_nothing(home: World, run: Run) -> None:
    # The table's users are not the scenario's, and most of them go.
    done = run({"jupyterhub_home_allow_mass_removal": True})
    assert recap(done)[1] == 0, done.stdout[-4000:]
    before = containers(home.host)
    assert recap(run({})) == (0, 0)
    assert containers(home.host) == before


def own_containers(host: Host) -> dict[str, str]:
    """Those of the hub with the defaults; in the second one an idle server may stop at any time."""
    return {name: line for name, line in containers(host).items() if f"/{PROJECT}-" in line}


# --- Variables that cannot be set beside the others ----------------------
def test_no_users(home: World, run: Run) -> None:
    """Without users nobody could log in: the run stops, unless that is what is wanted."""
    done = run({"jupyterhub_home_users": []})
    assert done.returncode != 0 and "jupyterhub_home_users: " in done.stdout
    assert home.lets_in("alice")
    empty = {"jupyterhub_home_users": [], "jupyterhub_home_allow_no_users": True}
    done = run(empty)  # which says what may be in the list, and not that everybody may go
    assert done.returncode != 0 and "jupyterhub_home_allow_mass_removal=true" in done.stdout
    done = run(empty | {"jupyterhub_home_allow_mass_removal": True})
    assert done.returncode == 0, done.stdout[-3000:]
    assert not home.lets_in("alice")
    assert run({}).returncode == 0
    assert home.lets_in("alice")
    assert run({"jupyterhub_home_users": []}).returncode != 0


def test_many_users_at_once(home: World, run: Run) -> None:
    """A lost vault, or another hub's list, does not take everybody off the hub, unless it is meant."""
    allow, new = "jupyterhub_home_allow_mass_removal", "__jupyterhub_home_new_vault"
    others = {"jupyterhub_home_users": [user("mia", admin=True), user("newcomer")]}
    for variables, options, said in [
        (others, [], "2 of the hub's 3 users are not in the list any more, and would be removed: alice, bob."),
        (others, ["--tags=users"], "would be removed: alice, bob."),
        ({"jupyterhub_home_users": USERS, new: True}, ["--tags=always"], "with the users alice, bob, mia."),
    ]:
        done = run(variables, "site.yml", *options)
        assert done.returncode != 0 and said in done.stdout and f"{allow}=true" in done.stdout, done.stdout[-3000:]
        assert "nothing was changed" in done.stdout and recap(done)[0] == 0
    assert home.lets_in("alice") and not home.lets_in("newcomer")

    absent = [user("mia", admin=True), *({"name": name, "state": "absent"} for name in ("alice", "bob"))]
    renamed = [user("mia"), *(user(f"{name}.new", renamed_from=name) for name in ("alice", "bob"))]
    for meant in (absent, renamed):
        done = run({"jupyterhub_home_users": meant}, "site.yml", "--check", "--tags=users")
        assert done.returncode == 0 and "Would be removed from the hub, with" in done.stdout, done.stdout[-3000:]
    done = run({**others, allow: True}, "site.yml", "--tags=users")
    assert done.returncode == 0 and "Removed from the hub, with" in done.stdout, done.stdout[-3000:]
    assert home.lets_in("newcomer") and not home.lets_in("alice")
    assert run({}).returncode == 0
    assert home.lets_in("alice")


def test_a_clone_without_its_vault(home: World, tmp_path: Path) -> None:
    """The list that `make hub` makes up there does not take the place of the hub's, nor does it the next time."""
    for name in ("collections", "inventory", "plugins", "roles", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    for name in ("ansible.cfg", "site.yml", "group_vars/jupyterhub/main.yml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    options = "ansible_connection=community.docker.docker ansible_python_interpreter=/usr/bin/python3"
    (tmp_path / "inventory/home").write_text(f"[jupyterhub]\n{home.host.backend.name} {options}\n", encoding="utf-8")
    # In the environment of the tests, which takes minutes to make.
    code = "import hub; hub.set_up = lambda password: None; raise SystemExit(hub.converge([]))"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path / "scripts", env={**os.environ, "ANSIBLE_CONFIG": f"{tmp_path}/ansible.cfg"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode != 0, done.stdout[-3000:]
        said = " ".join(done.stdout.split())
        assert (
            "the vault was made just now, but this machine has a hub already, with the users alice, bob, mia." in said
        )
        assert "is taken away again" in said and "Log in as" not in said and "log in as" not in said
        assert not (tmp_path / "group_vars/jupyterhub/vault.yml").exists()
        assert not (tmp_path / ".vault-password").exists()
    assert home.lets_in("alice") and home.lets_in("bob")


def test_a_misspelt_former_name(home: World, run: Run) -> None:
    """It would remove the one who is meant, and make an empty new one."""
    done = run({"jupyterhub_home_users": [*USERS[:2], user("bobby", renamed_from="bbo")]})
    assert done.returncode != 0 and "user bobby: renamed_from is 'bbo', a name that nobody has" in done.stdout
    assert "Write: renamed_from: bob" in done.stdout and home.lets_in("bob")


def test_a_renamed_user_finds_the_old_files(home: World, run: Run) -> None:
    def converge(entry: dict[str, Any]) -> None:
        done = run({"jupyterhub_home_users": [*USERS, entry]})
        assert done.returncode == 0, done.stdout[-3000:]

    converge(user("old.name"))
    home.server("old.name").save("thesis.txt", "many words\n")
    home.stop_servers()
    converge(user("new.name", renamed_from="old.name"))
    assert home.server("new.name").load("thesis.txt") == "many words\n"
    assert not home.lets_in("old.name")
    home.stop_servers()
    for _ in range(2):  # the line stays for years
        converge(user("newest", renamed_from="new.name"))
        assert home.server("newest").load("thesis.txt") == "many words\n"
    home.stop_servers()
    converge(user("newest"))
    assert home.server("newest").load("thesis.txt") == "many words\n"
    home.stop_servers()


class Second:
    """Another hub on the machine, below the variables of its last run."""

    def __init__(self, home: World, run: Run) -> None:
        self.home, self.run = home, run
        self.variables: dict[str, Any] = {}
        self.world = home

    def converge(self, **changes: Any) -> World:
        """Run with changed variables, None for one that is removed. Names are without the common prefix."""
        if self.world is not self.home:
            self.world.stop_servers()
        named = {f"jupyterhub_home_{name}": value for name, value in changes.items()}
        self.variables = {name: value for name, value in (self.variables | named).items() if value is not None}
        done = self.run(self.variables)
        assert done.returncode == 0, done.stdout[-3000:]
        self.world = World(self.home.host, self.variables, done.stdout)
        return self.world

    def uninstall(self, **more: Any) -> None:
        done = self.run(self.variables | more, "playbooks/uninstall.yml")
        assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture(scope="module")
def second(home: World, run: Run) -> Iterator[Second]:
    hub = Second(home, run)
    yield hub
    if hub.variables:
        hub.uninstall(jupyterhub_home_delete_data=True)


def image_of(world: World) -> str:
    return str(world.server_container("alice")["Config"]["Image"])


def written_folder(world: World) -> str:
    """The folder on the machine that the hub's settings are mounted from."""
    sources = {mount["Destination"]: mount["Source"] for mount in world.inspect("hub")["Mounts"]}
    return str(Path(sources["/etc/jupyterhub-home"]).parent)


def test_a_second_hub(home: World, second: Second) -> None:
    """Under another name, in another folder, with another user image, beside the first and without touching it."""
    host = home.host
    own = image_of(home)
    base = host.check_output(f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {PROJECT}/base").split()[0]
    for name in ("first", "then"):
        host.check_output(f"docker tag {own} household/lab:{name}")
    before = own_containers(host)
    assert {"hub", "proxy", "user-alice"} <= set(before)

    world = second.converge(
        project="second",
        directory="/opt/second",
        port=8200,
        user_image="household/lab:first",
        base_image=base,  # as the first hub's, so that most layers are there
        idle_timeout=60,
    )
    assert own_containers(host) == before
    assert home.compute("alice", "5 * 4") == "20"
    assert world.compute("alice", "5 * 4") == "20"
    assert image_of(world) == "household/lab:first"
    assert written_folder(world) == "/opt/second"
    assert world.inspect("proxy")["Config"]["Image"].startswith("second/proxy:")
    world.compute("alice", "open('kept.txt', 'w').write('kept')")

    refused = second.run(second.variables | {"jupyterhub_home_project": "third"})
    assert "jupyterhub_home_directory: /opt/second belongs to the project second" in refused.stdout
    assert refused.returncode != 0

    world = second.converge(directory="/opt/moved", user_image="household/lab:then", ca_bundle="")
    assert written_folder(world) == "/opt/moved"
    assert image_of(world) == "household/lab:then"
    assert world.compute("alice", TRUST) == "of the image"
    assert world.server("alice").load("kept.txt") == "kept"

    world = second.converge(user_image=None, ca_bundle=None)
    assert image_of(world).startswith("second/user:")
    assert world.compute("alice", TRUST) == "of the machine"
    assert own_containers(host) == before
    assert written_folder(home) == "/opt/jupyterhub-home"


def test_free_disk(home: World, run: Run) -> None:
    """More than there is stops a run that is to build before it changes anything, and no other one."""
    assert recap(run({}))[1] == 0  # what other tests have left
    before = own_containers(home.host)
    wanted = "jupyterhub_home_free_disk_min"
    done = run({wanted: "900T", "jupyterhub_home_user_packages": ["iniconfig"]})
    assert done.returncode != 0 and recap(done)[0] == 0
    assert re.search(rf"{wanted}: only [0-9.]+G are free for images and volumes, not 900T\.", done.stdout)
    assert recap(run({wanted: "900T"})) == (0, 0)
    assert (
        recap(run({wanted: "900T", "jupyterhub_home_user_packages": ["iniconfig"]}, "site.yml", "--tags=users"))[1] == 0
    )
    assert recap(run({wanted: "1M"})) == (0, 0)
    assert own_containers(home.host) == before


def test_free_disk_where_images_are(host: Host, run: Run) -> None:
    """In the engine's own folder, or in containerd's; molecule/containerd is about that."""
    store = host.check_output("docker info --format '{{json .DriverStatus}}'")
    containerd = "io.containerd.snapshotter.v1" in store
    assert containerd == (host.backend.name != "jhh-convergence"), store
    done = run({"jupyterhub_home_free_disk_min": "900T", "jupyterhub_home_user_packages": ["iniconfig"]})
    assert f" Looked for in /var/lib/{'containerd' if containerd else 'docker'}." in " ".join(done.stdout.split())


def test_trial(home: World, run: Run) -> None:
    """Without it, what cannot work is taken; the next run with it says so before it does anything else."""
    page, trial = "jupyterhub_home_default_url", "jupyterhub_home_trial"
    before = own_containers(home.host)
    refused = run({page: "/nowhere"})
    assert refused.returncode != 0 and "is a page that servers do not have (404)" in refused.stdout
    assert recap(run({page: "/nowhere", trial: False}, "site.yml")) == (1, 0)
    assert recap(run({page: "/nowhere", trial: False}, "site.yml")) == (0, 0)
    refused = run({page: "/nowhere", trial: True})
    assert refused.returncode != 0 and "is a page that servers do not have (404)" in refused.stdout
    assert recap(run({}, "site.yml")) == (1, 0)
    assert own_containers(home.host) == before


@pytest.fixture
def bare_inventory(host: Host, tmp_path: Path) -> Iterator[Path]:
    """The inventory of a machine like this one, on which there is no Docker."""
    name = f"{host.backend.name}-bare"
    form = ["docker", "inspect", "--format", "{{.Config.Image}}", host.backend.name]
    image = subprocess.run(form, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    purge = "dpkg --purge docker-cli docker.io docker-compose docker-buildx"
    mirror = "mkdir /srv/mirror && touch /srv/mirror/gpg && cd /srv/mirror && exec python3 -m http.server 8001"
    command = ["docker", "run", "--detach", "--init", "--name", name, image, "sh", "-c", f"{purge} && {mirror}"]
    try:
        subprocess.run(command, check=True, stdout=subprocess.PIPE)
        there = ["docker", "exec", name, "test", "-e", "/srv/mirror/gpg"]
        wait_until(lambda: subprocess.run(there, check=False).returncode == 0, "machine without Docker")
        text = (ROOT / "molecule/convergence/inventory/hosts.yml").read_text(encoding="utf-8")
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(text.replace(host.backend.name, name), encoding="utf-8")
        yield inventory
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=True, stdout=subprocess.PIPE)


def test_docker_source(home: World, run: Run, bare_inventory: Path) -> None:
    """Where there is no Docker it says what is installed; where there is, nothing is."""
    before = own_containers(home.host)

    def foretell(source: str | None) -> subprocess.CompletedProcess[str]:
        variables = {"__jupyterhub_home_docker_repository": "http://127.0.0.1:8001"}
        if source:
            variables["jupyterhub_home_docker_source"] = source
        options = (f"--inventory={bare_inventory}", "--limit=*-bare", "--tags=docker", "--check", "--diff", "-v")
        return run(variables, "site.yml", *options)

    refused = foretell("none")
    assert refused.returncode != 0
    assert "jupyterhub_home_docker_source: it is 'none', but this machine has no Docker." in refused.stdout
    foretold = foretell("docker")
    assert foretold.returncode == 0, foretold.stdout[-3000:]
    assert "would install docker-ce, docker-ce-cli" in " ".join(foretold.stdout.split())
    foretold = foretell(None)
    assert foretold.returncode == 0, foretold.stdout[-3000:]
    assert re.search(r"Inst docker\.io ", foretold.stdout) and "docker-ce" not in foretold.stdout

    for source in ("none", "docker"):
        assert recap(run({"jupyterhub_home_docker_source": source}, "site.yml", "--tags=docker")) == (0, 0)
    assert own_containers(home.host) == before


def test_removing_the_second_hub(home: World, second: Second) -> None:
    """After an idle server of it has stopped. Its data goes only when told, and the first hub's never does."""
    world, host = second.world, home.host
    assert world is not home, "there is no second hub"
    client = world.server("alice")
    wait_until(lambda: client.server() is None, "server idle for 60 s stopped", timeout=180)
    world.kernels, world.clients = {}, {}
    before = own_containers(host)

    def volumes(project: str) -> list[str]:
        return sorted(set(host.check_output(f"docker volume ls --quiet --filter name=^{project}-").split()))

    own, others = volumes(PROJECT), volumes("second")
    assert "second-data" in others and "second-user-alice" in others
    files = "find /opt/jupyterhub-home -type f -exec sha256sum {} + | sort"
    folder = host.check_output(files)
    refused = second.run({"jupyterhub_home_project": "second"}, "playbooks/uninstall.yml")  # without its directory
    assert refused.returncode != 0
    assert f"jupyterhub_home_directory: /opt/jupyterhub-home belongs to the project {PROJECT}" in refused.stdout
    assert "Write: jupyterhub_home_directory: /opt/moved, or" in refused.stdout
    second.uninstall()
    assert host.check_output(files) == folder
    assert volumes("second") == [name for name in others if name != "second-sockets"]
    assert not answers(f"{world.url}hub/health")
    assert not host.file("/opt/moved").exists
    second.uninstall(jupyterhub_home_delete_data=True)
    assert volumes("second") == []
    assert volumes(PROJECT) == own
    assert own_containers(host) == before
    assert home.compute("alice", "5 * 4") == "20"
    second.variables = {}
