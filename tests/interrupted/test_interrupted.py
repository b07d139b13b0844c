"""Runs of site.yml that are killed at many points, each followed by one that must repair all, and two runs at once.

Where a run is killed follows from its own output and from what appears on the machine, never from a clock alone; the
verdict depends on neither. Some of the points are drawn at random each time, and a part of a second that makes the kill
fall within a module: JHH_SEED=N draws the same again. The tests build on each other in their order.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from testinfra.host import Host

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/e2e"))
from client import HubClient, LoginRefused, wait_until  # noqa: E402 (found by the line above)

SEED = int(os.environ.get("JHH_SEED") or random.randrange(10**6))  # noqa: S311 (no secret)
CHANCE = random.Random(SEED)  # noqa: S311 (no secret)
DIRECTORY = "/opt/jupyterhub-home"
INVENTORIES = [ROOT / f"molecule/{folder}/inventory/hosts.yml" for folder in ("shared", "interrupted")]
DECLARED = yaml.safe_load(INVENTORIES[0].read_text(encoding="utf-8"))["jupyterhub"]["vars"]["jupyterhub_home_users"]

# Two settings that differ in all that a run changes.
FIRST: dict[str, Any] = {"jupyterhub_home_users": DECLARED, "jupyterhub_home_port": 8000}
SECOND: dict[str, Any] = {
    "jupyterhub_home_users": [
        *(user for user in DECLARED if user["name"] not in ("bob", "lou", "zoe")),
        {"name": "zoe", "password": "another-secret", "admin": True},
        {"name": "newcomer", "password": "first-secret"},
    ],
    "jupyterhub_home_port": 8080,
    "jupyterhub_home_idle_timeout": 41000,
    "jupyterhub_home_memory_limit": "600M",
}

# Kills every process tree in the machine that `docker exec` began (its root has the parent 0), but for this one.
KILL_STARTED = """
import contextlib, os, signal
def read(pid, name):
    with contextlib.suppress(OSError):
        return open(f'/proc/{pid}/{name}').read()
    return ''
def root(pid):
    above = (read(pid, 'stat').rpartition(')')[2].split() or [0, 1])[1]
    return pid if above == '0' else root(int(above))
def doomed():
    running = [pid for pid in map(int, filter(str.isdigit, os.listdir('/proc'))) if read(pid, 'cmdline')]
    return [pid for pid in running if root(pid) not in (1, root(os.getpid()))]
while pids := doomed():
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
"""
# Everything in the role's folder that is in use, as {path: text}.
READ_ALL = f"""
import json, pathlib
root = pathlib.Path('{DIRECTORY}')
used = [path for path in root.rglob('*') if not any(part.endswith('.new') for part in path.parts)]
files = [path for path in used if path.is_file() and path.suffix != '.sqlite']  # a copy of the hub's database
print(json.dumps({{str(path.relative_to(root)): path.read_text() for path in files}}))
"""
RANDOM = re.compile(r"\"session\": \"[0-9a-f]{32}\"|jupyterhub-home\.tokens: [0-9a-f ']+")
# Images stay, so that the next first converge is a short one.
REMOVE_ALL = f"""
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes
docker volume ls --quiet | xargs --no-run-if-empty docker volume rm
docker network prune --force
rm -rf {DIRECTORY}
"""


class Step(NamedTuple):
    """One task of a complete run: its number and header, whether it changed something or was skipped, its seconds."""

    number: int
    header: str
    changed: bool
    skipped: bool
    seconds: float


class Run:
    """site.yml with some variables, as a process that can be followed and killed."""

    def __init__(self, variables: dict[str, Any], *arguments: str) -> None:
        self.mark = f"JHH_RUN={uuid.uuid4().hex}"  # every process of the run inherits it
        name, _, value = self.mark.partition("=")
        environment = {key: text for key, text in os.environ.items() if key != "ANSIBLE_FORCE_COLOR"}
        environment |= {name: value, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg"}
        environment["MOLECULE_PROJECT_DIRECTORY"] = str(ROOT)
        inventories = [f"--inventory={path}" for path in INVENTORIES]
        self.output = ""
        self.process = subprocess.Popen(
            ["ansible-playbook", "site.yml", *inventories, "--extra-vars", json.dumps(variables), *arguments],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def headers(self) -> Iterator[tuple[int, str]]:
        """Number and name of each task, as soon as the run says that it begins."""
        assert self.process.stdout is not None
        number = 0
        for line in self.process.stdout:
            self.output += line
            if found := re.match(r"(?:TASK|RUNNING HANDLER) \[(?:jupyterhub_home : )?(.*)\] \*", line):
                number += 1
                yield number, found[1]

    def follow_to(self, wanted: Callable[[int, str], bool]) -> tuple[int, str]:
        """Wait for a task, known by its number and header, and give both; (0, '') when the run ends without it."""
        return next((at for at in self.headers() if wanted(*at)), (0, ""))

    def end(self) -> int:
        """Wait for the end; the exit status."""
        for _ in self.headers():
            pass
        return self.process.wait()

    def processes(self) -> list[int]:
        """Every process of the run on the controller. Workers are in sessions of their own."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def kill(self, host: Host, on_target: bool) -> None:
        """SIGKILL to all of it, and if on_target to what it began in the machine, which otherwise goes on."""
        while processes := self.processes():
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        self.process.wait()
        if on_target:
            host.check_output("python3 -c %s", KILL_STARTED)


