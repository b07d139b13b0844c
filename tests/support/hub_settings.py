"""What the tests of the hub's own code share: settings files of a hub, where its code reads them."""

import json
from pathlib import Path
from typing import Any

import configuration
import disk
import engine_watch
import jupyterhub.roles
import mounts
import pytest
import settings_files
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

HUB_IMAGE = Path(configuration.__file__).parent
HUB = {"project": "home", "base_url": "/", "admin_access": True, "config": {}}
SPAWNER = {
    "base_url": "/",
    "image": "user:1",
    "default_url": "/lab",
    "memory_limit": "1G",
    "cpu_limit": 1.5,
    "pids_limit": 100,
    "mounts": [],
    "ca_bundle": None,
    "idle_timeout": 1000,
}
# What is mounted on the machine.
MOUNTINFO = """\
22 27 0:21 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /mnt/my\\040disk rw - vfat /dev/sdb1 rw,uid=1000
31 22 0:31 / /mnt/auto rw - autofs systemd-1 rw
32 31 0:32 / /mnt/auto rw shared:9 master:2 - nfs4 nas:/x rw
"""
USERS = {
    "alice": {"admin": True, "groups": ["staff"], "session": "a1"},
    "bob": {"admin": False, "groups": [], "session": "b1"},
}


def mount(target: str, **values: Any) -> dict[str, Any]:
    """One entry of spawner.json's mounts, after mounts_for()."""
    return {
        "source": "/srv/x",
        "target": target,
        "read_only": False,
        "users": None,
        "uid": 0,
        "gid": 0,
        "mount_point": "/",
        **values,
    }


class Files:
    """The settings files in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("hub.json", HUB)
        self.write("spawner.json", SPAWNER)
        self.write("users.json", USERS)
        self.write("proxy-token", "secret-of-the-proxy\n")
        self.write("users-token", "secret-of-ansible\n")
        self.write("mountinfo", MOUNTINFO)

    def write(self, name: str, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / name).write_text(text)


def settings_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Files of a hub that could start, where its code reads them."""
    for constant, name in {
        "HUB": "hub.json",
        "SPAWNER": "spawner.json",
        "USERS": "users.json",
        "UNDECLARED": "undeclared.json",
        "TOKEN": "proxy-token",
        "USERS_TOKEN": "users-token",
        "EXTRA": "extra.py",
    }.items():
        monkeypatch.setattr(settings_files, constant, folder / name)
    monkeypatch.setattr(mounts, "MOUNTS_READ", folder / "mountinfo")
    # Neither roles, threads nor hooks in SQLAlchemy stay behind.
    monkeypatch.setattr(jupyterhub.roles, "get_default_roles", jupyterhub.roles.get_default_roles)
    monkeypatch.setattr(engine_watch, "end_without_engine", lambda: None)
    monkeypatch.setattr(disk, "keep", lambda url: None)
    return Files(folder)


def load(files: Files, **hub: Any) -> Config:
    """What JupyterHub would get from jupyterhub_config.py."""
    files.write("hub.json", HUB | hub)
    return PyFileConfigLoader("jupyterhub_config.py", str(HUB_IMAGE)).load_config()
