"""Variables that are one plain value: port, addresses, sizes, folders, images."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.mounts import plain_path
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import EXAMPLE_VALUES, said, size_in_bytes

PROJECT = re.compile(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?")
# Docker's grammar of a reference: [host[:port]/]path[:tag][@digest].
IMAGE = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?"
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
# Folders whose files would mix with the role's, which removes from some of its folders what is not its own.
SHARED_FOLDERS = re.compile(
    r"/[^/]*|/(home|usr|var|etc)/[^/]+"
    r"|/(bin|boot|dev|lib|lib64|proc|run|sbin|sys|usr/(bin|lib|sbin|share)|var/lib/(apt|containerd|docker|dpkg))/.*"
)
# What the Fetch standard has browsers refuse ("port blocking").
BAD_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))  # fmt: skip


def good_port(port: int) -> int:
    """The next port that browsers open."""
    while port in BAD_PORTS:
        port += 1
    return port if port <= 65535 else 8000


def better_size(text: str, otherwise: str) -> str:
    """The size that was probably meant, such as 2G by 2gb and 2 GiB, else another."""
    folded = re.sub(r"I?B$", "", re.sub(r"[\s_]", "", text.upper()).replace(",", "."))
    return folded if folded != text and (size_in_bytes(folded) or 0) >= 256 * 2**20 else otherwise


def better_base_url(text: str) -> str:
    """A base URL that is like this one and can be used."""
    if "://" in text or len(text) > 60:
        return "/"
    parts = [re.sub(r"[^A-Za-z0-9_.~-]", "", part) for part in text.split("/")]
    return "/" + "".join(f"{part}/" for part in parts if part.strip("."))


def check_plain(good: dict[str, Any], specs: dict[str, Any], report: Report) -> None:
    """Check each single value that has its type already; a wrong one is reported and set to its default."""

    def check(name: str, fine: bool, what: str, write: str) -> None:
        if not fine:
            report.add(PREFIX + name, f"{said(good[name])} {what}", f"{PREFIX}{name}: {write}")
            good[name] = specs[PREFIX + name].get("default")

    check(
        "project",
        bool(PROJECT.fullmatch(good["project"])),
        "cannot name containers and volumes: 1 to 40 of a-z, 0-9, '-' and '_', no sign at an end.",
        "jupyterhub-home",
    )
    port = good["port"]
    check("port", 1 <= port <= 65535, "is not a TCP port, 1 to 65535.", "8000")
    check("port", good["port"] not in BAD_PORTS, "is a port that browsers refuse to open.", str(good_port(port)))
    check(
        "directory",
        plain_path(good["directory"])
        and bool(re.fullmatch(r"[\w./+@-]+", good["directory"]))
        and not SHARED_FOLDERS.fullmatch(good["directory"]),
        "is not a plain absolute path of a folder of the role's own.",
        "/opt/jupyterhub-home",
    )
    try:
        address = ipaddress.ip_address(good["bind_address"])
        usable = not address.is_multicast and "%" not in good["bind_address"]
    except ValueError:
        usable = False
    check("bind_address", usable, "is not an IP address to listen on.", "0.0.0.0")
    check(
        "base_url",
        bool(re.fullmatch(r"/((?!\.+/)[A-Za-z0-9_.~-]+/)*", good["base_url"])),
        "is not a path of letters, digits, '_', '.', '~' and '-' that begins and ends with a slash.",
        better_base_url(good["base_url"]),
    )
    check(
        "default_url",
        bool(re.fullmatch(r"/[^\s?#\\]*", good["default_url"]))
        and good["default_url"].isprintable()
        and "/../" not in good["default_url"] + "/",
        "is not the path of a page, beginning with a slash and without spaces.",
        "/lab",
    )
    memory = size_in_bytes(good["memory_limit"]) if good["memory_limit"] else 2**30
    check(
        "memory_limit",
        memory is not None and 256 * 2**20 <= memory <= 2**50,
        'is not a size of at least 256M, with K, M, G or T (no limit: "").',
        better_size(good["memory_limit"], "2G"),
    )
    check(
        "free_disk_min",
        size_in_bytes(good["free_disk_min"]) is not None,
        "is not a size with K, M, G or T.",
        better_size(good["free_disk_min"], "4G"),
    )
    # Docker takes no smaller part of a processor.
    cpu = good["cpu_limit"]
    check("cpu_limit", cpu == 0 or 0.01 <= cpu <= 10000, "is not 0 or between 0.01 and 10000.", "1.5")
    # 4194304 is the kernel's own limit.
    pids = good["pids_limit"]
    check("pids_limit", pids == 0 or 64 <= pids <= 4194304, "is not 0 or between 64 and 4194304.", "2048")
    idle = good["idle_timeout"]
    check(
        "idle_timeout",
        idle == 0 or 60 <= idle <= 2**31,
        f"is not 0 or between 60 and {2**31} seconds.",
        "42000",
    )
    for name in ("user_image", "base_image"):
        check(
            name,
            not good[name] or bool(IMAGE.fullmatch(good[name])),
            "is not an image reference.",
            EXAMPLE_VALUES[PREFIX + name],
        )
    check(
        "ca_bundle",
        not good["ca_bundle"] or plain_path(good["ca_bundle"]),
        "is not a plain absolute path.",
        specs[f"{PREFIX}ca_bundle"].get("default"),
    )
