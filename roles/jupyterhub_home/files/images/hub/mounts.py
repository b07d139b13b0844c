"""What is mounted into a user's server, and who the server runs as because of it."""

import os

from settings_files import Settings

HOME = "/home/jovyan"
WORK = "/home/jovyan/work"
USERS_GID = 100  # group `users`: may write in HOME in our image as in the docker-stacks


def mounts_for(user: str, mounts: list[Settings]) -> list[Settings]:
    """The mounts of spawner.json that one user gets, one for each target.

    For the same target a mount that names the user goes before one for everyone.
    """
    chosen = {}
    for mount in sorted(mounts, key=lambda mount: mount["users"] is not None):
        if mount["users"] is None or user in mount["users"]:
            target = os.path.normpath(mount["target"])
            chosen[target] = {**mount, "target": target}
    return list(chosen.values())


def identity(mounts: list[Settings]) -> Settings:
    """Who a server runs as, given its mounts: {"user": "UID:GID" or None, "group_add": [GID, …]}.

    The owner of the folder that replaces the work folder, or else the image's own user; in both
    cases in the groups of the other folders. Never root, and never in root's group.
    """
    groups = {mount["gid"] for mount in mounts}
    work = next((mount for mount in mounts if mount["target"] == WORK and mount["uid"]), None)
    user = None
    if work:
        user = f"{work['uid']}:{work['gid'] or USERS_GID}"
        groups.add(USERS_GID)
    return {"user": user, "group_add": [str(gid) for gid in sorted(groups - {0})]}
