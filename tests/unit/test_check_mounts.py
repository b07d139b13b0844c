"""The mounts, and the folders behind them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import WORK_FOLDER
from checks import PW, checked, looked_at


def expanded(*mounts: dict[str, Any], **variables: Any) -> list[dict[str, Any]]:
    good, said = checked(mounts=list(mounts), **variables)
    assert said == ""
    found: list[dict[str, Any]] = good["mounts"]
    return found


def test_mounts_for_everyone_and_for_some() -> None:
    assert expanded(
        {"source": "/a", "target": "/b"}, {"source": "/c", "target": "/d", "users": ["lee"], "read_only": True}
    ) == [
        {"source": "/a", "target": "/b", "read_only": False, "users": None},
        {"source": "/c", "target": "/d", "read_only": True, "users": ["lee"]},
    ]


def test_a_user_name_in_a_source() -> None:
    mount = {"source": "/home/{username}/x", "target": "/b"}
    assert [(m["source"], m["users"]) for m in expanded(mount)] == [
        ("/home/kim/x", ["kim"]),
        ("/home/lee/x", ["lee"]),
    ]
    assert [m["source"] for m in expanded({**mount, "users": ["lee"]})] == ["/home/lee/x"]


def test_one_target_for_two_users() -> None:
    mine = {"source": "/a", "target": "/x", "users": ["kim"]}
    assert len(expanded(mine, {"source": "/b", "target": "/x", "users": ["lee"]})) == 2
    said = checked(mounts=[mine, {"source": "/b", "target": "/x"}])[1]
    assert "/a and /b both go to /x of user kim." in said


@pytest.mark.parametrize(
    ("target", "uid", "gid", "mode", "fine"),
    [
        (WORK_FOLDER, 1000, 1000, 0o755, True),
        (WORK_FOLDER, 1234, 1234, 0o755, True),  # the server runs as that owner
        (WORK_FOLDER, 1234, 1234, 0o555, False),
        (WORK_FOLDER, 0, 0, 0o755, False),
        (WORK_FOLDER, 0, 50, 0o775, True),
        (WORK_FOLDER, 0, 0, 0o775, False),  # root's group is not taken on either
        (WORK_FOLDER, 0, 0, 0o777, True),
        ("/data", 1000, 0, 0o700, True),
        ("/data", 1234, 1234, 0o755, False),
        ("/data", 1234, 1234, 0o775, True),
        ("/data", 0, 0, 0o755, False),
    ],
)
def test_folders_that_a_server_can_write_to(target: str, uid: int, gid: int, mode: int, fine: bool) -> None:
    folder = {"exists": True, "uid": uid, "gid": gid, "mode": mode}
    mounts = [{"source": "/a", "target": target}]
    said = looked_at({"folders": {"/a": folder}}, mounts=mounts)
    assert (said == "") == fine
    assert fine or f"/a belongs to {uid}:{gid}, mode {mode:04o}; a server could not write there." in said
    assert looked_at({"folders": {"/a": folder}}, mounts=[{**mounts[0], "read_only": True}]) == ""


@pytest.mark.parametrize(
    ("mount", "uid", "gid", "mode", "who", "write"),
    [
        ({"target": WORK_FOLDER, "users": ["ann"]}, 1001, 1001, 0o700, "", ""),
        ({"target": "/data", "users": ["ann"]}, 1001, 1001, 0o700, "", ""),
        ({"target": WORK_FOLDER}, 1005, 50, 0o2775, "", ""),
        ({"target": "/data"}, 1000, 100, 0o775, "", ""),
        ({"target": "/data", "read_only": True}, 1000, 1000, 0o755, "", ""),
        ({"target": "/data", "users": ["cat"]}, 1000, 1000, 0o755, "", ""),
        (
            {"target": WORK_FOLDER, "users": ["ann"]},
            1005,
            1005,
            0o755,
            "ann (uid 1001)",
            "uid: 1005 for user ann, or chgrp users '/srv/a b'; chmod g+rwxs '/srv/a b'",
        ),
        (
            {"target": "/data"},
            1000,
            1000,
            0o755,
            "ann (uid 1001), bob (uid 1002)",
            "chgrp users '/srv/a b'; chmod g+rwxs '/srv/a b'",
        ),
        (
            {"target": "/data", "users": ["ann", "cat"]},
            0,
            0,
            0o755,
            "ann (uid 1001), cat",
            "chgrp users '/srv/a b'; chmod g+rwxs '/srv/a b'",
        ),
        ({"target": "/data", "users": ["cat"]}, 1001, 1001, 0o755, "a server", "chown 1000 '/srv/a b'"),
    ],
)
def test_folders_of_users_with_a_uid(
    mount: dict[str, Any], uid: int, gid: int, mode: int, who: str, write: str
) -> None:
    folder = {"exists": True, "uid": uid, "gid": gid, "mode": mode}
    users = [{"name": "ann", **PW, "uid": 1001}, {"name": "bob", **PW, "uid": 1002}, {"name": "cat", **PW}]
    said = looked_at({"folders": {"/srv/a b": folder}}, users=users, mounts=[{"source": "/srv/a b", **mount}])
    assert (said == "") if not who else (f"{who} could not write there." in said), said
    assert said.endswith(f"read_only: true, or {write}" if who else "")


@pytest.mark.parametrize("source", ["/", "/etc", "/var/run", "/run/docker.sock", "/var/lib/docker/volumes", "/proc/1"])
def test_what_is_the_machines_own_is_for_no_server(source: str) -> None:
    """Not read-only either."""
    said = checked(mounts=[{"source": source, "target": "/data", "read_only": True}])[1]
    assert f"source '{source}' has what is the machine's own" in said and said.endswith("Write: source: /srv/shared")
    assert checked(mounts=[{"source": "/var/lib/photos", "target": "/data", "read_only": True}])[1] == ""


def test_nobody_is_told_to_give_a_system_folder_away() -> None:
    folder = {"exists": True, "uid": 0, "gid": 0, "mode": 0o700}
    for source, told in (
        ("/var/backups", "such as /srv/shared"),
        ("/home/lee", "such as /srv/shared"),
        ("/srv/a", "chown 1000 /srv/a"),
    ):
        mount = {"source": source, "target": "/x"}
        said = looked_at({"folders": {source: folder}}, mounts=[mount])
        assert told in said and ("chown" in said) == (source == "/srv/a")


def loose(directory: str, entry: str, uid: int = 0, mode: int = 0o755, owner: int = 0) -> dict[str, Any]:
    """What the probe says of a folder that somebody but root can replace."""
    way = {"directory": directory, "entry": entry, "uid": uid, "gid": uid, "mode": mode, "owner": owner}
    return {"exists": True, "uid": 1000, "gid": 1000, "mode": 0o755, "mount_point": "/", "loose": way}


@pytest.mark.parametrize(
    ("source", "found", "what", "write"),
    [
        (
            "/home/kim/notebooks",
            loose("/home/kim", "/home/kim/notebooks", uid=1234, mode=0o700),
            "in the place of /home/kim/notebooks: /home/kim belongs to 1234:1234, mode 0700.",
            "source: /home/kim, or a folder that root alone can replace, such as /srv/notebooks",
        ),
        (
            "/data/all/kim",
            loose("/data", "/data/all", mode=0o2775),
            "in the place of /data/all, on the way to /data/all/kim: /data belongs to 0:0, mode 2775.",
            "a folder that root alone can replace, such as /srv/kim, or chmod go-w /data",
        ),
        (
            "/data/my own/kim",
            loose("/data/my own", "/data/my own/kim", uid=7, mode=0o777),
            "in the place of /data/my own/kim: /data/my own belongs to 7:7, mode 0777.",
            "such as /srv/kim, or chown root '/data/my own'; chmod go-w '/data/my own'",
        ),
        (
            "/srv/kim",
            loose("/srv", "/srv/kim", uid=7),
            "in the place of /srv/kim: /srv belongs to 7:7, mode 0755.",
            "chown root /srv",
        ),
        (
            "/tmp/kim",
            loose("/tmp", "/tmp/kim", mode=0o1777, owner=7),
            "in the place of /tmp/kim: /tmp belongs to 0:0, mode 1777, and /tmp/kim to 7.",
            "a folder that root alone can replace, such as /srv/kim, or chown root /tmp/kim",
        ),
        (
            "/var/lib/other/kim",  # somebody else's, to be left to them
            loose("/var/lib/other", "/var/lib/other/kim", uid=7),
            "in the place of /var/lib/other/kim: /var/lib/other belongs to 7:7, mode 0755.",
            "a folder that root alone can replace, such as /srv/kim",
        ),
    ],
)
def test_a_source_that_somebody_but_root_can_replace(source: str, found: dict[str, Any], what: str, write: str) -> None:
    said = looked_at({"folders": {source: found}}, mounts=[{"source": source, "target": "/x"}])
    assert f"jupyterhub_home_mounts: somebody but root can put a link to any folder of the machine {what}\n" in said
    assert said.endswith(write)
    assert said.count("Write:") == 1


def test_a_shared_folder_with_a_private_one_below() -> None:
    """Who writes to the one replaces the other; it is said once, and the shared folder is not to be taken away."""
    shared = {"exists": True, "uid": 1000, "gid": 100, "mode": 0o2775, "mount_point": "/", "loose": {}}
    way = loose("/srv/shared", "/srv/shared/private", uid=1000, mode=0o2775)
    mounts: list[dict[str, Any]] = [
        {"source": "/srv/shared", "target": "/shared"},
        {"source": "/srv/shared/private/{username}", "target": "/private"},
    ]
    folders = {"/srv/shared": shared, "/srv/shared/private/kim": way, "/srv/shared/private/lee": way}
    said = looked_at({"folders": folders}, mounts=mounts)
    assert said == (
        "jupyterhub_home_mounts: somebody but root can put a link to any folder of the machine in the place of "
        "/srv/shared/private, on the way to /srv/shared/private/kim, /srv/shared/private/lee: "
        "/srv/shared belongs to 1000:1000, mode 2775.\n"
        "     Write: a folder that root alone can replace, such as /srv/kim"
    )
    mounts[0]["read_only"] = True
    assert "or chown root /srv/shared; chmod go-w /srv/shared" in looked_at({"folders": folders}, mounts=mounts)


@pytest.mark.parametrize(
    ("before", "now", "missing", "said"),
    [
        (None, "/", "", ""),
        ("/", "/", "", ""),
        ("/", "/mnt/disk", "", ""),
        ("/mnt/disk", "/mnt/disk", "", ""),
        ("/mnt/disk", "/mnt/disk/photos", "", ""),
        ("/mnt/disk", "/", "", "something was when this hub was last set up."),
        ("/mnt/disk", "/mnt", "", "something was when this hub was last set up."),
        ("/mnt/disk", "/mnt/d", "", ""),  # a link that leads to another disk
        (None, "/", "/mnt/disk", "/etc/fstab has something mounted there."),
        ("/mnt/disk", "/", "/mnt/disk", "/etc/fstab has something mounted there."),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_disk_that_is_not_mounted(before: str | None, now: str, missing: str, said: str, exists: bool) -> None:
    """Nothing else is said of the empty folder that is in its place."""
    source = "/mnt/disk/photos"
    folder = {"exists": exists, "mount_point": now, "missing": missing}
    folder |= {"uid": 0, "gid": 0, "mode": 0o755} if exists else {}
    noted = {} if before is None else {source: before}
    found = looked_at(
        {"folders": {source: folder}, "noted_mount_points": noted}, mounts=[{"source": source, "target": "/x"}]
    )
    if said:
        what, do = found.split("\n")
        assert what == f"jupyterhub_home_mounts: nothing is mounted at /mnt/disk, where {source} is, and {said}"
        assert do.startswith("     Do: mount /mnt/disk (findmnt --fstab lists what belongs where). If it is meant")
    else:
        assert ("could not write" if exists else "mkdir") in found


def test_a_bundle_that_somebody_but_root_can_replace() -> None:
    way = loose("/home/kim", "/home/kim/our.pem", uid=1234)["loose"]
    said = looked_at({"ca_bundle_loose": way}, ca_bundle="/home/kim/our.pem")
    assert said.startswith("jupyterhub_home_ca_bundle: somebody but root can put a link")
