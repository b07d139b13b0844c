#!/usr/bin/python
"""Look at the target machine: what every later task and check needs, in one call."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.belongings import (
    COMPOSE,
    OWN_FOLDERS,
    belongings,
    directory_problem,
    owner_of,
    projects,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import (
    EngineError,
    attached,
    compose_labels,
    inspect,
    is_ghost,
    is_plain,
    labelled,
    trial_names,
    unattached,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.homes import Homes
from ansible_collections.jupyterhub.home.plugins.module_utils.lease import release, take
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, mark_of

DOCUMENTATION = r"""
module: probe
short_description: Look at the machine that is to become a JupyterHub
description:
  - Reads the system, the Docker engine, the port, the host folders, the free disk space and the addresses.
  - Changes nothing but the lease of a run and what it remembers until the next boot, so it also runs in check mode.
options:
  project: {type: str, required: true, description: Compose project whose own containers may hold the port.}
  bind_address: {type: str, required: true, description: Address that the port must be free on.}
  port: {type: int, required: true, description: TCP port that must be free or our own.}
  directory: {type: path, required: true, description: Folder that the role writes; its own or not there.}
  sources: {type: list, elements: path, required: true, description: Host folders that servers mount.}
  ca_bundle: {type: path, required: true, description: CA bundle that may be there or not.}
  homes: {type: bool, default: false, description: Whether to list who has a home volume.}
  belongings: {type: bool, default: false, description: Whether to list all that the project has on the machine.}
  run: {type: dict, default: {}, description: Takes the lease for this run if it is free. See module_utils/lease.py.}
  ended: {type: str, default: "", description: Identity of a run whose lease may be taken over.}
  release: {type: str, default: "", description: Gives back the lease of the run of this identity.}
attributes:
  check_mode: {support: full}
"""
RETURN = r"""
machine:
  description: See Machine in the source; every size is in bytes.
  type: dict
  returned: always
holder:
  description: The other run that has the lease, with its age in seconds; empty when the lease was had or not asked for.
  type: dict
  returned: always
"""

SOCKET = "/var/run/docker.sock"
# Of the containerd that dockerd runs itself where it finds none.
OWN_CONTAINERD = "/run/docker/containerd/containerd.sock"
# See cgroups(7).
CONTROLLERS, V1_CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers"), Path("/proc/cgroups")
PID, CONFIG = "/run/docker.pid", "/etc/docker/daemon.json"
# What Compose said of a compose.yml, by project.
HASHES = "/run/jupyterhub-home-{}.hashes"
# Bridges and tunnels of container engines and virtual machines: not addresses that a tablet can open.
INNER_INTERFACE = re.compile(r"^(lo|docker\d*|br-|veth|virbr|cni|podman|lxc|lxd)")

TRIED = "hub/tried"


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


def engine() -> dict[str, Any]:
    """The Docker engine: versions are strings, None where a part is missing or does not answer."""
    try:
        # Exits with an error but still prints when the engine does not answer.
        done = subprocess.run(
            ("docker", "info", "--format", "{{json .}}"), capture_output=True, text=True, timeout=60, check=False
        )
        info = json.loads(done.stdout or "{}")
    except (OSError, subprocess.TimeoutExpired, ValueError):
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
        "socket_gid": os.stat(SOCKET).st_gid if version and os.path.exists(SOCKET) else None,
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
        told = {"memory": "MemoryLimit", "cpu": "CpuCfsQuota", "pids": "PidsLimit"}
        return [name for name, key in told.items() if info.get(key, True)]
    try:
        return CONTROLLERS.read_text(encoding="utf-8").split()
    except OSError:
        pass  # cgroup v1
    try:
        lines = V1_CONTROLLERS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ["memory", "cpu", "pids"]  # Nobody can tell; the engine will.
    return [line.split()[0] for line in lines if line.endswith("\t1")]


def makes_rules() -> bool:
    """Whether the engine is one that makes firewall rules by iptables, as it does unless its owner says otherwise."""
    words = ""
    with contextlib.suppress(OSError, ValueError):
        words = Path(f"/proc/{int(Path(PID).read_text(encoding='utf-8'))}/cmdline").read_text(encoding="utf-8")
    configured: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        configured = json.loads(Path(CONFIG).read_text(encoding="utf-8"))
    return (
        "--iptables=false" not in words.split("\0")
        and configured.get("iptables") is not False
        and "--firewall-backend=nftables" not in words.split("\0")
        and configured.get("firewall-backend") != "nftables"
    )


def rules_gone(bridge: str) -> bool:
    """Whether the engine's firewall rules are gone, all of them or those of a bridge ('' for none).

    What loads a firewall anew (nftables, `iptables -F`) removes them, and containers have no way out. False where
    nobody can tell.
    """
    nat, rules = output("iptables", "-w", "-t", "nat", "-S"), output("iptables", "-w", "-S")
    if nat is None or rules is None or not makes_rules():
        return False
    needed = [(nat, r"-A PREROUTING .*-j DOCKER"), (rules, r"-A FORWARD .*-j DOCKER")]
    if bridge:
        needed += [(nat, rf"-A POSTROUTING .* {bridge} .*-j MASQUERADE"), (rules, rf"-A .* {bridge} ")]
    return not all(re.search(f"^{pattern}", text, re.M) for text, pattern in needed)


def client_version() -> str:
    """The version of the docker client, '' without one; before version 23, `docker info` does not have it."""
    return (output("docker", "--version") or "").removeprefix("Docker version ").partition(",")[0]


def port_holder(project: str, address: str, port: int) -> dict[str, str]:
    """state: 'free', 'ours' when the project's proxy publishes it, else the error's name, such as EADDRINUSE.

    error: the system's words for that error.
    """
    own = f"label=com.docker.compose.project={project}"
    published = output("docker", "ps", "--filter", own, "--format", "{{.Ports}}")
    if re.search(rf":{port}->", published or ""):
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


def images() -> dict[str, str]:
    """The engine's images: their names with tag or digest, and their identities."""
    form = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}"
    lines = (output("docker", "image", "ls", "--no-trunc", "--digests", "--format", form) or "").splitlines()
    return {name: line.split()[2] for line in lines for name in line.split()[:2] if "<none>" not in name}


