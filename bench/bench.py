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
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import runs  # first: it makes the tests' client known
import saving
import storm
from client import HubClient
from place import MACHINE, ROOT, Figures, copy_project, inside, machine, timed

RUNS = 5
GB = saving.FILES * saving.SIZE / 1e9
PARTS = ("servers", "runs", "guard", "backup")


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
    """Take every figure of a server once; times in seconds, memory in MB."""
    # Ours last, so that spawner.json is again what the role wrote.
    for kind, image in (("stock", stock_image), ("own", user_image)):
        for way, found in (("raw", server("run", image)), ("hub", through_hub(url, name, password, image))):
            figures[f"{kind} {way} seconds"].append(found["seconds"])
            figures[f"{kind} {way} processor"].append(found["processor_seconds"])
            figures[f"{kind} {way} memory"].append(found["memory"] / 1e6)


# Each line of the table: what, its figure, its unit, the figure that the ratio is to, and the target of the ratio, or,
# without a ratio, of the figure itself.
LINES = [
    ("**Converge with nothing to do**, 1 user", "users 1", "s", "floor", 4.0),
    ("floor: an empty play and `docker compose up -d`", "floor", "s", None, None),
    ("the same converge, 10 users", "users 10", "s", "users 1", None),
    ("100 users", "users 100", "s", "users 1", None),
    ("**1,000 users**", "users 1000", "s", "users 1", 1.25),
    ("100 users with plain passwords", "users plain", "s", "users 1", None),
    ("**A plain password**: what one of those 100 adds", "a password", "ms", None, 30.0),
    ("**Over ssh**, 1 user", "ssh", "s", "users 1", 1.5),
    ("**Adding a user** to 1,000, `--tags users`", "add one", "s", "empty", 3.0),
    ("an empty play that reads such a list", "empty 1000", "s", "empty", None),
    ("floor: an empty play", "empty", "s", None, None),
    ("**Hub's start → healthy**, 1,000 users", "start 1000", "s", "start 1", 1.5),
    ("the same, 1 user", "start 1", "s", None, None),
    ("**Login → ready**, our image", "own hub seconds", "s", "stock raw seconds", 0.8),
    ("login → ready, stock image", "stock hub seconds", "s", "stock raw seconds", None),
    ("raw `docker run` → HTTP 200, our image", "own raw seconds", "s", "stock raw seconds", None),
    ("raw `docker run` → HTTP 200, stock image", "stock raw seconds", "s", None, None),
    ("**The guard**: what it adds to a call of the engine", "a call", "ms", None, 5.0),
    ("a look at a container by the guard", "call guarded", "ms", "call socket", None),
    ("the same, by the engine's socket", "call socket", "ms", None, None),
    ("**A start by the guard**", "spawn guarded", "s", "spawn socket", 1.05),
    ("the same, by the engine's socket", "spawn socket", "s", None, None),
    (f"**{storm.STORM} starts at once by the guard**", "storm guarded", "s", "storm socket", 1.05),
    ("the same, by the engine's socket", "storm socket", "s", None, None),
    (f"**Backup** of {GB:g} GB in {saving.FILES:,} files", "backup", "s", "backup alone", 1.1),
    ("restic alone", "backup alone", "s", None, None),
    ("**The second backup**, nothing changed", "backup again", "s", "backup", None),
    ("**Restore** of that user", "restore", "s", "restore alone", 1.1),
    ("restic alone", "restore alone", "s", None, None),
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
        digits = {"MB": 0, "ms": 1}.get(unit, 2)
        values = figures[key]
        if not values:
            continue  # of a part that was left out
        median = statistics.median(values)
        ratio = median / statistics.median(figures[beside]) if beside else median
        goal = f"≤ {target:g}{'' if beside else f' {unit}'}" if target else ""
        rows.append(
            (
                what,
                f"{median:.{digits}f} {unit}",
                f"{min(values):.{digits}f} to {max(values):.{digits}f}",
                f"{ratio:.2f} of {beside.removesuffix(' seconds')}" if beside else "",
                f"{goal}: {'met' if ratio <= target else 'MISSED'}" if target else "",
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


def prepare() -> dict[str, tuple[Callable[[], None], Callable[[Figures], None]]]:
    """Boot the machine with a hub on it; of each of PARTS what readies it, and what takes its figures once."""
    machine("boot", MACHINE, "trixie")
    copy_project()
    inside("scripts/venv .venv requirements/ansible.txt")
    output = inside("python3 scripts/hub.py converge")
    login = re.search(r"^Log in as user (\S+), password (\S+)$", output, re.M)
    assert login, output
    user_image = inside("docker image ls --format '{{.Repository}}:{{.Tag}}' jupyterhub-home/user").splitlines()[0]
    stock_image = build_stock()
    url = f"http://{machine('address', MACHINE)}:8000"
    measured = (
        (lambda: None, partial(measure, url, login[1], login[2], user_image, stock_image)),
        (runs.prepare, partial(runs.measure, url)),
        (storm.prepare, partial(storm.measure, url)),
        (saving.prepare, partial(saving.measure, url)),
    )
    return dict(zip(PARTS, measured, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how often each figure is taken, by default {RUNS}")
    parser.add_argument("part", nargs="*", help=f"measure only these, of {', '.join(PARTS)}; nothing is written then")
    arguments = parser.parse_args()
    if not set(arguments.part) <= set(PARTS) or (arguments.part and arguments.write):
        parser.error(f"the parts are {', '.join(PARTS)}; with --write all are measured")
    figures: Figures = defaultdict(list)
    count = arguments.runs
    try:
        print("Booting a machine and making the hub on it (some minutes) ...", flush=True)
        for part, (ready, take) in prepare().items():
            if part not in (arguments.part or PARTS):
                continue
            ready()
            for number in range(count + 1):
                print(f"{part}: {f'run {number} of {count}' if number else 'one that does not count'} ...", flush=True)
                take(figures if number else defaultdict(list))
        result = (
            f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {where()}.\n{count} runs in turn, after one that does "
            f"not count.\n\n{table(figures)}\n"
        )
    finally:
        machine("remove", MACHINE)
    print(f"\n{result}")
    if arguments.write:
        results = ROOT / "bench/RESULTS.md"
        # What was found by hand, such as a profile, stays below the table.
        _, heading, text = results.read_text(encoding="utf-8").partition("\n## ")
        by_hand = heading + text
        results.write_text(
            "# Measured\n\n"
            "`make bench` writes this file. Ratios are of medians; the stock image is a plain pip install of the same\n"
            "versions, with Node.js. Processor time and memory are taken when a server has become idle, memory\n"
            f"without page cache.\n\n{result}{by_hand}",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
