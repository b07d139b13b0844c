"""Say what is worth knowing at the end of a run."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

OUTDATED = "Still on older settings until its next start (in the hub: Home, Stop My Server): {} ({})"


def lines(arguments: dict[str, Any], check_mode: bool = False) -> list[str]:
    """The report: what was found and done, running servers that are not as declared, and where the hub is opened."""
    outdated: dict[str, list[str]] = arguments.get("outdated", {})
    invitation: list[str] = arguments.get("invitation", [])
    if check_mode and invitation:
        invitation = ["A run would serve it at:", *invitation[1:]]
    return [
        *(f"Found: {what}" for what in arguments.get("found", [])),
        *arguments.get("notes", []),
        *(OUTDATED.format(server, ", ".join(settings)) for server, settings in outdated.items()),
        *invitation,
    ]


class ActionModule(ActionBase):
    """Shows the report."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"found", "notes", "outdated", "invitation"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        said = lines(self._task.args, self._task.check_mode)
        return {**result, "changed": False, "msg": said, "_ansible_verbose_always": True}