def config_hashes(project: str, record: Record, version: str | None, edited: bool) -> dict[str, str]:
    """What Compose of this version labels each service's container with; empty where it cannot tell.

    edited: somebody else changed compose.yml; then this is of the file as it was left. Compose takes a tenth of a
    second, and is asked once about a file.
    """
    file, kept = record.root / "compose.yml", Path(HASHES.format(project))
    left = record.before[file.name][0] if edited else mark_of(file)
    about = f"{version} {left.split()[0]}"
    try:
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["about"] == about:
            hashes: dict[str, str] = known["hashes"]
            return hashes
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there yet, or of no use
    if edited or not file.exists():
        return {}
    listed = output("docker", "compose", "-f", str(file), "config", "--hash", "*") or ""
    hashes = dict(line.split() for line in listed.splitlines())
    if hashes and version and os.geteuid() == 0:
        replace_file(kept, json.dumps({"about": about, "hashes": hashes}), mode=0o600, owner=0, group=0)
    return hashes


def project_state(
    project: str, record: Record, known_images: dict[str, str], compose_version: Callable[[], str | None]
) -> dict[str, Any]:
    """What somebody else changed about hub, proxy and what they need, against compose.yml.

    settled: Compose would have nothing to do. found: what was found, in words; nothing before the first run.
    start: some of that is for Compose to mend. mend: some of it Compose would not mend. folder: from which the hub was
    started, '' if it is not there. bridge: the network's interface on the machine, '' without one.
    """
    data = f"{project}-data"
    names = {service: f"{project}-{service}" for service in ("hub", "proxy")}
    things = inspect(*names.values(), project, data, f"{data}-aside", *trial_names(project))
    outside = unattached(project, things.get(project))
    edited = bool(record.how_strange("compose.yml"))
    hashes = config_hashes(project, record, compose_version(), edited)
    before_first_run = not hashes and not edited
    for_compose, for_mend = [], []
    if f"{data}-aside" in things:
        for_mend.append(f"a run had stopped while it moved the volume {data}.")
    if things.keys() & set(trial_names(project)):
        for_mend.append("a run had stopped while it tried new settings.")
    if not before_first_run:
        volume, network = things.get(data), things.get(project)
        if not volume:
            for_compose.append(f"the volume {data} was gone.")
        elif is_plain(volume) and not labelled(volume, compose_labels(project, "volume", "data")):
            for_mend.append(f"the volume {data} had other labels.")
        if not network:
            for_mend.append(f"the network {project} was gone.")
        elif not labelled(network, compose_labels(project, "network", "users")):
            for_mend.append(f"the network {project} had other labels.")
        for_mend += [f"the server {name} was not in the network." for name in outside]
        for service, name in names.items():
            if name not in things:
                renamed = other_name(project, service)
                gone = f"the container {name} was {f'renamed to {renamed}' if renamed else 'gone'}."
                (for_mend if renamed else for_compose).append(gone)
                continue
            mended = {"was paused", "was not in its network", GHOST}
            for what in strangeness(things[name], hashes.get(service), network, known_images):
                (for_mend if what in mended else for_compose).append(f"the container {name} {what}.")
    found = for_mend + for_compose
    network = things.get(project) or {}
    named = (network.get("Options") or {}).get("com.docker.network.bridge.name")
    return {
        "settled": not found and not edited and not before_first_run,
        "found": found,
        "mend": bool(for_mend),
        "start": bool(for_compose),
        "folder": (things[names["hub"]]["Config"]["Labels"].get(f"{COMPOSE}.working_dir") or "")
        if names["hub"] in things
        else "",
        "bridge": named or (f"br-{network['Id'][:12]}" if network else ""),
    }


