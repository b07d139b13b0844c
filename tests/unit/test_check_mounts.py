"""The mounts, and the folders behind them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import WORK_FOLDER
from checks import checked, looked_at


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


def test_nobody_is_told_to_give_a_system_folder_away() -> None:
    folder = {"exists": True, "uid": 0, "gid": 0, "mode": 0o700}
    for source, told in (
        ("/root", "such as /srv/shared"),
        ("/home/lee", "such as /srv/shared"),
        ("/srv/a", "chown 1000 /srv/a"),
    ):
        mount = {"source": source, "target": "/x"}
        said = looked_at({"folders": {source: folder}}, mounts=[mount])
        assert told in said and ("chown" in said) == (source == "/srv/a")
