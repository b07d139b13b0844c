"""Check every variable and the machine before anything is touched, and say all mistakes at once."""

from __future__ import annotations

import datetime
import difflib
import errno
import gc
import getpass
import ipaddress
import math
import multiprocessing
import os
import platform
import posixpath
import re
import time
import unicodedata
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

# Ansible loads this plugin when it has read all variables, and from then on forks a process for every task. Without it
# the garbage collector of each would go through a list of a thousand users, which is a tenth of such a run.
gc.freeze()

# The one in C takes a tenth of the time, and is not in every build of PyYAML.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PREFIX = "jupyterhub_home_"
WORK_FOLDER = "/home/jovyan/work"
JOVYAN = 1000

# What a name must be for shadow(5), a Docker name and a volume at once; 32 is the limit of useradd(8).
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
GROUP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
PROJECT = re.compile(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?")
SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([KMGT]?)")
SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Docker's grammar of a reference: [host[:port]/]path[:tag][@digest].
IMAGE = re.compile(
    r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?"
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
# PEP 508 without spaces, addresses and markers.
VERSION = r"(===|[=!~<>]=|[<>])[A-Za-z0-9.*+!_-]+"
REQUIREMENT = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*\])?"
    rf"({VERSION}(,{VERSION})*)?"
)
# crypt(5): the methods that Debian's PAM verifies and that are still thought strong.
HASH = re.compile(
    r"\$y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
    r"|\$6\$(rounds=[0-9]+\$)?[^$:\s]{1,16}\$[./A-Za-z0-9]{86}"
    r"|\$5\$(rounds=[0-9]+\$)?[^$:\s]{1,16}\$[./A-Za-z0-9]{43}"
    r"|\$2b\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}"
)
# Accounts of Debian's base system and of the images: PAM would find them before ours.
RESERVED = frozenset(
    """root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody _apt
    messagebus systemd-network systemd-timesync sshd hub jovyan""".split()  # noqa: SIM905 (a list would take 25 lines)
)
# Folders whose files would mix with the role's, which removes from some of its folders what is not its own.
SHARED_FOLDERS = re.compile(
    r"/[^/]*|/(home|usr|var|etc)/[^/]+"
    r"|/(bin|boot|dev|lib|lib64|proc|run|sbin|sys|usr/(bin|lib|sbin|share)|var/lib/(apt|containerd|docker|dpkg))/.*"
)
SYSTEM_FOLDERS = re.compile(r"/|/(bin|boot|dev|etc|lib|lib64|opt|proc|root|run|sbin|sys|usr|var)(/.*)?|/home(/[^/]+)?")
# A mount there would hide what the server needs.
IMAGE_FOLDERS = re.compile(r"/home|/home/jovyan|/(bin|boot|dev|etc|lib|lib64|opt|proc|root|run|sbin|sys|tmp|usr|var)")
# What the Fetch standard has browsers refuse ("port blocking").
BAD_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))  # fmt: skip
# Signs that word processors and phones put in the place of straight quotes.
CURLY = "\u201c\u201d\u201e\u201f\u00ab\u00bb"
SINGLE_CURLY = "\u2018\u2019\u201a\u201b\u2039\u203a"
# Signs that come with copied text, are not seen, and that nobody types: spaces of other kinds, of no width, directions.
UNSEEN = re.compile("[\u00a0\u00ad\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\ufeff]")
SUPPORTED = {("debian", "12"), ("debian", "13")}
# Seconds for which a run counts whose controller is another one: whether it has ended cannot be seen from here.
LEASE = 1800
# May hold passwords, so a message never shows what is in them.
SECRET = {f"{PREFIX}{name}" for name in ("users", "config", "extra_config")}
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "path": ((str,), "a path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list,), "a list"),
    "dict": ((dict,), "a dictionary"),
}
# What to write where the default is empty and says nothing about the form.
EXAMPLE_VALUES = {
    f"{PREFIX}users": '[{name: alice, password: "...", admin: true}]',
    f"{PREFIX}mounts": f"[{{source: /home/alice, target: {WORK_FOLDER}, users: [alice]}}]",
    f"{PREFIX}delete_homes": "[alice]",
    f"{PREFIX}user_packages": '["numpy>=2", pandas]',
    f"{PREFIX}hub_packages": "[oauthenticator]",
    f"{PREFIX}user_image": "quay.io/jupyter/scipy-notebook:latest",
    f"{PREFIX}base_image": "debian:13",
    f"{PREFIX}config": "{Spawner: {start_timeout: 120}}",
    f"{PREFIX}extra_config": "|, and below it Python, indented by two spaces",
}
KEY_EXAMPLES = {
    "name": "alice", "password": '"...", in quotes', "password_hash": '"$y$j9T$...", in quotes', "admin": "true",
    "groups": "[family]", "state": "absent", "renamed_from": "alice", "source": "/home/alice", "target": WORK_FOLDER,
    "users": "[alice]", "read_only": "true",
}  # fmt: skip


def nearest(name: str, known: Any) -> str:
    """The known name that is most like this one, or '' when none is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return next(iter(close or [one for one in known if len(name) > 3 and name in one]), "")


def some(names: list[str]) -> str:
    """Names as a message has them; many are counted."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def size_in_bytes(text: str) -> int | None:
    """Bytes of a size such as 512M or 1.5G (powers of 1024), None when it is no size."""
    match = SIZE.fullmatch(text)
    return int(float(match[1]) * SIZE_UNITS[match[2]]) if match else None


