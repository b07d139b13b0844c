"""What the unit tests share: the role's Python made importable, modules run in this process, fake programs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/jupyterhub_home"

for folder in ("action_plugins", "library", "lookup_plugins", "module_utils"):
    sys.path.insert(0, str(ROLE / folder))
sys.path.insert(0, str(ROOT / "scripts"))
# On a target, Ansible puts them there.
ansible.module_utils.__path__.append(str(ROLE / "module_utils"))

RunModule = Callable[..., dict[str, Any]]
Program = Callable[[str, str], Path]


@pytest.fixture
def run_module() -> RunModule:
    """run_module(module, arguments, check=False): what the module answers, its whole output under `output`."""

    def run(module: ModuleType, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        output = io.StringIO()
        internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
        arguments = {**arguments, **internal}
        with patch_module_args(arguments), contextlib.redirect_stdout(output), pytest.raises(SystemExit):
            module.main()
        answer: dict[str, Any] = json.loads(output.getvalue())
        return {**answer, "output": output.getvalue()}

    return run


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """program(name, script): a shell script that stands before a program of that name. Its calls are in NAME.calls."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, script: str) -> Path:
        calls = folder / f"{name}.calls"
        calls.touch()
        (folder / name).write_text(f"#!/bin/sh\necho \"$*\" >>'{calls}'\nhere='{folder}'\n{script}\n")
        (folder / name).chmod(0o755)
        return calls

    return put


@pytest.fixture
def os_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str], None]:
    """os_release(module, text): the module reads this text in place of /etc/os-release."""

    def replace(module: ModuleType, text: str) -> None:
        other = tmp_path / "os-release"
        other.write_text(text)
        monkeypatch.setattr(module, "Path", lambda path: other if path == "/etc/os-release" else tmp_path / "nothing")

    return replace
