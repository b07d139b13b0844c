"""guard: what the engine is asked to do for a hub, and what happens when something is broken."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import docker
import pytest
import spawner
from guarded_hub import SERVER, Guarded
from hub_settings import SPAWNER, USERS, Files, load, mount
from jupyterhub.spawner import SpawnException
from mounts import MOVING, OTHER_FOLDER
from policy import Policy, RefusedError
from recording_engine import API, ID
from spawner import FRESH_SETTINGS_VARIABLE

# --- What passes ------------------------------------------------------------------------------------------------------
OWN_CLASS = """
from spawner import HomeSpawner
class Mine(HomeSpawner):
    def host_config(self):
        return {**super().host_config(), "shm_size": "1G"}
c.JupyterHub.spawner_class = Mine
"""
GPU = {"runtime": "nvidia", "device_requests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]}
BIG = {"big": {"groups": ["staff"], "spawner_override": {"mem_limit": "8G"}}}
DECLARED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "as it comes": ({}, "", {}),
    "a named server": ({}, "", {"name": "second"}),
    "a limit for each user": ({}, "c.DockerSpawner.mem_limit = lambda s: {'bob': '2G'}.get(s.user.name)", {}),
    "a GPU": ({"DockerSpawner": {"extra_host_config": GPU}}, "", {}),
    "folders of the owner's": ({"DockerSpawner": {"volumes": {"/srv/own/{username}": "/data"}}}, "", {}),
    "a command of the owner's": ({"DockerSpawner": {"cmd": ["start-notebook.py"], "args": ["--debug"]}}, "", {}),
    "an image": ({"DockerSpawner": {"allowed_images": {"R": "r:1", "Julia": "j:2"}}}, "", {"image": "Julia"}),
    "more for a group": ({"Spawner": {"group_overrides": BIG}}, "", {"user": "alice", "groups": ("staff",)}),
    "a class of the owner's": ({}, OWN_CLASS, {}),
}


@pytest.mark.parametrize("what", DECLARED)
def test_the_engine_is_asked_for_what_the_hub_would_ask_it_for(guarded: Guarded, files: Files, what: str) -> None:
    config, extra, request = DECLARED[what]
    mounts = [mount("/home/jovyan/photos", source="/srv/photos/{x}", gid=2000), mount("/home/jovyan/b")]
    files.write("spawner.json", {**SPAWNER, "mounts": mounts, "ca_bundle": "/etc/ca.pem"})
    files.write("extra.py", extra)
    hub = guarded(config=config)
    for where in (hub.engine.socket, hub.path):
        hub.ask_for(where, **request)
    (_, path, body), (_, path_of_guard, body_of_guard) = hub.engine.did()
    assert (path_of_guard, body_of_guard) == (path, body)
    if what == "a GPU":
        assert body["HostConfig"]["DeviceRequests"] and body["HostConfig"]["Runtime"] == "nvidia"


def test_whose_uid_a_server_has_is_declared(guarded: Guarded, files: Files) -> None:
    """A hub that was taken over gives nobody another's, and keeps nobody from the own one."""
    files.write("users.json", {**USERS, "bob": {**USERS["bob"], "uid": 1002}, "alice": {**USERS["alice"], "uid": 1001}})
    hub = guarded()
    body = hub.body()
    assert body["User"] == "1002:100"
    for user in ("1001:100", "1002:0", "1000:100", "0", ""):
        assert hub.create({**body, "User": user})[0] == 403
    assert hub.create({key: value for key, value in body.items() if key != "User"})[0] == 403
    assert hub.engine.did() == []
    assert hub.create(body)[0] == 201
    assert hub.engine.created()[0]["User"] == "1002:100"


def test_a_servers_life(guarded: Guarded) -> None:
    hub = guarded()
    hub.engine.containers["home-user-bob"] = hub.engine.containers[ID] = SERVER
    hub.engine.made, hub.engine.state = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.123456789Z", "created"
    client = docker.APIClient(f"unix://{hub.path}", version="auto")
    assert client.inspect_image("user:1")["Config"]["Cmd"]
    assert client.inspect_container("home-user-bob")["State"]["Running"]
    client.start("home-user-bob")
    client.stop(ID, timeout=1)
    client.remove_container(ID, v=True)
    assert [(method, path) for method, path, _ in hub.engine.did()] == [
        ("POST", f"{API}/containers/{ID}/start"),
        ("POST", f"{API}/containers/{ID}/stop"),
        ("DELETE", f"{API}/containers/{ID}?v=True&link=False&force=False"),
    ]


