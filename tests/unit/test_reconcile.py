"""The hub's database made to match the declared users, in JupyterHub itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyterhub import orm
from real_hub import FakeSpawner, Hub, MakeHub
from sqlalchemy import text
from users_contract import (
    AFTER,
    ANOTHER_AUTHENTICATOR,
    BEFORE,
    EVERYTHING,
    NOTHING,
    OUTDATED,
    RUNNING,
    STUCK,
    request,
)
from users_contract import entry as user


@pytest.mark.parametrize("pretend", [True, False])
def test_the_answer_is_that_of_the_contract(hub: Hub, monkeypatch: pytest.MonkeyPatch, pretend: bool) -> None:
    """The tests of the users module feed it the same."""
    assert hub.post(request(BEFORE)).status == 200
    assert hub.post(request(BEFORE)) == (200, NOTHING)
    for name in RUNNING:
        monkeypatch.setattr(hub.serve(name), "outdated", tuple(OUTDATED.get(name, ())), raising=False)
    hub.db.execute(text("insert into groups (name) values (null)"))
    hub.db.commit()
    assert hub.post(request(AFTER, pretend=pretend)) == (200, EVERYTHING)
    assert all(EVERYTHING.values()), "a kind of difference without an example"


def test_four_steps(hub: Hub) -> None:
    """Pretend, real, real again, pretend again: foretold, done, and then nothing to do."""
    hub.reconcile(
        {"alice": user(admin=True), "bob": user(groups=["lab"]), "carl": user(groups=["old"]), "dora": user()}
    )
    hub.serve("carl")
    desired = {
        "alice": user(),
        "bob": user(True, ["lab", "new"]),
        "dora": user(session="s2"),
        "eve": user(groups=["new"]),
    }
    before, counted = hub.rows(), hub.count()
    tried = hub.reconcile(desired, pretend=True)
    assert tried == {
        "add": ["eve"], "remove": ["carl"], "promote": ["bob"], "demote": ["alice"], "log_out": ["dora"],
        "groups": {"bob": ["lab", "new"]}, "remove_groups": ["old"], "running": ["carl"],
    }  # fmt: skip
    assert (hub.rows(), hub.count(), FakeSpawner.stopped) == (before, counted, [])
    assert hub.reconcile(desired) == tried
    after = {
        "alice": (False, {"user"}, set()), "bob": (True, {"user", "admin"}, {"lab", "new"}),
        "dora": (False, {"user"}, set()), "eve": (False, {"user"}, {"new"}),
    }  # fmt: skip
    assert (hub.rows(), hub.groups()) == (after, {"lab", "new"})
    counted = hub.count()
    for pretend in (False, True):
        assert hub.reconcile(desired, pretend=pretend) == {}
        assert (hub.rows(), hub.count()) == (after, counted)


def test_everybody_goes(hub: Hub) -> None:
    hub.reconcile({"alice": user(groups=["lab"])})
    assert hub.reconcile({}) == {"remove": ["alice"], "remove_groups": ["lab"]}
    assert (hub.rows(), hub.groups()) == ({}, set())


def test_of_a_removed_user_nothing_is_left(hub: Hub) -> None:
    hub.reconcile({"alice": user()})
    assert hub.app.users["alice"].name == "alice"  # and has the row of a server, as everybody whom the hub has seen
    counted = hub.count()
    hub.reconcile({"alice": user(), "bob": user(groups=["lab"])})
    own, browser = hub.row("bob").new_api_token(), hub.browse("bob")
    hub.serve("bob")
    hub.serve("bob", "second")
    assert (hub.who(own), hub.who(browser)) == (200, 200)
    hub.reconcile({"alice": user()})
    assert (hub.who(own), hub.who(browser)) == (403, 403)
    assert "bob" not in hub.rows()
    assert hub.count() == counted


def test_who_comes_back_is_somebody_new(hub: Hub) -> None:
    """A cookie of a former bob opens nothing of the later one's, though SQLite gives his number again."""
    hub.reconcile({"bob": user(session="first")})
    cookie, number = hub.row("bob").cookie_id, hub.row("bob").id
    hub.reconcile({})
    hub.reconcile({"bob": user(session="second")})
    assert (hub.row("bob").cookie_id, hub.row("bob").id) == ("declared-bob-second", number) != (cookie, number)


