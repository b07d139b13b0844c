"""guard: whatever else a hub asks for, the engine is not asked for it."""

from __future__ import annotations

import copy
from typing import Any
from urllib.parse import quote

import guard
import pytest
from guarded_hub import SERVER, Guarded, Hub
from hub_settings import Files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording_engine import API, ID

FOREIGN = {
    "unlabelled": {},
    "of another project": {**SERVER, "jupyterhub-home.project": "second"},
    "the hub's own": {"com.docker.compose.project": "home", "com.docker.compose.service": "hub"},
    "of nobody": {"jupyterhub-home.project": "home"},
}


# --- What does not ----------------------------------------------------------------------------------------------------
HOST: dict[str, Any] = {
    "all privileges": {"Privileged": True},
    "the root folder, as a bind": {"Binds": ["/:/host"]},
    "the root folder, as a mount": {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
    "the root folder, by a driver": {"Mounts": [{
        "Type": "volume", "Source": "x", "Target": "/host",
        "VolumeOptions": {"DriverConfig": {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}}},
    }]},
    "another's home": {"Mounts": [{"Type": "volume", "Source": "home-user-alice-home", "Target": "/host"}]},
    "the hub's folders": {"VolumesFrom": ["home-hub"]},
    "the engine's socket": {"Binds": ["/var/run/docker.sock:/s"]},
    "the disk": {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]},
    "the machine's processes": {"PidMode": "host"},
    "the machine's network": {"NetworkMode": "host"},
    "the hub's network": {"NetworkMode": "container:home-hub"},
    "the machine's users": {"UsernsMode": "host"},
    "the machine's memory": {"IpcMode": "host"},
    "a capability": {"CapAdd": ["SYS_ADMIN"]},
    "what is dropped": {"CapDrop": []},
    "no seccomp": {"SecurityOpt": ["seccomp=unconfined"]},
    "the paths that are hidden": {"MaskedPaths": []},
    "the kernel's settings": {"Sysctls": {"net.ipv4.ip_forward": "1"}},
    "another runtime": {"Runtime": "other"},
    "a place of its own among the cgroups": {"CgroupParent": "/"},
    "a port": {"PortBindings": {"8888/tcp": [{"HostPort": "80"}]}},
    "no limit": {"Memory": 0},
    "a log elsewhere": {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://192.0.2.1:1"}}},
}  # fmt: skip
TOP: dict[str, Any] = {
    "root": {"User": "0"},
    "another program": {"Cmd": ["sh"]},
    "another entry": {"Entrypoint": ["sh"]},
    "another image": {"Image": "busybox"},
    "another label": {"Labels": {}},
    "a network more": {"NetworkingConfig": {"EndpointsConfig": {"other": {}}}},
    "a key in another case": {"hostname": "home-hub"},
    "a key that nobody knows": {"name": "x"},
    "a host config that is none": {"HostConfig": None},
}


@pytest.mark.parametrize("what", [*HOST, *TOP])
def test_another_container_than_the_declared_one(guarded: Guarded, what: str) -> None:
    hub = guarded()
    body = hub.body()
    if what in HOST:
        body["HostConfig"] |= HOST[what]
    else:
        body |= TOP[what]
    status, message = hub.create(body)
    assert (status, hub.engine.did()) == (403, [])
    (key,) = HOST.get(what) or TOP[what]
    assert key in message


@pytest.mark.parametrize("name", ["home-hub", "home-user-alice", "", "x" * 300, "..%2Fx"])
def test_another_name_than_the_declared_one(guarded: Guarded, name: str) -> None:
    hub = guarded()
    assert hub.create(hub.body(), name=name)[0] == 403
    assert hub.engine.did() == []


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        (["JUPYTERHUB_USER=eve"], 403),
        (["JUPYTERHUB_USER=../alice"], 403),
        ([], 403),
        (["JUPYTERHUB_USER"], 400),
        (["JUPYTERHUB_USER=bob", "A=b\0c"], 400),
        (["JUPYTERHUB_USER=bob", 1], 400),
        ("JUPYTERHUB_USER=bob", 400),
        (None, 400),
    ],
)
def test_for_whom_there_is_no_server(guarded: Guarded, environment: Any, status: int) -> None:
    hub = guarded()
    assert hub.create({**hub.body(), "Env": environment})[0] == status
    assert hub.engine.did() == []


