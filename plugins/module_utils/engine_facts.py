"""What the Docker engine on a machine is: versions, where it keeps images and which, what it can limit."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, told
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output

# Of the containerd that dockerd runs itself where it finds none.
OWN_CONTAINERD = "/run/docker/containerd/containerd.sock"
# See cgroups(7).
CONTROLLERS, V1_CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers"), Path("/proc/cgroups")


def engine() -> dict[str, Any]:
    """The Docker engine: versions are strings, None where a part is missing or does not answer."""
    try:
        printed = docker("info", "--format", "{{json .}}", timeout=60)
    except EngineError as error:  # when the engine does not answer, it still prints
        printed = error.printed
    try:
        info = json.loads(printed or "{}")
    except ValueError:
        info = {}
    client = info.get("ClientInfo") or {}
    plugins = {plugin["Name"]: plugin.get("Version") for plugin in client.get("Plugins") or []}
    version = info.get("ServerVersion") or None
    return {
        "daemon": shutil.which("dockerd"),
        "installed": shutil.which("dockerd") is not None or version is not None,
        "version": version,
        "client": client.get("Version") or client_version(),
        "compose": plugins.get("compose"),
        "buildx": plugins.get("buildx"),
        "root": info.get("DockerRootDir") or None,
        "images": image_folder(info),
        "limits": limits(info),
        "socket_gid": os.stat(contract.SOCKET).st_gid if version and os.path.exists(contract.SOCKET) else None,
    }


def image_folder(info: dict[str, Any]) -> str:
    """Where the engine of a docker info keeps images: in its own folder or, as newer ones do, in containerd's."""
    root = str(info.get("DockerRootDir") or "/var/lib/docker")
    if ["driver-type", "io.containerd.snapshotter.v1"] not in (info.get("DriverStatus") or []):
        return root
    if os.path.exists(OWN_CONTAINERD):
        return f"{root}/containerd/daemon"
    configured = re.search(r"""^root = ["'](.+)["']$""", output("containerd", "config", "dump") or "", re.M)
    return configured[1] if configured else "/var/lib/containerd"


def limits(info: dict[str, Any]) -> list[str]:
    """What the kernel can limit a container in, by the word of the engine of a docker info, else by the kernel's."""
    if info.get("ServerVersion"):
        keys = {"memory": "MemoryLimit", "cpu": "CpuCfsQuota", "pids": "PidsLimit"}
        return [name for name, key in keys.items() if info.get(key, True)]
    try:
        return CONTROLLERS.read_text(encoding="utf-8").split()
    except OSError:
        pass  # cgroup v1
    try:
        lines = V1_CONTROLLERS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ["memory", "cpu", "pids"]  # Nobody can tell; the engine will.
    return [line.split()[0] for line in lines if line.endswith("\t1")]


def client_version() -> str:
    """The version of the docker client, '' without one; before version 23, `docker info` does not have it."""
    return told("--version").removeprefix("Docker version ").partition(",")[0]


def images() -> dict[str, str]:
    """The engine's images: their names with tag or digest, and their identities."""
    form = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}"
    lines = told("image", "ls", "--no-trunc", "--digests", "--format", form).splitlines()
    return {name: line.split()[2] for line in lines for name in line.split()[:2] if "<none>" not in name}
