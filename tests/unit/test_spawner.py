"""spawner: what is asked of Docker for a user's server, and what a running one was started with."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
import settings_files
import spawner as spawner_module
from docker.errors import APIError
from hub_settings import MOUNTINFO, SPAWNER, Files, mount
from jupyterhub.spawner import SpawnException
from mounts import HOME, PUT_ASIDE, WORK
from spawner import (
    CA_BUNDLE,
    FRESH_SETTINGS,
    FRESH_SETTINGS_VARIABLE,
    SERVER_SETTINGS,
    WITHOUT_PACKAGES,
)
from spawning import Engine, engine_in, spawn


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return engine_in(monkeypatch)


def test_container(files: Files, engine: Engine) -> None:
    spawner = spawn(engine)
    host = engine.created["host_config"]
    assert engine.created["image"] == "user:1"
    assert engine.created["name"] == "home-user-alice-2eb"
    assert engine.created["labels"] == {"jupyterhub-home.project": "home", "jupyterhub-home.user": "alice.b"}
    assert "user" not in engine.created
    assert host["mem_limit"] == host["memswap_limit"] == 2**30
    assert (host["pids_limit"], host["cpu_quota"], host["auto_remove"]) == (100, 150_000, False)
    assert (host["cap_drop"], host["security_opt"]) == (["ALL"], ["no-new-privileges"])
    assert [(m["Type"], m["Source"], m["Target"]) for m in host["mounts"]] == [
        ("volume", "home-user-alice-2eb-home", HOME),
        ("volume", "home-user-alice-2eb", WORK),
    ]
    for volume in host["mounts"]:
        assert volume["VolumeOptions"]["Labels"] == engine.created["labels"]
    assert engine.in_volumes == []
    assert spawner.user_options == {}


def test_every_spawn_reads_the_file_and_nothing_sticks(files: Files, engine: Engine) -> None:
    spawner = spawn(engine)
    empty = {"memory_limit": None, "cpu_limit": None, "pids_limit": None, "image": "user:2"}
    files.write("spawner.json", SPAWNER | empty)
    asyncio.run(spawner.apply_group_overrides())
    asyncio.run(spawner.create_object())
    host = engine.created["host_config"]
    assert engine.created["image"] == "user:2"
    assert not {"mem_limit", "memswap_limit", "pids_limit", "cpu_quota"} & set(host)


@pytest.mark.parametrize(("image", "reads_only"), [("home/user:1", True), ("quay.io/x/home/user:1", False)])
def test_only_an_image_that_is_built_here_can_do_without_writing(
    files: Files, engine: Engine, image: str, reads_only: bool
) -> None:
    files.write("spawner.json", SPAWNER | {"image": image})
    spawn(engine)
    assert engine.created["host_config"].get("read_only", False) is reads_only
    spawn(engine, {"DockerSpawner": {"extra_host_config": {"read_only": False}}})
    assert engine.created["host_config"]["read_only"] is False, "the owner wins"


@pytest.mark.parametrize("level", ["Spawner", "DockerSpawner", "HomeSpawner"])
def test_owner_wins_at_every_level(files: Files, engine: Engine, level: str) -> None:
    options = {"shm_size": "1g", "pids_limit": 7}
    spawner = spawn(engine, {level: {"mem_limit": "2G", "default_url": "/tree", "extra_host_config": options}})
    host = engine.created["host_config"]
    assert spawner.default_url == "/tree"
    assert host["mem_limit"] == host["memswap_limit"] == 2**31
    assert (host["shm_size"], host["pids_limit"], host["cap_drop"]) == ("1g", 7, ["ALL"])


def test_owner_hook_may_be_a_function_and_comes_later(files: Files, engine: Engine) -> None:
    async def host_config(spawner: Any) -> dict[str, Any]:
        return {"shm_size": spawner.image}

    spawn(engine, extra_host_config=host_config, mem_limit="3G", extra_create_kwargs={"labels": {"x": "y"}})
    host = engine.created["host_config"]
    assert (host["shm_size"], host["memswap_limit"]) == ("user:1", 3 * 2**30)
    assert engine.created["labels"]["x"] == "y"
    assert len(engine.created["labels"]) == 3


def test_a_folder_with_another_owner_is_not_mounted(files: Files, engine: Engine) -> None:
    """Somebody may have put a link to the machine's root in its place."""
    mounts = [mount("/data", source="/srv/data", uid=1234), mount("/data/b", source="/srv/{b}", uid=7)]
    files.write("spawner.json", SPAWNER | {"mounts": mounts})
    engine.owners |= {"/data": 1234, "/data/b": 0}
    with pytest.raises(SpawnException, match=r"/srv/\{b\} belongs to 0 now, not to 7"):
        spawn(engine)
    assert engine.removed == ["0123456789abcdef"]
    engine.owners["/data/b"] = 7
    spawn(engine)
    # What the owner mounts in place of ours is not ours to look at.
    engine.owners.clear()
    spawn(engine, {"DockerSpawner": {"mounts": [{"type": "bind", "source": "/srv/other", "target": "/data"}]}})