def kind(value: Any) -> str:
    """What a value is, in words and without the value itself."""
    words: list[tuple[type | tuple[type, ...], str]] = [
        (type(None), "empty"), (bool, "true or false"), ((int, float), "a number"), (str, "text"), (list, "a list"),
        (dict, "a dictionary"), (datetime.date, "a date"),
    ]  # fmt: skip
    return next((word for types, word in words if isinstance(value, types)), "of another type")


def said(value: Any) -> str:
    """A value as a message shows it: short, on one line, without the password of an address."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = re.sub(r"://[^/@\s]*@", "://...@", value)
        return repr(str(text if len(text) <= 60 else text[:57] + "..."))
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    if isinstance(value, (int, float)):
        return str(value)
    return value.isoformat() if isinstance(value, datetime.date) else kind(value)


def said_beside(value: Any, wanted: str, secret: bool) -> str:
    """A value as said beside the type that it should have: 'false' is no false."""
    if secret:
        return kind(value)
    return f"the text {said(value)}" if wanted == "bool" and isinstance(value, str) else said(value)


class Report:
    """Collects mistakes: where, what is wrong, and the line to write instead."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def add(self, where: str, what: str, write: str, label: str = "Write") -> None:
        self.mistakes.append(f"{where}: {what}\n     {label}: {write}")

    def about(self, *names: str) -> bool:
        """Whether one of these variables (without prefix) has a mistake already."""
        places = tuple(PREFIX + name + sign for name in names for sign in ":,")
        return any(mistake.startswith(places) for mistake in self.mistakes)

    def text(self) -> str:
        count = len(self.mistakes)
        head = "1 thing has" if count == 1 else f"{count} things have"
        body = "\n".join(f"  {number}. {mistake}" for number, mistake in enumerate(self.mistakes, 1))
        return f"{head} to be put right first; nothing was changed.\n{body}"


def of_type(value: Any, wanted: str) -> bool:
    """Whether a value is of a specs type; a bool is no number, 'yes' no bool, infinity no number."""
    kinds, _ = TYPES[wanted]
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return isinstance(value, kinds) and (wanted == "bool" or not isinstance(value, bool))


def example_of(name: str, value: Any, spec: dict[str, Any]) -> str:
    """The line to write instead of a value of the wrong type."""
    if spec.get("type") == "bool" and isinstance(value, str):
        meant = {"yes": "true", "true": "true", "on": "true", "1": "true"}.get(value.lower(), "false")
        return f"{name}: {meant}, without quotes; on the command line -e {name}={meant}"
    default = yaml.safe_dump(spec.get("default"), default_flow_style=True).splitlines()[0]
    return f"{name}: {EXAMPLE_VALUES.get(name, default)}"


def convert(name: str, value: Any, spec: dict[str, Any], report: Report) -> Any:
    """The value in the type of its spec, or None with the mistake reported.

    `-e name=8000` on the command line gives text: digits pass for numbers, true and false for what they say. Nothing
    else is converted.
    """
    wanted = spec.get("type", "str")
    if wanted == "bool" and isinstance(value, str) and value in ("true", "false"):
        value = value == "true"
    if wanted in ("int", "float") and isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        value = float(value) if "." in value else int(value)
    example = example_of(name, value, spec)
    if not of_type(value, wanted):
        report.add(name, f"it is {said_beside(value, wanted, name in SECRET)}, not {TYPES[wanted][1]}.", example)
        return None
    if "choices" in spec and value not in spec["choices"]:
        report.add(name, f"it is {said(value)}, none of {', '.join(spec['choices'])}.", example)
        return None
    if wanted == "list":
        value = check_items(name, value, spec, example, report)
    return value


def check_items(where: str, items: list[Any], spec: dict[str, Any], write: str, report: Report) -> list[Any]:
    """The items of a list that are of its elements' type; the others are reported, secrets without their value."""
    wanted = spec.get("elements", "str")
    good = []
    for number, item in enumerate(items, 1):
        if of_type(item, wanted):
            good.append(item)
        else:
            shown = kind(item) if wanted == "dict" or item is None else said(item)
            report.add(where, f"item {number} of the list is {shown}, not {TYPES[wanted][1]}.", write)
    return good


def check_keys(where: str, item: dict[str, Any], options: dict[str, Any], report: Report) -> dict[str, Any]:
    """The item's well-typed keys; unknown, missing and ill-typed ones are reported, secrets without their value."""
    good = {}
    secrets = any(option.get("no_log") for option in options.values())
    for key, value in item.items():
        if key not in options:
            # `password:hunter2`, with no space after the colon, is a key: where secrets are, an odd one stays unsaid.
            like = nearest(re.split(r"[^a-z_]", str(key).lower())[0], options)
            if secrets and not (like and value is not None and re.fullmatch(r"[A-Za-z_-]{1,20}", str(key))):
                report.add(
                    where,
                    "one of its keys is not known, or the space after a colon is missing.",
                    f"{like or next(iter(options))}: ..., of the keys {', '.join(options)}",
                )
            else:
                report.add(
                    where,
                    f"the key {said(key)} is not known.",
                    f"{like}: ..." if like else f"one of the keys {', '.join(options)}",
                )
            continue
        wanted = options[key].get("type", "str")
        write = f"{key}: {KEY_EXAMPLES.get(key, '...')}"
        if not of_type(value, wanted):
            shown = said_beside(value, wanted, bool(options[key].get("no_log")))
            report.add(where, f"{key} is {shown}, not {TYPES[wanted][1]}.", write)
        elif value not in options[key].get("choices", [value]):
            report.add(where, f"{key} is {said(value)}, none of {', '.join(options[key]['choices'])}.", write)
        elif wanted == "list":
            good[key] = check_items(f"{where}, {key}", value, options[key], write, report)
        else:
            good[key] = value
    for key, option in options.items():
        if option.get("required") and key not in item:
            report.add(where, f"{key} is missing.", f"{key}: {KEY_EXAMPLES.get(key, '...')}")
    return good


