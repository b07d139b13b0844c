"""The hub's database made to match the declared users: JupyterHub itself, asked over HTTP, its database in memory."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import pytest
import reconcile
import settings_files
import upstream
from authenticator import HomeAuthenticator
from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from sqlalchemy import text
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config

Result = TypeVar("Result")
TOKEN = "token-of-the-service-ansible"
NOTHING: dict[str, Any] = {
    "add": [], "remove": [], "promote": [], "demote": [], "log_out": [], "groups": {}, "remove_groups": [],
    "running": [], "outdated": {}, "mended": [],
}  # fmt: skip


def user(admin: bool = False, groups: list[str] | None = None, session: str = "s1") -> dict[str, Any]:
    """One entry of users.json."""
    return {"admin": admin, "groups": groups or [], "session": session}


class NoProxy(Proxy):
    """A proxy that routes nothing and is always content."""

    should_start = False

    async def add_route(self, routespec: str, target: str, data: Any) -> None:
        pass

    async def delete_route(self, routespec: str) -> None:
        pass

    async def get_all_routes(self) -> dict[str, Any]:
        return {}


class FakeSpawner(Spawner):
    """Servers that are only said to run, by their names in `running`; `stuck` ones do not stop.

    What stopped, and whether its user was in the database still, is in `stopped`.
    """

    running: ClassVar[set[str]]
    stuck: ClassVar[set[str]]
    stopped: ClassVar[list[tuple[str, bool]]]
    outdated: tuple[str, ...] = ()

    async def start(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    async def stop(self, now: bool = False) -> None:
        if self._log_name in self.stuck:
            raise RuntimeError("the engine does not stop it")
        await asyncio.sleep(0.1)
        there = self.user.db.query(orm.User).filter_by(name=self.user.name).count() == 1
        self.running.remove(self._log_name)
        self.stopped.append((self._log_name, there))

    async def poll(self) -> int | None:
        return None if self._log_name in self.running else 0

    def outdated_settings(self, settings: dict[str, Any]) -> list[str]:
        assert settings == SERVERS
        return list(self.outdated)


SERVERS = {"image": "user:1"}


class Quiet(JupyterHub):
    """JupyterHub that reads no configuration but what it is given."""

    def load_config_file(self, *_: Any) -> None:
        pass


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Hub:
    """A hub that listens, and its database."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str, **config: Any) -> None:
        self.loop = loop
        traits = Config(
            {
                "JupyterHub": {
                    "db_url": url,
                    # sqlite would wait 5 seconds for another's lock
                    "db_kwargs": {"connect_args": {"check_same_thread": False, "timeout": 0.1}},
                    "authenticator_class": HomeAuthenticator,
                    "spawner_class": FakeSpawner,
                    "proxy_class": NoProxy,
                    "cookie_secret": b"x" * 32,
                    "allow_named_servers": True,
                    "services": [{"name": "ansible", "api_token": TOKEN}, {"name": "other", "api_token": TOKEN[::-1]}],
                    "load_roles": [{"name": "ansible", "services": ["ansible"], "scopes": [reconcile.SCOPE]}],
                },
                "Authenticator": {"auth_refresh_age": 0},  # the database alone decides who is let in
            }
        )
        traits.merge(Config(config))
        self.app = Quiet(config=traits)
        self.run(self.app.initialize([]))
        sock, port = bind_unused_port()
        self.server = HTTPServer(self.app.tornado_application)
        self.server.add_sockets([sock])
        self.url = f"http://127.0.0.1:{port}/hub"
        self.db = self.app.db

    def run(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """Wait for something that runs in the hub's loop."""
        return self.loop.run_until_complete(doing)

    async def fetch(self, path: str, token: str, body: str | None = None, method: str = "POST") -> Answer:
        """GET, or with a body POST or another method."""
        done = await AsyncHTTPClient().fetch(
            self.url + path, method="GET" if body is None else method, body=body, raise_error=False,
            headers={"Authorization": f"token {token}"},
        )  # fmt: skip
        return Answer(done.code, json.loads(done.body))

    def ask(
        self, users: dict[str, Any], *, pretend: bool = False, keep: bool = False, token: str = TOKEN, **more: Any
    ) -> Answer:
        """What the hub answers to a wish. No two users have the same session, so each gets one with the name."""
        users = {name: {**entry, "session": f"{name}-{entry['session']}"} for name, entry in users.items()}
        body = json.dumps({"users": users, "keep_undeclared": keep, "servers": SERVERS, "pretend": pretend} | more)
        return self.run(self.fetch(reconcile.PATH, token, body))

    def mend(self, users: dict[str, Any], *, pretend: bool = False, keep: bool = False) -> dict[str, Any]:
        """The differences that the hub found, without those kinds that there were none of."""
        answer = self.ask(users, pretend=pretend, keep=keep)
        assert answer.status == 200, answer.body
        assert answer.body.keys() == NOTHING.keys()
        return {kind: found for kind, found in answer.body.items() if found}

    def call(self, method: str, path: str, **body: Any) -> Answer:
        """What the API answers to an admin, mia, whom the first call makes."""
        if not orm.User.find(self.db, "mia"):
            self.add_in_the_pages("mia").admin = True
            roles.assign_default_roles(self.db, self.row("mia"))
        return self.run(self.fetch(f"/api{path}", self.row("mia").new_api_token(), json.dumps(body), method))

    def who(self, token: str) -> int:
        """The status that somebody with this token gets."""
        return self.run(self.fetch("/api/user", token)).status

    def row(self, name: str) -> Any:
        return self.db.query(orm.User).filter_by(name=name).one()

    def rows(self) -> dict[str, tuple[bool, set[str], set[str]]]:
        """Everybody's admin flag, roles and groups, as they are in the database."""
        self.db.expire_all()
        return {
            row.name: (row.admin, {role.name for role in row.roles}, {group.name for group in row.groups})
            for row in self.db.query(orm.User)
        }

    def groups(self) -> set[str]:
        return {name for (name,) in self.db.query(orm.Group.name)}

    def count(self) -> dict[str, int]:
        """How many rows each table has."""
        return {table.name: len(self.db.execute(table.select()).all()) for table in orm.Base.metadata.sorted_tables}

    def add_in_the_pages(self, name: str, *groups: str) -> Any:
        """A user as an admin adds one."""
        row = orm.User(name=name)
        self.db.add(row)
        row.groups = [orm.Group(name=group) for group in groups]
        roles.assign_default_roles(self.db, row)
        self.db.commit()
        return row

    def browse(self, name: str) -> str:
        """The token of a browser session in the user's own server, whose OAuth client it is."""
        client = f"jupyterhub-user-{name}"
        if not self.db.query(orm.OAuthClient).filter_by(identifier=client).count():
            self.db.add(orm.OAuthClient(identifier=client))
            self.db.commit()
        self.db.add(orm.OAuthCode(client_id=client, code=f"code-{name}", user=self.row(name), scopes=[]))
        token: str = self.row(name).new_api_token(client_id=client, session_id="abc", scopes=["read:users:name!user"])
        return token

    def serve(self, name: str, server: str = "") -> Any:
        """A running server of a user's; gives its spawner."""
        owner = self.app.users[name]
        if server:
            owner._new_orm_spawner(server, server)
        spawner = owner.spawners[server]
        spawner.orm_spawner.server = orm.Server(ip="127.0.0.1", port=1)
        self.db.commit()
        FakeSpawner.running.add(spawner._log_name)
        assert spawner.active
        return spawner


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()


MakeHub = Callable[..., Hub]


@pytest.fixture
def make_hub(loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHub]:
    """make_hub(database address, Class={trait: value}): a hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_files, "USERS", tmp_path / "users.json")
    monkeypatch.setattr(settings_files, "UNDECLARED", tmp_path / "undeclared.json")
    upstream.mend(settings_files.declared_users)
    nothing: dict[str, Any] = {"running": set(), "stuck": set(), "stopped": []}
    for name, empty in nothing.items():
        monkeypatch.setattr(FakeSpawner, name, empty, raising=False)
    hubs = []

    def make(url: str = "sqlite:///:memory:", **config: Any) -> Hub:
        hubs.append(Hub(loop, url, **config))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.server.stop()
        hub.db.close()


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


# --- What is mended -------------------------------------------------------


def test_four_steps(hub: Hub) -> None:
    """Pretend, real, real again, pretend again: foretold, done, and then nothing to do."""
    hub.mend({"alice": user(admin=True), "bob": user(groups=["lab"]), "carl": user(groups=["old"]), "dora": user()})
    hub.serve("carl")
    wish = {"alice": user(), "bob": user(True, ["lab", "new"]), "dora": user(session="s2"), "eve": user(groups=["new"])}
    before, counted = hub.rows(), hub.count()
    tried = hub.mend(wish, pretend=True)
    assert tried == {
        "add": ["eve"], "remove": ["carl"], "promote": ["bob"], "demote": ["alice"], "log_out": ["dora"],
        "groups": {"bob": ["lab", "new"]}, "remove_groups": ["old"], "running": ["carl"],
    }  # fmt: skip
    assert (hub.rows(), hub.count(), FakeSpawner.stopped) == (before, counted, [])
    assert hub.mend(wish) == tried
    after = {
        "alice": (False, {"user"}, set()), "bob": (True, {"user", "admin"}, {"lab", "new"}),
        "dora": (False, {"user"}, set()), "eve": (False, {"user"}, {"new"}),
    }  # fmt: skip
    assert (hub.rows(), hub.groups()) == (after, {"lab", "new"})
    counted = hub.count()
    for pretend in (False, True):
        assert hub.mend(wish, pretend=pretend) == {}
        assert (hub.rows(), hub.count()) == (after, counted)


def test_everybody_goes(hub: Hub) -> None:
    hub.mend({"alice": user(groups=["lab"])})
    assert hub.mend({}) == {"remove": ["alice"], "remove_groups": ["lab"]}
    assert (hub.rows(), hub.groups()) == ({}, set())


def test_of_a_removed_user_nothing_is_left(hub: Hub) -> None:
    hub.mend({"alice": user()})
    assert hub.app.users["alice"].name == "alice"  # and has the row of a server, as everybody whom the hub has seen
    counted = hub.count()
    hub.mend({"alice": user(), "bob": user(groups=["lab"])})
    own, browser = hub.row("bob").new_api_token(), hub.browse("bob")
    hub.serve("bob")
    hub.serve("bob", "second")
    assert (hub.who(own), hub.who(browser)) == (200, 200)
    hub.mend({"alice": user()})
    assert (hub.who(own), hub.who(browser)) == (403, 403)
    assert "bob" not in hub.rows()
    assert hub.count() == counted


def test_who_comes_back_is_somebody_new(hub: Hub) -> None:
    """A cookie of a former bob opens nothing of the later one's, though SQLite gives his number again."""
    hub.mend({"bob": user(session="first")})
    cookie, number = hub.row("bob").cookie_id, hub.row("bob").id
    hub.mend({})
    hub.mend({"bob": user(session="second")})
    assert (hub.row("bob").cookie_id, hub.row("bob").id) == ("declared-bob-second", number) != (cookie, number)


def test_running_servers_stop_before_their_user_goes(hub: Hub) -> None:
    hub.mend({"alice": user(), "bob": user(), "carl": user()})
    for name, server in (("alice", ""), ("bob", ""), ("bob", "second")):
        hub.serve(name, server)
    assert hub.mend({"alice": user()}) == {"remove": ["bob", "carl"], "running": ["bob"]}
    assert sorted(FakeSpawner.stopped) == [("bob", True), ("bob:second", True)]
    assert hub.app.users["alice"].spawners[""].active
    assert hub.rows().keys() == {"alice"}


@pytest.mark.parametrize("pending", ["_spawn_pending", "_stop_pending"])
def test_a_server_that_is_starting_or_stopping_is_waited_for(hub: Hub, pending: str) -> None:
    hub.mend({"bob": user()})
    spawner = hub.serve("bob")
    setattr(spawner, pending, True)
    hub.loop.call_later(0.3, setattr, spawner, pending, False)
    assert hub.mend({}) == {"remove": ["bob"], "running": ["bob"]}
    assert (FakeSpawner.stopped, hub.rows()) == ([("bob", True)], {})


def test_a_demoted_admin_has_no_role_and_no_session(hub: Hub) -> None:
    hub.mend({"alice": user(admin=True)})
    browser = hub.browse("alice")
    assert hub.rows()["alice"][:2] == (True, {"admin", "user"})
    # With another password, too.
    assert hub.mend({"alice": user(session="s2")}) == {"demote": ["alice"], "log_out": ["alice"]}
    assert hub.rows()["alice"][:2] == (False, {"user"})
    assert (hub.who(browser), hub.row("alice").cookie_id) == (403, "declared-alice-s2")
    assert hub.mend({"alice": user(session="s2")}) == {}
    assert hub.mend({"alice": user(admin=True, session="s2")}) == {"promote": ["alice"]}
    assert hub.rows()["alice"][:2] == (True, {"admin", "user"})


def test_a_demotion_ends_browser_sessions_in_servers_of_others(hub: Hub) -> None:
    hub.mend({"alice": user(admin=True), "bob": user()})
    browsers = {name: hub.browse(name) for name in ("alice", "bob")}
    cookie = hub.row("alice").cookie_id
    assert hub.mend({"alice": user(), "bob": user()}) == {"demote": ["alice"]}
    assert {name: hub.who(token) for name, token in browsers.items()} == {"alice": 403, "bob": 200}
    assert hub.row("alice").cookie_id == cookie


def test_another_password_ends_browser_sessions_and_nothing_else(hub: Hub) -> None:
    hub.mend({"alice": user(), "bob": user()})
    tokens = {name: (hub.row(name).new_api_token(), hub.browse(name)) for name in ("alice", "bob")}
    hub.serve("alice")
    servers_own = hub.row("alice").new_api_token(note="Server at /user/alice/")
    cookies = {name: hub.row(name).cookie_id for name in ("alice", "bob")}
    assert hub.mend({"alice": user(session="s2"), "bob": user()}) == {"log_out": ["alice"]}
    assert [hub.who(token) for token in tokens["alice"]] == [200, 403]
    assert [hub.who(token) for token in tokens["bob"]] == [200, 200]
    assert hub.who(servers_own) == 200
    assert (hub.row("alice").cookie_id, hub.row("bob").cookie_id) == ("declared-alice-s2", cookies["bob"])
    assert [code.user.name for code in hub.db.query(orm.OAuthCode)] == ["bob"]
    assert FakeSpawner.stopped == []


def test_groups_that_the_owner_configured_stay(make_hub: MakeHub) -> None:
    hub = make_hub(
        JupyterHub={"load_groups": {"of-the-owner": {"users": []}, "of-a-role": {"users": []}}},
        Authenticator={"manage_groups": False},
    )
    del hub.app.load_groups["of-a-role"]
    hub.app.load_roles = [*hub.app.load_roles, {"name": "graders", "groups": ["of-a-role"], "scopes": ["list:users"]}]
    hub.mend({"alice": user(groups=["lab", "gone"])})
    assert hub.mend({"alice": user(groups=["lab"])}) == {"groups": {"alice": ["lab"]}, "remove_groups": ["gone"]}
    assert hub.groups() == {"of-the-owner", "of-a-role", "lab"}


def test_the_owners_admins_are_admins(make_hub: MakeHub) -> None:
    hub = make_hub(Authenticator={"admin_users": {"bob"}})
    hub.mend({"alice": user(), "bob": user()})
    assert {name: admin for name, (admin, *_) in hub.rows().items()} == {"alice": False, "bob": True}
    assert hub.mend({"alice": user(), "bob": user()}) == {}


# --- Users whom nobody declared -------------------------------------------


def test_users_of_the_pages_go_or_stay_as_wished(hub: Hub) -> None:
    hub.mend({"alice": user(), "bob": user(groups=["lab"])})
    hub.add_in_the_pages("zoe", "hers")
    assert hub.mend({"alice": user()}, keep=True) == {"remove": ["bob"], "remove_groups": ["lab"]}
    assert hub.mend({"alice": user()}, keep=True) == {}
    assert hub.rows()["zoe"] == (False, {"user"}, {"hers"})
    assert hub.mend({"alice": user()}) == {"remove": ["zoe"], "remove_groups": ["hers"]}
    assert hub.rows().keys() == {"alice"}


def test_a_user_of_the_pages_who_is_declared_later_goes_with_the_declaration(hub: Hub) -> None:
    hub.add_in_the_pages("zoe", "hers")
    found = hub.mend({"zoe": user()}, keep=True)
    assert found == {"log_out": ["zoe"], "groups": {"zoe": []}, "remove_groups": ["hers"]}
    assert hub.mend({}, keep=True) == {"remove": ["zoe"]}


def test_a_removal_that_was_cut_short_is_finished(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rights went first; the row still says that it was declared."""
    hub.mend({"alice": user(), "bob": user(admin=True), "carl": user()})
    browser = hub.browse("bob")
    cookie = hub.row("bob").cookie_id
    hub.serve("bob")
    FakeSpawner.stuck.add("bob")
    answer = hub.ask({"alice": user()})
    assert answer.status == 503
    assert answer.body["message"] == "the server of bob could not be stopped; the hub's log says why"
    assert hub.who(browser) == 403 and hub.row("bob").cookie_id != cookie
    assert hub.rows().keys() == {"alice", "bob"}
    FakeSpawner.stuck.clear()
    # JupyterHub takes it for stopped by now, but it runs.
    assert hub.mend({"alice": user()}, keep=True) == {"remove": ["bob"]}
    assert hub.rows().keys() == {"alice"} and FakeSpawner.running == set()


def test_another_authenticator_decides_until_the_list_does(make_hub: MakeHub) -> None:
    """A run that takes that authenticator away asks the hub that still has it, to tell in a try what will go."""
    hub = make_hub(JupyterHub={"authenticator_class": "dummy"}, Authenticator={"allow_all": True})
    hub.add_in_the_pages("stranger")
    hub.serve("stranger")
    answer = hub.ask({"alice": user()})
    assert (answer.status, answer.body["message"]) == (404, "another authenticator decides who is known")
    tried = hub.ask({"alice": user()}, pretend=True, decides=True).body
    assert (tried["add"], tried["remove"], tried["running"]) == (["alice"], ["stranger"], ["stranger"])
    assert hub.rows().keys() == {"stranger"}
    assert hub.ask({"alice": user()}, decides=True).body == tried
    assert hub.rows().keys() == {"alice"} and FakeSpawner.stopped == [("stranger", True)]


def test_tokens_of_users_who_stay_are_good(hub: Hub, users_file: Path) -> None:
    """Until they do not stay any more."""
    hub.app.authenticator.auth_refresh_age = 30
    hub.mend({"alice": user()})
    token = hub.add_in_the_pages("zoe").new_api_token()
    assert hub.who(token) == 403
    undeclared = users_file.with_name("undeclared.json")
    for stay, status in (("true", 200), ("false", 403)):
        undeclared.write_text(f'{{"stay": {stay}}}')
        hub.app.users["zoe"]._auth_refreshed = None  # later
        assert hub.who(token) == status


# --- What goes wrong ------------------------------------------------------


def test_only_the_service_with_the_scope_may_ask(hub: Hub) -> None:
    hub.mend({"alice": user(admin=True)})
    admin = hub.row("alice").new_api_token()
    assert hub.who(admin) == 200
    for token in (admin, TOKEN[::-1], "nonsense"):
        answer = hub.ask({}, token=token)
        assert answer.status == 403 and answer.body["message"]
    assert hub.rows().keys() == {"alice"}


@pytest.mark.parametrize("body", ["", "[]", "{}", "null", '{"users": {}, "pretend": false}', "{"])
def test_a_wish_without_a_form(hub: Hub, body: str) -> None:
    hub.mend({"alice": user()})
    answer = hub.run(hub.fetch(reconcile.PATH, TOKEN, body))
    assert answer.status == 400 and answer.body["message"]
    assert hub.rows().keys() == {"alice"}


def test_a_server_that_does_not_settle(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.mend({"alice": user(), "bob": user()})
    hub.serve("bob")._spawn_pending = True
    monkeypatch.setattr(reconcile, "PENDING_MAX", 0)
    answer = hub.ask({"alice": user()})
    assert (answer.status, answer.body["message"]) == (503, "the server bob does not finish its spawn")
    assert hub.rows().keys() == {"alice", "bob"}


@pytest.mark.parametrize("ended", [False, True])
def test_a_server_that_the_proxy_does_not_let_go(hub: Hub, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    hub.mend({"bob": user()})
    hub.serve("bob")
    if ended:  # which the hub has not seen yet
        FakeSpawner.running.clear()
    monkeypatch.setattr(NoProxy, "delete_route", lambda *_: 1 / 0)
    answer = hub.ask({})
    assert answer.status == 503
    assert answer.body["message"] == "the server of bob could not be stopped; the hub's log says why"
    assert hub.rows().keys() == {"bob"}


def test_one_who_cannot_go_holds_up_nobody_else(hub: Hub) -> None:
    """And the answer comes when the others are gone."""
    hub.mend({name: user() for name in ("alice", "bob", "carl", "dora")})
    for name in ("bob", "carl"):
        hub.serve(name)
    FakeSpawner.stuck.add("bob")
    assert hub.ask({"alice": user()}).status == 503
    assert hub.rows().keys() == {"alice", "bob"}


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database(make_hub: MakeHub, tmp_path: Path, lock: str) -> None:
    hub = make_hub(f"sqlite:///{tmp_path}/hub.sqlite")
    hub.mend({"alice": user()})
    other = sqlite3.connect(tmp_path / "hub.sqlite", isolation_level=None)
    other.execute(f"BEGIN {lock}")
    answer = hub.ask({"bob": user()})
    assert answer.status == 503
    assert answer.body["message"] == "the hub's database cannot be used: database is locked"
    other.execute("ROLLBACK")
    other.close()
    assert hub.mend({"bob": user()}) == {"add": ["bob"], "remove": ["alice"]}


def test_a_damaged_database(make_hub: MakeHub, tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    hub = make_hub(f"sqlite:///{path}")
    hub.mend({"alice": user()})
    path.write_bytes(b"no database" * 10000)
    answer = hub.ask({"bob": user()})
    assert answer.status == 503
    assert answer.body["message"] == "the hub's database cannot be used: file is not a database"


def test_two_at_a_time_do_not_meet(hub: Hub) -> None:
    """Two runs that both add and remove: the second waits, and finds what the first left."""
    hub.mend({"alice": user(), "bob": user()})
    hub.serve("bob")
    body = json.dumps({"users": {"carl": user()}, "keep_undeclared": False, "servers": SERVERS, "pretend": False})

    async def both() -> list[Answer]:
        return await asyncio.gather(*(hub.fetch(reconcile.PATH, TOKEN, body) for _ in range(2)))

    first, second = sorted(hub.run(both()), key=lambda answer: not answer.body["add"])
    assert (first.status, second.status) == (200, 200)
    assert first.body == {**NOTHING, "add": ["carl"], "remove": ["alice", "bob"], "running": ["bob"]}
    assert second.body == NOTHING


# --- Servers on older settings --------------------------------------------


def test_servers_on_older_settings_are_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = {"alice": user(), "bob": user(), "carl": user()}
    hub.mend(wish)
    for name, server in (("alice", ""), ("bob", "second"), ("carl", "")):
        monkeypatch.setattr(hub.serve(name, server), "outdated", ("image", "cpu_limit"), raising=False)
    hub.app.users["carl"].spawners[""]._stop_pending = True
    assert hub.mend(wish, pretend=True)["outdated"] == {
        "alice": ["image", "cpu_limit"],
        "bob/second": ["image", "cpu_limit"],
    }


def test_another_spawner_knows_of_no_settings(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.mend({"alice": user()})
    hub.serve("alice")
    monkeypatch.delattr(FakeSpawner, "outdated_settings")
    assert hub.mend({"alice": user()}) == {}


# --- Rows that nobody can have --------------------------------------------


@pytest.fixture
def restart(make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    """restart(statement…): a hub on the same database each time, in which somebody did this before."""
    path = tmp_path / "hub.sqlite"

    async def answers(*_: Any) -> None:
        pass

    monkeypatch.setattr("jupyterhub.user.User._wait_up", answers)

    def start(*statements: str, **config: Any) -> Hub:
        with sqlite3.connect(path) as database:  # foreign keys are not looked at
            for statement in statements:
                database.execute(statement)
        return make_hub(f"sqlite:///{path}", **config)

    return start


@pytest.fixture
def declare(users_file: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """declare(users): write users.json; gives the same users."""

    def write(users: dict[str, Any]) -> dict[str, Any]:
        entries = {name: {**entry, "session": f"{name}-{entry['session']}"} for name, entry in users.items()}
        users_file.write_text(json.dumps(entries))
        return users

    return write


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    """Where users.json is."""
    return tmp_path / "users.json"


Restart = Callable[..., Hub]
Declare = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.mark.parametrize("name", ["bob", "BOB", None])
def test_a_name_that_stays_is_left_alone(hub: Hub, name: str | None) -> None:
    """What the admin page sends for a tick at Admin."""
    hub.add_in_the_pages("bob")
    given = {} if name is None else {"name": name}
    answer = hub.call("PATCH", "/users/bob", **given, admin=True)
    assert (answer.status, answer.body["name"], answer.body["admin"]) == (200, "bob", True)
    assert hub.rows()["bob"] == (True, {"user", "admin"}, set())


@pytest.mark.parametrize("name", ["bobby", "", " ", "..", 5, ["bob"]])
def test_nobody_is_renamed_without_the_files(hub: Hub, name: Any) -> None:
    hub.add_in_the_pages("bob")
    answer = hub.call("PATCH", "/users/bob", admin=True, name=name)
    assert answer.status == 400 and "renamed_from: bob" in answer.body["message"]
    assert hub.rows()["bob"][0] is False


@pytest.mark.parametrize("change", [{"groups": ["x"]}, {"roles": ["admin"]}])
def test_a_change_that_jupyterhub_would_leave_half_done(hub: Hub, change: dict[str, Any]) -> None:
    hub.add_in_the_pages("bob")
    assert hub.call("PATCH", "/users/bob", admin=True, **change).status == 400
    assert hub.rows()["bob"] == (False, {"user"}, set())


@pytest.mark.parametrize("name", [None, "", " ", 5])
def test_no_group_without_a_name(hub: Hub, name: Any) -> None:
    answer = hub.call("POST", "/groups", groups=[name])
    assert (answer.status, answer.body["message"]) == (400, f"{name!r} is no name")
    assert hub.groups() == set()


@pytest.mark.parametrize(
    ("name", "service"),
    [("x", {"url": "foo"}), ("y", {"url": "http://127.0.0.1:99999999/"}), ("%20", {}), ("z", {"oauth_client_id": "q"})],
)
def test_of_a_service_that_cannot_be_nothing_stays(restart: Restart, name: str, service: dict[str, Any]) -> None:
    hub = restart()
    assert hub.call("POST", f"/services/{name}", **service).status == 400
    assert {name for (name,) in hub.db.query(orm.Service.name)} == {"ansible", "other"}
    assert restart().mend({}) == {"remove": ["mia"]}


def test_a_service_that_ends_every_start_is_removed(restart: Restart) -> None:
    restart()
    wrong = "insert into services (name, url, from_config, timeout) values ('{}', {}, 0, 30)"
    hub = restart(wrong.format(" x", "null"), wrong.format("y", "'foo'"), wrong.format("", "null"))
    assert {name for (name,) in hub.db.query(orm.Service.name)} == {"ansible", "other"}


@pytest.mark.parametrize("called", [None, "", " ", "bobby"])
def test_a_user_who_lost_the_name_has_it_again(restart: Restart, declare: Declare, called: str | None) -> None:
    """At the start of the hub, with a running server that goes on; the last one is of JupyterHub's own renaming."""
    wish = declare({"alice": user(), "bob": user(admin=True, groups=["lab"])})
    hub = restart()
    hub.mend(wish)
    token = hub.row("bob").new_api_token()
    hub.serve("bob").orm_spawner.server.base_url = "/user/bob/"
    hub.db.commit()
    hub.db.query(orm.User).filter_by(name="bob").update({"name": called})
    hub.db.commit()
    hub = restart()
    assert hub.mend(wish) == {}
    assert hub.rows()["bob"] == (True, {"admin", "user"}, {"lab"})
    assert hub.app.users["bob"].spawners[""].active and hub.who(token) == 200
    assert FakeSpawner.stopped == []


def test_a_user_of_the_pages_is_known_by_the_running_server(restart: Restart) -> None:
    hub = restart()
    hub.add_in_the_pages("zoé")
    hub.serve("zoé").orm_spawner.server.base_url = "/below/user/zo%C3%A9/"
    hub.add_in_the_pages("carl")
    hub.db.commit()
    hub = restart("update users set name = null")
    assert hub.rows().keys() == {"zoé"}, "of carl nothing tells"
    assert hub.mend({}) == {"remove": ["zoé"], "running": ["zoé"]}
    assert FakeSpawner.stopped == [("zoé", True)]


@pytest.mark.parametrize("second", [False, True])
def test_who_has_logged_in_anew_since(restart: Restart, declare: Declare, second: bool) -> None:
    """The first row's server goes on in the second row; with a server of that it has ended already."""
    hub = restart()
    wish = declare({"bob": user()})
    hub.mend(wish)
    token = hub.row("bob").new_api_token()
    hub.serve("bob").orm_spawner.state = {"object_id": "first"}
    hub.db.commit()
    hub = restart(
        "update users set name = null, cookie_id = 'declared-bob-s1' where name = 'bob'", *NEW_BOB[: 3 if second else 1]
    )
    assert hub.rows().keys() == {"bob"}
    spawner = hub.app.users["bob"].spawners[""]
    assert (spawner.active, spawner.orm_spawner.state) == (True, {"object_id": "second" if second else "first"})
    assert hub.who(token) == 200
    assert hub.mend(wish) == {"log_out": ["bob"]}
    assert hub.db.query(orm.Spawner).count() == 1


NEW_BOB = [
    "insert into users (id, name, admin, cookie_id) values (50, 'bob', 0, 'another')",
    "insert into servers (id, proto, ip, port, base_url, cookie_name) "
    "values (50, 'http', '127.0.0.1', 1, '/user/bob/', 'c')",
    "insert into spawners (user_id, server_id, name, state) values (50, 50, '', '{\"object_id\": \"second\"}')",
]


def test_users_who_were_renamed_into_each_other(hub: Hub) -> None:
    """Each has the other's session, which no two rows may have at any time."""
    wish = {"alice": user(), "bob": user(), "carl": user()}
    hub.mend(wish)
    for old, new in (("alice", "x"), ("bob", "alice"), ("carl", "bob"), ("x", "carl")):
        hub.db.query(orm.User).filter_by(name=old).update({"name": new})
    hub.db.commit()
    assert hub.mend(wish) == {"log_out": ["alice", "bob", "carl"]}
    assert {name: hub.row(name).cookie_id for name in wish} == {name: f"declared-{name}-s1" for name in wish}
    hub.db.execute(text("update users set name = 'someone' where name = 'alice'"))
    hub.db.commit()
    assert hub.mend(wish) == {"mended": ["alice had the name 'someone'"]}


def test_a_server_without_a_user(restart: Restart) -> None:
    """Its user is there again: it ends with the user, or goes on."""
    hub = restart()
    hub.mend({"alice": user(), "bob": user()})
    for name in ("alice", "bob"):
        hub.serve(name).orm_spawner.server.base_url = f"/user/{name}/"
    hub.db.commit()
    hub = restart("delete from users where name = 'bob'", "update spawners set user_id = null")
    assert hub.mend({"alice": user()}) == {"remove": ["bob"], "running": ["bob"]}
    assert FakeSpawner.stopped == [("bob", True)]
    assert hub.app.users["alice"].spawners[""].active


def test_a_running_hub_is_mended_too(hub: Hub) -> None:
    wish = {"alice": user(), "bob": user(groups=["lab"])}
    hub.mend(wish)
    hub.serve("bob")
    hub.add_in_the_pages("zoe")
    for statement in (
        "update users set name = null where name in ('bob', 'zoe')",
        "insert into groups (name) values (null)",
        *NEW_BOB[:1],
    ):
        hub.db.execute(text(statement))
    hub.db.commit()
    before = hub.count()
    tried = hub.mend(wish, pretend=True)
    assert hub.count() == before
    assert hub.mend(wish) == tried
    assert sorted(tried.pop("mended")) == [
        "a group had no name", "a user was there a second time, with the name None",
        "bob was there a second time, with the name None",
    ]  # fmt: skip
    assert tried == {"log_out": ["bob"], "groups": {"bob": ["lab"]}}
    assert hub.mend(wish) == {}
    assert hub.app.users["bob"].spawners[""].active and FakeSpawner.stopped == []


# --- Another base URL -----------------------------------------------------


def answer_outside(hub: Hub, method: str, path: str) -> tuple[int, str | None]:
    """The status outside of the hub's own path, and where it leads."""
    address = hub.url.partition("/new/")[0] + path
    request = HTTPRequest(address, method, body=None if method == "GET" else "{}", follow_redirects=False)

    async def fetch() -> HTTPResponse:
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    answer = hub.run(fetch())
    return answer.code, answer.headers.get("Location")


@pytest.fixture
def moved(make_hub: MakeHub) -> Hub:
    """A hub that was below another base URL before."""
    hub = make_hub(JupyterHub={"base_url": "/new/"})
    hub.url = hub.url.replace("/hub", "/new/hub")
    return hub


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("before", ["", "/old", "/a/b"])
def test_the_api_is_found_below_an_earlier_base_url(moved: Hub, before: str, method: str) -> None:
    """A server that was started then asks there who wants in."""
    assert answer_outside(moved, method, f"{before}/hub/api/users/x?a=b") == (307, "/new/hub/api/users/x?a=b")


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [("/", "/new/hub/"), ("/new/user/bob/hub/api/x", "/new/hub/user/bob/hub/api/x"), ("/old/lab", "/new/hub/old/lab")],
)
def test_other_pages_lead_where_jupyterhub_has_them(moved: Hub, path: str, leads_to: str) -> None:
    assert answer_outside(moved, "GET", path) == (302, leads_to)
    assert answer_outside(moved, "POST", path)[0] == 405