def test_running_servers_stop_before_their_user_goes(hub: Hub) -> None:
    hub.reconcile({"alice": user(), "bob": user(), "carl": user()})
    for name, server in (("alice", ""), ("bob", ""), ("bob", "second")):
        hub.serve(name, server)
    assert hub.reconcile({"alice": user()}) == {"remove": ["bob", "carl"], "running": ["bob"]}
    assert sorted(FakeSpawner.stopped) == [("bob", True), ("bob:second", True)]
    assert hub.app.users["alice"].spawners[""].active
    assert hub.rows().keys() == {"alice"}


@pytest.mark.parametrize("pending", ["_spawn_pending", "_stop_pending"])
def test_a_server_that_is_starting_or_stopping_is_waited_for(hub: Hub, pending: str) -> None:
    hub.reconcile({"bob": user()})
    spawner = hub.serve("bob")
    setattr(spawner, pending, True)
    hub.loop.call_later(0.3, setattr, spawner, pending, False)
    assert hub.reconcile({}) == {"remove": ["bob"], "running": ["bob"]}
    assert (FakeSpawner.stopped, hub.rows()) == ([("bob", True)], {})


def test_a_demoted_admin_has_no_role_and_no_session(hub: Hub) -> None:
    hub.reconcile({"alice": user(admin=True)})
    browser = hub.browse("alice")
    assert hub.rows()["alice"][:2] == (True, {"admin", "user"})
    # With another password, too.
    assert hub.reconcile({"alice": user(session="s2")}) == {"demote": ["alice"], "log_out": ["alice"]}
    assert hub.rows()["alice"][:2] == (False, {"user"})
    assert (hub.who(browser), hub.row("alice").cookie_id) == (403, "declared-alice-s2")
    assert hub.reconcile({"alice": user(session="s2")}) == {}
    assert hub.reconcile({"alice": user(admin=True, session="s2")}) == {"promote": ["alice"]}
    assert hub.rows()["alice"][:2] == (True, {"admin", "user"})


def test_a_demotion_ends_browser_sessions_in_servers_of_others(hub: Hub) -> None:
    hub.reconcile({"alice": user(admin=True), "bob": user()})
    browsers = {name: hub.browse(name) for name in ("alice", "bob")}
    cookie = hub.row("alice").cookie_id
    assert hub.reconcile({"alice": user(), "bob": user()}) == {"demote": ["alice"]}
    assert {name: hub.who(token) for name, token in browsers.items()} == {"alice": 403, "bob": 200}
    assert hub.row("alice").cookie_id == cookie


def test_another_password_ends_browser_sessions_and_nothing_else(hub: Hub) -> None:
    hub.reconcile({"alice": user(), "bob": user()})
    tokens = {name: (hub.row(name).new_api_token(), hub.browse(name)) for name in ("alice", "bob")}
    hub.serve("alice")
    servers_own = hub.row("alice").new_api_token(note="Server at /user/alice/")
    cookies = {name: hub.row(name).cookie_id for name in ("alice", "bob")}
    assert hub.reconcile({"alice": user(session="s2"), "bob": user()}) == {"log_out": ["alice"]}
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
    hub.reconcile({"alice": user(groups=["lab", "gone"])})
    assert hub.reconcile({"alice": user(groups=["lab"])}) == {"groups": {"alice": ["lab"]}, "remove_groups": ["gone"]}
    assert hub.groups() == {"of-the-owner", "of-a-role", "lab"}


def test_the_owners_admins_are_admins(make_hub: MakeHub) -> None:
    hub = make_hub(Authenticator={"admin_users": {"bob"}})
    hub.reconcile({"alice": user(), "bob": user()})
    assert {name: admin for name, (admin, *_) in hub.rows().items()} == {"alice": False, "bob": True}
    assert hub.reconcile({"alice": user(), "bob": user()}) == {}