def test_a_folder_whose_disk_is_away_is_not_filled(files: Files, engine: Engine) -> None:
    """What is in its place may have the right owner. A disk that is mounted when somebody looks there is looked at."""
    mounts = [mount("/data", source="/mnt/my disk/data", mount_point="/mnt/my disk")]
    files.write("spawner.json", SPAWNER | {"mounts": mounts})
    engine.owners |= {"/data": 0}
    spawn(engine)
    there = MOUNTINFO.splitlines(keepends=True)
    files.write("mountinfo", "".join(line for line in there if "disk" not in line))
    with pytest.raises(SpawnException, match=r"my disk/data is not on its disk: nothing is mounted at /mnt/my disk"):
        spawn(engine)
    assert engine.removed == ["0123456789abcdef"]
    engine.looked_at = lambda: files.write("mountinfo", MOUNTINFO)
    spawn(engine)
    # While nothing is known, nothing is filled.
    (files.folder / "mountinfo").unlink()
    engine.looked_at = lambda: None
    with pytest.raises(FileNotFoundError):
        spawn(engine)


@pytest.mark.parametrize(("source", "refused"), [("/srv/data", SpawnException), ("/srv/other", APIError)])
def test_a_folder_that_is_not_there_is_said(
    files: Files, engine: Engine, source: str, refused: type[Exception]
) -> None:
    files.write("spawner.json", SPAWNER | {"mounts": [mount("/data", source=source)]})
    engine.fails = APIError("400", explanation="invalid mount config: bind source path does not exist: /srv/data")
    with pytest.raises(refused):
        spawn(engine)


@pytest.mark.parametrize("trait", ["volumes", "read_only_volumes"])
@pytest.mark.parametrize(("target", "ours"), [(HOME, WORK), (WORK + "/", HOME)])
def test_the_owners_volume_takes_the_place_of_ours(
    files: Files, engine: Engine, trait: str, target: str, ours: str
) -> None:
    engine.owners = {HOME: 7, WORK: 7}
    spawn(engine, {"DockerSpawner": {trait: {"nfs-{username}": target}}})
    assert [m["Target"] for m in engine.created["host_config"]["mounts"]] == [ours]
    (beside,) = engine.in_volumes
    assert [m["Target"] for m in beside["host_config"]["mounts"]] == [ours]


def test_a_start_without_own_packages(files: Files, engine: Engine) -> None:
    spawner = spawn(engine, chosen=(WITHOUT_PACKAGES,))
    assert spawner.options_from_form({"without_packages": ["on"], "x": ["1"]}) == {WITHOUT_PACKAGES: True}
    assert engine.created["environment"]["PYTHONNOUSERSITE"] == "1"
    assert engine.in_volumes == []
    assert spawner.user_options == spawner.orm_spawner.user_options == {}, "the next start would have it too"
    asyncio.run(spawner.apply_group_overrides())
    asyncio.run(spawner.create_object())
    assert "PYTHONNOUSERSITE" not in engine.created["environment"]


