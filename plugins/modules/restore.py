#!/usr/bin/python
"""Put back what was saved."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils.backup import BackupError
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.home_paths import RestoreError
from ansible_collections.jupyterhub.home.plugins.module_utils.restic import ResticError, without_passwords
from ansible_collections.jupyterhub.home.plugins.module_utils.restoring import Restore

DOCUMENTATION = r"""
module: restore
short_description: Put back what M(jupyterhub.home.backup) has saved
description:
  - Puts back everything, the files of one user, or one file or folder of theirs, of the newest snapshot or of another.
  - What is there is kept beside, with a date. One user's server is stopped for that user's files, the hub and all
    servers for everything.
  - In check mode it says what it would put back, and does nothing.
options:
  settings:
    type: str
    required: true
    description: "JSON: project, directory, checkout, repository, password and environment."
  user: {type: str, default: "", description: Whose files alone are put back; empty is everything.}
  file: {type: str, default: "", description: "Of that user's home, what alone is put back; empty is all of it."}
  snapshot: {type: str, default: "", description: Beginning of its identity; empty is the newest.}
  look: {type: bool, default: false, description: "Whether only to find the snapshot, and the user in it."}
  over: {type: bool, default: false, description: "Whether everything may be put over another hub's users."}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Put a file back
  jupyterhub.home.restore:
    settings: "{{ settings | to_json }}"
    user: alice
    file: work/report.ipynb
"""
RETURN = r"""
notes: {description: "What was put back, and what is kept, in words.", type: list, elements: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "str", "required": True, "no_log": True},
            "user": {"type": "str", "default": ""},
            "file": {"type": "str", "default": ""},
            "snapshot": {"type": "str", "default": ""},
            "look": {"type": "bool", "default": False},
            "over": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    settings: dict[str, Any] = json.loads(module.params["settings"])
    wanted = {key: module.params[key] for key in ("user", "file", "snapshot", "look", "over")}
    if module.check_mode and wanted["look"]:
        module.exit_json(changed=False, notes=[])
    if module.check_mode:
        what = f"{wanted['file'] or 'the files'} of {wanted['user']}" if wanted["user"] else "everything"
        which = f"snapshot {wanted['snapshot']}" if wanted["snapshot"] else "the newest snapshot"
        module.exit_json(changed=True, notes=[f"Would restore {what} of {which}."])
    restore = Restore(settings, wanted)
    try:
        module.exit_json(changed=not wanted["look"], notes=restore.run())
    except (BackupError, RestoreError, ResticError, EngineError, OSError) as error:
        done = "".join(f"\n{note}" for note in restore.said())
        module.fail_json(msg=without_passwords(f"{str(error).rstrip('.')}.{done}"), notes=[])


if __name__ == "__main__":
    main()
