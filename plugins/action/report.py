"""Say what is worth knowing at the end of a run, and give the lease of the run back."""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.jupyterhub.home.plugins.module_utils.lease import PATH


class ActionModule(ActionBase):
    """Shows `lines`, and ends the lease of `run` without the cost of a module call."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"lines", "run"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if run := self._task.args["run"]:
            self._low_level_execute_command(f"grep -qF {shlex.quote(run)} {PATH} && rm {PATH}")
        return {**result, "changed": False, "msg": self._task.args["lines"], "_ansible_verbose_always": True}