@pytest.mark.parametrize("age", [0, 3600])
@pytest.mark.parametrize("state", ["created", "exited"])
@pytest.mark.parametrize("user", ["bob", "eve"])
@pytest.mark.parametrize("remove", [True, False])
def test_no_server_of_an_earlier_declaration_is_started(
    guarded: Guarded, age: int, state: str, user: str, remove: bool
) -> None:
    """A hub that was taken over might have made it then. Containers that the owner keeps may be started again."""
    hub = guarded(config={} if remove else {"DockerSpawner": {"remove": False}})
    hub.engine.containers["home-user-bob"] = {**SERVER, "jupyterhub-home.user": user}
    hub.engine.made = f"{datetime.now(UTC) - timedelta(seconds=age):%Y-%m-%dT%H:%M:%S}.123456789Z"
    hub.engine.state = state
    status, said = hub.request("POST", f"{API}/containers/home-user-bob/start")
    right = user == "bob" and (not remove or (age == 0 and state == "created"))
    assert status == (204 if right else 403 if user == "eve" else 409), said
    assert len(hub.engine.did()) == right


@pytest.mark.parametrize("name", ["home/user", "docker.io/home/user", "index.docker.io/home/user", "home/base"])
@pytest.mark.parametrize("allowed", ["*", ["home/user:1"]])
def test_what_is_built_here_is_never_pulled(guarded: Guarded, files: Files, name: str, allowed: Any) -> None:
    """Whoever serves that name to the engine would have everybody run theirs."""
    files.write("spawner.json", {**SPAWNER, "image": "home/user:1"})
    hub = guarded(config={"DockerSpawner": {"allowed_images": allowed}})
    for tag in ("1", "latest"):
        status, said = hub.request("POST", f"{API}/images/create?fromImage={name}&tag={tag}")
        assert (status, "built on this machine" in said) == (404, True)
    assert hub.engine.did() == []


def test_an_image_that_may_be_pulled(guarded: Guarded, files: Files) -> None:
    hub = guarded(config={"DockerSpawner": {"allowed_images": ["registry:5000/r:1"]}})
    client = docker.APIClient(f"unix://{hub.path}", version="auto")
    client.pull("registry:5000/r", "1")
    assert [path for _, path, _ in hub.engine.did()] == [f"{API}/images/create?tag=1&fromImage=registry%3A5000%2Fr"]
    with pytest.raises(docker.errors.NotFound):
        client.pull("registry:5000/r", "2")
    assert len(hub.engine.did()) == 1
    files.write("spawner.json", {**SPAWNER, "image": "registry:5000/plain"})
    client.pull("registry:5000/plain", "latest")
    with pytest.raises(docker.errors.NotFound):
        client.pull("registry:5000/plain", "2")
    assert len(hub.engine.did()) == 2


def test_a_home_is_made_ready_by_the_guard_and_the_server_is_not_told(guarded: Guarded) -> None:
    hub = guarded()
    body = hub.body()
    status, _ = hub.create({**body, "Env": [*body["Env"], f"{FRESH_SETTINGS_VARIABLE}=1"]})
    server, home = hub.engine.created()
    assert status == 201
    assert server["Env"] == body["Env"]
    assert "old-settings" in " ".join(home["Entrypoint"]) and home["HostConfig"]["NetworkMode"] == "none"


# --- What goes wrong --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["hub.json", "spawner.json", "extra.py", "proxy-token"])
def test_settings_that_are_broken(guarded: Guarded, files: Files, name: str) -> None:
    """From the start on; whoever asks is told, and the hub does not start."""
    files.write(name, "{" if name.endswith("json") else "raise RuntimeError('by hand')" if name == "extra.py" else "")
    hub = guarded()
    for method, path in (
        ("GET", "/version"),
        ("GET", f"{API}/images/user:1/json"),
        ("POST", f"{API}/containers/x/stop"),
    ):
        status, message = hub.request(method, path)
        assert status == 503 and message.startswith("nothing is done while the settings are broken"), message
        assert name in message
    assert hub.create({"Env": []})[0] == 503
    assert hub.engine.asked == []


def test_settings_that_are_broken_later(guarded: Guarded, files: Files) -> None:
    hub = guarded()
    body = hub.body()
    files.write("spawner.json", "{")
    status, message = hub.create(body)
    assert status == 503 and "spawner.json is not JSON" in message
    files.write("spawner.json", SPAWNER)
    assert hub.create(body)[0] == 201