def test_users_of_the_pages_go_or_stay_as_wished(hub: Hub) -> None:
    hub.reconcile({"alice": user(), "bob": user(groups=["lab"])})
    hub.add_in_the_pages("zoe", "hers")
    assert hub.reconcile({"alice": user()}, keep=True) == {"remove": ["bob"], "remove_groups": ["lab"]}
    assert hub.reconcile({"alice": user()}, keep=True) == {}
    assert hub.rows()["zoe"] == (False, {"user"}, {"hers"})
    assert hub.reconcile({"alice": user()}) == {"remove": ["zoe"], "remove_groups": ["hers"]}
    assert hub.rows().keys() == {"alice"}


def test_a_user_of_the_pages_who_is_declared_later_goes_with_the_declaration(hub: Hub) -> None:
    hub.add_in_the_pages("zoe", "hers")
    found = hub.reconcile({"zoe": user()}, keep=True)
    assert found == {"log_out": ["zoe"], "groups": {"zoe": []}, "remove_groups": ["hers"]}
    assert hub.reconcile({}, keep=True) == {"remove": ["zoe"]}


def test_a_removal_that_was_cut_short_is_finished(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rights went first; the row still says that it was declared."""
    hub.reconcile({"alice": user(), "bob": user(admin=True), "carl": user()})
    browser = hub.browse("bob")
    cookie = hub.row("bob").cookie_id
    hub.serve("bob")
    FakeSpawner.stuck.add("bob")
    assert hub.ask({"alice": user()}) == STUCK
    assert hub.who(browser) == 403 and hub.row("bob").cookie_id != cookie
    assert hub.rows().keys() == {"alice", "bob"}
    FakeSpawner.stuck.clear()
    # JupyterHub takes it for stopped by now, but it runs.
    assert hub.reconcile({"alice": user()}, keep=True) == {"remove": ["bob"]}
    assert hub.rows().keys() == {"alice"} and FakeSpawner.running == set()


def test_another_authenticator_decides_until_the_list_does(make_hub: MakeHub) -> None:
    """A run that takes that authenticator away asks the hub that still has it, to tell in a try what will go."""
    hub = make_hub(JupyterHub={"authenticator_class": "dummy"}, Authenticator={"allow_all": True})
    hub.add_in_the_pages("stranger")
    hub.serve("stranger")
    assert hub.ask({"alice": user()}) == ANOTHER_AUTHENTICATOR
    tried = hub.ask({"alice": user()}, pretend=True, decides=True).body
    assert (tried["add"], tried["remove"], tried["running"]) == (["alice"], ["stranger"], ["stranger"])
    assert hub.rows().keys() == {"stranger"}
    assert hub.ask({"alice": user()}, decides=True).body == tried
    assert hub.rows().keys() == {"alice"} and FakeSpawner.stopped == [("stranger", True)]


def test_tokens_of_users_who_stay_are_good(hub: Hub, tmp_path: Path) -> None:
    """Until they do not stay any more."""
    hub.app.authenticator.auth_refresh_age = 30
    hub.reconcile({"alice": user()})
    token = hub.add_in_the_pages("zoe").new_api_token()
    assert hub.who(token) == 403
    undeclared = tmp_path / "undeclared.json"
    for stay, status in (("true", 200), ("false", 403)):
        undeclared.write_text(f'{{"stay": {stay}}}')
        hub.app.users["zoe"]._auth_refreshed = None  # later
        assert hub.who(token) == status


def test_servers_on_older_settings_are_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    desired = {"alice": user(), "bob": user(), "carl": user()}
    hub.reconcile(desired)
    for name, server in (("alice", ""), ("bob", "second"), ("carl", "")):
        monkeypatch.setattr(hub.serve(name, server), "outdated", ("image", "cpu_limit"), raising=False)
    hub.app.users["carl"].spawners[""]._stop_pending = True
    desired["alice"]["uid"] = 1001
    assert hub.reconcile(desired, pretend=True)["outdated"] == {
        "alice": ["image", "cpu_limit", "uid"],
        "bob/second": ["image", "cpu_limit"],
    }


def test_another_spawner_knows_of_no_settings(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.reconcile({"alice": user()})
    hub.serve("alice")
    monkeypatch.delattr(FakeSpawner, "outdated_settings")
    assert hub.reconcile({"alice": user()}) == {}
