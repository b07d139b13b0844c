"""What is mounted into a user's server, and who the server runs as because of it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from docker.errors import APIError
from jupyterhub.spawner import SpawnException
from settings_files import Settings, declared_users

MOUNTS_READ = Path("/run/mountinfo")  # what is mounted on the machine, now
HOME = "/home/jovyan"
WORK = "/home/jovyan/work"
OTHER_FOLDER = 424  # the status of a start for which a folder is not what it was; the engine has no such
MOVING = "moving"  # in users.json in the place of a disk
USERS_GID = 100  # group `users`: may write in HOME in our image as in the docker-stacks
# Over what an image may have: as root, nothing in a home may be run, whatever its user has put there.
NOTHING_OF_THE_HOME = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_PRELOAD": "", "LD_LIBRARY_PATH": "", "ENV": "", "BASH_ENV": "",
}  # fmt: skip
# With these a server starts, and Python runs, where nothing can be written any more: TEMP is where Python looks next.
ON_A_FULL_DISK = {"JUPYTER_RUNTIME_DIR": "/dev/shm/jupyter-runtime", "TMPDIR": "/tmp", "TEMP": "/dev/shm"}
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


def own_volumes(mounts: list[Settings], labels: dict[str, str]) -> list[Settings]:
    """A user's volumes with these labels among a server's mounts, that of the home first."""
    ours = [mount for mount in mounts if mount.get("VolumeOptions", {}).get("Labels") == labels]
    return [mount for target in (HOME, WORK) for mount in ours if mount["Target"] == target]


def places_of(container: Settings, volumes: Iterable[Settings]) -> set[str]:
    """Where on the machine these volumes of a container, as the engine knows it, have their files."""
    names = {volume["Source"] for volume in volumes}
    return {mount["Source"] for mount in container.get("Mounts", []) if mount.get("Name") in names}


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


def disk_not_ready(user: str, disk: str | None, volumes: Iterable[str] | None = ()) -> Exception | None:
    """The refusal where a user's disk is being made or changed, has been since this start began, or is not mounted, as
    a whole and over the folders of their volumes; None where all is well. disk: as users.json had it; without
    volumes what is mounted is not looked at."""
    now = declared_users().get(user, {}).get("disk")
    if MOVING in (disk, now) or disk != now:
        words = "because your files are being moved to a disk of your own. Try again in some minutes."
        return other_folder(f"Your server was not started, {words}", f"The files of {user} are being moved")
    if disk and volumes is not None and (away := {disk, *volumes} - mount_points()):
        return other_folder(
            "Your server was not started, because the disk with your files is away. Nothing was changed. Please tell "
            "who runs this machine: the log says more.",
            f"The server of {user} is not started: nothing is mounted at {', '.join(sorted(away))}. Set the hub up "
            "again.",
        )
    return None


def not_there(user: str, mounts: list[Settings], error: APIError) -> Exception | None:
    """The refusal where a folder is what the engine does not find; None if it says something else."""
    for mount in mounts:
        if str(error.explanation).endswith(f"path does not exist: {mount['source']}"):
            return refusal(user, mount, "is not there. Is its disk mounted?")
    return None
