"""jupyterhub.home.users: the homes of who is gone go into archives, and nothing is deleted that is in none."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import tarfile
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import archive, contract
from ansible_collections.jupyterhub.home.plugins.module_utils import homes as homes_module
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker
from ansible_collections.jupyterhub.home.plugins.modules import probe
from conftest import Program, Serve, Web
from notes import foretold
from users_contract import NOTHING
from users_runs import ALICE, Converge, Homes


@pytest.fixture
def web(serve: Serve) -> Web:
    """A hub that finds nothing to do."""
    return serve((200, NOTHING))


# What a user leaves: hard and soft links, a hole, odd names, a pipe and a socket that has nobody behind it.
def oddities(data: Path) -> None:
    (data / "sub").mkdir()
    (data / "sub/hard").hardlink_to(data / "a")
    (data / "sub/soft").symlink_to("../a")
    (data / "new\nline, and $(x)").write_text("odd")
    Path(os.fsdecode(bytes(data / "b") + b"\xff")).touch()
    os.mkfifo(data / "pipe")
    with (data / "hole").open("wb") as stream:
        stream.truncate(10**7)
    listener = socket.socket(socket.AF_UNIX)
    here = os.open(data, os.O_PATH)
    listener.bind(f"/proc/self/fd/{here}/socket")
    os.close(here)


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of archives, elsewhere than on a machine."""
    folder = tmp_path / "archives"
    monkeypatch.setattr(contract, "archives", lambda project: str(folder))
    return folder


