"""The mounts: host folders that servers see, and whether a server can use them."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import nearest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Place, Report, some
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import JOVYAN, WORK_FOLDER, check_keys, said

SYSTEM_FOLDERS = re.compile(r"/|/(bin|boot|dev|etc|lib|lib64|opt|proc|root|run|sbin|sys|usr|var)(/.*)?|/home(/[^/]+)?")
# Of the machine itself: who reads there has everybody's files, secrets, or the engine's socket.
MACHINES_OWN = re.compile(r"/|/(boot|etc|root|var)|/var/lib|/(dev|proc|run|sys|var/lib/docker|var/run)(/.*)?")
# A mount there would hide what the server needs.
IMAGE_FOLDERS = re.compile(r"/home|/home/jovyan|/(bin|boot|dev|etc|lib|lib64|opt|proc|root|run|sbin|sys|tmp|usr|var)")

# Of what is found about a source, what spawner.json has beside what is declared.
FOUND = ("uid", "gid", "mount_point")


def plain_path(path: str) -> bool:
    """Whether a path is absolute, has no '..' and the like, and no sign that Docker's mounts take for their own."""
    return (
        path.startswith("/")
        and not path.startswith("//")
        and posixpath.normpath(path) == path
        and path.isprintable()
        and ":" not in path
    )


def check_mount(where: Place, mount: dict[str, Any], names: Collection[str] | None, report: Report) -> None:
    """Paths and users of one entry; names: the users that there are, None when that is not known."""
    for key, example in (("source", "/home/alice"), ("target", WORK_FOLDER)):
        path = mount.get(key)
        if path is None:
            continue
        if not plain_path(path):
            better = posixpath.normpath("/" + path.lstrip("/")).replace(":", "")
            write = better if path.startswith("/") and plain_path(better) and better != "/" else example
            report.add(where, f"{key} {said(path)} is not a plain absolute path.", f"{key}: {write}")
        elif re.search(r"[{}]", path.replace("{username}", "") if key == "source" else path):
            report.add(
                where,
                f"{key} {said(path)} has braces; only {{username}} in source is filled in.",
                f"{key}: {'/home/{username}' if key == 'source' else WORK_FOLDER}",
            )
    if MACHINES_OWN.fullmatch(mount.get("source") or ""):
        report.add(
            where,
            f"source {mount['source']!r} has what is the machine's own, such as secrets, or the engine's socket.",
            "source: /srv/shared",
        )
    if IMAGE_FOLDERS.fullmatch(mount.get("target") or "") or mount.get("target") == "/":
        report.add(where, f"target {mount['target']!r} would hide the image's own files.", f"target: {WORK_FOLDER}")
    for name in mount.get("users") or []:
        if names is not None and name not in names:
            like = nearest(name, names)
            report.add(where, f"user {said(name)} is not in {PREFIX}users.", f"users: [{like or 'alice'}]")
    if "{username}" in mount.get("source", "") and mount.get("users") is None and names is not None and not names:
        report.add(where, f"source has {{username}}, but {PREFIX}users is empty.", "users: [alice]")


def expand_mounts(
    mounts: list[dict[str, Any]], options: dict[str, Any], names: list[str], known: bool, report: Report
) -> list[dict[str, Any]]:
    """One entry {source, target, read_only, users (None: everyone)} a host folder, `{username}` filled in.

    names: the users; known: there can be no others.
    """
    found: list[dict[str, Any]] = []
    for number, raw in enumerate(mounts, 1):
        where = Place(f"{PREFIX}mounts").within(f"entry {number}")
        before = len(report.mistakes)
        mount = check_keys(where, raw, options, report)
        check_mount(where, mount, names if known else None, report)
        if len(report.mistakes) > before:
            continue
        users = mount.get("users")
        plain = {"target": mount["target"], "read_only": mount.get("read_only", False)}
        if "{username}" in mount["source"]:
            for name in names if users is None else users:
                found.append({**plain, "source": mount["source"].replace("{username}", name), "users": [name]})
        else:
            found.append({**plain, "source": mount["source"], "users": users})
    taken: dict[tuple[str, str], str] = {}
    clashes = set()
    for mount in found:
        for name in names if mount["users"] is None else mount["users"]:
            other = taken.setdefault((name, mount["target"]), mount["source"])
            clash = (other, mount["source"], mount["target"])
            if other != mount["source"] and clash not in clashes:
                clashes.add(clash)
                report.add(
                    f"{PREFIX}mounts",
                    f"{other} and {mount['source']} both go to {mount['target']} of user {name}.",
                    "a target of its own for each",
                )
    return found


def writable(mount: dict[str, Any], folder: dict[str, Any], uid: int | None = None) -> bool:
    """Whether a server can write to a folder. uid: its user's own, if there is one.

    Without one, a server whose work folder is mounted runs as that folder's owner, and otherwise as user 1000. It has
    the folder's group. Root's identity is never taken on.
    """
    if uid is None and mount["target"] == WORK_FOLDER and folder["uid"] != 0:
        return bool(folder["mode"] & 0o200)
    own = folder["uid"] == (uid or JOVYAN) and folder["mode"] & 0o200
    group = folder["gid"] != 0 and folder["mode"] & 0o020
    return bool(own or group or folder["mode"] & 0o002)


