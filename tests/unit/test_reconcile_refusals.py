"""The hub's answers to Ansible when something is in the way: who may not ask, servers, the database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
import reconcile
from real_hub import TOKEN, Answer, FakeSpawner, Hub, MakeHub, NoProxy
from users_contract import (
    LOCKED,
    NOTHING,
    STUCK,
    request,
)
from users_contract import entry as user


def test_only_the_service_with_the_scope_may_ask(hub: Hub) -> None:
    hub.reconcile({"alice": user(admin=True)})
    admin = hub.row("alice").new_api_token()
    assert hub.who(admin) == 200
    for token in (admin, TOKEN[::-1], "nonsense"):
        answer = hub.ask({}, token=token)
        assert answer.status == 403 and answer.body["message"]
    assert hub.rows().keys() == {"alice"}


@pytest.mark.parametrize("body", ["", "[]", "{}", "null", '{"users": {}, "pretend": false}', "{"])
def test_a_wish_without_a_form(hub: Hub, body: str) -> None:
    hub.reconcile({"alice": user()})
    answer = hub.post(body)
    assert answer.status == 400 and answer.body["message"]
    assert hub.rows().keys() == {"alice"}


def test_a_server_that_does_not_settle(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.reconcile({"alice": user(), "bob": user()})
    hub.serve("bob")._spawn_pending = True
    monkeypatch.setattr(reconcile, "PENDING_MAX", 0)
    answer = hub.ask({"alice": user()})
    assert (answer.status, answer.body["message"]) == (503, "the server bob does not finish its spawn")
    assert hub.rows().keys() == {"alice", "bob"}


@pytest.mark.parametrize("ended", [False, True])
def test_a_server_that_the_proxy_does_not_let_go(hub: Hub, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    hub.reconcile({"bob": user()})
    hub.serve("bob")
    if ended:  # which the hub has not seen yet
        FakeSpawner.running.clear()
    monkeypatch.setattr(NoProxy, "delete_route", lambda *_: 1 / 0)
    assert hub.ask({}) == STUCK
    assert hub.rows().keys() == {"bob"}


def test_one_who_cannot_go_holds_up_nobody_else(hub: Hub) -> None:
    """And the answer comes when the others are gone."""
    hub.reconcile({name: user() for name in ("alice", "bob", "carl", "dora")})
    for name in ("bob", "carl"):
        hub.serve(name)
    FakeSpawner.stuck.add("bob")
    assert hub.ask({"alice": user()}) == STUCK
    assert hub.rows().keys() == {"alice", "bob"}


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database(make_hub: MakeHub, tmp_path: Path, lock: str) -> None:
    hub = make_hub(f"sqlite:///{tmp_path}/hub.sqlite")
    hub.reconcile({"alice": user()})
    other = sqlite3.connect(tmp_path / "hub.sqlite", isolation_level=None)
    other.execute(f"BEGIN {lock}")
    assert hub.ask({"bob": user()}) == LOCKED
    other.execute("ROLLBACK")
    other.close()
    assert hub.reconcile({"bob": user()}) == {"add": ["bob"], "remove": ["alice"]}


def test_a_damaged_database(make_hub: MakeHub, tmp_path: Path) -> None:
    path = tmp_path / "hub.sqlite"
    hub = make_hub(f"sqlite:///{path}")
    hub.reconcile({"alice": user()})
    path.write_bytes(b"no database" * 10000)
    answer = hub.ask({"bob": user()})
    assert answer.status == 503
    assert answer.body["message"] == "the hub's database cannot be used: file is not a database"


def test_two_at_a_time_do_not_meet(hub: Hub) -> None:
    """Two runs that both add and remove: the second waits, and finds what the first left."""
    hub.reconcile({"alice": user(), "bob": user()})
    hub.serve("bob")
    body = json.dumps(request({"carl": user()}))

    async def both() -> list[Answer]:
        return await asyncio.gather(*(hub.fetch(reconcile.PATH, TOKEN, body) for _ in range(2)))

    first, second = sorted(hub.run(both()), key=lambda answer: not answer.body["add"])
    assert (first.status, second.status) == (200, 200)
    assert first.body == {**NOTHING, "add": ["carl"], "remove": ["alice", "bob"], "running": ["bob"]}
    assert second.body == NOTHING