def test_whom_an_admin_added_or_another_login_knows(guarded: Guarded, files: Files) -> None:
    hub = guarded()
    body = hub.body(user="eve")
    files.write("undeclared.json", {"stay": True})
    assert hub.create(body, name="home-user-eve")[0] == 201
    files.write("undeclared.json", {"stay": False})
    assert hub.create(body, name="home-user-eve") == (403, "no user 'eve' is declared")


def test_another_login_decides_who_there_is(guarded: Guarded) -> None:
    hub = guarded(config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert hub.create(hub.body(user="eve"), name="home-user-eve")[0] == 201


CALLS = [
    ("GET", "/containers/json"), ("GET", "/_ping"), ("GET", f"{API}/info"), ("GET", f"{API}/containers/json?all=1"),
    ("POST", f"{API}/containers/home-user-bob/exec"), ("POST", f"{API}/exec/{ID}/start"),
    ("GET", f"{API}/containers/home-user-bob/archive?path=/"), ("GET", f"{API}/containers/home-user-bob/logs?stdout=1"),
    ("PUT", f"{API}/containers/home-user-bob/archive?path=/"), ("HEAD", f"{API}/containers/{ID}/archive?path=/"),
    ("GET", f"{API}/containers/home-user-bob/export"), ("POST", f"{API}/containers/home-user-bob/attach?stream=1"),
    ("GET", f"{API}/containers/home-user-bob/attach/ws"), ("POST", f"{API}/containers/home-user-bob/update"),
    ("POST", f"{API}/containers/home-user-bob/rename?name=x"), ("POST", f"{API}/containers/home-user-bob/kill"),
    ("POST", f"{API}/commit?container=home-user-bob"), ("POST", f"{API}/build"), ("POST", f"{API}/images/load"),
    ("DELETE", f"{API}/images/user:1"), ("POST", f"{API}/images/user:1/tag?repo=x"), ("GET", f"{API}/images/json"),
    ("POST", f"{API}/volumes/create"), ("DELETE", f"{API}/volumes/home-data"), ("GET", f"{API}/volumes"),
    ("POST", f"{API}/networks/create"), ("POST", f"{API}/networks/host/connect"), ("POST", f"{API}/swarm/init"),
    ("POST", f"{API}/plugins/pull?remote=x"), ("POST", f"{API}/session"), ("POST", "/grpc"), ("GET", f"{API}/events"),
    ("POST", f"{API}/containers/prune"), ("GET", f"{API}/images/get?names=user"), ("GET", f"{API}/secrets"),
    ("POST", "/v1.99/containers/create?name=home-user-bob"), ("POST", "/containers/create?name=home-user-bob"),
    ("CONNECT", "/"), ("TRACE", f"{API}/version"), ("POST", f"{API}//containers/create"), ("GET", "//version"),
    ("POST", f"{API}/containers/home-user-bob/../home-hub/stop"), ("POST", f"{API}/x/../containers/home-user-bob/kill"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_other_calls(guarded: Guarded, method: str, path: str) -> None:
    hub = guarded()
    hub.engine.containers["home-user-bob"] = SERVER
    status, _ = hub.request(method, path)
    assert status in (400, 403, 404) and hub.engine.asked == []


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize(
    ("method", "call"),
    [("GET", "/json"), ("POST", "/start"), ("POST", "/stop"), ("DELETE", ""), ("DELETE", "?force=1")],
)
def test_containers_that_are_no_servers(guarded: Guarded, kind: str, method: str, call: str) -> None:
    hub = guarded()
    hub.engine.containers["other"] = FOREIGN[kind]
    for name in ("other", "nobodys"):
        status, message = hub.request(method, f"{API}/containers/{name}{call}")
        assert status == 404 and "No such container" in message
    assert hub.engine.did() == [] and "other" not in hub.request("GET", f"{API}/containers/nobodys/json")[1]


@pytest.mark.parametrize(
    "name", ["..%2Fimages", "%2e%2e", "a%00b", "a%3Fb", "a%2Fjson%3F", "-a", "a" * 300, "a%20b", "ä"]
)
def test_names_that_are_paths(guarded: Guarded, name: str) -> None:
    hub = guarded()
    status, _ = hub.request("POST", f"{API}/containers/{quote(name, safe='%')}/start")
    assert status in (400, 403, 404) and hub.engine.asked == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("", {}, 400),
        ("[]", {}, 400),
        ("{", {}, 400),
        ("[" * 100_000, {}, 400),
        ('{"Env": [], "Env": []}', {}, 400),
        ('{"Env": [], "env": []}', {}, 400),
        ('{"HostConfig": {"Privileged": false, "Privileged": true}}', {}, 400),
        (b"\xff\xfe", {}, 400),
        ('{"Env": "' + "x" * guard.MAX_BODY + '"}', {}, 403),
        ("2\r\n{}\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}, 411),
        ("{}", {"Upgrade": "tcp", "Connection": "Upgrade"}, 400),
        ("{}", {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings"}, 400),
    ],
)
def test_bodies_that_are_none(
    guarded: Guarded, body: str | bytes, headers: dict[str, str], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = guarded()
    assert hub.create(body, **headers)[0] == status
    assert hub.engine.asked == []
    assert hub.create(hub.body())[0] == 201, "it goes on"
    assert "guard: refused POST" in capfd.readouterr().err


def test_a_body_where_none_belongs(guarded: Guarded) -> None:
    hub = guarded()
    hub.engine.containers["home-user-bob"] = SERVER
    assert hub.request("POST", f"{API}/containers/home-user-bob/start", {"HostConfig": {"Privileged": True}})[0] == 400
    assert hub.engine.did() == []


def test_no_secret_is_logged(guarded: Guarded, capfd: pytest.CaptureFixture[str]) -> None:
    hub = guarded()
    body = hub.body()
    hub.create({**body, "User": "secret-of-bobs-server"})
    hub.create({**body, "Env": [f"{line}\0" for line in body["Env"]]})
    hub.request("GET", f"{API}/exec/x?token=secret-of-bobs-server")
    logged = capfd.readouterr().err
    assert logged.count("guard: refused") == 3 and "secret-of" not in logged


# --- Whatever is changed of a request ---------------------------------------------------------------------------------
KEYS = st.sampled_from(
    ["Env", "Image", "HostConfig", "Mounts", "Binds", "Privileged", "image", "Cmd", "User", "Ünknown"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2**70)
    | st.text(max_size=8)
    | st.sampled_from(["/", "0", "host", "bob"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in nested data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_request_changes_nothing_but_the_environment(running: tuple[Hub, Any], data: st.DataObject) -> None:
    hub, body = running
    changed = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(changed)))
        value = data.draw(VALUES)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        if not place:
            changed = {**changed, data.draw(KEYS): value}
        elif data.draw(st.booleans()):
            inner[place[-1]] = value
        else:
            del inner[place[-1]]
            break  # a path that was drawn may be gone
    hub.engine.asked.clear()
    status, _ = hub.create(changed)
    created = hub.engine.created()
    assert status in (201, 400, 403)
    assert (status == 201) is bool(created)
    for one in created:
        assert {**one, "Env": []} == {**body, "Env": []}


@pytest.fixture
def running(guarded: Guarded) -> tuple[Hub, Any]:
    hub = guarded()
    return hub, hub.body()
