#!/usr/bin/env python3
"""Measure the hub beside its floors, on one machine in one run, and print a table; --write puts it into RESULTS.md.

Run it as `make bench`. It boots a Debian 13 machine in a container, does what `make hub` does there, and takes every
figure five times in turn (A B C A B C ...), so that a noisy hour falls on all of them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests/e2e"))
from client import HubClient  # noqa: E402 (found by the line above)

MACHINE = "jhh-bench"
PROJECT = "/srv/jupyterhub-home"  # the checkout in the machine
RUNS = 5
Figures = dict[str, list[float]]


def machine(*arguments: str) -> str:
    """Run tests/machine/machine.sh and give what it prints."""
    command = [str(ROOT / "tests/machine/machine.sh"), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def inside(script: str) -> str:
    """Run a shell script in the checkout in the machine; what it prints, or an exit with it when it fails."""
    command = ["docker", "exec", "--workdir", PROJECT, MACHINE, "bash", "-c", f"PATH=$PWD/.venv/bin:$PATH; {script}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench: failed in the machine: {script}\n{done.stdout}")
    return done.stdout.strip()


def timed(job: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    begin = time.monotonic()
    job()
    return time.monotonic() - begin


def copy_project() -> None:
    """Copy the working tree, without what git ignores, into the machine."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    present = "\0".join(name for name in names if name and (ROOT / name).exists())
    tar = ["tar", "--create", "--null", "--files-from=-"]
    archive = subprocess.run(tar, cwd=ROOT, input=present.encode(), stdout=subprocess.PIPE, check=True).stdout
    unpack = f"mkdir -p {PROJECT} && tar --extract --no-same-owner --directory {PROJECT}"
    subprocess.run(["docker", "exec", "--interactive", MACHINE, "sh", "-c", unpack], input=archive, check=True)


def build_stock() -> str:
    """Build the stock image in the machine, with the versions that our own has; its tag."""
    wanted = (ROOT / "roles/jupyterhub_home/files/images/user/requirements.in").read_text(encoding="utf-8")
    packages = " ".join(re.findall(r"^(?:jupyterlab|jupyterhub)==\S+", wanted, re.M))
    base = inside("docker image ls --format '{{.Repository}}:{{.Tag}}' jupyterhub-home/base").splitlines()[0]
    inside(
        "secrets='--secret id=ca,src=/etc/ssl/certs/ca-certificates.crt'; "
        '[ ! -f /etc/pip.conf ] || secrets="$secrets --secret id=pip,src=/etc/pip.conf"; '
        f"docker build $secrets --build-arg BASE={base} --build-arg PACKAGES='{packages}' --tag jhh-stock bench/stock"
    )
    return "jhh-stock"


def converge() -> None:
    """The main job, as `make hub` runs it; it must change nothing."""
    output = inside("ansible-playbook site.yml -i inventory/home")
    if "changed=0" not in output:
        sys.exit(f"bench: the converge changed something:\n{output}")


def server(job: str, what: str) -> dict[str, float]:
    """Run bench/server.py in the machine."""
    figures: dict[str, float] = json.loads(inside(f"python3 bench/server.py {job} {what}"))
    return figures


def measure(url: str, name: str, password: str, user_image: str, stock_image: str, figures: Figures) -> None:
    """Take every figure once; times in seconds, memory in MB."""
    figures["converge"].append(timed(converge))
    empty_play = "ansible-playbook bench/empty.yml -i inventory/home"
    figures["converge floor"].append(
        timed(lambda: inside(f"{empty_play} && cd /opt/jupyterhub-home && docker compose up -d"))
    )

    client = HubClient(url, name, password)
    begin = time.monotonic()
    client.login()
    client.spawn()
    figures["login to ready"].append(time.monotonic() - begin)
    found = server("of", f"jupyterhub-home-user-{name}")
    figures["hub processor"].append(found["processor_seconds"])
    figures["hub memory"].append(found["memory"] / 1e6)
    client.stop()

    for kind, image in (("stock", stock_image), ("own", user_image)):
        found = server("run", image)
        figures[f"{kind} start"].append(found["seconds"])
        figures[f"{kind} processor"].append(found["processor_seconds"])
        figures[f"{kind} memory"].append(found["memory"] / 1e6)


# Each line of the table: what, its figure, its unit, the figure beside it, and the target of the ratio.
LINES = [
    ("converge with nothing to do", "converge", "s", "converge floor", 8.0),
    ("— its floor: an empty play and `docker compose up -d`", "converge floor", "s", None, None),
    ("login → ready, through the hub", "login to ready", "s", "stock start", 0.8),
    ("— raw `docker run` → HTTP 200, stock image", "stock start", "s", None, None),
    ("— raw `docker run` → HTTP 200, our image", "own start", "s", "stock start", None),
    ("processor time of a start, stock image", "stock processor", "s", None, None),
    ("— our image", "own processor", "s", "stock processor", None),
    ("— our image, started by the hub", "hub processor", "s", "stock processor", None),
    ("memory of an idle server, stock image", "stock memory", "MB", None, None),
    ("— our image", "own memory", "MB", "stock memory", None),
    ("— our image, started by the hub", "hub memory", "MB", "stock memory", None),
]


def table(figures: Figures) -> str:
    """The figures as a Markdown table."""
    rows = [("what", "median", "min to max", "ratio", "target")]
    rows.append(("---", "---:", "---:", "---:", "---"))
    for what, key, unit, beside, target in LINES:
        digits = 0 if unit == "MB" else 2
        values = figures[key]
        median = statistics.median(values)
        ratio = median / statistics.median(figures[beside]) if beside else None
        met = f"≤ {target:g}: {'met' if ratio is not None and ratio <= target else 'MISSED'}" if target else ""
        rows.append(
            (
                what,
                f"{median:.{digits}f} {unit}",
                f"{min(values):.{digits}f} to {max(values):.{digits}f}",
                "" if ratio is None else f"{ratio:.2f}",
                met,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def where() -> str:
    """The machine in words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    engine = inside("docker version --format '{{.Server.Version}}'")
    return (
        f"{os.cpu_count()} cores{f' ({model[1]})' if model else ''}, {pages / 2**30:.0f} GB of memory, "
        f"Linux {platform.release()}; Debian 13 with Docker {engine} in a container"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    arguments = parser.parse_args()
    figures: Figures = defaultdict(list)
    try:
        print("Booting a machine and making the hub on it (some minutes) ...", flush=True)
        machine("boot", MACHINE, "trixie")
        copy_project()
        inside("scripts/venv .venv requirements/ansible.txt")
        output = inside("python3 scripts/hub.py converge")
        login = re.search(r"^Log in as user (\S+), password (\S+)$", output, re.M)
        assert login, output
        user_image = inside("docker image ls --format '{{.Repository}}:{{.Tag}}' jupyterhub-home/user").splitlines()[0]
        stock_image = build_stock()
        url = f"http://{machine('address', MACHINE)}:8000"
        for number in range(RUNS + 1):
            print(f"Run {number} of {RUNS} ..." if number else "A run that does not count ...", flush=True)
            measure(url, login[1], login[2], user_image, stock_image, figures if number else defaultdict(list))
        result = (
            f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {where()}. {RUNS} runs in turn, after one that does not "
            f"count.\n\n{table(figures)}\n"
        )
    finally:
        machine("remove", MACHINE)
    print(f"\n{result}")
    if arguments.write:
        (ROOT / "bench/RESULTS.md").write_text(
            "# Measured\n\n`make bench` writes this file. Ratios are of medians, to the figure that the line stands "
            f"beside.\n\n{result}",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
