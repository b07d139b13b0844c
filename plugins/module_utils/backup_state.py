"""How the last backups of a project went, in a file, for the next one and for the next run."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file


class State:
    """What is known: `succeeded` (the last one that did), `failed` (the last one, if it did), `part` (of the data, that
    was read back last), `repository`. Nothing before the first one."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / contract.BACKUP_STATE
        self.known: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            self.known = dict(json.loads(self.path.read_text(encoding="utf-8")))

    def save(self, **known: Any) -> None:
        """Note more; what is None is forgotten."""
        self.known = {key: value for key, value in {**self.known, **known}.items() if value is not None}
        self.path.parent.mkdir(exist_ok=True)
        text = json.dumps(self.known, indent=1, sort_keys=True) + "\n"
        replace_file(self.path, text, mode=0o600, owner=os.geteuid(), group=os.getegid())

    def told(self) -> dict[str, Any]:
        """For the end of a run: `age`, seconds since one succeeded, None if none did; `why` the last one failed, ''."""
        try:
            at = self.known.get("succeeded", {}).get("at")
            why = str(self.known.get("failed", {}).get("why", ""))
            return {"age": None if at is None else int(time.time() - at), "why": why}
        except (AttributeError, TypeError):  # somebody's edit
            return {"age": None, "why": ""}
