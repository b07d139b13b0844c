#!/usr/bin/python
"""Write the hub's users as passwd, shadow, group and JSON files: PAM needs no useradd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_home_atomic import make_folder, present_text, replace_file
from ansible.module_utils.jupyterhub_home_crypt import hash_password, verifies

DOCUMENTATION = r"""
module: jupyterhub_home_users
short_description: Make the hub's user files match a list
description:
  - Writes passwd(5), shadow(5) and group(5) for libnss-extrausers, and users.json for the hub's configuration.
  - A password whose hash on the target still verifies keeps that hash byte for byte.
options:
  directory: {type: path, required: true, description: Folder of the files.}
  users:
    type: list
    elements: dict
    required: true
    description: Each user's name, password or password_hash, and optionally admin and groups.
  owner: {type: int, required: true, description: Numeric user and group of the hub, who alone may read the hashes.}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full, details: Shows names; hashes never.}
"""
RETURN = r"""
added: {description: Names that were not there., type: list, elements: str, returned: always}
removed: {description: Names that are there no more., type: list, elements: str, returned: always}
updated: {description: Names with another password or other rights., type: list, elements: str, returned: always}
"""

# Above every ordinary user of the image and the host, so that no file on the host belongs to one of them.
FIRST_ID = 100000
GROUP = "hubusers"


def table(path: Path) -> dict[str, list[str]]:
    """A colon-separated database file as {first field: all fields}; empty when there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {fields[0]: fields for line in lines if len(fields := line.split(":")) > 2}


def user_ids(names: list[str], passwd: dict[str, list[str]]) -> dict[str, int]:
    """A number a name: the one it has, else the next that was never given in this file."""
    have = {name: int(fields[2]) for name, fields in passwd.items() if fields[2].isdigit()}
    following = max([FIRST_ID, *have.values()]) + 1
    ids = {}
    for name in names:
        if name in have:
            ids[name] = have[name]
        else:
            ids[name] = following
            following += 1
    return ids


def hash_of(user: dict[str, Any], shadow: dict[str, list[str]]) -> str:
    """The hash that the user shall have, the present one where it already verifies."""
    if user.get("password") is None:
        return str(user["password_hash"] or "*")  # neither: another authenticator is chosen; PAM lets nobody in
    present = shadow.get(user["name"], ["", ""])[1]
    return present if verifies(user["password"], present) else hash_password(user["password"])


def rights(user: dict[str, Any]) -> dict[str, Any]:
    """What the hub's configuration reads of a user at login."""
    return {"admin": bool(user.get("admin", False)), "groups": sorted(user.get("groups") or [])}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "users": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "no_log": True},
                    "password_hash": {"type": "str", "no_log": True},
                    "admin": {"type": "bool", "default": False},
                    "groups": {"type": "list", "elements": "str", "default": []},
                },
            },
            "owner": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"])
    owner = module.params["owner"]
    users = sorted(module.params["users"], key=lambda user: str(user["name"]))
    names = [user["name"] for user in users]

    old_passwd = table(directory / "passwd")
    old_shadow = table(directory / "shadow")
    try:
        old_rights = json.loads((directory / "users.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old_rights = {}
    ids = user_ids(names, old_passwd)
    hashes = {user["name"]: hash_of(user, old_shadow) for user in users}
    new_rights = {user["name"]: rights(user) for user in users}

    # The order in which a kill does least harm: what grants a login is written last.
    wishes = {
        "group": (f"{GROUP}:x:{FIRST_ID}:\n", 0o644, 0, 0),
        "passwd": (
            "".join(f"{n}:x:{ids[n]}:{FIRST_ID}::/nonexistent:/usr/sbin/nologin\n" for n in names),
            0o644,
            0,
            0,
        ),
        "users.json": (json.dumps(new_rights, indent=2, sort_keys=True) + "\n", 0o640, 0, owner),
        "shadow": ("".join(f"{n}:{hashes[n]}:::::::\n" for n in names), 0o400, owner, owner),
    }
    changed = make_folder(directory, pretend=module.check_mode)
    for name, (content, mode, uid, gid) in wishes.items():
        present, as_wished = present_text(directory / name, mode=mode, owner=uid, group=gid)
        if present == content and as_wished:
            continue
        changed = True
        if not module.check_mode:
            replace_file(directory / name, content, mode=mode, owner=uid, group=gid)

    stayed = [name for name in names if name in old_passwd]
    new_hashes = [name for name in stayed if hashes[name] != old_shadow.get(name, ["", ""])[1]]
    updated = [name for name in stayed if name in new_hashes or new_rights[name] != old_rights.get(name)]
    module.exit_json(
        changed=changed,
        added=[name for name in names if name not in old_passwd],
        removed=sorted(set(old_passwd) - set(names)),
        updated=updated,
        diff={
            "before_header": f"{directory} (hashes not shown)",
            "after_header": f"{directory} (hashes not shown; another password: {', '.join(new_hashes) or 'none'})",
            "before": json.dumps(old_rights, indent=2, sort_keys=True) + "\n",
            "after": wishes["users.json"][0],
        },
    )


if __name__ == "__main__":
    main()