@pytest.mark.parametrize("status", [0, 1])
def test_a_start_with_fresh_settings(
    files: Files, engine: Engine, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    engine.status = status
    spawner = spawn(engine, {"DockerSpawner": {"allowed_images": ["chosen:1"]}}, chosen=(FRESH_SETTINGS,))
    (beside,) = engine.in_volumes
    assert beside["entrypoint"] == ["/bin/sh", "-c", PUT_ASIDE, HOME]
    assert (beside["user"], beside["host_config"]["cap_add"]) == ("1000:100", None)
    assert ("The home of alice.b: mv: what it says" in caplog.text) == bool(status)
    assert spawner.user_options == spawner.orm_spawner.user_options == {"image": "chosen:1"}


def test_servers_trust_the_machines_bundle(files: Files, engine: Engine) -> None:
    files.write("spawner.json", SPAWNER | {"ca_bundle": "/etc/ssl/lab.pem"})
    spawn(engine)
    bundle = engine.created["host_config"]["mounts"][0]
    assert (bundle["Source"], bundle["Target"], bundle["ReadOnly"]) == ("/etc/ssl/lab.pem", CA_BUNDLE, True)
    assert engine.created["environment"]["PIP_CERT"] == CA_BUNDLE
    files.write("spawner.json", SPAWNER)
    spawn(engine)
    assert [m["Type"] for m in engine.created["host_config"]["mounts"]] == ["volume", "volume"]


@pytest.mark.parametrize(("answers", "ended", "asked"), [([False, False, True], None, 3), ([False] * 99, 1, 20)])
def test_start_waits_until_it_listens_or_has_ended(
    files: Files, engine: Engine, monkeypatch: pytest.MonkeyPatch, answers: list[bool], ended: int | None, asked: int
) -> None:
    spawner = spawn(engine)
    seen: list[tuple[str, int]] = []

    async def started(self: Any) -> tuple[str, int]:
        return "alice-server", 8888

    async def listens(host: str, port: int) -> bool:
        seen.append((host, port))
        return answers[len(seen) - 1]

    async def poll() -> int | None:
        return ended

    async def sleep(seconds: float) -> None:
        assert seconds < 0.1

    monkeypatch.setattr("dockerspawner.DockerSpawner.start", started)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(spawner, "listens", listens)
    monkeypatch.setattr(spawner, "poll", poll)
    assert asyncio.run(spawner.start()) == ("alice-server", 8888)
    assert seen == [("alice-server", 8888)] * asked


def test_a_running_server_knows_what_it_was_started_with(files: Files, engine: Engine) -> None:
    """Across a restart of the hub, too; another user's mount and the limit of idle servers are not its business."""
    spawner = spawn(engine, name="alice")
    assert spawner.outdated_settings(SPAWNER, {}) == []
    others = [mount("/data", users=["bob"], source="/b")]
    assert spawner.outdated_settings(SPAWNER | {"mounts": others, "idle_timeout": 5}, {}) == []
    own = [mount("/data", users=["alice"], source="/a")]
    engine.owners["/data"] = 0
    changed = {"mounts": own, "image": "user:2", "memory_limit": None, "default_url": "/tree", "ca_bundle": "/x.pem"}
    wanted = ["image", "default_url", "memory_limit", "mounts", "ca_bundle"]
    assert spawner.outdated_settings(SPAWNER | changed, {}) == wanted
    spawner.object_id = "0123456789abcdef"
    state = json.loads(json.dumps(spawner.get_state()))
    files.write("spawner.json", SPAWNER | changed)
    later = spawn(engine, name="alice")
    assert later.outdated_settings(SPAWNER | changed, {}) == []
    later.load_state(state)
    assert later.outdated_settings(SPAWNER | changed, {}) == wanted


def test_a_running_server_keeps_its_address(files: Files, engine: Engine) -> None:
    """Until its next start, and the culler is told which that is."""
    spawner = spawn(engine, name="alice")
    spawner.orm_spawner = None  # it would be asked for another server
    spawner.server = SimpleNamespace(base_url="/user/alice/")
    assert spawner.outdated_settings(SPAWNER, {}) == []
    assert spawner.outdated_settings(SPAWNER | {"base_url": "/below/"}, {}) == ["base_url"]
    assert spawner.get_state()["base_url"] == "/user/alice/"
    spawner.server.base_url = "/below/user/alice/"
    assert spawner.outdated_settings(SPAWNER | {"base_url": "/below/"}, {}) == []
    assert spawner.outdated_settings(SPAWNER, {}) == ["base_url"]


def test_a_server_that_does_not_run_has_no_settings(files: Files, engine: Engine) -> None:
    spawner = spawn(engine)
    spawner.object_id = ""
    assert "started_with" not in spawner.get_state()
    spawner.load_state({})
    assert spawner.outdated_settings(SPAWNER, {}) == []
    # Nor has one that an older version of the hub started.
    spawner.load_state({"object_id": "0123456789ab"})
    assert spawner.outdated_settings(SPAWNER | {"image": "user:2"}, {}) == []


@pytest.mark.parametrize("missing", SERVER_SETTINGS)
def test_a_spawn_needs_every_setting(files: Files, engine: Engine, missing: str) -> None:
    files.write("spawner.json", {key: value for key, value in SPAWNER.items() if key != missing})
    with pytest.raises(settings_files.SettingsError, match=f"lacks {missing}"):
        spawn(engine)


def test_name_too_long_for_dns(files: Files, engine: Engine) -> None:
    spawner = spawn(engine, name="a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_")
    spawner.object_id = "0123456789abcdef"
    assert spawner.internal_hostname == "0123456789ab"
    assert spawn(engine).internal_hostname == "home-user-alice-2eb"


def test_homes_are_readied_by_the_guard_alone(files: Files, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawner_module, "GUARDED", True)
    spawn(engine, chosen=(FRESH_SETTINGS,))
    assert (engine.in_volumes, engine.created["environment"]) == ([], {"A": "1", FRESH_SETTINGS_VARIABLE: "1"})
