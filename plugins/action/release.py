"""Give the lease of a run back."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.jupyterhub.home.plugins.module_utils.lease import PATH


class ActionModule(ActionBase):
    """Ends the lease of `run`, if it has it, without the cost of a module call."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _VALID_ARGS = frozenset({"run"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if run := self._task.args["run"]:
            self._low_level_execute_command(f"grep -qF {shlex.quote(run)} {PATH} && rm {PATH}")
        return {**result, "changed": False}
