"""Values: of which type they are, how text becomes one of them, and how a message shows them."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import yaml
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import nearest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Place, Report

WORK_FOLDER = "/home/jovyan/work"
JOVYAN = 1000
SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([KMGT]?)")
SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# May hold passwords, so a message never shows what is in them.
SECRET = {
    f"{PREFIX}{name}"
    for name in (
        "users", "config", "extra_config", "backup_repository", "backup_password", "backup_environment",
        "backup_notify",
    )
}  # fmt: skip
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
TIMES = (f"{PREFIX}renew", f"{PREFIX}backup")
EXAMPLE_VALUES = {
    f"{PREFIX}users": '[{name: alice, password: "...", admin: true}]',
    f"{PREFIX}mounts": f"[{{source: /home/alice, target: {WORK_FOLDER}, users: [alice]}}]",
    f"{PREFIX}delete_homes": "[alice]",
    f"{PREFIX}allow": '["192.168.1.5:445", 192.168.1.0/24]',
    f"{PREFIX}subnet": "10.77.0.0/24",
    f"{PREFIX}disk_limit": "20G",
    f"{PREFIX}user_packages": '["numpy>=2", pandas]',
    f"{PREFIX}hub_packages": "[oauthenticator]",
    f"{PREFIX}user_image": "quay.io/jupyter/scipy-notebook:latest",
    f"{PREFIX}base_image": "debian:13",
    f"{PREFIX}renew": '"Sun 04:30"',
    f"{PREFIX}backup_repository": "/mnt/disk/jupyterhub",
    f"{PREFIX}backup_password": '"...", in quotes',
    f"{PREFIX}backup_environment": '{AWS_ACCESS_KEY_ID: "..."}',
    f"{PREFIX}backup": '"03:30"',
    f"{PREFIX}backup_notify": "https://ntfy.sh/...",
    f"{PREFIX}backup_keep": "{daily: 7, weekly: 5, monthly: 12}",
    f"{PREFIX}config": "{Spawner: {start_timeout: 120}}",
    f"{PREFIX}extra_config": "|, and below it Python, indented by two spaces",
}
KEY_EXAMPLES = {
    "name": "alice", "password": '"...", in quotes', "password_hash": '"$y$j9T$...", in quotes', "admin": "true",
    "groups": "[family]", "uid": "1001", "state": "absent", "renamed_from": "alice", "source": "/home/alice",
    "target": WORK_FOLDER, "users": "[alice]", "read_only": "true",
}  # fmt: skip


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
    if name in TIMES and type(value) is not bool and isinstance(value, int) and 0 <= value < 24 * 60:
        return f'{name}: "{value // 60:02}:{value % 60:02}", in quotes, for without them YAML makes a number of a time'
    if spec.get("type") == "list" and spec.get("elements") == "str" and isinstance(value, str) and value.strip():
        plain = value.isprintable() and '"' not in value and len(value) <= 60
        return f'{name}: ["{value}"]' if plain else f"{name}: [...]"
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
        value = check_items(Place(name), value, spec, example, report)
    return value


def check_items(where: Place, items: list[Any], spec: dict[str, Any], write: str, report: Report) -> list[Any]:
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


def check_keys(where: Place, item: dict[str, Any], options: dict[str, Any], report: Report) -> dict[str, Any]:
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
            good[key] = check_items(where.within(key), value, options[key], write, report)
        else:
            good[key] = value
    for key, option in options.items():
        if option.get("required") and key not in item:
            report.add(where, f"{key} is missing.", f"{key}: {KEY_EXAMPLES.get(key, '...')}")
    return good


def converted(variables: dict[str, Any], specs: dict[str, Any], report: Report) -> dict[str, Any]:
    """{name without prefix: value}, each in its type; one with a mistake has its default."""
    good: dict[str, Any] = {}
    for name, spec in specs.items():
        value = convert(name, variables.get(name, spec.get("default")), spec, report)
        good[name.removeprefix(PREFIX)] = spec.get("default") if value is None else value
    return good