def test_a_home_is_archived_before_it_is_deleted(converge: Converge, homes: Homes, web: Web, archives: Path) -> None:
    """Check, real, real again, check again."""
    oddities(homes.volume("home-user-b-2eo-home", "a"))
    homes.volume("home-user-b-2eo", "b")
    homes.volume("home-user-alice", "a")
    names = ["b.o", "nobody"]
    unknown = "In jupyterhub_home_archive_homes, but there is no home of that name: nobody"
    deleted = " and deleted: home-user-b-2eo-home, home-user-b-2eo"
    tried = converge(ALICE, url=web.url, archive_homes=names, check=True)
    assert tried["changed"] and tried["notes"] == [f"Home of b.o would be archived in {archives}{deleted}", unknown]
    assert homes.changes() == [] and not archives.exists()
    done = converge(ALICE, url=web.url, archive_homes=names)
    (file,) = archives.iterdir()
    assert done["notes"][0].startswith(f"Home of b.o archived in {file} (11 files and folders, ")
    assert done["notes"][0].endswith(deleted) and done["notes"][1:] == [unknown]
    assert sorted(homes.volumes()) == ["home-user-alice"]
    assert (archives.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert file.stat().st_size < 10**6, "the hole was written"
    for check in (False, True):
        again = converge(ALICE, url=web.url, archive_homes=names, check=check)
        assert (again["changed"], again["notes"], list(archives.iterdir())) == (False, [unknown], [file])
    with tarfile.open(file) as tar:  # another program than the one that wrote it
        held = {member.name: member for member in tar}
        assert sorted(held) == [
            "home", "home/a", "home/b\udcff", "home/hole", "home/new\nline, and $(x)", "home/pipe", "home/sub",
            "home/sub/hard", "home/sub/soft", "work", "work/b",
        ]  # fmt: skip
        assert held["home/sub/soft"].linkname == "../a" and held["home/hole"].size == 10**7
        owner = pwd.getpwuid(os.getuid()).pw_name
        assert {(member.uid, member.uname) for member in held.values()} == {(os.getuid(), owner)}
        assert {held["home/a"].linkname, held["home/sub/hard"].linkname} & {"home/a", "home/sub/hard"}
        stream = tar.extractfile("work/b")
        assert stream and stream.read() == b"b of home-user-b-2eo"


def test_everybody_who_is_gone(converge: Converge, homes: Homes, web: Web, archives: Path) -> None:
    """But not who goes by another variable, nor what only has such a name."""
    labels = {contract.PROJECT_LABEL: "home"}
    for user in ("alice", "bob", "carl", "dora", "eve", "old"):
        homes.engine.volume(f"home-user-{user}", {} if user == "dora" else labels, "a")
        homes.engine.save()
    heir = {"name": "anna", "password": "hunter2", "renamed_from": "eve"}
    tried = converge(ALICE, heir, url=web.url, archive_homes=["*"], delete_homes=["carl"], check=True)
    said = ["eve carried over", "bob archived", "old archived", "carl deleted"]
    assert [foretold(f"Home of {who}") for who in said] == [
        note.split(" to ")[0].split(" in ")[0].split(":")[0] for note in tried["notes"]
    ]
    converge(ALICE, heir, url=web.url, archive_homes=["*"], delete_homes=["carl"])
    assert sorted(homes.volumes()) == ["home-user-alice", "home-user-anna", "home-user-dora"]
    assert sorted(file.name.split("_")[0] for file in archives.iterdir()) == ["bob", "old"]
    again = converge(ALICE, heir, url=web.url, archive_homes=["*", "bob", "bob"], delete_homes=["carl"])
    assert (again["changed"], again["notes"]) == (False, [])


def test_an_archiving_that_was_killed_is_finished(
    converge: Converge, homes: Homes, web: Web, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it was written, after it was whole, and between two volumes: nothing is lost, nothing is there twice."""
    homes.volume("home-user-bob-home", "a")
    homes.volume("home-user-bob", "b")
    archives.mkdir()
    (archives / ".bob.new").write_text("half of one")

    def killed(*arguments: str) -> str:
        if arguments[:2] == ("volume", "rm"):
            shutil.rmtree(homes.volumes_folder / "home-user-bob-home")
            raise EngineError("killed")
        return docker(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(homes_module, "docker", killed)
        failed = converge(ALICE, url=web.url, archive_homes=["bob"])
    assert failed["failed"] and "killed" in failed["msg"]
    (whole,) = archives.iterdir()
    assert list(homes.volumes()) == ["home-user-bob"]
    done = converge(ALICE, url=web.url, archive_homes=["bob"])
    assert str(whole) in done["notes"][0] and list(archives.iterdir()) == [whole] and homes.volumes() == {}
    # Somebody of that name again, with other files.
    data = homes.volume("home-user-bob", "b")
    (data / "b").write_text("another")
    converge(ALICE, url=web.url, archive_homes=["bob"])
    assert len(list(archives.iterdir())) == 2


@pytest.mark.parametrize("fault", ["damaged", "changed", "missing", "no space"])
def test_what_cannot_be_verified_is_not_deleted(
    converge: Converge, homes: Homes, web: Web, archives: Path, program: Program, fault: str
) -> None:
    """Who was archived before is said."""
    homes.volume("home-user-abel", "a")
    data = homes.volume("home-user-bob", "a", "b")
    real = shutil.which("tar")
    spoil = {
        "damaged": 'printf x | dd of="$file" bs=1 seek=1600 conv=notrunc 2>/dev/null',
        "changed": f"echo more >>{data}/a",
        "missing": f"touch {data}/c",
        "no space": "echo 'tar: Wrote only 2048 of 10240 bytes' >&2; exit 2",
    }[fault]
    program(
        "tar",
        f'{real} "$@" || exit; file=$3; case "$*" in *--create*bob*) {spoil} ;; esac',
    )
    failed = converge(ALICE, url=web.url, archive_homes=["abel", "bob"])
    assert failed["failed"] and f"The home of bob could not be archived in {archives}" in failed["msg"]
    assert "nothing of it was deleted" in failed["msg"] and "Home of abel archived in" in failed["msg"]
    assert list(homes.volumes()) == ["home-user-bob"]
    assert [file.name.split("_")[0] for file in archives.iterdir()] == ["abel"]


def test_a_home_in_use_is_not_archived(converge: Converge, homes: Homes, web: Web, archives: Path) -> None:
    homes.volume("home-user-bob", "a")
    homes.held("jupyter-bob", "home-user-bob")
    failed = converge(ALICE, url=web.url, archive_homes=["bob"])
    assert failed["failed"] and "in use by jupyter-bob" in failed["msg"] and not archives.exists()


def test_the_room_that_archives_need(homes: Homes, archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where volumes are on the same disk, each makes room for the next."""
    folders = {name: [homes.volume(f"home-user-{name}")] for name in ("bob", "eve")}
    for (folder,) in folders.values():
        (folder / "a").write_bytes(b"x" * 10**6)
    monkeypatch.setattr(archive, "free_disk", lambda path: 1_100_000)
    assert archive.lack("home", folders) == {}
    monkeypatch.setattr(archive, "there", lambda path: Path("/proc"))
    lack = archive.lack("home", folders)
    assert lack["free"] == 1_100_000 and 2 * 10**6 < lack["needed"] < 2_100_000


@pytest.mark.usefixtures("archives")
def test_what_the_look_says_of_the_room(homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all who are meant, and nothing where nobody is, or the engine does not answer."""
    for user in ("alice", "bob", "eve"):
        homes.engine.volume(f"home-user-{user}", {contract.PROJECT_LABEL: "home"}, "a")
    homes.engine.save()
    wanted = {"project": "home", "homes": False, "archive": ["*"], "stay": ["alice"]}
    assert probe.homes(wanted) == {"homes": [], "archive_lack": {}}
    monkeypatch.setattr(archive, "free_disk", lambda path: 0)
    lack = probe.homes(wanted)["archive_lack"]
    assert lack["free"] == 0 and 0 < lack["needed"] < probe.homes({**wanted, "stay": []})["archive_lack"]["needed"]
    assert probe.homes({**wanted, "archive": ["max"]}) == {"homes": [], "archive_lack": {}}
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert probe.homes(wanted) == {"homes": [], "archive_lack": {}}
