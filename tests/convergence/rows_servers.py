"""What a user's server has: its first page, limits, mounts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from machine import loop_devices
from rows import Row, in_server
from world import World

MIB = 2**20


def first_page(world: World) -> str:
    """The page of one's own server that the server's address opens."""
    page = world.server("alice").get("/user/alice/")
    page.raise_for_status()
    return re.sub(r".*/user/alice", "", page.url)


def memory(world: World) -> tuple[int, int]:
    """Memory without and with swap, in MiB."""
    limits = world.server_container("alice")["HostConfig"]
    return limits["Memory"] // MIB, limits["MemorySwap"] // MIB


def processors(world: World) -> float:
    limits = world.server_container("alice")["HostConfig"]
    if limits["NanoCpus"]:
        return float(limits["NanoCpus"] / 1e9)
    return float(limits["CpuQuota"] / limits["CpuPeriod"]) if limits["CpuPeriod"] else 0.0


def processes(world: World) -> int:
    return int(world.server_container("alice")["HostConfig"]["PidsLimit"] or 0)


def mountable(world: World) -> None:
    """Users whose servers run get a disk when they have stopped: alice's may run since another file of tests."""
    loop_devices(world.host)
    world.session("alice").stop()


def disk(world: World) -> float | str:
    """The size of the file system of home, work folder and /tmp, in halves of a GiB."""
    places = "('/home/jovyan', '/home/jovyan/work', '/tmp')"
    found = world.compute("alice", f"import os, shutil; print(*(shutil.disk_usage(one).total for one in {places}))")
    sizes = {round(int(size) / 2**29) / 2 for size in found.split()}
    assert len(sizes) == 1
    return sizes.pop() if max(sizes) <= 2 else "the machine's"


def culler_timeout(world: World) -> int:
    """The seconds that the running idle culler reads at its next look."""
    settings = world.host.check_output(f"docker exec {world.project}-hub cat /etc/jupyterhub-home/spawner.json")
    return int(json.loads(settings)["idle_timeout"])


# In the home, where a folder was mounted an empty one stays.
MOUNTED = "import os; mounted = {line.split()[4] for line in open('/proc/self/mountinfo')}; "


def content(folder: str) -> str:
    """A cell that prints what is in a folder that is mounted in the server."""
    return f"{MOUNTED}print(*os.listdir('{folder}') if '{folder}' in mounted else ['no folder'])"


def who_has(folder: str) -> Callable[[World], list[str]]:
    """The users in whose servers there is such a folder."""
    return lambda world: [name for name in ("alice", "bob") if world.compute(name, content(folder)) != "no folder"]


WRITE_PROBE = """
try:
    open('/home/jovyan/probe/written', 'w').close()
    print('writable')
except OSError as error:
    print(error.strerror)
"""
ROWS = [
    Row(
        "jupyterhub_home_default_url",
        first_page,
        first=("/tree", "/tree"),
        then=("/lab/tree", "/lab/tree"),
        default="/lab",
    ),
    Row("jupyterhub_home_memory_limit", memory, first=("600M", (600, 600)), then=("", (0, 0)), default=(2048, 2048)),
    Row("jupyterhub_home_cpu_limit", processors, first=(1.5, 1.5), then=(0.5, 0.5), default=0.0),
    Row("jupyterhub_home_pids_limit", processes, first=(300, 300), then=(0, 0), default=2048),
    Row(
        "jupyterhub_home_disk_limit",
        disk,
        first=("1G", 1),
        then=("512M", 0.5),
        default="the machine's",
        before=mountable,
    ),
    Row("jupyterhub_home_idle_timeout", culler_timeout, first=(3600, 3600), then=(0, 0), default=42000),
    Row(
        "jupyterhub_home_mounts",
        in_server(content("/home/jovyan/whole")),
        first=([{"source": "/srv/first", "target": "/home/jovyan/whole"}], "first.txt"),
        then=(
            [{"source": "/srv/of-{username}", "target": "/home/jovyan/whole", "users": ["alice", "bob"]}],
            "alice.txt",
        ),
        default="no folder",
    ),
    Row(
        "jupyterhub_home_mounts[].source",
        in_server(content("/home/jovyan/source")),
        entry={"target": "/home/jovyan/source"},
        entry_stays=False,
        first=("/srv/first", "first.txt"),
        then=("/srv/then", "then.txt"),
        default="no folder",
    ),
    Row(
        "jupyterhub_home_mounts[].target",
        in_server(f"{MOUNTED}print(*[name for name in ('targeted', 'aimed') if '/home/jovyan/' + name in mounted])"),
        entry={"source": "/srv/first"},
        entry_stays=False,
        first=("/home/jovyan/targeted", "targeted"),
        then=("/home/jovyan/aimed", "aimed"),
        default="",
    ),
    Row(
        "jupyterhub_home_mounts[].users",
        who_has("/home/jovyan/some"),
        entry={"source": "/srv/first", "target": "/home/jovyan/some"},
        first=(["alice"], ["alice"]),
        then=(["bob"], ["bob"]),
        default=["alice", "bob"],
    ),
    Row(
        "jupyterhub_home_mounts[].read_only",
        in_server(WRITE_PROBE),
        entry={"source": "/srv/probe", "target": "/home/jovyan/probe"},
        first=(False, "writable"),
        then=(True, "Read-only file system"),
        default="writable",
    ),
]
