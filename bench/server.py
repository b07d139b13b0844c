#!/usr/bin/env python3
"""What one JupyterLab server costs, measured on the machine it runs on; standard library only.

server.py run IMAGE        start one with a raw `docker run`, measure, remove it
server.py of CONTAINER     measure one that runs

Prints JSON: seconds from `docker run` to the first HTTP 200 (only `run`), and once it is idle, processor_seconds since
the container's start and memory of its processes in bytes (anonymous pages: a cached file counts for nobody).
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
TIMEOUT = 60.0
# Idle: less processor time than this in a second. A start takes all that it gets.
IDLE = 0.02


def docker(*arguments: str) -> str:
    """What a docker command prints, stripped; where it fails, its own words end this."""
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"docker {arguments[0]}: {done.stderr}")
    return done.stdout.strip()


def cgroup(container: str, controller: str) -> Path:
    """The folder of a container's cgroup; version 2 has one for all controllers."""
    pid = docker("inspect", "--format", "{{.State.Pid}}", container)
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names == "" and (CGROUPS / "cgroup.controllers").exists():
            return CGROUPS / path.lstrip("/")
        if controller in names.split(","):
            return CGROUPS / controller / path.lstrip("/")
    raise SystemExit(f"{container} has no cgroup for {controller}")


def fields(file: Path) -> dict[str, int]:
    """A cgroup's file of lines `name number`."""
    return {name: int(number) for name, number in (line.split() for line in file.read_text().splitlines())}


def processor_seconds(container: str) -> float:
    """Processor time of a container since its start."""
    folder = cgroup(container, "cpuacct")
    if (folder / "cpuacct.usage").exists():
        return int((folder / "cpuacct.usage").read_text()) / 1e9
    return fields(folder / "cpu.stat")["usage_usec"] / 1e6


def memory(container: str) -> int:
    """Bytes of anonymous memory of a container's processes."""
    found = fields(cgroup(container, "memory") / "memory.stat")
    return found["total_rss"] if "total_rss" in found else found["anon"]


def settle(container: str) -> float:
    """Wait until a container is idle; its processor seconds then."""
    end = time.monotonic() + TIMEOUT
    before = processor_seconds(container)
    while time.monotonic() < end:
        time.sleep(1)
        now = processor_seconds(container)
        if now - before < IDLE:
            return now
        before = now
    raise SystemExit(f"{container} is still busy after {TIMEOUT:.0f} s")


def answers(address: str) -> bool:
    """Whether a Jupyter server at an address gives HTTP 200."""
    connection = http.client.HTTPConnection(address, 8888, timeout=5)
    try:
        connection.request("GET", "/api")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def start(image: str, name: str) -> float:
    """Start a container with JupyterLab; the seconds until it answers."""
    begin = time.monotonic()
    docker("run", "--detach", "--name", name, image, "jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser")
    address = docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
    while not answers(address):
        if time.monotonic() - begin > TIMEOUT:
            raise SystemExit(f"{image} does not answer after {TIMEOUT:.0f} s:\n{docker('logs', name)}")
        time.sleep(0.01)
    return time.monotonic() - begin


def main() -> None:
    job, what = sys.argv[1:]
    result: dict[str, float] = {}
    container = "jhh-raw" if job == "run" else what
    try:
        if job == "run":
            result["seconds"] = start(what, container)
        result["processor_seconds"] = settle(container)
        result["memory"] = memory(container)
    finally:
        if job == "run":
            subprocess.run(("docker", "rm", "--force", "--volumes", container), capture_output=True, check=False)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
