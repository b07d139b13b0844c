"""module_utils/ways: who could put another folder in the place of a source, and on which disk it lies."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import ways as module
from ansible_collections.jupyterhub.home.plugins.module_utils.ways import Ways, noted_mount_points
from hub_settings import MOUNTINFO

OTHER = 1234


class Machine(Ways):
    """Ways of a made-up machine: owners and modes by path below a folder of the test's, whose own are root's."""

    def __init__(self, owners: dict[Path, tuple[int, int]]) -> None:
        super().__init__()
        self.trusted = {0}

        def lstat(path: Path) -> Any:
            owner, mode = owners.get(path, (0, 0o755))
            return SimpleNamespace(st_uid=owner, st_gid=7, st_mode=stat.S_IFMT(path.lstat().st_mode) | mode)

        # A plain function in the place of a cached one.
        self.lstat = lstat  # type: ignore[assignment]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """What of the machine there is: a/b/c, and links."""
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "home/kim/real").mkdir(parents=True)
    (tmp_path / "a/link").symlink_to(tmp_path / "home/kim/real")
    (tmp_path / "home/kim/to-a").symlink_to("../../a/./b")
    return tmp_path


def test_a_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o2775)
    ways, here = Ways(), tmp_path.stat()
    found = ways.folder(tmp_path)
    assert found["mount_point"] in ways.mounted
    assert {key: found[key] for key in ("exists", "uid", "gid", "mode")} == {
        "exists": True, "uid": os.getuid(), "gid": here.st_gid, "mode": here.st_mode & 0o7777,
    }  # fmt: skip
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    for name in ("file", "nothing", "round", "file/below"):
        assert ways.folder(tmp_path / name) == {
            "exists": False, "mount_point": found["mount_point"], "missing": "",
        }  # fmt: skip


def test_every_step_is_looked_at_through_links(there: Path) -> None:
    real, whole = Ways().steps(there / "home/kim/to-a/c")
    assert real == there / "a/b/c"
    assert whole[0] == (Path("/"), Path("/", there.parts[1]))
    ends = [(one.name, two.name) for one, two in whole[len(there.parts) - 1 :]]
    assert ends == [(there.name, "home"), ("home", "kim"), ("kim", "to-a"), (there.name, "a"), ("a", "b"), ("b", "c")]
    # An absolute link begins at the root again.
    assert Ways().steps(there / "a/link")[1].count(whole[0]) == 2
    (there / "up").symlink_to("a/b/..")
    assert Ways().steps(there / "up")[0] == there / "a"


@pytest.mark.parametrize(
    ("path", "owners", "directory"),
    [
        ("a/b/c", {}, None),
        ("a/b/c", {"a/b/c": (OTHER, 0o777)}, None),  # what is shared itself is whose it is
        ("a/b/c", {"a/b": (OTHER, 0o755)}, "a/b"),
        ("a/b/c", {"a": (OTHER, 0o700)}, "a"),  # at any level
        ("a/b/c", {"a/b": (0, 0o2775)}, "a/b"),
        ("a/b/c", {"a/b": (0, 0o757)}, "a/b"),
        ("a/b/c", {"a/b": (0, 0o1777)}, None),  # root's in a folder such as /tmp
        ("a/b/c", {"a/b": (0, 0o1777), "a/b/c": (OTHER, 0o755)}, "a/b"),
        ("a/b/c", {"a/b": (OTHER, 0o1777)}, "a/b"),  # its owner may all the same
        ("a/link", {}, None),  # a link of root's
        ("a/link", {"home/kim": (OTHER, 0o700)}, "home/kim"),  # into what is not root's
        ("home/kim/to-a/c", {"home/kim": (OTHER, 0o700)}, "home/kim"),  # a link in what is not root's
    ],
)
def test_whether_root_alone_can_replace_a_folder(
    there: Path, path: str, owners: dict[str, tuple[int, int]], directory: str | None
) -> None:
    machine = Machine({there / one: owner for one, owner in owners.items()})
    found = machine.folder(there / path)["loose"]
    if directory is None:
        assert found == {}
    else:
        uid, mode = owners[directory]
        assert (found["directory"], found["uid"], found["mode"]) == (str(there / directory), uid, mode)
        assert Path(found["entry"]).parent == there / directory
    # On a stick there are no links, and chown would not work.
    if not machine.mounted.get(str(there)):
        machine.mounted[str(there)] = "vfat"
        machine.mount_point.cache_clear()
        assert machine.folder(there / path)["loose"] == {}


FSTAB = """\
# /etc/fstab
UUID=1 /            ext4 errors=remount-ro 0 1
UUID=2 /mnt/my\\040disk vfat  defaults,nofail 0 0
UUID=3 /srv/photos  ext4  defaults,nofail 0 2
UUID=4 /srv/backup  ext4  noauto 0 2
UUID=5 none         swap  sw 0 0
half a line
"""


def test_where_disks_are_mounted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And where one should be."""
    for name, text in (("MOUNTS", MOUNTINFO), ("TABLE", FSTAB)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(module, name, tmp_path / name)
    ways = Ways()
    assert ways.mounted == {"/": "ext4", "/mnt/my disk": "vfat", "/mnt/auto": "nfs4"}
    places = ("/mnt/my disk/a/b", "/mnt/my disks", "/mnt/auto", "/srv/photos/new", "/srv/backup/a")
    assert [(ways.mount_point(Path(place)), ways.missing(Path(place))) for place in places] == [
        ("/mnt/my disk", ""), ("/", ""), ("/mnt/auto", ""), ("/", "/srv/photos"), ("/", ""),
    ]  # fmt: skip
    ways.mounted["/srv/photos/new"] = "nfs4"  # on what is there it does not matter
    assert ways.missing(Path("/srv/photos/new/a")) == ""
    monkeypatch.setattr(module, "TABLE", tmp_path / "none")
    assert Ways().not_mounted == set()


def test_what_the_last_run_noted(tmp_path: Path) -> None:
    """In the folder of the hub that runs, or else the one that is declared; of a run before there was such a note."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, text in ((old, "{broken"), (new, "")):
        (folder / "hub").mkdir(parents=True)
        (folder / "hub/spawner.json").write_text(text)
    assert noted_mount_points(old, new, tmp_path) == {}
    mounts = [{"source": "/mnt/a/b", "mount_point": "/mnt/a"}, {"source": "/srv"}]
    (new / "hub/spawner.json").write_text(json.dumps({"mounts": mounts}))
    assert noted_mount_points(old, new) == {"/mnt/a/b": "/mnt/a", "/srv": "/"}
