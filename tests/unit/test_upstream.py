"""upstream: what JupyterHub does wrong does no harm, and rows that nobody can have are repaired."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from real_hub import FakeSpawner, Hub, MakeHub
from sqlalchemy import text
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from users_contract import entry as user


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
    """declare(users): write users.json; returns the same users."""

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
    assert restart().reconcile({}) == {"remove": ["mia"]}


def test_a_service_that_ends_every_start_is_removed(restart: Restart) -> None:
    restart()
    wrong = "insert into services (name, url, from_config, timeout) values ('{}', {}, 0, 30)"
    hub = restart(wrong.format(" x", "null"), wrong.format("y", "'foo'"), wrong.format("", "null"))
    assert {name for (name,) in hub.db.query(orm.Service.name)} == {"ansible", "other"}


@pytest.mark.parametrize("called", [None, "", " ", "bobby"])
def test_a_user_who_lost_the_name_has_it_again(restart: Restart, declare: Declare, called: str | None) -> None:
    """At the start of the hub, with a running server that goes on; the last one is of JupyterHub's own renaming."""
    desired = declare({"alice": user(), "bob": user(admin=True, groups=["lab"])})
    hub = restart()
    hub.reconcile(desired)
    token = hub.row("bob").new_api_token()
    hub.serve("bob").orm_spawner.server.base_url = "/user/bob/"
    hub.db.commit()
    hub.db.query(orm.User).filter_by(name="bob").update({"name": called})
    hub.db.commit()
    hub = restart()
    assert hub.reconcile(desired) == {}
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
    assert hub.reconcile({}) == {"remove": ["zoé"], "running": ["zoé"]}
    assert FakeSpawner.stopped == [("zoé", True)]


@pytest.mark.parametrize("second", [False, True])
def test_who_has_logged_in_anew_since(restart: Restart, declare: Declare, second: bool) -> None:
    """The first row's server goes on in the second row; with a server of that it has ended already."""
    hub = restart()
    desired = declare({"bob": user()})
    hub.reconcile(desired)
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
    assert hub.reconcile(desired) == {"log_out": ["bob"]}
    assert hub.db.query(orm.Spawner).count() == 1


NEW_BOB = [
    "insert into users (id, name, admin, cookie_id) values (50, 'bob', 0, 'another')",
    "insert into servers (id, proto, ip, port, base_url, cookie_name) "
    "values (50, 'http', '127.0.0.1', 1, '/user/bob/', 'c')",
    "insert into spawners (user_id, server_id, name, state) values (50, 50, '', '{\"object_id\": \"second\"}')",
]


def test_users_who_were_renamed_into_each_other(hub: Hub) -> None:
    """Each has the other's session, which no two rows may have at any time."""
    desired = {"alice": user(), "bob": user(), "carl": user()}
    hub.reconcile(desired)
    for old, new in (("alice", "x"), ("bob", "alice"), ("carl", "bob"), ("x", "carl")):
        hub.db.query(orm.User).filter_by(name=old).update({"name": new})
    hub.db.commit()
    assert hub.reconcile(desired) == {"log_out": ["alice", "bob", "carl"]}
    assert {name: hub.row(name).cookie_id for name in desired} == {name: f"declared-{name}-s1" for name in desired}
    hub.db.execute(text("update users set name = 'someone' where name = 'alice'"))
    hub.db.commit()
    assert hub.reconcile(desired) == {"mended": ["alice had the name 'someone'"]}


def test_a_server_without_a_user(restart: Restart) -> None:
    """Its user is there again: it ends with the user, or goes on."""
    hub = restart()
    hub.reconcile({"alice": user(), "bob": user()})
    for name in ("alice", "bob"):
        hub.serve(name).orm_spawner.server.base_url = f"/user/{name}/"
    hub.db.commit()
    hub = restart("delete from users where name = 'bob'", "update spawners set user_id = null")
    assert hub.reconcile({"alice": user()}) == {"remove": ["bob"], "running": ["bob"]}
    assert FakeSpawner.stopped == [("bob", True)]
    assert hub.app.users["alice"].spawners[""].active


def test_a_running_hub_is_repaired_too(hub: Hub) -> None:
    desired = {"alice": user(), "bob": user(groups=["lab"])}
    hub.reconcile(desired)
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
    tried = hub.reconcile(desired, pretend=True)
    assert hub.count() == before
    assert hub.reconcile(desired) == tried
    assert sorted(tried.pop("mended")) == [
        "a group had no name", "a user was there a second time, with the name None",
        "bob was there a second time, with the name None",
    ]  # fmt: skip
    assert tried == {"log_out": ["bob"], "groups": {"bob": ["lab"]}}
    assert hub.reconcile(desired) == {}
    assert hub.app.users["bob"].spawners[""].active and FakeSpawner.stopped == []


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
