"""A clone of the project with scripts/hub.py working in it, and somebody who types passwords."""

from __future__ import annotations

import getpass
import shutil
from pathlib import Path

import hub
import pytest

ROOT = Path(hub.__file__).parents[1]
PASSWORD = r"[a-z2-9]{4}(-[a-z2-9]{4}){3}"


def clone_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without a vault."""
    clone = tmp_path / "clone"
    (clone / "group_vars/jupyterhub").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    shutil.copy(ROOT / "ansible.cfg", clone)
    monkeypatch.setattr(hub, "set_up", lambda password=None: None)
    monkeypatch.delenv("ARGS", raising=False)
    monkeypatch.setattr(hub, "ROOT", clone)
    monkeypatch.setattr(hub, "VAULT", clone / "group_vars/jupyterhub/vault.yml")
    monkeypatch.setattr(hub, "VAULT_PASSWORD", clone / ".vault-password")
    monkeypatch.setenv("SUDO_USER", "kim")
    monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "temporary"))
    return clone


def type_in(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    given = iter(answers)
    monkeypatch.setattr(getpass, "getpass", lambda _: next(given))
