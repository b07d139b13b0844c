"""The files module, whose files may be named by where they are on the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.jupyterhub.home.plugins.plugin_utils.desired import with_content


class ActionModule(ActionBase):
    """Reads the sources and has the module do the rest."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"root", "files", "secrets", "show_secrets", "exact", "kept_with", "digest"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        files = {path: with_content(file) for path, file in self._task.args["files"].items()}
        answer: dict[str, Any] = self._execute_module(
            module_name="jupyterhub.home.files", module_args={**self._task.args, "files": files}, task_vars=task_vars
        )
        return {**result, **answer}
