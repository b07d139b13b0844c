"""What is mounted into a user's server, and who the server runs as because of it."""

import os
import re
from pathlib import Path

from docker.errors import APIError
from jupyterhub.spawner import SpawnException
from settings_files import Settings

MOUNTS_READ = Path("/run/mountinfo")  # what is mounted on the machine, now
HOME = "/home/jovyan"
WORK = "/home/jovyan/work"
OTHER_FOLDER = 424  # the status of a start for which a folder is not what it was; the engine has no such
USERS_GID = 100  # group `users`: may write in HOME in our image as in the docker-stacks
# Over what an image may have: as root, nothing in a home may be run, whatever its user has put there.
NOTHING_OF_THE_HOME = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_PRELOAD": "", "LD_LIBRARY_PATH": "", "ENV": "", "BASH_ENV": "",
}  # fmt: skip
# Puts a user's settings into a folder of the home; what a new home begins with is there again.
PUT_ASIDE = """\
chmod u+rwx "$0" && cd "$0" || exit
kept=old-settings-$(date +%Y-%m-%d-%H%M%S)
for name in .jupyter .ipython .config .local/share/jupyter .local/etc .bashrc .bash_profile .bash_login .profile; do
    [ -e "$name" ] || [ -L "$name" ] || continue
    mkdir -p "$kept/$(dirname "$name")" && mv "$name" "$kept/$name" || exit
    if [ -e "/etc/skel/$name" ]; then cp -R "/etc/skel/$name" "$name"; fi
done
"""


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


def identity(mounts: list[Settings], uid: int | None = None) -> Settings:
    """Who a server runs as, given its mounts: {"user": "UID:GID" or None, "group_add": [GID, …]}.

    Its user's own uid, or else the owner of the folder that replaces the work folder, or else the image's own user; in
    all cases in the groups of the other folders. Never root, and never in root's group.
    """
    groups = {mount["gid"] for mount in mounts}
    work = next((mount for mount in mounts if mount["target"] == WORK and mount["uid"]), None)
    user = None
    if work and uid in (None, work["uid"]):
        user = f"{work['uid']}:{work['gid'] or USERS_GID}"
    elif uid:
        user = f"{uid}:{USERS_GID}"
    if user:
        groups.add(USERS_GID)
    return {"user": user, "group_add": [str(gid) for gid in sorted(groups - {0})]}


def other_folder(words: str, log: str = "") -> Exception:
    """What JupyterHub is to be told of a server that is not started because of a folder of the machine."""
    refused: Exception = SpawnException(words, reason="folder", log_message=log, status_code=OTHER_FOLDER)
    return refused


def refusal(user: str, mount: Settings, log: str) -> Exception:
    """The same, with words for the user; the log says more."""
    return other_folder(
        f"Your server was not started, because the folder for {mount['target']} is not the one that this hub was set "
        "up with. Nothing was changed. Please tell who runs this machine: the log says more.",
        f"The server of {user} is not started: {mount['source']} {log}",
    )


def of_another_owner(user: str, mount: Settings, owner: int) -> Exception:
    """The refusal where a folder does not belong to whom it did: somebody may have put a link in its place."""
    return refusal(
        user,
        mount,
        f"belongs to {owner} now, not to {mount['uid']} as when this hub was last set up. Has somebody put another "
        "folder or a link in its place, or is its disk not mounted? If all is well, set the hub up again.",
    )


def mount_points() -> set[str]:
    """Where something is mounted on the machine (proc_pid_mountinfo(5))."""
    places = [line.split(b" ")[4] for line in MOUNTS_READ.read_bytes().splitlines()]
    plain = [re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), place) for place in places]
    return {place.decode(errors="surrogateescape") for place in plain}


def not_mounted(user: str, mount: Settings) -> Exception:
    """The refusal where nothing is mounted at the place where the disk of a folder was."""
    place = mount["mount_point"]
    return refusal(
        user,
        mount,
        f"is not on its disk: nothing is mounted at {place} now, as something was when this hub was last set up. "
        "Mount it. If it is meant to be so, set the hub up without the entry, then again with it.",
    )


def not_there(user: str, mounts: list[Settings], error: APIError) -> Exception | None:
    """The refusal where a folder is what the engine does not find; None if it says something else."""
    for mount in mounts:
        if str(error.explanation).endswith(f"path does not exist: {mount['source']}"):
            return refusal(user, mount, "is not there. Is its disk mounted?")
    return None
