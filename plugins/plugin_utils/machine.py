"""The machine: whether what was found on it goes with the variables."""

from __future__ import annotations

from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.disks import check_disks
from ansible_collections.jupyterhub.home.plugins.plugin_utils.mounts import check_folders, check_way
from ansible_collections.jupyterhub.home.plugins.plugin_utils.plain import CA_BUNDLE, good_port
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, THIS_MACHINE, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.schedule import check_schedule
from ansible_collections.jupyterhub.home.plugins.plugin_utils.systems import SUPPORTED, SYSTEMS, system_key
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import present
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import said, size_in_bytes
from ansible_collections.jupyterhub.home.plugins.plugin_utils.walls import check_overlap


def check_port(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the address and port can be had."""
    port, address, found = good["port"], good["bind_address"], machine["port"]
    if found["state"] in ("free", "ours") or report.about("port", "bind_address"):
        return
    if found["state"] == "EADDRNOTAVAIL":
        report.add(
            f"{PREFIX}bind_address", f"{address!r} is not an address of this machine.",
            f"{PREFIX}bind_address: {next(iter(machine['addresses']), '0.0.0.0')}, or 0.0.0.0 for all of them",
        )  # fmt: skip
    else:
        other = good_port(port + 1)
        report.add(
            f"{PREFIX}port", f"{address}:{port} cannot be used: {found['error']}.",
            f"{PREFIX}port: {other}, or stop what holds it (ss -ltnp 'sport = :{port}')",
        )  # fmt: skip


def check_size_of_machine(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether a server may be given more than there is."""
    memory = size_in_bytes(good["memory_limit"]) or 0
    # Part of what is built in is the kernel's own, so 32G on a machine of that size is not too much.
    if memory > machine["memory"] * 1.1:
        half = machine["memory"] // 2
        write = f"{half // 2**30}G" if half >= 2**30 else f"{max(half // 2**20, 256)}M"
        report.add(
            f"{PREFIX}memory_limit", f"{good['memory_limit']!r} is more than this machine has, swap included "
            f"({machine['memory'] / 2**30:.1f}G).", f'{PREFIX}memory_limit: {write}, or "" for no limit',
        )  # fmt: skip
    if good["cpu_limit"] > machine["processors"]:
        report.add(
            f"{PREFIX}cpu_limit", f"{good['cpu_limit']} is more than this machine has processors "
            f"({machine['processors']}).", f"{PREFIX}cpu_limit: {machine['processors']}, or 0 for no limit",
        )  # fmt: skip


def check_limits(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the kernel enforces the limits that servers are to have."""
    boot = (
        "for none, or have it: add cgroup_enable=memory to the kernel's parameters (on a Raspberry Pi the one line of "
        "/boot/firmware/cmdline.txt, elsewhere GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub) and reboot"
    )
    for name, controller, none, more in (
        ("memory_limit", "memory", '""', f" {boot}"),
        ("cpu_limit", "cpu", "0", ""),
        ("pids_limit", "pids", "0", ""),
    ):
        if good[name] and controller not in machine["docker"]["limits"]:
            report.add(
                f"{PREFIX}{name}",
                f"it is {said(good[name])}, which the kernel of this machine does not enforce.",
                f"{PREFIX}{name}: {none}{more}",
            )


def writes_much(machine: dict[str, Any], missing: list[str], tags: set[str]) -> bool:
    """Whether a run of these tags is to install Docker, or build or pull an image: nothing else writes gigabytes."""
    return bool(missing and tags & {"images", "hub"}) or bool(not machine["docker"]["installed"] and tags)


def check_system(machine: dict[str, Any], report: Report) -> None:
    """Whether it is a system that the role knows, and may be changed."""
    if system_key(machine) not in SYSTEMS:
        report.add(
            THIS_MACHINE,
            f"it runs {machine['system'].get('pretty_name', 'an unknown system')}; supported are {SUPPORTED}.",
            "another host in inventory/home",
        )
    if not machine["root"]:
        report.add(THIS_MACHINE, "the tasks do not run as root.", "become: true, as site.yml does")


def check_directory(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the folder is the role's own or not there yet."""
    if machine["directory"]:
        report.add(
            f"{PREFIX}directory",
            f"{good['directory']} {machine['directory']}.",
            f"{PREFIX}directory: /opt/jupyterhub-home, or another folder that is empty or not there yet",
        )


def check_disk(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether there is space for images and volumes."""
    wanted = size_in_bytes(good["free_disk_min"]) or 0
    if machine["free_disk"] < wanted and not report.about("free_disk_min"):
        free = machine["free_disk"] / 2**30
        report.add(
            f"{PREFIX}free_disk_min",
            f"only {free:.1f}G are free for images and volumes, not {good['free_disk_min']}. "
            f"Looked for in {machine['disk']}.",
            f"{PREFIX}free_disk_min: {int(machine['free_disk'] * 0.9 / 2**20)}M, or make room (docker image prune)",
        )  # fmt: skip


def notes_about_disk(good: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    """What is to be said when users' files can take the space that is to be free; see Limits in docs/security.md."""
    kept, wanted = machine["kept_disk"], size_in_bytes(good["free_disk_min"]) or 0
    if kept["bytes"] >= wanted:
        return []
    if not kept["kind"].startswith("ext"):
        return [
            f"Users' files can fill the disk of {kept['path']}, and stop this machine with it: unlike ext4, its file "
            f"system ({kept['kind'] or 'unknown'}) keeps nothing for root."
        ]
    return [
        f"When users' files fill the disk of {kept['path']}, {kept['bytes'] / 2**30:.1f}G are kept for this machine, "
        f"not {good['free_disk_min']} ({PREFIX}free_disk_min). To keep as much: "
        f"tune2fs -r {-(-wanted // kept['block'])} {kept['device']}"
    ]


def check_parts(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether what the variables count on is there: a bundle of certificates, and a Docker that is not to come."""
    bundle = good["ca_bundle"]
    if bundle and bundle != CA_BUNDLE and not machine["ca_bundle"]:
        report.add(f"{PREFIX}ca_bundle", f"{bundle} is no file on this machine.", f'{PREFIX}ca_bundle: ""')
    if machine["ca_bundle_loose"]:
        check_way("ca_bundle", [bundle], machine["ca_bundle_loose"], [], report)
    if not machine["docker"]["installed"] and good["docker_source"] == "none":
        report.add(
            f"{PREFIX}docker_source",
            "it is 'none', but this machine has no Docker.",
            f"{PREFIX}docker_source: distribution",
        )


def check_firewall(machine: dict[str, Any], report: Report) -> None:
    """Whether the kernel takes the firewall rules around users' servers; nobody can tell before nftables is there."""
    if machine["firewall"]:
        report.add(
            THIS_MACHINE,
            f"its kernel takes no firewall rules around users' servers: {machine['firewall']}.",
            "use a kernel with nf_tables and br_netfilter, as Debian's own has them (apt install linux-image-amd64), "
            "and reboot",
            label="Do",
        )


def check_machine(good: dict[str, Any], machine: dict[str, Any], report: Report, *, writes: bool = True) -> None:
    """Check what was found on the target against the variables; sizes in bytes. writes: the run is to write much."""
    check_system(machine, report)
    check_port(good, machine, report)
    check_directory(good, machine, report)
    if writes:
        check_disk(good, machine, report)
    check_size_of_machine(good, machine, report)
    check_parts(good, machine, report)
    check_limits(good, machine, report)
    check_firewall(machine, report)
    check_disks(good, machine, report)
    check_overlap(good, machine, report)
    check_schedule(good, machine, report)
    # Where the list has a mistake, who has which uid is not known yet.
    uids = {} if report.about("users") else {user["name"]: user.get("uid") for user in good["users"] if present(user)}
    check_folders(good["mounts"], machine["folders"], report, machine["noted_mount_points"], uids)