def other_name(project: str, service: str) -> str:
    """What somebody has named the container of a service; '' if there is none."""
    labels = {"project": project, "service": service}
    filters = [
        part for key, value in labels.items() for part in ("--filter", f"label=com.docker.compose.{key}={value}")
    ]
    return (output("docker", "ps", "--all", *filters, "--format", "{{.Names}}") or "").partition("\n")[0]


GHOST = "had no process, though Docker took it for a running one"


def strangeness(
    container: dict[str, Any], config_hash: str | None, network: dict[str, Any] | None, known_images: dict[str, str]
) -> list[str]:
    """How a service's container differs from compose.yml, in words; config_hash: None where it cannot be told."""
    status = container["State"]["Status"]
    ghost = is_ghost(container)
    checks = {
        GHOST: not ghost,
        f"was {status}": ghost or status in ("running", "restarting"),
        "was made with other settings":
            config_hash in (None, container["Config"]["Labels"].get("com.docker.compose.config-hash")),
        "ran on an image that was removed or replaced":
            known_images.get(container["Config"]["Image"]) == container["Image"],
        "was not in its network": network is None or attached(container, network),
    }  # fmt: skip
    return [text for text, fine in checks.items() if not fine]


def watched(project: str, directory: Path) -> bool:
    """Whether what starts hub and proxy where Docker gives up is at work, and stays so after a reboot."""
    unit = f"{project}-watch.service"
    names = "ActiveState,UnitFileState,NeedDaemonReload,FragmentPath"
    shown = dict(
        line.split("=", 1) for line in (output("systemctl", "show", f"--property={names}", unit) or "").splitlines()
    )
    place = os.path.realpath(shown.pop("FragmentPath", ""))
    right = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    return shown == right and place == os.path.realpath(directory / "watch" / unit)


def dpkg_broken() -> bool:
    """Whether a package run was killed: packages half there, or a status update that was not taken in."""
    audit = subprocess.run(("dpkg", "--audit"), capture_output=True, text=True, check=False)
    updates = Path("/var/lib/dpkg/updates")
    pending = updates.is_dir() and any(entry.name.isdigit() for entry in updates.iterdir())
    return bool(audit.stdout.strip()) or pending


def folder(path: str) -> dict[str, Any]:
    """Owner and mode of a host folder; 'exists' is false for anything that is no folder."""
    if not os.path.isdir(path):
        return {"exists": False}
    stat = os.stat(path)
    return {"exists": True, "uid": stat.st_uid, "gid": stat.st_gid, "mode": stat.st_mode & 0o7777}


def tried(record: Record) -> str:
    """The digest of what has been found to work, as the role left it; '' where that is not known."""
    kept = record.root / TRIED
    return "" if record.how_strange(TRIED) or not kept.is_file() else kept.read_text(encoding="utf-8").strip()


