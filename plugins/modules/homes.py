#!/usr/bin/python
"""List the homes of users: whose, how large, when last changed, and whose users are gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import archive
from ansible_collections.jupyterhub.home.plugins.module_utils.drift import declared_users
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.homes import Homes

DOCUMENTATION = r"""
module: homes
short_description: List the homes of users, and the archives of homes
description:
  - Changes nothing.
options:
  project: {type: str, required: true, description: The project whose homes are listed.}
  directory: {type: path, required: true, description: "Folder of the role's files, with the list of users."}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Look at everybody's homes
  jupyterhub.home.homes:
    project: jupyterhub-home
    directory: /opt/jupyterhub-home
"""
RETURN = r"""
homes:
  description: Of each user with a volume C(user), C(size) in bytes, C(changed) in seconds since 1970, C(listed).
  type: list
  elements: dict
  returned: always
notes: {description: "The same and the archives, a line each.", type: list, elements: str, returned: always}
"""


def day(seconds: float) -> str:
    """A time as its day, in UTC."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def found(project: str, directory: Path) -> list[dict[str, Any]]:
    """The homes, as in RETURN."""
    homes, listed = Homes(project, pretend=True), set(declared_users(directory))
    answer = []
    for user in homes.users():
        what = archive.content(list(homes.folders(user).values()))
        answer.append({"user": user, "size": what.size, "changed": what.changed, "listed": user in listed})
    return answer


def table(homes: list[dict[str, Any]], archives: list[Path]) -> list[str]:
    """Lines for a person: a table of the homes, those that nobody is in the list for, and the archives."""
    if not homes:
        lines = ["There are no homes of users on this machine."]
    else:
        width = max(len("user"), *(len(home["user"]) for home in homes))
        lines = [f"{'user':{width}}  {'size':>9}  last change"]
    for home in homes:
        remark = "" if home["listed"] else "  not in the list of users"
        lines.append(f"{home['user']:{width}}  {archive.shown_size(home['size']):>9}  {day(home['changed'])}{remark}")
    if gone := [home for home in homes if not home["listed"]]:
        size = archive.shown_size(sum(home["size"] for home in gone))
        lines.append(
            f"Not in the list of users, {size} in all: to archive and then delete them, jupyterhub_home_archive_homes: "
            f"[{', '.join(home['user'] for home in gone)}]"
        )
    lines += [f"Archive: {file} ({archive.shown_size(file.stat().st_size)})" for file in archives]
    return lines


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    project, directory = module.params["project"], module.params["directory"]
    try:
        homes = found(project, Path(directory))
        notes = table(homes, archive.archives(project))
    except (EngineError, OSError) as error:
        module.fail_json(msg=f"The homes cannot be looked at: {error}")
    module.exit_json(changed=False, homes=homes, notes=notes)


if __name__ == "__main__":
    main()
