"""What a machine is: its system, memory, disk, addresses, and who holds a port."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import told

# Bridges and tunnels of container engines and virtual machines: not addresses that a tablet can open.
INNER_INTERFACE = re.compile(r"^(lo|docker\d*|br-|veth|virbr|cni|podman|lxc|lxd)")


def output(*command: str) -> str | None:
    """What a command prints, stripped, or None when it is missing, fails or takes over a minute."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def system() -> dict[str, str]:
    """The fields of os-release(5), lower-cased keys, such as id, version_id and version_codename."""
    fields = {}
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields[key.lower()] = value.strip().strip("\"'")
    return fields


def port_holder(project: str, address: str, port: int) -> dict[str, str]:
    """state: 'free', 'ours' when the project's proxy publishes it, else the error's name, such as EADDRINUSE.

    error: the system's words for that error.
    """
    own = f"label={contract.COMPOSE_PROJECT}={project}"
    if re.search(rf":{port}->", told("ps", "--filter", own, "--format", "{{.Ports}}")):
        return {"state": "ours", "error": ""}
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "unknown")
            return {"state": name, "error": error.strerror or str(error)}
    return {"state": "free", "error": ""}


def dpkg_broken() -> bool:
    """Whether a package run was killed: packages half there, or a status update that was not taken in."""
    audit = subprocess.run(("dpkg", "--audit"), capture_output=True, text=True, check=False)
    updates = Path("/var/lib/dpkg/updates")
    pending = updates.is_dir() and any(entry.name.isdigit() for entry in updates.iterdir())
    return bool(audit.stdout.strip()) or pending


def memory() -> int:
    """Bytes of the machine's memory, swap included."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    return sum(int(fields[key].split()[0]) * 1024 for key in ("MemTotal", "SwapTotal"))


def there(path: str) -> Path:
    """A path, or of those above it the one that exists."""
    found = Path(path)
    while not found.exists():
        found = found.parent
    return found


def free_disk(path: str) -> int:
    """Bytes that an unprivileged process may still write where path is, or would be."""
    stat = os.statvfs(there(path))
    return stat.f_bavail * stat.f_frsize


def kept_disk(path: str) -> dict[str, Any]:
    """What a file system keeps for root when users have filled it: {bytes, block: bytes, kind, device, path}.

    kind and device are as in proc_pid_mountinfo(5), '' where nothing is found.
    """
    stat, device = os.statvfs(there(path)), there(path).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounted = [line.split() for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    kind, source = next((fields[fields.index("-") + 1 :][:2] for fields in mounted if fields[2] == number), ("", ""))
    kept = (stat.f_bfree - stat.f_bavail) * stat.f_frsize
    return {"bytes": kept, "block": stat.f_frsize, "kind": kind, "device": source, "path": path}


def loop_devices() -> bool:
    """Whether a file can be mounted here."""
    return Path("/dev/loop-control").exists() or output("modprobe", "--dry-run", "loop") is not None


def addresses(version: int = 4) -> list[str]:
    """The machine's global addresses of an IP version that other devices can open, the default route's first."""
    family, nowhere = (socket.AF_INET, "192.0.2.1") if version == 4 else (socket.AF_INET6, "2001:db8::1")
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((nowhere, 9))  # an address of the documentation: a UDP connect sends nothing
            found = [probe.getsockname()[0]]
        except OSError:
            found = []
    for interface in json.loads(output("ip", "-json", f"-{version}", "address", "show", "up") or "[]"):
        if INNER_INTERFACE.match(interface.get("ifname", "lo")):
            continue
        found += [a["local"] for a in interface["addr_info"] if a.get("scope") == "global"]
    return list(dict.fromkeys(found))