def complete(variables: dict[str, Any]) -> list[Step]:
    """A run from its beginning to its end, which must be good."""
    run = Run(variables)
    marks = [(time.monotonic(), number, header, len(run.output)) for number, header in run.headers()]
    assert run.process.wait() == 0, run.output[-6000:]
    marks.append((time.monotonic(), 0, "", len(run.output)))
    steps = []
    for (begin, number, header, at), (end, _, _, until) in itertools.pairwise(marks):
        said = run.output[at:until]
        steps.append(Step(number, header, "\nchanged: " in f"\n{said}", "\nskipping: " in f"\n{said}", end - begin))
    assert f" changed={sum(step.changed for step in steps)} " in run.output, run.output[-6000:]
    return steps


def passwords(variables: dict[str, Any]) -> dict[str, str]:
    """The users who can log in. zoe is declared by a hash alone, lou is locked."""
    users = variables["jupyterhub_home_users"]
    return {u["name"]: u.get("password", f"{u['name']}-test-secret") for u in users if u["name"] != "lou"}


def may_log_in(url: str, name: str, password: str) -> bool:
    try:
        HubClient(url, name, password).login()
    except LoginRefused:
        return False
    return True


class Machine:
    """The machine under test, and what must be true of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        addresses = host.interface("eth0").addresses
        self.address = next(address for address in addresses if ":" not in address)
        self.known: dict[str, set[str]] = {}  # the texts that each file may have
        self.kept: set[str] = set()  # volumes, each with its time of creation

    def url(self, variables: dict[str, Any]) -> str:
        return f"http://{self.address}:{variables['jupyterhub_home_port']}"

    def files(self) -> dict[str, str]:
        """Path and text of each; random texts that last as long as a password or a token are all the same here."""
        files: dict[str, str] = json.loads(self.host.check_output("python3 -c %s", READ_ALL))
        return {path: RANDOM.sub("...", text) for path, text in files.items()}

    def volumes(self) -> set[str]:
        listing = "docker volume ls --quiet --filter name=jupyterhub-home"  # not what goes with a container
        form = "{{.Name}} {{.CreatedAt}}"
        return set(self.host.check_output(f"{listing} | xargs docker volume inspect --format '{form}'").splitlines())

    def learn(self) -> None:
        """Take the files as they are for good ones."""
        for path, text in self.files().items():
            self.known.setdefault(path, set()).add(text)

    def check_files(self) -> None:
        """No file that the hub or compose would read is half of one."""
        varying = {
            "secrets/proxy-token": r"[0-9a-f]{64}\n",
            "hub/users-token": r"[0-9a-f]{64}\n",
            "hub/generation": r"[0-9a-f]{16}\n",
            "users/passwd": r"([a-z.]+:x:1[0-9]{5}:100000::/nonexistent:/usr/sbin/nologin\n)+",
            "users/shadow": r"([a-z.]+:(!|\$[6y]\$[^:\n]{40,}):::::::\n)+",
        }
        for place, text in self.files().items():
            path = place.removeprefix("before/files/")  # what the way back keeps is whole, too
            if path in ("written.json", "before/state.json"):
                json.loads(text)
            elif path in varying:
                assert re.fullmatch(varying[path], text), f"{path} is half of a file"
                if path.startswith("users/"):
                    names = {line.partition(":")[0] for line in text.splitlines()}
                    assert names in [{user["name"] for user in v["jupyterhub_home_users"]} for v in (FIRST, SECOND)]
            else:
                assert text in self.known[path], f"{path} is neither the old nor the new one:\n{text[-500:]}"

    def check(self, variables: dict[str, Any]) -> None:
        """Everybody who is declared can log in, nobody else, and nothing is lost."""
        good = set(passwords(variables).items())
        others = {pair for other in (FIRST, SECOND) for pair in passwords(other).items()} - good
        pairs = [*good, *others]
        with ThreadPoolExecutor(len(pairs)) as pool:
            answers = pool.map(lambda pair: may_log_in(self.url(variables), *pair), pairs)
        assert dict(zip(pairs, answers, strict=True)) == {pair: pair in good for pair in pairs}
        assert self.kept <= self.volumes()
        assert self.host.check_output("find %s -name '*.new'", DIRECTORY) == ""

    def settled(self, variables: dict[str, Any]) -> None:
        """A run finds nothing to do, and all is well."""
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(complete, variables)
            self.check(variables)
        assert [step.header for step in again.result() if step.changed] == []

    def repaired(self, variables: dict[str, Any]) -> None:
        """A whole run after a killed one leaves nothing to do."""
        complete(variables)
        self.settled(variables)


@pytest.fixture(scope="module")
def machine(host: Host) -> Machine:
    return Machine(host)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Print a line at once: a failure is understood by the kill before it."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="", flush=True)

    return write


def kill_at(
    run: Run, machine: Machine, wanted: Callable[[int, str], bool], seconds: float, on_target: bool, say: Any
) -> str:
    """Kill a run up to as many seconds after the header of a task; returns it, '' if the run ended before."""
    number, header = run.follow_to(wanted)
    if header:
        pause = CHANCE.uniform(0, seconds)
        time.sleep(pause)
        run.kill(machine.host, on_target)
        say(f"seed {SEED}: {pause:.2f} s after {number}. {header}: {rest(on_target)}")
    return header


def some(steps: list[Step]) -> list[Step]:
    """A third of them, in their order."""
    return sorted(CHANCE.sample(steps, len(steps) // 3 + 1))


def at(step: Step) -> Callable[[int, str], bool]:
    """What follow_to wants for the task of another run of the same kind."""
    return lambda number, _: number == step.number


def kill_when(run: Run, machine: Machine, there: str, on_target: bool, say: Any) -> None:
    """Kill a run as soon as a command in the machine prints something."""
    wait_until(lambda: machine.host.run(there).stdout or run.process.poll() is not None, there, timeout=600, pause=0.5)
    assert run.process.poll() is None, f"it has ended\n{run.end()}{run.output[-6000:]}"
    run.kill(machine.host, on_target)
    say(f"as soon as `{there}` printed something: {rest(on_target)}")


def rest(on_target: bool) -> str:
    return "all is killed" if on_target else "what it began in the machine goes on"


def test_killed_again_and_again(machine: Machine, say: Any) -> None:
    """A first converge with everything to build; each run is killed at a task at which none was before."""
    building = False
    seen: set[str] = set()

    def drawn(_: int, header: str) -> bool:
        """One that was not before, is of a file, for the rest draw in others, and of the images in any case."""
        if " | " not in header or header in seen:
            return False
        seen.add(header)
        return header.startswith("images | ") or CHANCE.random() < 0.5

    for count in itertools.count():
        run = Run(FIRST)
        header = kill_at(run, machine, drawn, 0.3, count % 2 == 0, say)
        if not header:
            assert run.end() == 0, run.output[-6000:]
            break
        if header.startswith("images | ") and not building:
            building = True
            kill_when(Run(FIRST), machine, "ls -d /var/tmp/jupyterhub-home-base", False, say)
            kill_when(Run(FIRST), machine, "docker image ls --quiet jupyterhub-home/hub", True, say)
    assert building
    machine.settled(FIRST)
    assert not machine.host.file("/var/tmp/jupyterhub-home-base").exists


def test_killed_on_the_way_from_nothing(machine: Machine, say: Any) -> None:
    """Each time from a machine with nothing of the role but its images."""
    machine.host.check_output(REMOVE_ALL)
    steps = [step for step in complete(FIRST) if step.changed]
    assert len(steps) > 3, steps
    machine.learn()
    for index, step in enumerate(some(steps)):
        machine.host.check_output(REMOVE_ALL)
        kill_at(Run(FIRST), machine, at(step), step.seconds, index % 2 == 0, say)
        machine.check_files()
        machine.repaired(FIRST)


def test_killed_in_a_change(machine: Machine, say: Any) -> None:
    """To and fro between two settings; alice's file and everybody's volumes are there at the end."""
    machine.learn()
    alice = serve_alice(machine, FIRST)
    alice.save("kept.txt", "from before")
    alice.stop()
    machine.kept = machine.volumes()
    assert any("alice" in volume for volume in machine.kept)

    steps = [step for step in complete(SECOND) if not step.skipped]
    machine.learn()
    changed = [step for step in steps if step.changed]
    others = [step for step in steps if not step.changed]
    assert len(changed) > 2, steps
    longest = max(changed, key=lambda step: step.seconds)
    settings = itertools.cycle([FIRST, SECOND])
    for index, step in enumerate(sorted([*some(changed), longest, CHANCE.choice(others)])):
        variables = next(settings)
        kill_at(Run(variables), machine, at(step), step.seconds, index % 2 == 0, say)
        machine.check_files()
        machine.repaired(variables)

    alice = serve_alice(machine, variables)
    assert alice.load("kept.txt") == "from before"
    alice.stop()


def serve_alice(machine: Machine, variables: dict[str, Any]) -> HubClient:
    """Log alice in, with her server running and entered."""
    alice = HubClient(machine.url(variables), "alice.smith", passwords(variables)["alice.smith"])
    alice.login()
    alice.spawn()
    alice.enter().raise_for_status()
    return alice


def test_two_at_once(machine: Machine) -> None:
    """The second says whose run it met; the first goes on."""
    first = Run(FIRST)
    assert first.follow_to(lambda number, _: number == 2)[1]
    first.process.send_signal(signal.SIGSTOP)
    try:
        second = Run(SECOND)
        assert second.end() != 0
        told = " ".join(second.output.split())
        assert f"(process {first.process.pid}), has not ended. Do: wait until it has." in told, second.output
        assert "nothing was changed" in told and "changed=0" in told
        looking = Run(SECOND, "--check")
        assert looking.end() == 0, looking.output[-6000:]
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert first.end() == 0, first.output[-6000:]
    machine.settled(FIRST)
