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
sys.path.append(str(ROOT / "tests/support"))
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


def through_hub(url: str, name: str, password: str, image: str) -> dict[str, float]:
    """Log in and start a server of an image, which spawner.json names; the figures that bench/server.py gives."""
    settings = "/opt/jupyterhub-home/hub/spawner.json"
    inside(f"""sed --in-place 's#"image": .*",$#"image": "{image}",#' {settings} && grep -qF {image} {settings}""")
    client = HubClient(url, name, password)
    seconds = timed(lambda: login_and_spawn(client))
    found = server("of", f"jupyterhub-home-user-{name}")
    client.stop()
    return {"seconds": seconds, **found}


def login_and_spawn(client: HubClient) -> None:
    """What a user waits for."""
    client.login()
    client.spawn()


def measure(url: str, name: str, password: str, user_image: str, stock_image: str, figures: Figures) -> None:
    """Take every figure once; times in seconds, memory in MB."""
    figures["converge"].append(timed(converge))
    floor = "ansible-playbook bench/empty.yml -i inventory/home && cd /opt/jupyterhub-home && docker compose up -d"
    figures["floor"].append(timed(lambda: inside(floor)))
    # Ours last, so that spawner.json is again what the role wrote.
    for kind, image in (("stock", stock_image), ("own", user_image)):
        for way, found in (("raw", server("run", image)), ("hub", through_hub(url, name, password, image))):
            figures[f"{kind} {way} seconds"].append(found["seconds"])
            figures[f"{kind} {way} processor"].append(found["processor_seconds"])
            figures[f"{kind} {way} memory"].append(found["memory"] / 1e6)


# Each line of the table: what, its figure, its unit, the figure that the ratio is to, and the ratio's target.
LINES = [
    ("**Converge with nothing to do**", "converge", "s", "floor", 8.0),
    ("floor: an empty play and `docker compose up -d`", "floor", "s", None, None),
    ("**Login → ready**, our image", "own hub seconds", "s", "stock raw seconds", 0.8),
    ("login → ready, stock image", "stock hub seconds", "s", "stock raw seconds", None),
    ("raw `docker run` → HTTP 200, our image", "own raw seconds", "s", "stock raw seconds", None),
    ("raw `docker run` → HTTP 200, stock image", "stock raw seconds", "s", None, None),
    ("**Processor time** of a start by the hub, our image", "own hub processor", "s", "stock hub processor", None),
    ("the same, stock image", "stock hub processor", "s", None, None),
    ("of a raw start, our image", "own raw processor", "s", "stock raw processor", None),
    ("the same, stock image", "stock raw processor", "s", None, None),
    ("**Memory** of an idle server of the hub, our image", "own hub memory", "MB", "stock hub memory", None),
    ("the same, stock image", "stock hub memory", "MB", None, None),
    ("of a raw one, our image", "own raw memory", "MB", "stock raw memory", None),
    ("the same, stock image", "stock raw memory", "MB", None, None),
]


def table(figures: Figures) -> str:
    """The figures as a Markdown table."""
    rows = [("what", "median", "min to max", "ratio", "target"), ("---", "---:", "---:", "---", "---")]
    for what, key, unit, beside, target in LINES:
        digits = 0 if unit == "MB" else 2
        values = figures[key]
        median = statistics.median(values)
        ratio = median / statistics.median(figures[beside]) if beside else 0.0
        rows.append(
            (
                what,
                f"{median:.{digits}f} {unit}",
                f"{min(values):.{digits}f} to {max(values):.{digits}f}",
                f"{ratio:.2f} of {beside.removesuffix(' seconds')}" if beside else "",
                f"≤ {target:g}: {'met' if ratio <= target else 'MISSED'}" if target else "",
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
            f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {where()}.\n{RUNS} runs in turn, after one that does not "
            f"count.\n\n{table(figures)}\n"
        )
    finally:
        machine("remove", MACHINE)
    print(f"\n{result}")
    if arguments.write:
        (ROOT / "bench/RESULTS.md").write_text(
            "# Measured\n\n"
            "`make bench` writes this file. Ratios are of medians; the stock image is a plain pip install of the same\n"
            "versions, with Node.js. Processor time and memory are taken when a server has become idle, memory\n"
            f"without page cache.\n\n{result}",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