def plain_user_name(name: str) -> bool:
    """Whether PAM, Docker and a volume can all carry this name."""
    return bool(USER_NAME.fullmatch(name)) and ".." not in name and not name.endswith(".")


def check_user_name(where: str, name: str, report: Report) -> None:
    """A name must be one that PAM, Docker and a volume can all carry."""
    folded = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-").lstrip("0123456789-")[:32].rstrip("-")
    hint = f"name: {folded if plain_user_name(folded) and folded not in RESERVED else 'alice'}"
    if name in RESERVED:
        report.add(where, f"the name {name!r} belongs to the system.", f"name: {name}1")
    elif not USER_NAME.fullmatch(name):
        report.add(
            where,
            f"the name {said(name)} cannot be used: 1 to 32 of a-z, 0-9, '_', '-' and '.', "
            "beginning with a letter or '_'.",
            hint,
        )
    elif not plain_user_name(name):
        report.add(where, f"the name {name!r} cannot be used: no two dots in a row, none at the end.", hint)


def in_curly_quotes(text: str) -> bool:
    """Whether text was meant to be in quotes; one of a pair is enough where the other may have been cut off."""
    single = text[0] in SINGLE_CURLY and text[-1] in SINGLE_CURLY
    return text[0] in CURLY or text[-1] in CURLY or single


def good_port(port: int) -> int:
    """The next port that browsers open."""
    while port in BAD_PORTS:
        port += 1
    return port if port <= 65535 else 8000


def check_secrets(where: str, raw: dict[str, Any], user: dict[str, Any], pam: bool, report: Report) -> None:
    """A user's password or hash: one of them, and well formed. raw: all keys; user: those of the right type."""
    if pam and "password" not in raw and "password_hash" not in raw:
        report.add(
            where,
            "there is neither password nor password_hash.",
            'password: "...", or the line that make password prints',
        )
    if "password" in raw and "password_hash" in raw:
        report.add(where, "password and password_hash are both there.", "only one of them")
    password = user.get("password")
    if password is not None:
        # Lone surrogates, which JSON can carry, are no text that anybody could type.
        length = len(password.encode(errors="ignore"))
        if not 0 < length < 512:
            report.add(where, "the password is empty or longer than 511 bytes.", 'password: "..."')
        elif any(ord(sign) < 32 or ord(sign) == 127 or 0xD800 <= ord(sign) <= 0xDFFF for sign in password):
            report.add(where, "the password has a line break or another control character.", 'password: "..."')
        elif found := UNSEEN.search(password):
            name = unicodedata.name(found[0], "sign").lower()
            report.add(
                where,
                f"the password has a sign in it that is not seen and hardly typed (U+{ord(found[0]):04X}, {name}).",
                'password: "...", typed anew',
            )
        elif in_curly_quotes(password):
            report.add(
                where,
                "the password is in curly quotes, which YAML takes as a part of it.",
                'password: "...", in straight quotes',
            )
        elif HASH.fullmatch(password):
            report.add(where, "password holds a hash; nobody could log in with it.", 'password_hash: "..."')
    hashed = user.get("password_hash")
    # '!' or '*' before a hash, or alone, locks the account as usermod(8) does.
    if hashed is not None and not re.fullmatch(r"[!*]+", hashed) and not HASH.fullmatch(hashed.lstrip("!*")):
        report.add(
            where,
            "password_hash is none of the forms $y$ $6$ $5$ $2b$ of crypt(5), whole and in quotes.",
            'password_hash: "$y$j9T$...", as make password prints it',
        )


def present(user: dict[str, Any]) -> bool:
    """Whether an entry declares a user, and not the absence of one."""
    return bool(user.get("state", "present") == "present")


def shown_user(user: dict[str, Any], number: int) -> str:
    """A user as a message names it: by name where that can be printed, else by its place in the list."""
    name = user.get("name")
    return name if isinstance(name, str) and 0 < len(name) <= 40 and name.isprintable() else f"number {number}"


def check_users(
    users: list[dict[str, Any]], options: dict[str, Any], pam: bool, empty_is_meant: bool, report: Report
) -> None:
    """Names, secrets and groups of the users; pam: they log in with these passwords."""
    variable = f"{PREFIX}users"
    seen: set[str] = set()
    if pam and not empty_is_meant and not any(present(user) for user in users) and not report.about("users"):
        report.add(
            variable,
            "there are no users, so nobody could log in.",
            f"{variable}: {EXAMPLE_VALUES[variable]}, into the file that make vault opens; if it is meant, "
            f"{PREFIX}allow_no_users: true",
        )
    for number, raw in enumerate(users, 1):
        named = raw.get("name") if isinstance(raw.get("name"), str) else None
        where = f"{variable}, user {shown_user(raw, number)}"
        user = check_keys(where, raw, options, report)
        if named is not None:
            check_user_name(where, named, report)
            if named in seen:
                report.add(where, "this name stands in the list twice.", "each name once")
            seen.add(named)
        check_secrets(where, raw, user, pam and present(user), report)
        for group in user.get("groups") or []:
            if not GROUP_NAME.fullmatch(group):
                hint = re.sub(r"[^A-Za-z0-9_.-]+", "-", group).strip("-.")[:64]
                report.add(
                    where,
                    f"the group {said(group)} cannot be used: up to 64 letters, digits, '_', '-' and '.'.",
                    f"groups: [{hint or 'family'}]",
                )


