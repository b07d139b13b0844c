"""culler: which servers are idle, in virtual time."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import culler
import pytest
import settings_files
from configuration import our_services
from conftest import Serve
from hub_settings import SPAWNER
from real_hub import TOKEN, MakeHub
from tornado.httpclient import HTTPClientError
from tornado.simple_httpclient import HTTPStreamClosedError

TICK = 5  # seconds between two looks of the culler
START = datetime(2026, 11, 25, tzinfo=UTC)


class Server:
    """A Jupyter server in virtual time, and the culler that watches it; times are seconds since the server's start."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        self.settings = folder / "spawner.json"
        self.monkeypatch = monkeypatch
        self.now = 0.0
        self.asked: list[float] = []
        self.kernels: dict[str, dict[str, Any]] | None = {}
        self.terminals: dict[str, float] = {}
        self.notebooks: dict[str, float | None] = {}
        self.last_request = 0.0  # of anything, a forgotten browser tab included
        self.recorded = 0.0  # in the hub
        self.fails = False
        self.limit(limit)
        monkeypatch.setattr(settings_files, "SPAWNER", self.settings)
        monkeypatch.setattr(culler, "SEEN", folder / "idle.json")
        monkeypatch.setattr(culler, "ask", self.ask)
        monkeypatch.setattr(culler, "utcnow", lambda: START + timedelta(seconds=self.now))
        self.restart_culler()

    def limit(self, seconds: int) -> None:
        """Write another limit."""
        self.seconds = seconds
        self.settings.write_text(json.dumps(SPAWNER | {"idle_timeout": seconds}))

    def restart_culler(self) -> None:
        """Another process, as after a restart of the hub."""
        self.monkeypatch.setattr(culler, "watched", None)
        self.monkeypatch.setattr(culler, "tried", {})

    def at(self, seconds: float) -> str:
        return (START + timedelta(seconds=seconds)).isoformat()

    async def ask(self, server: dict[str, Any], path: str, **arguments: str) -> Any:
        if self.fails:
            raise OSError("no answer")
        if path == "kernels":
            self.asked.append(self.now)
            return self.kernels and list(self.kernels.values()) if self.kernels is not None else None
        if path == "terminals":
            return [{"name": name, "last_activity": self.at(when)} for name, when in self.terminals.items()]
        if path == "sessions":
            return [{"path": name} for name in self.notebooks]
        if path == "status":
            return {"last_activity": self.at(self.last_request)}
        saved = self.notebooks[path.removeprefix("contents/").replace("%20", " ")]
        return None if saved is None else {"last_modified": self.at(saved)}

    def compute(self, name: str = "k", state: str = "idle") -> None:
        """A kernel does something now."""
        assert self.kernels is not None
        self.kernels[name] = {"id": name, "execution_state": state, "last_activity": self.at(self.now)}

    def look(self) -> bool:
        """Whether the culler, which looks now, stops the server."""
        server = {"url": "/user/alice/", "started": self.at(0)}
        inactive = timedelta(seconds=self.now - self.recorded)
        return asyncio.run(culler.is_idle(inactive=inactive, inactive_limit=600, server=server))

    def goes_on(self, until: float, tick: float = TICK) -> None:
        """Time passes, and the culler looks and does not stop the server."""
        while self.now + tick <= until:
            self.now += tick
            assert not self.look(), f"stopped after {self.now} s"
        self.now = until

    def stops(self, after: float, tick: float = TICK) -> None:
        """It stops: no sooner than the limit after its last activity, and within a quarter more."""
        while not self.look():
            self.now += tick
            assert self.now <= after + 1.25 * self.seconds, "too late"
        assert self.now >= after + self.seconds, "too early"


@pytest.fixture(params=[60, 1000, 42000])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path, monkeypatch, request.param)
    server.now = 3  # the culler's first look
    return server


def tick_of(server: Server) -> float:
    """The culler looks every 5 seconds; with a long limit that would be many looks for a test."""
    return max(TICK, server.seconds / 100)


