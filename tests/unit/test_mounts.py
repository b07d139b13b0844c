"""mounts: what a user's server gets, and who it runs as because of it."""

from typing import Any

import pytest
from hub_settings import mount
from mounts import WORK, identity, mounts_for


def test_mounts_for_a_user() -> None:
    mounts = [
        mount("/a", users=["alice"], source="/mine"),
        mount("/a/", source="/everyone"),
        mount("/b", users=["bob"]),
    ]
    assert [(m["source"], m["target"]) for m in mounts_for("alice", mounts)] == [("/mine", "/a")]
    assert [(m["source"], m["target"]) for m in mounts_for("carl", mounts)] == [("/everyone", "/a")]


@pytest.mark.parametrize(
    ("mounts", "user", "groups"),
    [
        ([], None, []),
        ([mount(WORK, uid=1001, gid=1002)], "1001:1002", ["100", "1002"]),
        ([mount(WORK, uid=1001, gid=0)], "1001:100", ["100"]),
        ([mount(WORK, uid=0, gid=0)], None, []),
        ([mount("/srv", uid=7, gid=8), mount("/opt", gid=0)], None, ["8"]),
        ([mount(WORK, uid=1001, gid=1001), mount("/srv", gid=8)], "1001:1001", ["8", "100", "1001"]),
    ],
)
def test_who_a_server_runs_as(mounts: list[dict[str, Any]], user: str | None, groups: list[str]) -> None:
    assert identity(mounts) == {"user": user, "group_add": groups}