def memory() -> int:
    """Bytes of the machine's memory, swap included."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    return sum(int(fields[key].split()[0]) * 1024 for key in ("MemTotal", "SwapTotal"))


def free_disk(path: str) -> int:
    """Bytes that an unprivileged process may still write where path is, or would be."""
    there = Path(path)
    while not there.exists():
        there = there.parent
    stat = os.statvfs(there)
    return stat.f_bavail * stat.f_frsize


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


def declared_users(*directories: Path) -> list[str]:
    """The names of the list that the hub has now, in the first of these folders with one; nothing before any run."""
    for directory in directories:
        try:
            return sorted(json.loads((directory / "users/users.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            pass
    return []


def present(project: str, directory: Path, docker: dict[str, Any]) -> dict[str, Any]:
    """What is there to uninstall: all that the project has, by kind, the projects on the machine, each with its
    folder, and the project that the given folder belongs to. Nothing while an engine does not answer."""
    if docker["installed"] and not docker["version"]:
        return {}
    hubs = projects() if docker["version"] else {}
    using = next((hub for hub, its_folder in hubs.items() if its_folder == str(directory)), "")
    owner = owner_of(directory) or using
    return {"belongings": belongings(project, directory), "projects": hubs, "owner": owner}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "bind_address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "directory": {"type": "path", "required": True},
            "sources": {"type": "list", "elements": "path", "required": True},
            "ca_bundle": {"type": "path", "required": True},
            "homes": {"type": "bool", "default": False},
            "belongings": {"type": "bool", "default": False},
            "run": {"type": "dict", "default": {}},
            "ended": {"type": "str", "default": ""},
            "release": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    root = os.geteuid() == 0
    if root:  # without it no run follows that would have to be alone
        release(wanted["release"])
    holder = take(wanted["run"], wanted["ended"]) if root and wanted["run"] else {}
    directory = Path(wanted["directory"])
    record = Record(directory)
    # Most of the time goes to programs that are waited for.
    with ThreadPoolExecutor() as pool:
        asked_engine = pool.submit(engine)
        asked_dpkg = pool.submit(dpkg_broken)
        asked_port = pool.submit(port_holder, wanted["project"], wanted["bind_address"], wanted["port"])
        asked_watched = pool.submit(watched, wanted["project"], directory)
        known_images = images()
        try:
            project = project_state(wanted["project"], record, known_images, lambda: asked_engine.result()["compose"])
        except (EngineError, OSError):
            # No engine or no docker: there is nothing to compare.
            project = {"settled": False, "found": [], "mend": False, "start": False, "folder": "", "bridge": ""}
        try:
            homes = Homes(wanted["project"], pretend=True).users() if wanted["homes"] else []
        except (EngineError, OSError):
            homes = []
        gone = rules_gone(project["bridge"])
    docker = asked_engine.result()
    docker["rules_gone"] = gone and docker["version"] is not None
    more = present(wanted["project"], directory, docker) if wanted["belongings"] else {}
    disk = min(docker["images"], docker["root"] or "/var/lib/docker", key=free_disk)
    module.exit_json(
        changed=False,
        holder=holder,
        machine={
            "system": system(),
            "systemd": os.path.isdir("/run/systemd/system"),
            "root": root,
            "docker": docker,
            "images": known_images,
            "project": project,
            "watched": asked_watched.result(),
            "programs": [name for name in ("ip", "mmdebstrap") if shutil.which(name)],
            "dpkg_broken": asked_dpkg.result(),
            "port": asked_port.result(),
            "directory": directory_problem(directory, wanted["project"]),
            "written": record.intact(OWN_FOLDERS),
            "tried": tried(record),
            "ca_bundle": os.path.isfile(wanted["ca_bundle"]),
            "folders": {path: folder(path) for path in wanted["sources"]},
            "memory": memory(),
            "processors": len(os.sched_getaffinity(0)),
            "disk": disk,
            "free_disk": free_disk(disk),
            "addresses": addresses(6 if ":" in wanted["bind_address"] else 4),
            "users": declared_users(Path(project["folder"] or directory), directory),
            "homes": homes,
            **more,
        },
    )


if __name__ == "__main__":
    main()
