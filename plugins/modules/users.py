#!/usr/bin/python
"""Make the hub's users match a list: who may log in, what the hub knows of them, and their volumes."""

from __future__ import annotations

import difflib
import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import make_folder, present_text, replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.crypt import hash_password, verifies
from ansible_collections.jupyterhub.home.plugins.module_utils.disks import Disks
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import Finding, Notes, named, sentences
from ansible_collections.jupyterhub.home.plugins.module_utils.homes import Homes
from ansible_collections.jupyterhub.home.plugins.module_utils.hub import (
    HubError,
    NotFoundError,
    request,
    said_of_hub,
    wait_for,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint

DOCUMENTATION = r"""
module: users
short_description: Make the hub's users match a list
description:
  - Writes passwd(5), shadow(5) and group(5) for libnss-extrausers; users.json and undeclared.json for the hub.
  - A password whose hash on the target still verifies keeps that hash byte for byte.
  - Then the running hub makes its database match, homes of renamed users are moved, and those that are named deleted.
options:
  directory: {type: path, required: true, description: Folder of the files.}
  users:
    type: str
    required: true
    description:
      - JSON list of each user's name, password or password_hash; optionally admin, groups, uid, renamed_from and state.
        One text, because Ansible hides every secret by itself in every output, which takes long for a thousand.
  owner: {type: int, required: true, description: "Numeric user and group of the hub, who alone may read the hashes."}
  project: {type: str, required: true, description: Compose project; home volumes are named and labelled with it.}
  url: {type: str, required: true, description: "Address of the hub through the proxy, with its slash."}
  token_file: {type: path, required: true, description: File with the token of the hub's service that may do this.}
  keep_undeclared: {type: bool, required: true, description: Whether users whom an admin added in the hub stay.}
  decides:
    type: bool
    default: false
    description: Whether this list decides whom the hub knows, once the run is done. Else the hub's authenticator says.
  servers: {type: dict, required: true, description: What spawner.json will have; older servers are named.}
  delete_homes: {type: list, elements: str, required: true, description: Users not in the list whose home volumes go.}
  archive_homes: {type: list, elements: str, required: true, description: "As delete_homes, archived before."}
  disk_limit: {type: int, default: 0, description: "Bytes of each user's disk; 0 makes none, and shuts none in."}
  volumes: {type: path, default: /var/lib/docker/volumes, description: Docker's folder of volumes.}
  timeout:
    type: int
    default: 120
    description: Seconds to wait for a hub that does not answer. In check mode it is asked once, and need not answer.
attributes:
  check_mode: {support: full}
  diff_mode: {support: full, details: Shows names; hashes never.}
"""
EXAMPLES = r"""
- name: Make accounts, the hub and home volumes match the list
  jupyterhub.home.users:
    directory: /opt/jupyterhub-home/users
    users: "{{ [{'name': 'alice', 'password_hash': hash, 'admin': true}] | to_json }}"
    owner: 58081
    project: jupyterhub-home
    url: http://127.0.0.1/
    token_file: /opt/jupyterhub-home/hub/users-token
    keep_undeclared: true
    servers: "{{ spawner_settings }}"
    delete_homes: []
    archive_homes: []
"""
RETURN = r"""
added: {description: Accounts that were not there., type: list, elements: str, returned: always}
removed: {description: Accounts that are there no more., type: list, elements: str, returned: always}
updated: {description: Accounts with another password or other rights., type: list, elements: str, returned: always}
reconciled: {description: "Whether the hub's database was looked at, or need not be.", type: bool, returned: always}
notes: {description: "What was or would be repaired, in words.", type: list, elements: str, returned: always}
outdated: {description: "Running servers, and which of their settings are not today's.", type: dict, returned: always}
"""

# Above every ordinary user of the image and the host, so that no file on the host belongs to one of them.
FIRST_ID = 100000
GROUP = "hubusers"
# Stopping a server takes half a minute, and one that is starting is waited for.
HUB_TIMEOUT = 300  # seconds
CHECK_TIMEOUT = 10  # it only looks, and its container may be one that somebody has paused


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


def hash_of(user: dict[str, Any], present: str) -> str:
    """The hash that the user shall have, the present one where it already verifies."""
    if user.get("password") is None:
        return str(user.get("password_hash") or "*")  # neither: another authenticator is chosen; PAM lets nobody in
    return present if verifies(user["password"], present) else hash_password(user["password"])


def without_disk(user: dict[str, Any] | None) -> dict[str, Any]:
    """What somebody has declared of a user."""
    return {key: value for key, value in (user or {}).items() if key != "disk"}


class Accounts:
    """The files that say who may log in and what they may do.

    A user's `session` in users.json is a random text that lasts as long as the password: the hub puts it into cookies.
    """

    def __init__(
        self, directory: Path, users: list[dict[str, Any]], owner: int, keep_undeclared: bool, disks: Disks
    ) -> None:
        self.directory, self.owner, self.keep_undeclared = directory, owner, keep_undeclared
        users = sorted(users, key=lambda user: str(user["name"]))
        self.names = [user["name"] for user in users]
        self.old_passwd = table(directory / "passwd")
        shadow = table(directory / "shadow")
        old_hashes = {name: fields[1] for name, fields in shadow.items()}
        try:
            self.old = json.loads((directory / contract.USERS_LIST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.old = {}
        # A hash takes its 20 ms by design; on all processors at once, a long list takes less.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            hashes = pool.map(hash_of, users, [old_hashes.get(name, "") for name in self.names])
        self.hashes = dict(zip(self.names, hashes, strict=True))
        self.new_passwords = [name for name in self.names if self.hashes[name] != old_hashes.get(name)]
        self.found: list[Finding] = []
        self.new: dict[str, dict[str, Any]] = {}
        for user in users:
            session = self.old.get(user["name"], {}).get("session")
            if not session or user["name"] in self.new_passwords:
                session = secrets.token_hex(16)
            state = disks.state(user["name"])
            rights = {"admin": bool(user.get("admin", False)), "groups": sorted(set(user.get("groups") or []))}
            uid = {"uid": user["uid"]} if user.get("uid") else {}
            self.new[user["name"]] = {**rights, **uid, "session": session, **({"disk": state} if state else {})}

    def write(self, *, pretend: bool) -> bool:
        """Write what differs; returns whether anything did."""
        ids = user_ids(self.names, self.old_passwd)
        passwd = "".join(f"{n}:x:{ids[n]}:{FIRST_ID}::/nonexistent:/usr/sbin/nologin\n" for n in self.names)
        # The order in which a kill does least harm: what grants a login is written last, and a new session before the
        # password that it is for.
        files = {
            "group": (f"{GROUP}:x:{FIRST_ID}:\n", 0o644, 0, 0),
            "passwd": (passwd, 0o644, 0, 0),
            contract.UNDECLARED: (json.dumps({"stay": self.keep_undeclared}) + "\n", 0o640, 0, self.owner),
            contract.USERS_LIST: (json.dumps(self.new, indent=2, sort_keys=True) + "\n", 0o640, 0, self.owner),
            "shadow": ("".join(f"{n}:{self.hashes[n]}:::::::\n" for n in self.names), 0o400, self.owner, self.owner),
        }
        changed: bool = make_folder(self.directory, pretend=pretend)
        record = Record(self.directory.parent)
        fingerprints = {f"{self.directory.name}/{name}": fingerprint(*file) for name, file in files.items()}
        self.found = record.found(list(fingerprints))
        if not pretend:
            record.begin(fingerprints)
        for name, (content, mode, uid, gid) in files.items():
            present, in_place = present_text(self.directory / name, mode=mode, owner=uid, group=gid)
            if present == content and in_place:
                continue
            changed = True
            if not pretend:
                replace_file(self.directory / name, content, mode=mode, owner=uid, group=gid)
        if not pretend:
            record.end(fingerprints)
        return changed

    def mark(self, name: str, state: str | None) -> None:
        """Tell hub and guard of a user's disk; see Disks.state."""
        if self.new[name].get("disk") != state:
            self.new[name] = without_disk(self.new[name]) | ({"disk": state} if state else {})
            self.write(pretend=False)

    def changes(self) -> dict[str, list[str]]:
        """Names of accounts added, removed and updated."""
        stayed = [name for name in self.names if name in self.old_passwd]
        return {
            "added": [name for name in self.names if name not in self.old_passwd],
            "removed": sorted(set(self.old_passwd) - set(self.names)),
            "updated": [name for name in stayed if without_disk(self.new[name]) != without_disk(self.old.get(name))],
        }

    def last_admin_gone(self) -> bool:
        """Whether there was an admin and is none any more."""
        return any(u.get("admin") for u in self.old.values()) and not any(u["admin"] for u in self.new.values())

    def diff(self) -> dict[str, str]:
        """Who may do what, before and after; no hash and no session."""

        def line(name: str, user: dict[str, Any], remark: str) -> str:
            rights = (", admin" if user.get("admin") else "") + "".join(f", in {g}" for g in user.get("groups", []))
            uid = f", uid {user['uid']}" if "uid" in user else ""
            return f"{name}{rights}{uid}{remark}\n"

        old = (line(name, user, "") for name, user in sorted(self.old.items()))
        new = (
            line(name, user, ", another password" if name in self.new_passwords and name in self.old else "")
            for name, user in self.new.items()
        )
        file = str(self.directory / contract.USERS_LIST)
        return {"before_header": file, "after_header": file, "before": "".join(old), "after": "".join(new)}


def present_url(url: str, settings: Path) -> str:
    """The address of the hub that runs now: a run writes another base URL into its settings only later."""
    try:
        base_url = json.loads(settings.read_text(encoding="utf-8"))["base_url"]
    except (OSError, ValueError, KeyError, TypeError):
        return url
    return urljoin(url, str(base_url))


def reconcile(module: AnsibleModule, accounts: Accounts) -> dict[str, Any] | None:
    """What the hub found and, but in check mode, repaired; None in check mode when it does not answer.

    Raises HubError.
    """
    wanted = module.params
    try:
        token = Path(wanted["token_file"]).read_text(encoding="utf-8").strip()
    except FileNotFoundError:  # no hub was ever started
        if module.check_mode:
            return None
        raise HubError(f"{wanted['token_file']} is not there; run without --tags first") from None
    data = {
        "users": accounts.new,
        "keep_undeclared": wanted["keep_undeclared"],
        "decides": wanted["decides"],
        "servers": wanted["servers"],
        "pretend": module.check_mode,
    }
    timeout = CHECK_TIMEOUT if module.check_mode else HUB_TIMEOUT

    def ask() -> dict[str, Any]:
        root = present_url(wanted["url"], Path(wanted["token_file"]).with_name(Path(contract.HUB_SETTINGS).name))
        url = f"{root}hub/api/jupyterhub-home/users"
        found: dict[str, Any] = json.loads(request(url, data=data, token=token, timeout=timeout))
        return found

    try:
        container = contract.container(wanted["project"], contract.HUB.name)
        return ask() if module.check_mode else wait_for(ask, container, wanted["timeout"])
    except NotFoundError:  # another authenticator decides who is known, or did until this run
        if module.check_mode and wanted["decides"]:
            module.warn("What the hub would change cannot be told: it has another login now, and an older version.")
        return {}
    except HubError as error:
        if not module.check_mode:
            raise
        module.warn(f"What the hub would change cannot be told: {error}")
        return None


def unknown_homes(
    accounts: Accounts, deleted: list[str], homes: Homes, left: set[str], *, pretend: bool
) -> dict[str, str]:
    """Those of the names whose home nobody ever had here, as they are told: with the nearest of somebody who is gone.

    left: who goes in this run. A name stays in the variable for years after its home is deleted, so the file has those
    that need not be spoken of any more.
    """
    if not deleted:
        return {}
    record = accounts.directory / contract.HOMES_DELETED
    try:
        known = set(record.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        known = set()
    now = known | {name for name in deleted if homes.of(name) or name in left}
    if now != known and not pretend:
        replace_file(record, "".join(f"{name}\n" for name in sorted(now)), mode=0o644, owner=0, group=0)
    unknown = [name for name in deleted if name not in now]
    others = [name for name in homes.users() if name not in accounts.new] if unknown else []
    near = {name: difflib.get_close_matches(name, others, n=1) for name in unknown}
    return {name: f"{name} (did you mean {near[name][0]}?)" if near[name] else name for name in unknown}


def settle_homes(
    module: AnsibleModule, accounts: Accounts, listed: list[dict[str, Any]], hub: dict[str, Any], disks: Disks
) -> Notes:
    """Move, archive and delete homes, and make disks, as declared, once the hub has stopped servers; hub: its finds."""
    mounted = disks.mount()
    homes = Homes(module.params["project"], pretend=module.check_mode, disks=disks)
    renamed = {user["name"]: user["renamed_from"] for user in listed if user.get("renamed_from")}
    deleted, to_archive = module.params["delete_homes"], module.params["archive_homes"]
    done = homes.move(renamed) if renamed else []
    archived = homes.meant(to_archive, {*accounts.new, *renamed.values(), *deleted}) if to_archive else []
    done += (homes.archive(archived) if archived else []) + (homes.delete(deleted) if deleted else [])
    left = {*accounts.old, *hub.get("remove", [])}
    told = []
    unknown = unknown_homes(accounts, [*deleted, *archived], homes, left, pretend=module.check_mode)
    for variable, names in (("delete_homes", deleted), ("archive_homes", archived)):
        strange = [said for name, said in unknown.items() if name in names]
        told += named(f"In jupyterhub_home_{variable}, but there is no home of that name: {{}}", strange)
    gone = left - {*accounts.new, *renamed.values(), *deleted, *archived}
    kept = [volume for name in sorted(gone) for volume in homes.of(name)]
    told += named("Their files are kept, in the volumes {}", kept)
    coming = {new for new, old in renamed.items() if module.check_mode and disks.has(old)}
    settled = disks.settle([name for name in accounts.names if name not in coming], accounts.mark)
    return Notes(mounted.done + done + settled.done, mounted.told + told + settled.told)


ARGUMENTS: dict[str, dict[str, Any]] = {
    "directory": {"type": "path", "required": True},
    "users": {"type": "str", "required": True, "no_log": True},
    "owner": {"type": "int", "required": True},
    "project": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "token_file": {"type": "path", "required": True, "no_log": False},
    "keep_undeclared": {"type": "bool", "required": True},
    "decides": {"type": "bool", "default": False},
    "servers": {"type": "dict", "required": True},
    "delete_homes": {"type": "list", "elements": "str", "required": True},
    "archive_homes": {"type": "list", "elements": "str", "required": True},
    "disk_limit": {"type": "int", "default": 0},
    "volumes": {"type": "path", "default": "/var/lib/docker/volumes"},
    "timeout": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    wanted, pretend = module.params, module.check_mode
    listed = [user for user in json.loads(wanted["users"]) if user.get("state", "present") == "present"]
    program = Path(wanted["directory"]).parent / contract.DISKS_PROGRAM
    disks = Disks(wanted["project"], program, Path(wanted["volumes"]).resolve(), wanted["disk_limit"], pretend=pretend)
    accounts = Accounts(Path(wanted["directory"]), listed, wanted["owner"], wanted["keep_undeclared"], disks)
    accounts_changed = accounts.changes()
    diffs = [accounts.diff()]
    changed = accounts.write(pretend=pretend)
    notes = [f"Found: {what}" for what in sentences(accounts.found)]
    removed = "Accounts would be removed: {}" if pretend else "Accounts removed: {}"
    notes += named(removed, accounts_changed["removed"])
    if accounts.last_admin_gone():
        module.warn(
            "Nobody is an admin of the hub any more. Is that meant? If not: admin: true for a user in "
            "jupyterhub_home_users."
        )
    try:
        found = reconcile(module, accounts)
        if found is not None:
            differences = said_of_hub(found, accounts.new, pretend=pretend) if found else []
            homes = settle_homes(module, accounts, listed, found, disks)
            changed = changed or bool(differences or homes.done)
            notes += differences + homes.done + homes.told
    except HubError as error:
        module.fail_json(
            msg=f"{wanted['url']}: {error}\nThe users' files are written, so logins are as declared; what the "
            "hub knows beyond them is mended by the next run.",
            changed=changed,
        )
    except EngineError as error:
        module.fail_json(msg=str(error), changed=changed)
    if notes:
        diffs.append({"before_header": "hub", "after_header": "hub", "before": "", "after": "\n".join(notes) + "\n"})
    outdated = (found or {}).get("outdated", {})
    answer = {**accounts_changed, "reconciled": found is not None, "notes": notes, "outdated": outdated}
    module.exit_json(changed=changed, **answer, diff=diffs)


if __name__ == "__main__":
    main()