def test_a_server_in_which_nothing_was_opened(server: Server) -> None:
    server.last_request = 10**6  # of a forgotten browser tab, which asks all the time
    server.stops(after=0, tick=tick_of(server))


def test_a_kernel_that_is_idle(server: Server) -> None:
    server.goes_on(server.seconds / 3, tick_of(server))
    server.compute()
    server.stops(after=server.now, tick=tick_of(server))


@pytest.mark.parametrize("thing", ["kernel", "terminal"])
def test_what_was_shut_down_still_counts(server: Server, thing: str) -> None:
    """It did something until then, of which nothing tells any more."""
    server.compute()
    server.terminals["1"] = server.now
    server.goes_on(server.seconds * 2 / 3, tick_of(server))
    begin = server.now
    server.kernels, server.terminals = ({}, server.terminals) if thing == "kernel" else (server.kernels, {})
    server.stops(after=begin, tick=tick_of(server))


def test_a_terminal(server: Server) -> None:
    server.goes_on(server.seconds / 3, tick_of(server))
    server.terminals["1"] = server.now
    server.stops(after=server.now, tick=tick_of(server))


def test_a_notebook_that_was_saved(server: Server) -> None:
    server.compute()
    server.notebooks = {"a b.ipynb": server.now, "console": None}
    server.goes_on(server.seconds / 2, tick_of(server))
    server.notebooks["a b.ipynb"] = server.now
    server.stops(after=server.now, tick=tick_of(server))


def test_a_busy_kernel_never_stops_a_server(server: Server) -> None:
    server.compute(state="busy")
    server.compute("other")
    server.goes_on(server.seconds * 3, tick_of(server))
    server.compute()
    server.stops(after=server.now, tick=tick_of(server))


def test_the_hub_restarted_in_between(server: Server) -> None:
    """Again and again, and with a browser tab that asks all the time: what was seen is kept."""
    server.last_request = 10**6
    tick = tick_of(server)
    for part in (0.2, 0.4, 0.6, 0.8):
        server.goes_on(server.seconds * part, tick)
        server.restart_culler()
    server.stops(after=0, tick=tick)


def test_the_hub_was_down_for_long(server: Server) -> None:
    """Whatever the server was asked meanwhile may have been work."""
    tick = tick_of(server)
    server.goes_on(server.seconds / 2, tick)
    server.restart_culler()
    server.now = server.last_request = server.seconds * 0.9
    server.now += server.seconds / 2
    server.stops(after=server.last_request, tick=tick)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"/user/alice/": {"started": "x"}}'])
def test_what_was_seen_is_lost(server: Server, text: str) -> None:
    server.goes_on(server.seconds / 2, tick_of(server))
    culler.SEEN.write_text(text)
    server.restart_culler()
    server.stops(after=0, tick=tick_of(server))


