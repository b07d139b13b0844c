"""mounts: what a user's server gets, and who it runs as because of it."""

from pathlib import Path
from typing import Any

import mounts
import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import ways
from docker.errors import APIError
from hub_settings import MOUNTINFO, mount
from mounts import OTHER_FOLDER, WORK, identity, mount_points, mounts_for, not_mounted, not_there, of_another_owner


def test_mounts_for_a_user() -> None:
    mounts = [
        mount("/a", users=["alice"], source="/mine"),
        mount("/a/", source="/everyone"),
        mount("/b", users=["bob"]),
    ]
    assert [(m["source"], m["target"]) for m in mounts_for("alice", mounts)] == [("/mine", "/a")]
    assert [(m["source"], m["target"]) for m in mounts_for("carl", mounts)] == [("/everyone", "/a")]


@pytest.mark.parametrize(
    ("mounts", "uid", "user", "groups"),
    [
        ([], None, None, []),
        ([mount(WORK, uid=1001, gid=1002)], None, "1001:1002", ["100", "1002"]),
        ([mount(WORK, uid=1001, gid=0)], None, "1001:100", ["100"]),
        ([mount(WORK, uid=0, gid=0)], None, None, []),
        ([mount("/srv", uid=7, gid=8), mount("/opt", gid=0)], None, None, ["8"]),
        ([mount(WORK, uid=1001, gid=1001), mount("/srv", gid=8)], None, "1001:1001", ["8", "100", "1001"]),
        ([], 1005, "1005:100", ["100"]),
        ([mount(WORK, uid=1001, gid=1002)], 1001, "1001:1002", ["100", "1002"]),
        ([mount(WORK, uid=1001, gid=1002)], 1005, "1005:100", ["100", "1002"]),  # a folder of many, say
        ([mount(WORK, uid=0, gid=0), mount("/srv", gid=8)], 1005, "1005:100", ["8", "100"]),
    ],
)
def test_who_a_server_runs_as(
    mounts: list[dict[str, Any]], uid: int | None, user: str | None, groups: list[str]
) -> None:
    assert identity(mounts, uid) == {"user": user, "group_add": groups}


def test_what_is_mounted_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the run finds it, which notes where the disks of folders are."""
    table = tmp_path / "mountinfo"
    table.write_bytes(MOUNTINFO.encode() + b"33 22 0:33 / /mnt/f\xc3\xbcr\xff\\134 rw - ext4 /dev/sdc1 rw\n")
    monkeypatch.setattr(mounts, "MOUNTS_READ", table)
    monkeypatch.setattr(ways, "MOUNTS", table)
    assert mount_points() == {"/", "/mnt/my disk", "/mnt/auto", "/mnt/für\udcff\\"} == ways.mount_points().keys()


def test_the_words_for_a_folder_that_is_not_what_it_was() -> None:
    """Those for the user name no folder of the machine."""
    data = mount("/data", source="/srv/data", uid=7, mount_point="/srv")
    gone = not_there("kim", [data], APIError("", explanation="bind source path does not exist: /srv/data"))
    for refused, log in (
        (of_another_owner("kim", data, 0), "/srv/data belongs to 0 now, not to 7 as when this hub was last set up."),
        (not_mounted("kim", data), "/srv/data is not on its disk: nothing is mounted at /srv now,"),
        (gone, "/srv/data is not there. Is its disk mounted?"),
    ):
        refusal: Any = refused
        assert refusal.status_code == OTHER_FOLDER
        assert "because the folder for /data is not the one" in refusal.message and "/srv" not in refusal.message
        assert refusal.log_message.startswith(f"The server of kim is not started: {log}")
    assert not_there("kim", [data], APIError("", explanation="bind source path does not exist: /srv/data/b")) is None