def test_what_the_engine_says_is_passed_on(guarded: Guarded) -> None:
    hub = guarded()
    hub.engine.status = 500
    assert hub.request("GET", f"{API}/images/user:1/json") == (500, "the engine is unwell")


def test_a_folder_that_is_another_one_is_not_mounted(
    guarded: Guarded, files: Files, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container is removed, and the hub passes on what its user is to be told."""
    files.write("spawner.json", SPAWNER | {"mounts": [mount("/data", uid=1234)]})
    hub = guarded()
    body = hub.body()
    assert hub.create(body)[0] == OTHER_FOLDER
    method, path, _ = hub.engine.did()[-1]
    assert method == "DELETE" and path.startswith(f"{API}/containers/{ID}?")
    assert "guard: The server of bob is not started: /srv/x belongs to 0 now, not to 1234" in capfd.readouterr().err
    with pytest.raises(docker.errors.APIError) as error:
        hub.ask_for(hub.path)
    with monkeypatch.context() as of_the_hub:
        of_the_hub.setattr(spawner, "GUARDED", True)
        refused = spawner.refusal(error.value)
    assert isinstance(refused, SpawnException) and refused.status_code == OTHER_FOLDER
    assert refused.message.startswith("Your server was not started, because the folder for /data is not the one")
    hub.engine.folders_owner = 1234
    assert hub.create(body)[0] == 201
    # Nor is an empty one in the place of a disk.
    files.write("spawner.json", SPAWNER | {"mounts": [mount("/data", uid=1234, mount_point="/srv")]})
    assert hub.create(body)[0] == OTHER_FOLDER
    assert "guard: The server of bob is not started: /srv/x is not on its disk" in capfd.readouterr().err


def test_an_engine_that_does_not_answer(guarded: Guarded) -> None:
    hub = guarded()
    hub.engine.socket.unlink()
    status, message = hub.request("GET", f"{API}/images/user:1/json")
    assert status == 503, "500 would have the hub take the server for gone"
    assert message.startswith("the engine does not answer")


def test_half_a_request_keeps_nobody_waiting(guarded: Guarded) -> None:
    hub = guarded()
    halves = []
    for start in (b"", b"POST", f"POST {API}/containers/create HTTP/1.1\r\nContent-Length: 100\r\n\r\n{{".encode()):
        halves.append(socket.socket(socket.AF_UNIX))
        halves[-1].connect(str(hub.path))
        halves[-1].sendall(start)
    assert hub.create(hub.body())[0] == 201
    for half in halves:
        half.close()


def test_who_has_a_disk_gets_it_or_nothing(guarded: Guarded, files: Files) -> None:
    hub, disk = guarded(), "/var/lib/docker/volumes/home-user-bob-home/disk"
    files.write("users.json", {**USERS, "bob": {**USERS["bob"], "disk": disk}})
    files.write("mountinfo", f"59 46 7:0 / {disk} rw - ext4 /dev/loop0 rw\n")
    body = hub.body()
    assert {"Type": "bind", "Source": f"{disk}/tmp", "Target": "/tmp", "ReadOnly": False} in body["HostConfig"][
        "Mounts"
    ]
    assert hub.create(body)[0] == 201 and hub.engine.did()[0][2]["HostConfig"]["ReadonlyRootfs"]
    made = len(hub.engine.did())
    files.write("users.json", {**USERS, "bob": {**USERS["bob"], "disk": MOVING}})
    assert hub.create(body)[0] == OTHER_FOLDER and len(hub.engine.did()) == made
    files.write("users.json", USERS)  # a hub that would have it on the disk, or not, is not asked
    status, why = hub.create(body)
    assert status == 403 and "HostConfig.Mounts" in why


# --- The trial --------------------------------------------------------------------------------------------------------
def test_the_trial_knows_beforehand(guarded: Guarded, files: Files) -> None:
    hub = guarded()
    body = hub.body()
    policy = Policy(load(files))
    policy.server_class._client = docker.APIClient(f"unix://{hub.engine.socket}", version="auto")
    asyncio.run(policy.compare("bob", "", body))
    with pytest.raises(RefusedError, match=r"HostConfig\.Memory.*extra_config"):
        asyncio.run(policy.compare("bob", "", {**body, "HostConfig": {**body["HostConfig"], "Memory": 1}}))
    assert hub.engine.did() == []
