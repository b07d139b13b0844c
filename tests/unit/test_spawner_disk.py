"""HomeSpawner: the server of a user whose files are on a disk of their own."""

from typing import Any

import mounts
import pytest
import spawner
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from hub_settings import MOUNTINFO, SPAWNER, USERS, Files, mount
from jupyterhub.spawner import SpawnException
from spawning import VOLUMES, Engine, engine_in, spawn

DISK = f"{VOLUMES}-home/disk"
PLACES = [DISK, f"{VOLUMES}-home/_data", f"{VOLUMES}/_data"]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return engine_in(monkeypatch)


def state(files: Files, disk: str | None, mounted: list[str] = PLACES) -> None:
    """What users.json says of alice.b's disk, and what of it is mounted."""
    files.write("users.json", {**USERS, "alice.b": {"admin": False, "groups": [], "session": "x", "disk": disk}})
    files.write("mountinfo", MOUNTINFO + "".join(f"59 46 7:0 / {place} rw - ext4 /dev/loop0 rw\n" for place in mounted))


def tmp(engine: Engine) -> list[Any]:
    return [one["Source"] for one in engine.created["host_config"]["mounts"] if one["Target"] == "/tmp"]


def test_all_that_can_be_written_is_on_the_disk(files: Files, engine: Engine) -> None:
    """Also with an image from elsewhere."""
    state(files, DISK)
    made = spawn(engine)
    host = engine.created["host_config"]
    assert tmp(engine) == [f"{DISK}/tmp"] and host["read_only"] is True
    assert host["tmpfs"]["/var/lib/extrausers"].startswith("size=1m,")
    assert made.get_env()["JUPYTER_RUNTIME_DIR"].startswith("/dev/shm/")
    files.write("spawner.json", SPAWNER | {"mounts": [mount("/tmp", source="/srv/tmp")]})
    engine.owners["/tmp"] = 0
    spawn(engine)
    assert tmp(engine) == ["/srv/tmp"]
    files.write("spawner.json", SPAWNER)
    state(files, None, [])
    made = spawn(engine)
    host = engine.created["host_config"]
    assert tmp(engine) == [] and "read_only" not in host and "tmpfs" not in host
    assert "JUPYTER_RUNTIME_DIR" not in made.get_env()


@pytest.mark.parametrize("missing", PLACES)
def test_what_is_below_a_disk_is_not_filled(files: Files, engine: Engine, missing: str) -> None:
    state(files, DISK, [place for place in PLACES if place != missing])
    with pytest.raises(SpawnException, match=f"nothing is mounted at {missing}\\. Set the hub up") as refused:
        spawn(engine)
    assert refused.value.status_code == mounts.OTHER_FOLDER
    assert bool(engine.removed) is (missing != DISK), "with the disk itself away not even the container is made"
    state(files, DISK)
    spawn(engine)


def test_a_hub_with_a_guard_sees_nothing_mounted(files: Files, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not even the list."""
    monkeypatch.setattr(spawner, "GUARDED", True)
    state(files, DISK)
    (files.folder / "mountinfo").unlink()
    spawn(engine)
    state(files, mounts.MOVING)
    with pytest.raises(SpawnException):
        spawn(engine)


def test_no_server_starts_while_files_are_moved(files: Files, engine: Engine) -> None:
    state(files, mounts.MOVING)
    with pytest.raises(SpawnException, match=r"files of alice\.b are being moved"):
        spawn(engine)
    assert engine.created == {}


@pytest.mark.parametrize(("before", "after"), [(None, mounts.MOVING), (None, DISK), (DISK, mounts.MOVING)])
def test_nor_does_one_that_had_begun(files: Files, engine: Engine, before: str | None, after: str) -> None:
    """Whoever moves them has looked before the container was there."""
    state(files, before)
    create = engine.create_container

    def create_container(**options: Any) -> Any:
        state(files, after)
        return create(**options)

    engine.create_container = create_container  # type: ignore[method-assign]
    with pytest.raises(SpawnException, match=r"files of alice\.b are being moved"):
        spawn(engine)
    assert engine.removed == ["0123456789abcdef"]


def test_both_sides_call_it_the_same() -> None:
    assert mounts.MOVING == contract.MOVING