def check_writable(mount: dict[str, Any], folder: dict[str, Any], uids: dict[str, int | None], report: Report) -> None:
    """Whether all who get a folder can write there. uids: of the users that there are, their own or None."""
    source, path = mount["source"], shlex.quote(mount["source"])
    mine = uids if mount["users"] is None else {name: uids.get(name) for name in mount["users"]}
    shut = {name: uid for name, uid in (mine or {"": None}).items() if not writable(mount, folder, uid)}
    if not shut:
        return
    who, ways = "a server", [f"chown {JOVYAN} {path}"]
    if any(shut.values()):
        who = some([f"{name} (uid {uid})" if uid else name for name, uid in shut.items()])
        ways = [f"uid: {folder['uid']} for user {name}" for name in shut if len(shut) == 1 and folder["uid"] >= JOVYAN]
        ways.append(f"chgrp users {path}; chmod g+rwxs {path}")
    if SYSTEM_FOLDERS.fullmatch(source):  # somebody else's, to be left to them
        ways[-1] = "a folder for it, such as /srv/shared"
    report.add(
        f"{PREFIX}mounts",
        f"{source} belongs to {folder['uid']}:{folder['gid']}, mode {folder['mode']:04o}; {who} could not write there.",
        ", or ".join(["read_only: true", *ways]),
    )


def within(path: str, folder: str) -> bool:
    """Whether a path is a folder or below it."""
    return f"{path}/".startswith(f"{folder.rstrip('/')}/")


def safer(loose: dict[str, Any], source: str, writable: list[str]) -> str:
    """What to do about a source that can be replaced. writable: the sources that servers can write to."""
    directory, entry = loose["directory"], loose["entry"]
    own_place = directory in ("/", "/srv")
    ways = []
    if re.fullmatch("/home/[^/]+", directory):
        ways.append(f"source: {directory}")
    if not own_place:
        ways.append(f"a folder that root alone can replace, such as /srv/{posixpath.basename(source)}")
    if loose["mode"] & 0o1000 and loose["uid"] == 0:
        ways.append(f"chown root {shlex.quote(entry)}")
    # A folder that people write to, or that is somebody else's, is left to them.
    elif own_place or not (SYSTEM_FOLDERS.fullmatch(directory) or any(within(directory, one) for one in writable)):
        commands = {"chown root": loose["uid"] != 0, "chmod go-w": loose["mode"] & 0o022}
        ways.append("; ".join(f"{command} {shlex.quote(directory)}" for command, due in commands.items() if due))
    return ", or ".join(ways)


def check_way(name: str, sources: list[str], loose: dict[str, Any], writable: list[str], report: Report) -> None:
    """Say that somebody but root can replace sources by a link; loose: where, see module_utils/ways.py."""
    directory, entry = loose["directory"], loose["entry"]
    found = f"{directory} belongs to {loose['uid']}:{loose['gid']}, mode {loose['mode']:04o}"
    if loose["mode"] & 0o1000:
        found += f", and {entry} to {loose['owner']}"
    way = "" if sources == [entry] else f", on the way to {some(sources)}"
    report.add(
        f"{PREFIX}{name}",
        f"somebody but root can put a link to any folder of the machine in the place of {entry}{way}: {found}.",
        safer(loose, sources[0], writable),
    )


def check_ways(mounts: list[dict[str, Any]], folders: dict[str, Any], report: Report) -> None:
    """Whether root alone can replace the sources of the expanded mounts; what one folder lets happen is said once."""
    ways: dict[tuple[str, str], list[str]] = {}
    for source in dict.fromkeys(mount["source"] for mount in mounts):
        if loose := folders.get(source, {}).get("loose"):
            sticky = loose["mode"] & 0o1000
            ways.setdefault((loose["directory"], loose["entry"] if sticky else ""), []).append(source)
    writable = [mount["source"] for mount in mounts if not mount["read_only"]]
    for sources in ways.values():
        check_way("mounts", sources, folders[sources[0]]["loose"], writable, report)


def check_mounted(
    mounts: list[dict[str, Any]], folders: dict[str, Any], noted: dict[str, str], report: Report
) -> set[str]:
    """The sources whose file system is not mounted, but was when the hub was last set up, or is to be at boot.

    noted: where it was mounted then, by source.
    """
    gone: dict[tuple[str, str, str], list[str]] = {}
    for source in dict.fromkeys(mount["source"] for mount in mounts):
        folder, before = folders.get(source, {}), noted.get(source, "/")
        now = folder.get("mount_point", before)
        if folder.get("missing"):
            why = "/etc/fstab has something mounted there", "take that line out of /etc/fstab"
            gone.setdefault((folder["missing"], *why), []).append(source)
        elif now != before and within(before, now):
            why = "something was when this hub was last set up", "run once without the entry, then again with it"
            gone.setdefault((before, *why), []).append(source)
    for (point, reason, meant), sources in gone.items():
        lie = "is" if len(sources) == 1 else "are"
        report.add(
            f"{PREFIX}mounts",
            f"nothing is mounted at {point}, where {some(sources)} {lie}, and {reason}.",
            f"mount {shlex.quote(point)} (findmnt --fstab lists what belongs where). If it is meant to be so, {meant}",
            label="Do",
        )
    return {source for sources in gone.values() for source in sources}


def check_folders(
    mounts: list[dict[str, Any]],
    folders: dict[str, Any],
    report: Report,
    noted: dict[str, str],
    uids: dict[str, int | None],
) -> None:
    """Whether the folders of the expanded mounts are there, can be replaced by root alone and written to by servers.

    folders: what was found of each source; noted: see check_mounted; uids: see check_writable.
    """
    gone = check_mounted(mounts, folders, noted, report)
    mounts = [mount for mount in mounts if mount["source"] not in gone]
    check_ways(mounts, folders, report)
    for mount in mounts:
        # The module expands a path with $ or ~ in it, and answers under another name.
        folder = folders.get(mount["source"], {"exists": False})
        if not folder["exists"]:
            report.add(
                f"{PREFIX}mounts",
                f"{mount['source']} is no folder on this machine.",
                f"the path of a folder, or mkdir {mount['source']}",
            )
        elif not mount["read_only"]:
            check_writable(mount, folder, uids, report)
