"""Variables that are one plain value: port, addresses, sizes, folders, images."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ansible_collections.jupyterhub.home.plugins.plugin_utils.mounts import plain_path
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.schedule import CALENDAR, DAYS_OF_WEEK
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import EXAMPLE_VALUES, said, size_in_bytes

# Debian's own, and the default.
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
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


def better_time(text: str, example: str) -> str:
    """The time that was probably meant, such as Mon 03:30 by "Monday 3.30", in quotes; else the example."""
    found = re.fullmatch(r"(?:([A-Za-z]{2,9})[,. ]+)?([0-9]{1,2})[:.]([0-9]{2})", text.strip())
    if not found:
        return example
    days = [day for day in DAYS_OF_WEEK if found[1] and found[1].lower().startswith(day[:2].lower())]
    better = " ".join([*days, f"{int(found[2]):02}:{found[3]}"])
    return f'"{better}"' if CALENDAR.fullmatch(better) and (days or not found[1]) else example


def better_base_url(text: str) -> str:
    """A base URL that is like this one and can be used."""
    if "://" in text or len(text) > 60:
        return "/"
    parts = [re.sub(r"[^A-Za-z0-9_.~-]", "", part) for part in text.split("/")]
    return "/" + "".join(f"{part}/" for part in parts if part.strip("."))


def is_own_folder(path: str) -> bool:
    """Whether a folder can be the role's own."""
    plain = plain_path(path) and re.fullmatch(r"[\w./+@-]+", path)
    return bool(plain) and not SHARED_FOLDERS.fullmatch(path)


def is_address(text: str) -> bool:
    """Whether one can listen on an IP address."""
    try:
        return not ipaddress.ip_address(text).is_multicast and "%" not in text
    except ValueError:
        return False


def is_page(path: str) -> bool:
    """Whether a path is one of a page, without what a URL has before and after it."""
    return bool(re.fullmatch(r"/[^\s?#\\]*", path)) and path.isprintable() and "/../" not in path + "/"


def is_enough_memory(text: str) -> bool:
    """Whether a server can live with that much; '' is no limit."""
    return not text or 256 * 2**20 <= (size_in_bytes(text) or 0) <= 2**50


def is_enough_disk(text: str) -> bool:
    """Whether a file system of that size is of use, and ext4 can keep it in a file; '' is no limit."""
    return not text or 256 * 2**20 <= (size_in_bytes(text) or 0) <= 2**43


def limit(low: float, high: float) -> Callable[[float], bool]:
    """Whether a number is 0, for none, or in between."""
    return lambda number: number == 0 or low <= number <= high


class Rule(NamedTuple):
    """What a value must be, the sentence (without its subject) about one that is not, and what to write instead."""

    name: str
    fine: Callable[[Any], bool]
    what: str
    write: Callable[[Any], str] | str


# In the order in which mistakes are told. A variable may have several; the next one sees what the last left.
RULES = (
    Rule(
        "project",
        lambda name: bool(PROJECT.fullmatch(name)),
        "cannot name containers and volumes: 1 to 40 of a-z, 0-9, '-' and '_', no sign at an end.",
        "jupyterhub-home",
    ),
    Rule("port", lambda port: 1 <= port <= 65535, "is not a TCP port, 1 to 65535.", "8000"),
    Rule(
        "port",
        lambda port: port not in BAD_PORTS,
        "is a port that browsers refuse to open.",
        lambda port: str(good_port(port)),
    ),
    Rule(
        "directory",
        is_own_folder,
        "is not a plain absolute path of a folder of the role's own.",
        "/opt/jupyterhub-home",
    ),
    Rule("bind_address", is_address, "is not an IP address to listen on.", "0.0.0.0"),
    Rule(
        "base_url",
        lambda path: bool(re.fullmatch(r"/((?!\.+/)[A-Za-z0-9_.~-]+/)*", path)),
        "is not a path of letters, digits, '_', '.', '~' and '-' that begins and ends with a slash.",
        better_base_url,
    ),
    Rule("default_url", is_page, "is not the path of a page, beginning with a slash and without spaces.", "/lab"),
    Rule(
        "memory_limit",
        is_enough_memory,
        'is not a size of at least 256M, with K, M, G or T (no limit: "").',
        lambda text: better_size(text, "2G"),
    ),
    Rule(
        "disk_limit",
        is_enough_disk,
        'is not a size from 256M to 8T, with K, M, G or T (no limit: "").',
        lambda text: better if is_enough_disk(better := better_size(text, "20G")) else "20G",
    ),
    Rule(
        "free_disk_min",
        lambda text: size_in_bytes(text) is not None,
        "is not a size with K, M, G or T.",
        lambda text: better_size(text, "4G"),
    ),
    # Docker takes no smaller part of a processor.
    Rule("cpu_limit", limit(0.01, 10000), "is not 0 or between 0.01 and 10000.", "1.5"),
    # 4194304 is the kernel's own limit.
    Rule("pids_limit", limit(64, 4194304), "is not 0 or between 64 and 4194304.", "2048"),
    Rule("idle_timeout", limit(60, 2**31), f"is not 0 or between 60 and {2**31} seconds.", "42000"),
    *(
        Rule(
            name,
            lambda image: not image or bool(IMAGE.fullmatch(image)),
            "is not an image reference.",
            EXAMPLE_VALUES[PREFIX + name],
        )
        for name in ("user_image", "base_image")
    ),
    *(
        Rule(
            name,
            lambda text: not text or bool(CALENDAR.fullmatch(text)),
            "is not a time such as 04:30, alone for every day or after days such as Sun or Tue,Fri.",
            partial(better_time, example=EXAMPLE_VALUES[PREFIX + name]),
        )
        for name in ("renew", "backup")
    ),
    Rule(
        "ca_bundle",
        lambda path: not path or plain_path(path),
        "is not a plain absolute path.",
        CA_BUNDLE,
    ),
)


def check_plain(good: dict[str, Any], specs: dict[str, Any], report: Report) -> None:
    """Check each single value that has its type already; a wrong one is reported and set to its default."""
    for name, fine, what, write in RULES:
        value = good[name]
        if not fine(value):
            instead = write if isinstance(write, str) else write(value)
            report.add(PREFIX + name, f"{said(value)} {what}", f"{PREFIX}{name}: {instead}")
            good[name] = specs[PREFIX + name].get("default")
