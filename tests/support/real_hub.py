"""JupyterHub itself, asked over HTTP, with its database in memory or a file, and servers that are only said to run."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import limits
import pytest
import reconcile
import settings_files
import upstream
from authenticator import HomeAuthenticator
from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.proxy import Proxy
from jupyterhub.spawner import Spawner
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from traitlets.config import Config
from users_contract import NOTHING, PATH, SERVERS, request

Result = TypeVar("Result")
TOKEN = "token-of-the-service-ansible"


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

    def outdated_settings(self, settings: dict[str, Any], users: dict[str, Any]) -> list[str]:
        assert settings == SERVERS
        return [*self.outdated, *({"uid"} & users.get(self.user.name, {}).keys())]


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
                    "tornado_settings": {"slow_spawn_timeout": 0.1},  # for none of these servers ever answers
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

    def post(self, body: Any, token: str = TOKEN) -> Answer:
        """What the hub answers to the body of a request; a text is sent as it is."""
        text = body if isinstance(body, str) else json.dumps(body)
        return self.run(self.fetch(PATH.removeprefix("/hub"), token, text))

    def ask(
        self,
        users: dict[str, Any],
        *,
        pretend: bool = False,
        keep: bool = False,
        decides: bool = False,
        token: str = TOKEN,
    ) -> Answer:
        """What the hub answers to a desired. No two users have the same session, so each gets one with the name."""
        users = {name: {**entry, "session": f"{name}-{entry['session']}"} for name, entry in users.items()}
        body = request(users, keep_undeclared=keep, pretend=pretend, decides=decides)
        return self.post(body, token)

    def reconcile(self, users: dict[str, Any], *, pretend: bool = False, keep: bool = False) -> dict[str, Any]:
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
        """A running server of a user's; returns its spawner."""
        owner = self.app.users[name]
        if server:
            owner._new_orm_spawner(server, server)
        spawner = owner.spawners[server]
        spawner.orm_spawner.server = orm.Server(ip="127.0.0.1", port=1)
        self.db.commit()
        FakeSpawner.running.add(spawner._log_name)
        assert spawner.active
        return spawner


MakeHub = Callable[..., Hub]


@contextlib.contextmanager
def hubs(loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHub]:
    """make(database address, Class={trait: value}): a hub; they end together."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_files, "USERS", tmp_path / "users.json")
    monkeypatch.setattr(settings_files, "UNDECLARED", tmp_path / "undeclared.json")
    upstream.patch(settings_files.declared_users)
    limits.bound()
    nothing: dict[str, Any] = {"running": set(), "stuck": set(), "stopped": []}
    for name, empty in nothing.items():
        monkeypatch.setattr(FakeSpawner, name, empty, raising=False)
    made = []

    def make(url: str = "sqlite:///:memory:", **config: Any) -> Hub:
        made.append(Hub(loop, url, **config))
        return made[-1]

    yield make
    for hub in made:
        hub.server.stop()
        hub.db.close()
