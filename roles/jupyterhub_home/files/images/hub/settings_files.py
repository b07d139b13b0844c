"""The files that the role writes, and how they are read.

hub.json is read when the hub starts, spawner.json at every spawn and by the culler, users.json and undeclared.json at
every login.
"""

import json
from pathlib import Path
from typing import Any

HUB = Path("/etc/jupyterhub-home/hub.json")
SPAWNER = Path("/etc/jupyterhub-home/spawner.json")
EXTRA = Path("/etc/jupyterhub-home/extra.py")
USERS = Path("/var/lib/extrausers/users.json")
UNDECLARED = Path("/var/lib/extrausers/undeclared.json")
TOKEN = Path("/run/secrets/proxy-token")
USERS_TOKEN = Path("/etc/jupyterhub-home/users-token")

Settings = dict[str, Any]


class SettingsError(Exception):
    """A settings file is missing or broken; the text says which and how."""


def read_text(path: Path) -> str:
    """The text of a file without the space around it; SettingsError if unreadable or empty."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error
    if not text:
        raise SettingsError(f"{path} is empty")
    return text


def read_json(path: Path, *keys: str) -> Settings:
    """The JSON object in a file, which must have these keys; SettingsError otherwise."""
    try:
        settings = json.loads(read_text(path))
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise SettingsError(f"{path} is not a JSON object")
    if missing := [key for key in keys if key not in settings]:
        raise SettingsError(f"{path} lacks {', '.join(missing)}")
    return settings


def declared_users() -> dict[str, Settings]:
    """users.json, {name: {admin, groups, session, and perhaps uid and disk}}; nobody while it is not there."""
    return read_json(USERS) if USERS.exists() else {}


def undeclared_stay() -> bool:
    """Whether users whom an admin added in the running hub stay: undeclared.json, {stay}; not while it is not there."""
    return bool(read_json(UNDECLARED, "stay")["stay"]) if UNDECLARED.exists() else False