def check_leaving(users: list[dict[str, Any]], delete_homes: list[str], report: Report) -> None:
    """Old names of users, and users whose files are to be deleted: nobody of them may be declared, too."""
    declared = {user["name"] for user in users if isinstance(user.get("name"), str) and present(user)}
    heirs: dict[str, str] = {}
    for number, user in enumerate(users, 1):
        old = user.get("renamed_from")
        if not isinstance(old, str) or not present(user):
            continue
        heir = shown_user(user, number)
        where = f"{PREFIX}users, user {heir}"
        if old in declared:
            report.add(where, f"renamed_from is {said(old)}, who is in the list.", "take one of the two away")
        elif old in heirs:
            report.add(where, f"user {heirs[old]} is renamed from {said(old)}, too.", "renamed_from with one of them")
        elif old in delete_homes:
            report.add(f"{PREFIX}delete_homes", f"the files of {said(old)} go to user {heir}.", "one of the two")
        heirs[old] = heir
    for name in delete_homes:
        if name in declared:
            report.add(
                f"{PREFIX}delete_homes",
                f"{said(name)} is in {PREFIX}users, and would lose all files.",
                f"{{name: {name}, state: absent}} there, or take it away here",
            )


def plain_path(path: str) -> bool:
    """Whether a path is absolute, has no '..' and the like, and no sign that Docker's mounts take for their own."""
    return (
        path.startswith("/")
        and not path.startswith("//")
        and posixpath.normpath(path) == path
        and path.isprintable()
        and ":" not in path
    )


def check_mount(where: str, mount: dict[str, Any], names: Collection[str] | None, report: Report) -> None:
    """Paths and users of one entry; names: the users that there are, None when that is not known."""
    for key, example in (("source", "/home/alice"), ("target", WORK_FOLDER)):
        path = mount.get(key)
        if path is None:
            continue
        if not plain_path(path):
            better = posixpath.normpath("/" + path.lstrip("/")).replace(":", "")
            write = better if path.startswith("/") and plain_path(better) and better != "/" else example
            report.add(where, f"{key} {said(path)} is not a plain absolute path.", f"{key}: {write}")
        elif re.search(r"[{}]", path.replace("{username}", "") if key == "source" else path):
            report.add(
                where,
                f"{key} {said(path)} has braces; only {{username}} in source is filled in.",
                f"{key}: {'/home/{username}' if key == 'source' else WORK_FOLDER}",
            )
    if IMAGE_FOLDERS.fullmatch(mount.get("target") or "") or mount.get("target") == "/":
        report.add(where, f"target {mount['target']!r} would hide the image's own files.", f"target: {WORK_FOLDER}")
    for name in mount.get("users") or []:
        if names is not None and name not in names:
            like = nearest(name, names)
            report.add(where, f"user {said(name)} is not in {PREFIX}users.", f"users: [{like or 'alice'}]")
    if "{username}" in mount.get("source", "") and mount.get("users") is None and names is not None and not names:
        report.add(where, f"source has {{username}}, but {PREFIX}users is empty.", "users: [alice]")


def expand_mounts(
    mounts: list[dict[str, Any]], options: dict[str, Any], names: list[str], known: bool, report: Report
) -> list[dict[str, Any]]:
    """One entry {source, target, read_only, users (None: everyone)} a host folder, `{username}` filled in.

    names: the users; known: there can be no others.
    """
    found: list[dict[str, Any]] = []
    for number, raw in enumerate(mounts, 1):
        where = f"{PREFIX}mounts, entry {number}"
        before = len(report.mistakes)
        mount = check_keys(where, raw, options, report)
        check_mount(where, mount, names if known else None, report)
        if len(report.mistakes) > before:
            continue
        users = mount.get("users")
        plain = {"target": mount["target"], "read_only": mount.get("read_only", False)}
        if "{username}" in mount["source"]:
            for name in names if users is None else users:
                found.append({**plain, "source": mount["source"].replace("{username}", name), "users": [name]})
        else:
            found.append({**plain, "source": mount["source"], "users": users})
    taken: dict[tuple[str, str], str] = {}
    clashes = set()
    for mount in found:
        for name in names if mount["users"] is None else mount["users"]:
            other = taken.setdefault((name, mount["target"]), mount["source"])
            clash = (other, mount["source"], mount["target"])
            if other != mount["source"] and clash not in clashes:
                clashes.add(clash)
                report.add(
                    f"{PREFIX}mounts",
                    f"{other} and {mount['source']} both go to {mount['target']} of user {name}.",
                    "a target of its own for each",
                )
    return found


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


def check_packages(good: dict[str, Any], report: Report) -> None:
    """pip requirements, and that the image takes any."""
    for name in ("user_packages", "hub_packages"):
        for package in good[name]:
            if "://" in package or package.startswith(("git+", "file:", "/")) or " @ " in package:
                tail = re.split(r"[@#?]", package.split(" @ ")[0].rstrip("/").rpartition("/")[2])[0]
                like = re.sub(r"(\.git|\.whl|\.zip|\.tar\.gz)$", "", tail)
                report.add(
                    PREFIX + name,
                    f"{said(package)} is not a pip requirement for here: addresses are not supported, only names.",
                    f'{PREFIX}{name}: ["{like if REQUIREMENT.fullmatch(like) else "numpy>=2"}"]',
                )
            elif not REQUIREMENT.fullmatch(package):
                closer = re.sub(r"\s+", "", package)
                report.add(
                    PREFIX + name,
                    f"{said(package)} is not a pip requirement without spaces.",
                    f'{PREFIX}{name}: ["{closer if REQUIREMENT.fullmatch(closer) else "numpy>=2"}"]',
                )
    if good["user_image"] and good["user_packages"]:
        report.add(
            f"{PREFIX}user_packages",
            f"only the image built here takes packages, not {said(good['user_image'])}.",
            f'{PREFIX}user_packages: [], or {PREFIX}user_image: ""',
        )


