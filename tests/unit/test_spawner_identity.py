"""spawner: who a user's server runs as, and what must belong to them then."""

import socket

import pytest
from hub_settings import SPAWNER, USERS, Files, mount
from mounts import HOME, WORK
from spawning import Engine, engine_in, spawn

VOLUMES = {HOME: "home-user-alice-home", WORK: "home-user-alice"}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return engine_in(monkeypatch)


def test_folder_instead_of_volume(files: Files, engine: Engine) -> None:
    folder = mount(WORK + "/", source="/home/{username}", users=["alice.b"], uid=1001, gid=1001)
    files.write("spawner.json", SPAWNER | {"mounts": [folder]})
    engine.owners[WORK] = 1001
    spawn(engine)
    mounts = engine.created["host_config"]["mounts"]
    assert [(m["Type"], m["Source"], m["Target"]) for m in mounts] == [
        ("bind", "/home/{username}", WORK),
        ("volume", "home-user-alice-2eb-home", HOME),
    ]
    assert engine.created["user"] == "1001:1001"
    assert engine.created["environment"]["HOME"] == HOME
    spawn(engine, name="bob")
    assert engine.created["host_config"]["mounts"][0]["Type"] == "volume"
    assert "user" not in engine.created


@pytest.mark.parametrize(
    ("before", "folder", "uid", "image_user", "chown"),
    [
        (1000, None, None, "1000:100", None),
        (1001, None, None, "1000:100", "1000"),  # the mount of the work folder, or the uid, is gone
        (1001, None, None, "1000", "1000"),
        (1000, 1001, None, "1000:100", "1001"),
        (1001, 1001, None, "1000:100", None),
        (1001, None, None, "jovyan", None),  # only the image knows who that is
        (1001, None, None, "", None),
        (1001, None, None, "0:0", None),
        (1000, None, 1002, "1000:100", "1002"),
        (1000, None, 1002, "", "1002"),
        (1002, None, 1002, "1000:100", None),
        (1000, 1001, 1002, "1000:100", "1002"),
    ],
)
def test_volumes_belong_to_whom_the_server_runs_as(
    files: Files, engine: Engine, before: int, folder: int | None, uid: int | None, image_user: str, chown: str | None
) -> None:
    engine.owners = {HOME: before, WORK: folder or before}
    if folder:
        files.write("spawner.json", SPAWNER | {"mounts": [mount(WORK, uid=folder, gid=7)]})
    files.write("users.json", {"alice": {**USERS["alice"], "uid": uid}, "bob": {**USERS["bob"], "uid": 7}})
    engine.image_user = image_user
    spawn(engine, name="alice")
    if chown is None:
        assert engine.in_volumes == []
        return
    (beside,) = engine.in_volumes
    assert beside["entrypoint"] == ["/bin/sh", "-c", f'chown -hR {chown} "$0"', HOME]
    # Root must not run what a user has put there, whatever the image says of its path and libraries.
    assert beside["environment"]["PATH"] == "/usr/sbin:/usr/bin:/sbin:/bin"
    assert {beside["environment"][name] for name in ("LD_PRELOAD", "LD_LIBRARY_PATH")} == {""}
    own = f"of {socket.gethostname()}"  # and not the user image, which anybody may have made
    assert (beside["name"], beside["image"], beside["user"]) == (f"{VOLUMES[WORK]}-home", own, "0")
    assert beside["labels"] == engine.created["labels"]
    host = beside["host_config"]
    mounted = {m["Target"]: m["Source"] for m in host["mounts"]}
    assert mounted == (VOLUMES if not folder else {HOME: VOLUMES[HOME]})
    assert (host["network_mode"], host["cap_drop"]) == ("none", ["ALL"])
    assert host["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]


@pytest.mark.parametrize("left", [HOME, WORK])
def test_a_volume_that_was_not_there_last_time_changes_hands_too(files: Files, engine: Engine, left: str) -> None:
    """As the one for the work folder, while a folder of the machine was in its place."""
    engine.owners[left] = 1001
    spawn(engine, name="alice")
    (beside,) = engine.in_volumes
    assert beside["entrypoint"][2:] == ['chown -hR 1000 "$0"', left]
    assert [m["Source"] for m in beside["host_config"]["mounts"]] == [VOLUMES[left]]


def test_a_volume_of_the_owners_is_not_given_away(files: Files, engine: Engine) -> None:
    """It may be one for many."""
    engine.owners = {HOME: 7, WORK: 7}
    mounts = [
        {"type": "volume", "source": f"for-all-{number}", "target": target} for number, target in enumerate(VOLUMES)
    ]
    spawn(engine, {"DockerSpawner": {"mounts": mounts}}, name="alice")
    assert engine.in_volumes == []


def test_a_start_that_was_given_up_is_not_in_the_way(files: Files, engine: Engine) -> None:
    """Where there are more files than a start waits for, the next one goes on with them."""
    engine.owners = {HOME: 1001, WORK: 1001}
    engine.running = [f"{VOLUMES[WORK]}-home"]
    spawn(engine, name="alice")
    assert (len(engine.in_volumes), engine.running) == (1, [])
    assert engine.removed == [f"{VOLUMES[WORK]}-home"] * 2


def test_a_uid_of_ones_own(files: Files, engine: Engine) -> None:
    files.write("users.json", {**USERS, "alice": {**USERS["alice"], "uid": 1001}})
    shared = mount("/home/jovyan/shared", uid=1000, gid=2000)
    files.write("spawner.json", SPAWNER | {"mounts": [shared]})
    engine.owners["/home/jovyan/shared"] = 1000
    spawn(engine, name="alice")
    assert (engine.created["user"], engine.created["environment"]["HOME"]) == ("1001:100", HOME)
    assert engine.created["host_config"]["group_add"] == ["100", "2000"]
    spawn(engine, name="bob")
    assert "user" not in engine.created and "HOME" not in engine.created["environment"]
    assert engine.created["host_config"]["group_add"] == ["2000"]


def test_a_running_server_knows_its_uid(files: Files, engine: Engine) -> None:
    """That of its start; one that was started before there were any had none."""
    users = {**USERS, "alice": {**USERS["alice"], "uid": 1001}}
    before = spawn(engine, name="alice")
    assert before.outdated_settings(SPAWNER, USERS) == []
    assert before.outdated_settings(SPAWNER, users) == ["uid"]
    del before.started_with["uid"]
    assert before.outdated_settings(SPAWNER, USERS) == []
    assert before.outdated_settings(SPAWNER, users) == ["uid"]
    files.write("users.json", users)
    after = spawn(engine, name="alice")
    assert after.outdated_settings(SPAWNER, users) == []
    assert after.outdated_settings(SPAWNER, USERS) == ["uid"]
