#!/usr/bin/python
"""Save everything of a project that cannot be made again, or list what was saved."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils.backup import Backup, BackupError
from ansible_collections.jupyterhub.home.plugins.module_utils.restic import Repository, ResticError, without_passwords

DOCUMENTATION = r"""
module: backup
short_description: Save a hub and its users' files, or list what was saved
description:
  - Puts the hub's database and secrets, accounts, users' volumes and the role's folder into a repository of restic,
    while users work, lets old snapshots go, and checks a part of the repository.
  - In check mode it says where it would save to, and does nothing.
options:
  settings:
    type: str
    required: true
    description: "JSON: project, directory, checkout, repository, password, environment and keep."
  list: {type: bool, default: false, description: "Whether to list the snapshots, and save nothing."}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Save everything
  jupyterhub.home.backup:
    settings: "{{ settings | to_json }}"
"""
RETURN = r"""
notes: {description: "What was saved, or is there, in words.", type: list, elements: str, returned: always}
"""


def line(snapshot: dict[str, Any]) -> str:
    """A snapshot as a line of the list."""
    return f"{snapshot['short_id']}  {snapshot['time'][:19].replace('T', ' ')}  {snapshot['hostname']}"


def listed(settings: dict[str, Any]) -> list[str]:
    """The snapshots, newest first; ResticError."""
    repository = Repository(settings)
    repository.find_password()
    lines = [line(snapshot) for snapshot in reversed(repository.snapshots())]
    return lines or [f"Nothing of {settings['project']} is in {repository.shown} yet. Do: make backup"]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "str", "required": True, "no_log": True},
            "list": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    settings: dict[str, Any] = json.loads(module.params["settings"])
    try:
        if module.params["list"]:
            module.exit_json(changed=False, notes=listed(settings))
        if module.check_mode:
            where = Repository(settings).shown
            module.exit_json(changed=True, notes=[f"Would save {settings['project']} to {where}."])
        module.exit_json(changed=True, notes=Backup(settings).run(make_password=True))
    except (ResticError, BackupError) as error:
        module.fail_json(msg=without_passwords(str(error)), notes=[])


if __name__ == "__main__":
    main()