def strange_values(value: Any, path: str) -> Iterator[str]:
    """The places in nested data that JSON cannot carry."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strange_values(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from strange_values(inner, path)
    elif (isinstance(value, float) and not math.isfinite(value)) or not isinstance(
        value, (str, int, float, type(None))
    ):
        yield path


def check_config(config: dict[Any, Any], report: Report) -> None:
    """{ClassName: {trait: value}} of plain data. Values are never shown: they may be an authenticator's secrets."""
    variable = f"{PREFIX}config"
    for name, traits in config.items():
        if not isinstance(traits, dict) or not re.fullmatch(r"[A-Z][A-Za-z0-9_]*", str(name)):
            report.add(
                variable,
                f"{said(name)} is not a class with a dictionary of traits.",
                f"{variable}: {EXAMPLE_VALUES[variable]}",
            )
            continue
        for trait, value in traits.items():
            if not str(trait).isidentifier():
                report.add(variable, f"{name} has no trait {said(trait)}.", f"{variable}: {EXAMPLE_VALUES[variable]}")
            for place in dict.fromkeys(strange_values(value, f"{name}.{trait}")):
                report.add(
                    variable,
                    f"{place} is no text, number, true or false that JSON can carry.",
                    f'{trait}: "...", in quotes',
                )


def check_extra_config(text: str, report: Report) -> None:
    """Whether the text is Python, as far as this Python can tell; it is not run."""
    variable = f"{PREFIX}extra_config"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # doubtful code is its author's business
            compile(text, variable, "exec")
    except SyntaxError as error:
        report.add(
            variable, f"line {error.lineno or 1} is not Python: {error.msg}.", f"{variable}: {EXAMPLE_VALUES[variable]}"
        )
    except (ValueError, RecursionError, MemoryError):
        report.add(variable, "it is not Python that can be read.", f"{variable}: {EXAMPLE_VALUES[variable]}")


def misspelt(name: str, specs: Collection[str]) -> bool:
    """Whether a name is meant to be one of the specs and is none: by its prefix, or but for a letter or two."""
    if name in specs or not name.lower().startswith("jupyter"):
        return False
    return name.startswith(PREFIX) or bool(difflib.get_close_matches(name.lower(), list(specs), n=1, cutoff=0.92))


def check_names(names: Collection[str], known: Collection[str], report: Report) -> None:
    """Report names that are meant to be variables of the role and are none."""
    # The prefix, which they all share, would make any name look like any other.
    short = [name.removeprefix(PREFIX) for name in known]
    for name in sorted(names):
        like = nearest(name.removeprefix(PREFIX), short) if name.startswith(PREFIX) else nearest(name, known)
        write = f"{PREFIX}{like.removeprefix(PREFIX)}: ..." if like else "a name from the README's table"
        report.add(name, "there is no such variable.", write)


def converted(variables: dict[str, Any], specs: dict[str, Any], report: Report) -> dict[str, Any]:
    """{name without prefix: value}, each in its type; one with a mistake has its default."""
    good: dict[str, Any] = {}
    for name, spec in specs.items():
        value = convert(name, variables.get(name, spec.get("default")), spec, report)
        good[name.removeprefix(PREFIX)] = spec.get("default") if value is None else value
    return good


def check_variables(variables: dict[str, Any], specs: dict[str, Any], report: Report) -> dict[str, Any]:
    """Check every variable by itself and against the others.

    variables: {public name: value}; specs: the options of argument_specs. Gives {name without prefix: value}, each
    in its type, with mounts expanded; a variable with a mistake has its default there. One that the report names
    already may be missing.
    """
    check_names(set(variables) - set(specs), specs, report)
    good = converted(variables, specs, report)
    # Without a readable config or list nobody knows who logs in how, and guesses would be false alarms.
    pam = not report.about("config") and passwords_count(good)
    complete = not report.about("users")
    check_plain(good, specs, report)
    check_packages(good, report)
    check_config(good["config"], report)
    check_extra_config(good["extra_config"], report)
    check_users(good["users"], specs[f"{PREFIX}users"]["options"], pam, good["allow_no_users"], report)
    check_leaving(good["users"], good["delete_homes"], report)
    names = [user["name"] for user in good["users"] if isinstance(user.get("name"), str) and present(user)]
    options = specs[f"{PREFIX}mounts"]["options"]
    good["mounts"] = expand_mounts(good["mounts"], options, names, pam and complete, report)
    return good


def passwords_count(good: dict[str, Any]) -> bool:
    """Whether users log in with the passwords of the list; with another authenticator the hub alone decides."""
    hub = good["config"].get("JupyterHub")
    return not (isinstance(hub, dict) and "authenticator_class" in hub)


