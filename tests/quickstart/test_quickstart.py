"""The README's own commands, in machines with as little as they ask for; see molecule/quickstart.

The tests of a machine build on each other in their order: the first runs the commands.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import testinfra
from client import HubClient, HubError, wait_until
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]

SUDO_PASSWORD = "kim-sudo-secret"


def readme_commands() -> str:
    """What the README has a newcomer type: the one fenced block below the mark."""
    blocks = re.findall(r"^<!-- quickstart -->\n```sh\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 1, "the README needs one ```sh block below a line <!-- quickstart -->"
    return str(blocks[0])


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose HEAD is the working tree as `git add --all` would commit it."""
    bare = tmp_path_factory.mktemp("snapshot") / "repo.git"
    person = {f"GIT_{role}_{key}": "test" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}

    def git(*arguments: str) -> str:
        environment = {**os.environ, **person, "GIT_DIR": str(bare), "GIT_WORK_TREE": str(ROOT)}
        done = subprocess.run(
            ("git", *arguments), cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    subprocess.run(("git", "clone", "--quiet", "--bare", ROOT, bare), check=True)
    git("read-tree", "HEAD")
    git("add", "--all")
    git("update-ref", "HEAD", git("commit-tree", git("write-tree"), "-p", "HEAD", "-m", "Working tree"))
    return bare


@dataclass
class Installed:
    """A machine on which the commands ran: its user, root's view of it, where the clone is, what they gave."""

    user: str
    machine: str
    root: Host
    checkout: str
    output: str
    status: int
    seconds: float
    before: dict[str, set[str]]

    @property
    def login(self) -> tuple[str, str]:
        """The name and the password that were printed."""
        found = re.search(r"^Log in as user (\S+), password (\S+)$", self.output, re.M)
        assert found, self.output[-3000:]
        return found[1], found[2]

    @property
    def urls(self) -> list[str]:
        """The addresses that were printed."""
        return re.findall(r"^ *- (http://\S+)$", self.output, re.M)

    def exec(self, user: str, folder: str) -> list[str]:
        """The beginning of a command that runs another one in the machine."""
        return ["docker", "exec", "--interactive", "--user", user, "--workdir", folder, self.machine]


# What is left of Docker when its packages are purged.
DOCKERS = (
    "/etc/cni", "/etc/docker", "/opt/cni", "/opt/containerd", "/run/", "/var/lib/containerd", "/var/lib/docker",
)  # fmt: skip


def lists(root: Host) -> dict[str, set[str]]:
    """What a run could leave on a machine, by kind; without what apt, Docker, logs and caches keep for themselves."""
    own = " -o ".join(f"-path {place}" for place in ("/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dpkg"))
    commands = {
        "packages": "dpkg-query --show --showformat '${Package} ${db:Status-Abbrev}\\n'",
        "files": f"find /etc /opt /usr/local /var -xdev \\( {own} \\) -prune -o -print; ls -A /run | sed s,^,/run/,",
        "units": "systemctl list-units --all --plain --no-legend 'jupyterhub*' 2>/dev/null",
        "rules": "nft list tables",
    } | {kind: f"docker {kind} ls --quiet" for kind in ("container", "image")} | {
        "networks": "docker network ls --format '{{.Name}}'", "volumes": "docker volume ls --quiet",
        "build cache": "docker system df --format '{{.Type}} {{.Size}}' | grep Build",
    }  # fmt: skip
    return {kind: set(root.run(command).stdout.splitlines()) for kind, command in commands.items()}


def install(name: str, user: str, snapshot: Path) -> Installed:
    """A machine after the README's commands, which get this working tree for the address that they clone."""
    root = testinfra.get_host(f"docker://{name}")
    home = root.user(user).home
    commands = readme_commands()
    cloned = re.findall(r"^git clone (\S+)$", commands, re.M)[0]
    folder = re.findall(r"^cd (\S+)$", commands, re.M)[0]
    subprocess.run(("docker", "cp", "--quiet", snapshot, f"{name}:/srv/repo.git"), check=True)
    root.run_expect([0], f"chown -R {user}: /srv/repo.git")
    root.run_expect([0], f"git config --system url./srv/repo.git.insteadOf {cloned}")
    machine = Installed(user, name, root, f"{home}/{folder}", "", 0, 0, lists(root))
    begin = time.monotonic()
    done = subprocess.run(
        [*machine.exec(user, home), "bash", "-e"],
        input=commands, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    machine.output, machine.status, machine.seconds = done.stdout, done.returncode, time.monotonic() - begin
    return machine


@pytest.fixture(scope="session")
def installations(pytestconfig: pytest.Config, snapshot: Path) -> Iterator[dict[str, Future[Installed]]]:
    """All machines by name; the README's commands run on them side by side, and may fail."""
    backends = [host.backend for host in testinfra.get_hosts(pytestconfig.getoption("hosts").split(","))]
    with ThreadPoolExecutor(len(backends)) as pool:
        yield {one.name: pool.submit(install, one.name, one.user or "root", snapshot) for one in backends}


@pytest.fixture(scope="module")
def installed(host: Host, installations: dict[str, Future[Installed]]) -> Installed:
    """The machine after the README's commands."""
    machine = installations[host.backend.name].result()
    print(f"{machine.user}: the README's commands took {machine.seconds:.0f} s")
    assert machine.status == 0, machine.output[-6000:]
    return machine


def test_no_alarm_is_printed(installed: Installed) -> None:
    assert not re.search(r"fatal:|FAILED|\[(ERROR|WARNING|DEPRECATION WARNING)\]", installed.output), installed.output


def test_engine_runs_as_the_machine_starts_services(installed: Installed) -> None:
    systemd = installed.root.file("/run/systemd/system").exists
    assert systemd == (installed.user != "root"), "the machine is not the one that this test is about"
    assert (installed.root.file("/proc/1/comm").content_string == "systemd\n") == systemd
    version = installed.root.check_output("docker version --format '{{.Server.Version}}'")
    assert version.startswith("26.1" if systemd else "20.10"), "the machine's Debian is not the one that it should be"


def test_printed_login_opens_every_printed_address(installed: Installed) -> None:
    name, password = installed.login
    assert name == ("admin" if installed.user == "root" else installed.user)
    assert installed.urls
    for url in installed.urls:
        client = HubClient(url, name, password)
        client.login()
    assert client.model()["admin"]
    client.spawn()
    client.enter().raise_for_status()
    assert client.run("5 * 4") == "20"
    client.stop()


def test_vault_is_encrypted_and_private(installed: Installed) -> None:
    vault = installed.root.file(f"{installed.checkout}/group_vars/jupyterhub/vault.yml")
    assert vault.content_string.startswith("$ANSIBLE_VAULT;")
    for file in (vault, installed.root.file(f"{installed.checkout}/.vault-password")):
        assert (file.user, file.mode) == (installed.user, 0o600)


def test_password_is_nowhere_else(installed: Installed) -> None:
    # From a file, not as an argument: the search would find itself.
    installed.root.run_expect([0], f"umask 077 && printf '%s\\n' {shlex.quote(installed.login[1])} >/root/needle")
    for place in (
        "docker ps --all --quiet | xargs docker inspect",
        "docker ps --all --quiet | xargs -n 1 docker logs 2>&1",
        "docker image ls --quiet | xargs docker image history --no-trunc",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
    ):
        found = installed.root.run(f"{{ {place}; }} | grep -caFf /root/needle")
        assert found.stdout.strip() == "0", place
    readable = installed.root.run(
        "find / /tmp /run /dev/shm -xdev -type f -perm -004 -exec grep -lsFf /root/needle {} +"
    )
    assert readable.stdout == ""


def run_again(installed: Installed, make: str = "make hub") -> str:
    """What another `make` prints; the ordinary user has to give a password to sudo this time."""
    if installed.user == "root":
        return subprocess.run(
            [*installed.exec("root", installed.checkout), "sh", "-c", make], capture_output=True, text=True, check=True
        ).stdout
    installed.root.run_expect([0], f"echo {installed.user}:{SUDO_PASSWORD} | chpasswd")
    installed.root.run_expect([0], f"echo '{installed.user} ALL=(ALL) ALL' >/etc/sudoers.d/{installed.user}")
    # script(1) gives it a terminal, where Ansible asks.
    command = [*installed.exec(installed.user, installed.checkout), "script", "-qefc", make, "/dev/null"]
    shown = b""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        while b"BECOME password: " not in shown and (some := os.read(process.stdout.fileno(), 4096)):
            shown += some
        process.stdin.write(f"{SUDO_PASSWORD}\n".encode())
        process.stdin.flush()
        shown += process.stdout.read()
    assert process.returncode == 0, shown.decode()
    assert b"BECOME password: " in shown
    assert SUDO_PASSWORD.encode() not in shown
    return shown.decode()


def test_second_run_changes_nothing(installed: Installed) -> None:
    vault = f"{installed.checkout}/group_vars/jupyterhub/vault.yml"
    before = installed.root.file(vault).sha256sum
    containers = installed.root.run("docker ps --no-trunc --quiet").stdout
    output = run_again(installed)
    assert re.search(r"\bchanged=0\b.*\bfailed=0\b", output), output
    assert set(installed.urls) <= set(re.findall(r"http://[^\s\x1b]+", output))
    assert "Log in as" not in output
    assert installed.login[1] not in output
    assert installed.root.file(vault).sha256sum == before
    assert installed.root.run("docker ps --no-trunc --quiet").stdout == containers


def test_the_engine_was_killed(installed: Installed) -> None:
    """Hub, proxy and servers are back by themselves where systemd starts the engine again, else after a run."""
    installed.root.run_expect([0], "kill -KILL $(cat /run/docker.pid)")
    if not installed.root.file("/run/systemd/system").exists:
        assert re.search(r"\bfailed=0\b", run_again(installed))
    served: list[HubClient] = []

    def serves() -> bool:
        client = HubClient(installed.urls[0], *installed.login)
        try:
            client.login()
            client.stop()
            client.spawn()
        except HubError:
            return False  # the hub itself may just be restarting
        served.append(client)
        return True

    wait_until(serves, "a new server", timeout=120)
    client = served[0]
    client.enter().raise_for_status()
    assert client.run("5 * 4") == "20"
    client.stop()


def test_clone_stays_clean(installed: Installed) -> None:
    command = [*installed.exec(installed.user, installed.checkout), "git", "status", "--short"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_make_help_lists_the_targets(installed: Installed) -> None:
    command = [*installed.exec(installed.user, installed.checkout), "make", "help"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for target in ("hub", "vault", "password", "test", "test-fast", "bench"):
        assert re.search(rf"^ +make {target} +\S", listed, re.M)


def test_renewing_by_a_schedule(installed: Installed) -> None:
    """A timer does it with nobody's password, where there is systemd."""
    root, unit, checkout = installed.root, "jupyterhub-home-renew", installed.checkout
    settings = f"{checkout}/group_vars/jupyterhub/main.yml"
    root.check_output(f"echo 'jupyterhub_home_renew: \"Sun 04:30\"' >>{settings}")
    if not root.file("/run/systemd/system").exists:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            run_again(installed)
        assert "it is 'Sun 04:30', but this machine has no systemd" in " ".join(refused.value.stdout.split())
        return
    assert re.search(r"\bfailed=0\b", run_again(installed))
    following = root.check_output(f"systemctl show --property=NextElapseUSecRealtime --value {unit}.timer")
    assert re.match(r"Sun \S+ 04:30:00", following)
    # As far as the images, which tests/convergence renews.
    root.check_output(f"systemctl start --no-block {unit}")
    read = f"journalctl --unit {unit} --output cat"
    wait_until(lambda: "images | Build" in root.check_output(read), "the images are renewed", timeout=120)
    root.check_output(f"systemctl stop {unit}")
    assert "Invoked with" not in root.check_output(read)  # what modules note for the machine's log would hide the rest
    assert root.check_output(f"find {checkout} -user root") == ""

    root.check_output(f"mv {checkout}/.vault-password /root/")
    assert root.run(f"systemctl start {unit}").failed
    root.check_output(f"mv /root/.vault-password {checkout}/")
    output = " ".join(run_again(installed).split())
    assert re.search(r"\bchanged=0\b", output), output
    assert "The images could not be renewed when it was time (jupyterhub_home_renew)" in output

    subprocess.run([*installed.exec(installed.user, checkout), "git", "checkout", "--quiet", "."], check=True)
    run_again(installed)
    assert root.check_output(f"find /etc/systemd /opt/jupyterhub-home -name '{unit}*'") == ""
    assert root.run(f"systemctl list-unit-files --no-legend '{unit}*'").stdout == ""  # and no success
    assert re.search(r"\bchanged=0\b", run_again(installed))


def test_status_and_homes(installed: Installed) -> None:
    status = run_again(installed, "make status")
    for part in ("Hub: answers at", "Servers: 0 running", "Nothing to repair."):
        assert part in status, status
    assert re.search(rf"{installed.login[0]} +\d.*\d{{4}}-\d\d-\d\d", run_again(installed, "make homes"))


def test_nothing_is_left_but_what_uninstalling_says(installed: Installed) -> None:
    """The lists are those before the first run, once what it says is kept is removed, too, when told."""
    root = installed.root
    root.check_output("docker volume create others && printf 'FROM scratch\\nCOPY passwd /others\\n' >/tmp/others")
    tried = run_again(installed, "make uninstall ARGS=--check")
    kept = sorted(name for name in lists(root)["volumes"] if name.startswith("jupyterhub-home-user-"))
    output = " ".join(run_again(installed, "make uninstall").split())
    assert len(kept) == 2 and ", ".join(["jupyterhub-home-data", *kept]) in output, output
    assert re.sub("Would be removed", "Removed", tried).count("Removed, ") == output.count("Removed, ") > 5
    after = lists(root)
    assert after["volumes"] == {"jupyterhub-home-data", *kept, "others"}
    for kind in ("container", "image", "units", "rules"):
        assert not any("jupyterhub" in one or "jhh" in one for one in after[kind]), (kind, after[kind])
    assert after["container"] == after["image"] == set() and "Build Cache 0B" in after["build cache"], after
    assert after["networks"] == {"bridge", "host", "none"}
    status = run_again(installed, "make status")
    assert "There is no hub of the project jupyterhub-home here" in status, status

    said = re.search(r"what was installed: (.*?)\. To remove these packages: apt-get remove ([\w .+-]*\w) \(", output)
    assert said and "(apt-get purge would delete all volumes that Docker has)" in output, output
    root.check_output("docker volume rm others")
    all_of_it = "-e jupyterhub_home_delete_data=true -e jupyterhub_home_delete_packages=true"
    tried, output = (
        " ".join(run_again(installed, f'make uninstall ARGS="{more}{all_of_it}"').split()) for more in ("--check ", "")
    )
    removed = re.search(r"'Removed, packages: ([^']*)'", output)
    own = re.search(
        r"because make and Ansible run with it, .* To remove these packages: apt-get purge ([^']*)'", output
    )
    stays = own[1].split() if own else []
    assert removed and sorted([*removed[1].split(", "), *stays]) == sorted(said[2].split()), output
    assert re.sub("Would be removed", "Removed", tried).count("Removed, ") == output.count("Removed, ") > 1, tried
    was_there = any(line.startswith("python3 ") for line in installed.before["packages"])
    assert ("python3" in stays) is not was_there, stays
    if stays:
        root.check_output(f"DEBIAN_FRONTEND=noninteractive apt-get purge --yes {' '.join(stays)}")
        root.check_output("rm -r /var/lib/jupyterhub-home")
    last = lists(root)
    assert last["packages"] == installed.before["packages"]
    left = last["files"] - installed.before["files"]
    assert sorted(one for one in left if "jupyterhub" in one or not one.startswith(DOCKERS)) == []
    assert installed.before["files"] - last["files"] == set()