def test_what_was_seen_cannot_be_written(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(culler, "SEEN", Path("/proc/nothing/idle.json"))
    server.stops(after=0, tick=tick_of(server))


def test_a_later_server_of_the_same_user(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.goes_on(server.seconds * 0.9, tick_of(server))
    monkeypatch.setattr(f"{__name__}.START", START + timedelta(seconds=server.now))
    server.now = 3
    server.stops(after=0, tick=tick_of(server))


def test_a_server_that_cannot_be_asked_is_left_alone(server: Server) -> None:
    """And is not asked at every look."""
    server.fails = True
    server.goes_on(server.seconds * 3, tick_of(server))
    server.fails = False
    server.last_request = 1
    server.stops(after=server.now - server.seconds, tick=tick_of(server))


def test_a_server_that_answers_for_long_keeps_nobody_waiting(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose user has a thousand notebooks open, or says so."""
    monkeypatch.setattr(culler, "LOOK_TIMEOUT", 0.05)
    server.notebooks = {f"{number}.ipynb": 0 for number in range(1000)}
    answer = server.ask

    async def slowly(*asked: Any, **arguments: Any) -> Any:
        await asyncio.sleep(0.001)
        return await answer(*asked, **arguments)

    monkeypatch.setattr(culler, "ask", slowly)
    server.now = server.seconds * 3
    assert not server.look() and len(server.asked) == 1


@pytest.mark.parametrize("limit", [60, 42000])
def test_a_failing_server_is_asked_no_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    server = Server(tmp_path, monkeypatch, limit)
    tries: list[float] = []

    async def fail(*_: Any, **__: Any) -> None:
        tries.append(server.now)
        raise OSError

    monkeypatch.setattr(culler, "ask", fail)
    server.goes_on(3600)
    assert len(tries) == 3600 // max(limit // 12 if limit < 7200 else 600, TICK)


def test_a_server_without_kernels_api_goes_by_the_hub(server: Server) -> None:
    server.kernels = None
    server.goes_on(server.seconds / 2, tick_of(server))
    server.recorded = server.now
    server.stops(after=server.now, tick=tick_of(server))


@pytest.mark.parametrize(("limit", "times"), [(60, 720), (1200, 36), (42000, 6)])
def test_a_server_is_left_in_peace_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, times: int
) -> None:
    """Asked twelve times a limit, or each ten minutes: so often in an hour."""
    server = Server(tmp_path, monkeypatch, limit)
    server.compute(state="busy")
    server.goes_on(3600)
    assert len(server.asked) in (times, times + 1)


def test_another_limit_holds_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No restart of the culler, and so none of the hub."""
    server = Server(tmp_path, monkeypatch, 42000)
    server.compute()
    server.goes_on(5000)
    server.limit(0)
    server.goes_on(6000)
    server.limit(9000)
    server.goes_on(7000)
    server.limit(1000)
    server.now += TICK
    assert server.look()


def test_without_a_limit_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path, monkeypatch, 0)
    server.goes_on(10**6, 10**4)
    assert server.asked == []


class Network:
    """The hub and servers as HTTP finds them: what each was asked with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: list[timedelta]) -> None:
        self.asked: list[tuple[str, str]] = []
        self.made = 0
        self.status = 200
        network = self

        async def fetch(_: Any, url: str, headers: dict[str, str], body: str = "", **__: Any) -> Any:
            network.asked.append((url.partition("?")[0], headers["Authorization"].removeprefix("token ")))
            if url.startswith("http://hub/"):
                network.made += 1
                (scope,) = json.loads(body)["scopes"]
                return SimpleNamespace(body=json.dumps({"token": f"{scope} {network.made}"}).encode())
            if network.status != 200:
                raise HTTPClientError(network.status)
            return SimpleNamespace(body=b"[]")

        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the culler's own")
        monkeypatch.setenv("JUPYTERHUB_API_URL", "http://hub/hub/api")
        monkeypatch.setattr(culler, "tokens", {})
        monkeypatch.setattr(culler, "utcnow", lambda: START + now[0])
        monkeypatch.setattr("tornado.httpclient.AsyncHTTPClient.fetch", fetch)

    def ask(self, name: str = "alice/", **state: str) -> Any:
        server = {"full_name": name, "url": f"/new/user/{name}", "state": {"object_id": "0123456789abcdef", **state}}
        return asyncio.run(culler.ask(server, "kernels"))


@pytest.fixture
def now() -> list[timedelta]:
    """The time since START."""
    return [timedelta()]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, now: list[timedelta]) -> Network:
    return Network(monkeypatch, now)


def test_a_server_is_asked_below_the_address_that_it_started_with(network: Network) -> None:
    """The hub's own address may be another since."""
    network.ask()
    network.ask(base_url="/old/user/alice/")
    assert [url for url, _ in network.asked if not url.startswith("http://hub/")] == [
        "http://0123456789ab:8888/new/user/alice/api/kernels",
        "http://0123456789ab:8888/old/user/alice/api/kernels",
    ]


def test_no_server_is_asked_with_what_opens_another(network: Network, now: list[timedelta]) -> None:
    """Whoever runs code there can read it. The culler's own token goes to the hub alone."""
    for name in ("alice/", "alice/work", "bob.b/", "alice/"):
        network.ask(name)
    assert network.asked == [
        ("http://hub/hub/api/users/alice/tokens", "the culler's own"),
        ("http://0123456789ab:8888/new/user/alice/api/kernels", "access:servers!server=alice/ 1"),
        ("http://hub/hub/api/users/alice/tokens", "the culler's own"),
        ("http://0123456789ab:8888/new/user/alice/workapi/kernels", "access:servers!server=alice/work 2"),
        ("http://hub/hub/api/users/bob.b/tokens", "the culler's own"),
        ("http://0123456789ab:8888/new/user/bob.b/api/kernels", "access:servers!server=bob.b/ 3"),
        ("http://0123456789ab:8888/new/user/alice/api/kernels", "access:servers!server=alice/ 1"),
    ]
    now[0] = culler.TOKEN_USED
    network.ask()
    assert network.asked[-1][1] == "access:servers!server=alice/ 4", "the first will end some time"


@pytest.mark.parametrize("answer", ["elsewhere", "without an end"])
def test_a_server_that_was_taken_over(serve: Serve, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """It must not have the hub ask others at home for it, nor fill its memory."""
    elsewhere = serve((200, []))
    asked = {"elsewhere": (302, {}), "without an end": (200, ["x" * 100] * (culler.MAX_ANSWER // 100))}
    server = serve(asked[answer], location=elsewhere.url)

    async def token(_: Any) -> str:
        return "token"

    monkeypatch.setattr(culler, "token_for", token)
    monkeypatch.setattr(culler, "PORT", urlsplit(server.url).port)
    model = {"full_name": "alice/", "url": "/", "state": {"object_id": "127.0.0.1"}}
    with pytest.raises((HTTPClientError, HTTPStreamClosedError)):
        asyncio.run(culler.ask(model, "kernels"))
    assert elsewhere.asked == []


def test_a_token_that_was_taken_back(network: Network) -> None:
    network.ask()
    network.status = 403
    with pytest.raises(HTTPClientError):
        network.ask()
    network.status = 200
    network.ask()
    assert network.asked[-1][1] == "access:servers!server=alice/ 2"


def test_what_a_servers_token_opens(make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of JupyterHub itself, with the culler's role: one server, and nothing of the hub's but whose it is."""
    monkeypatch.setattr(settings_files, "USERS_TOKEN", tmp_path / "users-token")
    settings_files.USERS_TOKEN.write_text("secret-of-ansible")
    scopes = next(role["scopes"] for role in our_services("secret")[1] if role["name"] == "idle-culler")
    hub = make_hub(
        "sqlite:///:memory:",
        JupyterHub={
            "services": [{"name": "idle-culler", "api_token": TOKEN}],
            "load_roles": [{"name": "idle-culler", "services": ["idle-culler"], "scopes": scopes}],
        },
    )
    for name in ("alice", "bob"):
        hub.add_in_the_pages(name)
        hub.serve(name)
    hub.row("alice").admin = True
    hub.db.commit()
    monkeypatch.setattr(culler, "tokens", {})
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", TOKEN)
    monkeypatch.setenv("JUPYTERHUB_API_URL", f"{hub.url}/api")
    token = hub.run(culler.token_for({"full_name": "alice/"}))
    found = hub.run(hub.fetch("/api/user", token)).body
    assert found["name"] == "alice"
    assert set(found["scopes"]) == {
        "access:servers!server=alice/", "read:users:name!user=alice", "read:users:groups!user=alice",
    }  # fmt: skip
    for method, path, body in (
        ("GET", "/users", None), ("GET", "/users/bob", None), ("PATCH", "/users/bob", '{"admin": true}'),
        ("POST", "/users/bob/server", "{}"), ("POST", "/users/bob/tokens", "{}"), ("POST", "/users/alice/tokens", "{}"),
    ):  # fmt: skip
        answer = hub.run(hub.fetch(f"/api{path}", token, body, method))
        assert answer.status in (403, 404), (path, answer)