def check_removals(good: dict[str, Any], there: list[str], new_vault: bool, report: Report) -> None:
    """A lost vault or another hub's list must not take everybody off the hub. there: the users of the hub's list now.

    Who is renamed or declared absent is meant to go. new_vault: the list was made up just now.
    """
    if not passwords_count(good) or good["allow_mass_removal"] or report.about("users", "allow_mass_removal"):
        return
    meant = {user["name"] for user in good["users"]} | {user.get("renamed_from") for user in good["users"]}
    gone = [name for name in there if name not in meant]
    allow = f'if it is meant: make hub ARGS="-e {PREFIX}allow_mass_removal=true"'
    if new_vault and there:
        report.add(
            f"{PREFIX}users",
            f"the vault was made just now, but this machine has a hub already, with the users {some(there)}.",
            "that hub's own group_vars/jupyterhub/vault.yml and .vault-password into this checkout, from the one where "
            f"make hub ran before or from your copy; {allow}",
            label="Put",
        )
    elif len(gone) >= 2 and len(gone) > len(there) / 2:
        report.add(
            f"{PREFIX}users",
            f"{len(gone)} of the hub's {len(there)} users are not in the list any more, and would be removed: "
            f"{some(gone)}.",
            f"them into the file that make vault opens, or {{name: {gone[0]}, state: absent}} for each who is to go; "
            f"{allow}",
        )


def check_renamed(good: dict[str, Any], there: list[str], homes: list[str], report: Report) -> None:
    """An old name that nobody has is misspelt, unless its files went over in an earlier run."""
    if not there or report.about("users"):
        return
    known = {*there, *homes}
    declared = {user["name"] for user in good["users"] if present(user)}
    for user in filter(present, good["users"]):
        old, new = user.get("renamed_from"), user["name"]
        if old and old not in known and new not in known:
            like = nearest(old, sorted(known - declared))
            report.add(
                f"{PREFIX}users, user {new}",
                f"renamed_from is {said(old)}, a name that nobody has or had on this hub.",
                f"renamed_from: {like}" if like else f"{{name: {new}, ...}} without renamed_from",
            )


def check_port(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether the address and port can be had."""
    port, address = good["port"], good["bind_address"]
    if machine["port"] in ("", "ours") or report.about("port", "bind_address"):
        return
    if machine["port"] == os.strerror(errno.EADDRNOTAVAIL):
        report.add(
            f"{PREFIX}bind_address", f"{address!r} is not an address of this machine.",
            f"{PREFIX}bind_address: {next(iter(machine['addresses']), '0.0.0.0')}, or 0.0.0.0 for all of them",
        )  # fmt: skip
    else:
        other = good_port(port + 1)
        report.add(
            f"{PREFIX}port", f"{address}:{port} cannot be used: {machine['port']}.",
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


def writes_much(good: dict[str, Any], machine: dict[str, Any], builds: list[dict[str, Any]], tags: set[str]) -> bool:
    """Whether a run of these tags is to install Docker, or build or pull an image: nothing else writes gigabytes."""
    wanted = {build["tag"] for build in builds} | ({good["user_image"]} - {""})
    missing = not wanted <= set(machine["images"])
    return bool(missing and tags & {"images", "hub"}) or bool(not machine["docker"]["installed"] and tags)


def check_machine(good: dict[str, Any], machine: dict[str, Any], report: Report, *, writes: bool = True) -> None:
    """Check what was found on the target against the variables; sizes in bytes. writes: the run is to write much."""
    system = machine["system"]
    if (system.get("id"), system.get("version_id")) not in SUPPORTED:
        report.add(
            "This machine",
            f"it runs {system.get('pretty_name', 'an unknown system')}; supported are Debian 12 and 13.",
            "another host in inventory/home",
        )
    if not machine["root"]:
        report.add("This machine", "the tasks do not run as root.", "become: true, as site.yml does")
    check_port(good, machine, report)
    if machine["directory"]:
        report.add(
            f"{PREFIX}directory",
            f"{good['directory']} {machine['directory']}.",
            f"{PREFIX}directory: /opt/jupyterhub-home, or another folder that is empty or not there yet",
        )
    wanted = size_in_bytes(good["free_disk_min"]) or 0
    if writes and machine["free_disk"] < wanted and not report.about("free_disk_min"):
        free = machine["free_disk"] / 2**30
        report.add(
            f"{PREFIX}free_disk_min",
            f"only {free:.1f}G are free for images and volumes, not {good['free_disk_min']}. "
            f"Looked for in {machine['disk']}.",
            f"{PREFIX}free_disk_min: {int(machine['free_disk'] * 0.9 / 2**20)}M, or make room (docker image prune)",
        )  # fmt: skip
    check_size_of_machine(good, machine, report)
    bundle = good["ca_bundle"]
    if bundle and bundle != "/etc/ssl/certs/ca-certificates.crt" and not machine["ca_bundle"]:
        report.add(f"{PREFIX}ca_bundle", f"{bundle} is no file on this machine.", f'{PREFIX}ca_bundle: ""')
    docker = machine["docker"]
    if not docker["installed"] and good["docker_source"] == "none":
        report.add(
            f"{PREFIX}docker_source",
            "it is 'none', but this machine has no Docker.",
            f"{PREFIX}docker_source: distribution",
        )
    check_limits(good, machine, report)
    for mount in good["mounts"]:
        # The module expands a path with $ or ~ in it, and answers under another name.
        folder = machine["folders"].get(mount["source"], {"exists": False})
        system = SYSTEM_FOLDERS.fullmatch(mount["source"])  # somebody else's, to be left to them
        if not folder["exists"]:
            report.add(
                f"{PREFIX}mounts",
                f"{mount['source']} is no folder on this machine.",
                f"the path of a folder, or mkdir {mount['source']}",
            )
        elif not mount["read_only"] and not writable(mount, folder):
            report.add(
                f"{PREFIX}mounts",
                f"{mount['source']} belongs to {folder['uid']}:{folder['gid']}, mode {folder['mode']:04o}; "
                "a server could not write there.",
                "read_only: true, or "
                + ("a folder for it, such as /srv/shared" if system else f"chown {JOVYAN} {mount['source']}"),
            )


def check_uninstall(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Whether what is to be removed is there, and is no other project's."""
    project, directory = good["project"], good["directory"]
    if not machine["root"]:
        report.add("This machine", "the tasks do not run as root.", "become: true, as playbooks/uninstall.yml does")
        return
    if "belongings" not in machine:
        report.add(
            "This machine",
            "the Docker engine does not answer (docker info), so that nobody can tell what is to be removed.",
            "systemctl start docker, or look at journalctl -u docker",
            label="Do",
        )
        return
    others = {name: folder for name, folder in machine["projects"].items() if name != project}
    if machine["owner"] not in ("", project):
        others.setdefault(machine["owner"], directory)
    if not any(machine["belongings"].values()):
        lines = [
            f"{PREFIX}project: {name}" + (f" and {PREFIX}directory: {folder}" if folder not in ("", directory) else "")
            for name, folder in sorted(others.items())
        ]
        report.add(
            f"{PREFIX}project",
            f"there is nothing of the project {said(project)} on this machine.",
            ", or ".join(lines) or "another host in inventory/home; of other projects there is nothing either",
        )
    elif machine["owner"] not in ("", project):
        own = machine["projects"].get(project) or next(iter(machine["belongings"]["folders"]), "")
        report.add(
            f"{PREFIX}directory",
            f"{directory} belongs to the project {machine['owner']}, not to {project}.",
            f"{PREFIX}directory: {own or 'the folder of ' + project}, or {PREFIX}project: {machine['owner']}",
        )


def writable(mount: dict[str, Any], folder: dict[str, Any]) -> bool:
    """Whether a server can write to a folder.

    A server whose work folder is mounted runs as that folder's owner; otherwise it runs as user 1000 and has the
    folder's group. Root's identity is never taken on.
    """
    if mount["target"] == WORK_FOLDER and folder["uid"] != 0:
        return bool(folder["mode"] & 0o200)
    own = folder["uid"] == JOVYAN and folder["mode"] & 0o200
    group = folder["gid"] != 0 and folder["mode"] & 0o020
    return bool(own or group or folder["mode"] & 0o002)


def text_of(path: str) -> str:
    """A small file's text, stripped; '' where there is none, as on a controller without /proc."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """When a process started, in the kernel's ticks (proc_pid_stat(5)); 'ended' for a zombie, '' if it is not seen."""
    state, *fields = text_of(f"/proc/{pid}/stat").rpartition(")")[2].split() or [""]
    return "ended" if state in ("Z", "X") else "".join(fields[18:19])


def this_run() -> dict[str, Any]:
    """This run as the next one needs to know it: who, where, and how to see whether its process has ended."""
    # Actions run in forked workers. Unlike getppid(), this stays the same when ansible-playbook is killed.
    parent = multiprocessing.parent_process()
    pid = (parent and parent.pid) or os.getpid()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    numbers = Path("/proc/self/ns/pid")  # a container has its own process numbers
    run: dict[str, Any] = {
        "pid": pid,
        "started": process_start(pid),
        "machine": f"{platform.node()} {text_of('/etc/machine-id')}",
        "boot": text_of("/proc/sys/kernel/random/boot_id"),
        "numbers": str(numbers.readlink()) if numbers.is_symlink() else "",
    }
    return {**run, "id": " ".join(map(str, run.values())), "by": f"{user}@{platform.node()}"}


def has_ended(run: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether a run that holds the lease has ended, or is thought so. here: the present run."""
    if run["machine"] == here["machine"]:
        if run["boot"] != here["boot"]:
            return True
        if run["numbers"] == here["numbers"]:
            try:
                os.kill(run["pid"], 0)
            except ProcessLookupError:
                return True
            except PermissionError:
                pass  # another user's
            return process_start(run["pid"]) not in ("", run["started"])
    return not 0 <= run["age"] < LEASE


def report_run(run: dict[str, Any], report: Report) -> None:
    """Say that another run is under way."""
    since = time.strftime("%H:%M", time.localtime(time.time() - run["age"]))
    report.add(
        "This machine",
        f"another run on it, by {run['by']} since {since} (process {run['pid']}), has not ended.",
        f"wait until it has. If it is surely gone: rm {run['path']} on this machine",
        label="Do",
    )


def runs(tag: str, task_vars: dict[str, Any]) -> bool:
    """Whether the tasks of a tag are among those that this run was asked for. The checks alone are for all of them."""
    wanted, skipped = set(task_vars.get("ansible_run_tags", ["all"])), set(task_vars.get("ansible_skip_tags", []))
    return bool(wanted & {"all", "tagged", tag} or wanted == {"always"}) and not skipped & {"all", "tagged", tag}


class ActionModule(ActionBase):
    """Fails with every mistake at once; otherwise gives settings, machine and builds, which hold no secret."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def said_twice(self, task_vars: dict[str, Any], report: Report) -> None:
        """Report variables that stand in two files of a group's or the host's folder, where the last file wins."""
        names = [("group_vars", group) for group in ["all", *task_vars.get("group_names", [])]]
        names.append(("host_vars", task_vars["inventory_hostname"]))
        folders = {os.path.realpath(task_vars[key]) for key in ("inventory_dir", "playbook_dir") if task_vars.get(key)}
        seen: set[str] = set()
        for folder in sorted(folders):
            for kind_of_vars, name in names:
                first: dict[str, str] = {}
                there = self._loader.find_vars_files(f"{folder}/{kind_of_vars}", name)
                for path in (os.fsdecode(one) for one in there):
                    if (real := os.path.realpath(path)) in seen:
                        continue
                    seen.add(real)
                    # Ansible has read it already, and keeps it.
                    for key in self._loader.load_from_file(path, cache="all", unsafe=True) or {}:
                        before = first.setdefault(key, path) if str(key).startswith(PREFIX) else path
                        if before != path:
                            report.add(
                                str(key), f"it stands in {os.path.relpath(before, folder)} and in "
                                f"{os.path.relpath(path, folder)}; only the latter would count.",
                                f"{key} in one of them",
                            )  # fmt: skip

    def failing_templates(self, value: Any, place: str) -> Iterator[str]:
        """Where in nested data a template fails, such as `entry 2, password`; no values."""
        if isinstance(value, dict):
            for key, inner in value.items():
                shown = str(key) if re.fullmatch(r"\w{1,40}", str(key)) else "a key"
                yield from self.failing_templates(inner, f"{place}, {shown}" if place else shown)
        elif isinstance(value, list):
            for number, inner in enumerate(value, 1):
                yield from self.failing_templates(inner, f"{place}, entry {number}" if place else f"entry {number}")
        else:
            try:
                self._templar.template(value)
            except AnsibleError:
                yield place

    def templated(self, task_vars: dict[str, Any], names: list[str], report: Report) -> dict[str, Any]:
        """The variables' values; one whose template fails is reported and left out."""
        values = {}
        for name in names:
            try:
                values[name] = self._templar.template(task_vars[name])
            except AnsibleError as error:
                if name in SECRET:  # the error's text may quote what it could not read
                    places = "; ".join(place for place in self.failing_templates(task_vars[name], "") if place)
                    report.add(
                        name,
                        f"its template fails{f' ({places})' if places else ''}.",
                        'a value; before text that has {{ or {% in it write !unsafe, such as password: !unsafe "..."',
                    )
                else:
                    text = " ".join(str(error).split()).rstrip(".")
                    write = "a value, or define what it refers to"
                    if name == f"{PREFIX}mounts":
                        write += "; a user's name is {username}, in single braces"
                    report.add(name, f"its template fails: {text}.", write)
        return values

    def built(self, task_vars: dict[str, Any], checked: dict[str, Any]) -> list[dict[str, Any]]:
        """The images that are to be built, as vars/main.yml derives them."""
        self._templar.available_variables = {**task_vars, "__jupyterhub_home_checked": checked}
        builds: list[dict[str, Any]] = self._templar.template(task_vars["__jupyterhub_home_builds"])
        return builds

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        role, entry = Path(self._task.args["role_path"]), self._task.args.get("entry_point", "main")
        with (role / "meta/argument_specs.yml").open(encoding="utf-8") as stream:
            entry_points = yaml.load(stream, LOADER)["argument_specs"]  # noqa: S506 (both are safe ones)
        main, specs = entry_points["main"]["options"], entry_points[entry]["options"]
        known = {name: option for point in entry_points.values() for name, option in point["options"].items()}
        report = Report()
        unknown = [name for name in task_vars if misspelt(name, known)]
        variables = self.templated(task_vars, [name for name in specs if name in task_vars], report)
        check_names(unknown, known, report)
        self.said_twice(task_vars, report)
        if entry == "main":
            good = check_variables(variables, specs, report)
        else:  # the others have the values that fit any machine
            good = converted({}, main, report) | converted(variables, specs, report)
            check_plain(good, known, report)

        def look(**lease: Any) -> dict[str, Any]:
            arguments = {
                "project": good["project"], "bind_address": good["bind_address"], "port": good["port"],
                "directory": good["directory"], "sources": [mount["source"] for mount in good["mounts"]],
                "ca_bundle": good["ca_bundle"], "belongings": entry == "uninstall",
                "homes": any(user.get("renamed_from") for user in good["users"] if isinstance(user, dict)), **lease,
            }  # fmt: skip
            answer: dict[str, Any] = self._execute_module(
                module_name="jupyterhub.home.probe", module_args=arguments, task_vars=task_vars
            )
            return answer

        # A run that will change nothing needs no lease and waits for none.
        run = {} if self._task.check_mode or report.mistakes else this_run()
        probe = look(run=run)
        if probe.get("holder") and has_ended(probe["holder"], run):
            probe = look(run=run, ended=probe["holder"]["id"])
        if probe.get("failed") or "machine" not in probe:
            if not report.mistakes:
                return {**result, **probe, "failed": True}
            why = " ".join(str(probe.get("msg", "no answer")).split())
            return {**result, "failed": True, "msg": f"{report.text()}\nAnd looking at the machine failed: {why}"}
        machine = probe["machine"]
        settings = {key: value for key, value in good.items() if key not in ("users", "config", "extra_config")}
        checked: dict[str, Any] = {"settings": settings, "machine": machine, "run": run.get("id", "")}
        if entry == "main":
            checked["builds"] = self.built(task_vars, checked)
            tags = {tag for tag in ("docker", "images", "hub") if runs(tag, task_vars)}
            check_machine(good, machine, report, writes=writes_much(good, machine, checked["builds"], tags))
            new_vault = task_vars.get("__jupyterhub_home_new_vault") is not None  # see scripts/hub.py
            if new_vault or runs("users", task_vars):
                check_removals(good, machine["users"], new_vault, report)
                check_renamed(good, machine["users"], machine["homes"], report)
        elif not report.mistakes:
            check_uninstall(good, machine, report)
        if probe["holder"]:
            report_run(probe["holder"], report)
        elif run and report.mistakes:
            look(release=run["id"])
        if report.mistakes:
            return {**result, "failed": True, "msg": report.text()}
        for mount in good["mounts"]:
            mount.update({key: machine["folders"][mount["source"]][key] for key in ("uid", "gid")})
        return {**result, "changed": False, **checked}
