"""limits: what a user can have kept in the hub's database, and the answer to more."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import limits
import pytest
import short_records
from conftest import ROOT
from jupyterhub import orm, roles
from real_hub import Answer, Hub
from sqlalchemy import Unicode
from tornado.web import HTTPError
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

OPTIONS = "characters of user options: no more than 16,384"


@pytest.fixture
def ask(hub: Hub) -> Any:
    """ask(method, path, body…): what an ordinary user, zoe, is answered; she may share."""
    row = hub.add_in_the_pages("zoe")
    role = orm.Role(name="shares", scopes=["shares!user=zoe", "self"])
    hub.db.add(role)
    row.roles.append(role)
    roles.assign_default_roles(hub.db, row)
    token = row.new_api_token()

    def ask(method: str, path: str, **body: Any) -> Answer:
        return hub.run(hub.fetch(f"/api{path}", token, json.dumps(body), method))

    return ask


def long(count: int) -> str:
    return "x" * count


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_options_are_refused_before_a_server_is_made_of_them(hub: Hub, ask: Any, method: str, wrapped: bool) -> None:
    """With the key that JupyterHub has for them, and as the whole body."""
    options = {"a": long(limits.OPTIONS_MAX)}
    answer = ask(method, "/users/zoe/servers/one", **({"user_options": options} if wrapped else options))
    assert (answer.status, answer.body["message"]) == (400, OPTIONS)
    assert hub.db.query(orm.Spawner).filter_by(name="one").count() == 0
    assert hub.db.query(orm.APIToken).filter(orm.APIToken.note.like("Server at%")).count() == 0


def test_options_that_fit_are_kept(hub: Hub, ask: Any) -> None:
    assert ask("PUT", "/users/zoe/servers/one", user_options={"a": long(16_000)}).status == 201
    assert hub.db.query(orm.Spawner).filter_by(name="one").one().user_options == {"a": long(16_000)}


def test_options_of_a_server_that_is_there_are_refused_too(hub: Hub, ask: Any) -> None:
    assert ask("PUT", "/users/zoe/servers/one", user_options={"a": "b"}).status == 201
    answer = ask("PATCH", "/users/zoe/servers/one", user_options={"a": long(limits.OPTIONS_MAX)})
    assert (answer.status, answer.body["message"]) == (400, "characters of user_options: no more than 16,384")
    hub.db.expire_all()
    assert hub.db.query(orm.Spawner).filter_by(name="one").one().user_options == {"a": "b"}


def test_options_of_a_form_or_a_link_are_refused_too(hub: Hub) -> None:
    """What they are made of comes together in the spawner, whoever wrote the form."""
    from jupyterhub.handlers.base import BaseHandler

    with pytest.raises(HTTPError, match="16,384"):
        hub.run(BaseHandler.spawn_single_user(None, None, options={"file": [{"body": bytes(20_000)}]}))


@pytest.mark.parametrize("path", ["/users/zoe/tokens", "/users/zoe/server", "/users/zoe/activity", "/shares/zoe/"])
def test_no_request_of_a_user_is_large(ask: Any, path: str) -> None:
    """Whatever JupyterHub would do with it."""
    assert "bytes of a request" in ask("POST", path, a=long(limits.BODY_MAX)).body["message"]


def test_an_admins_lists_are_longer(hub: Hub) -> None:
    assert hub.call("POST", "/groups", groups=[f"{number:0250}" for number in range(300)]).status == 201


def test_what_else_would_fill_the_options_cannot(hub: Hub) -> None:
    spawner = orm.Spawner(user=hub.add_in_the_pages("zoe"))
    with pytest.raises(HTTPError, match="user_options: no more than 16,384"):
        spawner.user_options = {"a": long(limits.OPTIONS_MAX)}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"note": long(1024)}, "characters of note: no more than 1,023"),
        ({"note": "\ud800"}, "note is no text"),
        ({"expires_in": 10**12}, "seconds of expires_in: no more than 3,153,600,000"),
        ({"expires_in": 10**400}, "seconds of expires_in: no more than 3,153,600,000"),
        ({"scopes": ["access:servers!server=zoe/x"] * 3_000}, "bytes of a request: no more than 65,536"),
    ],
    ids=["note", "surrogate", "expiry", "large expiry", "scopes"],
)
def test_a_token_is_bounded(hub: Hub, ask: Any, body: dict[str, Any], said: str) -> None:
    before = hub.count()["api_tokens"]
    answer = ask("POST", "/users/zoe/tokens", **body)
    assert (answer.status, answer.body["message"]) == (400, said)
    assert hub.count()["api_tokens"] == before
    assert ask("POST", "/users/zoe/tokens", note="Grüße", expires_in=86_400).status == 201


def test_nobody_makes_tokens_without_end(hub: Hub, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the server, and of the services that ask it, come all the same; one that has ended does not count."""
    monkeypatch.setattr(limits, "TOKENS_MAX", 3)
    past = hub.row("zoe").new_api_token(expires_in=1)
    orm.APIToken.find(hub.db, past).expires_at = datetime(2020, 1, 1)
    hub.db.commit()
    first, second = (ask("POST", "/users/zoe/tokens") for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert "tokens of one user" in ask("POST", "/users/zoe/tokens").body["message"]
    assert "tokens of one user" in hub.call("POST", "/users/zoe/tokens").body["message"], "an admin makes none either"
    assert hub.row("zoe").new_api_token()


def test_a_stranger_does_not_learn_how_many_tokens_there_are(
    hub: Hub, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKENS_MAX", 0)
    hub.add_in_the_pages("bob")
    token = hub.row("bob").new_api_token()
    assert hub.run(hub.fetch("/api/users/zoe/tokens", token, "{}")).status == 403
    assert hub.run(hub.fetch("/api/users/zoe/tokens", "none", "{}")).status == 403


def test_the_newest_sessions_in_a_server_go_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOKENS_MAX", 3)
    hub.add_in_the_pages("zoe")
    hub.add_in_the_pages("bob")
    own, other = hub.row("zoe").new_api_token(), hub.browse("bob")
    client = hub.db.query(orm.OAuthClient).filter_by(identifier="jupyterhub-user-bob").one()
    made = [hub.row("zoe").new_api_token(oauth_client=client, scopes=["read:users:name!user"]) for _ in range(5)]
    assert [hub.who(token) for token in made] == [403, 403, 200, 200, 200]
    assert (hub.who(own), hub.who(other)) == (200, 200)


def test_nobody_makes_sharing_codes_without_end(hub: Hub, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CODES_MAX", 2)
    hub.serve("zoe")
    asked = [ask("POST", "/share-codes/zoe/") for _ in range(3)]
    assert [answer.status for answer in asked] == [200, 200, 400]
    assert "sharing codes of one server" in asked[2].body["message"]


def test_scopes_are_bounded() -> None:
    with pytest.raises(HTTPError, match="scopes: no more than"):
        orm.APIToken(scopes=["access:servers!server=zoe/x"] * 3_000)


def test_what_comes_with_a_session_is_bounded(hub: Hub) -> None:
    """A browser chooses its session's name, and a page the challenge of a login."""
    for column, maximum in (("session_id", 255), ("code_challenge", 255), ("redirect_uri", 1023)):
        with pytest.raises(HTTPError, match=f"{column}: no more than"):
            orm.OAuthCode(**{column: long(maximum + 1)})
        orm.OAuthCode(**{column: long(maximum)})


@pytest.mark.parametrize(
    ("path", "body"), [("/groups", {"groups": [long(256)]}), ("/users", {"usernames": [long(256)]})]
)
def test_names_are_bounded(hub: Hub, path: str, body: dict[str, Any]) -> None:
    assert hub.call("POST", path, **body).status == 400
    assert max(map(len, hub.rows())) < 10 and not hub.groups()


def test_every_text_that_a_user_may_fill_has_a_limit() -> None:
    """Of what JupyterHub may add, too: a column without a length has one of ours, or is filled by the hub alone."""
    by_hub = {"state", "user_info", "encrypted_auth_state", "properties"}
    for table in limits.TABLES:
        for attribute in table.__mapper__.column_attrs:
            column = attribute.columns[0].type
            if isinstance(column, orm.JSONDict | Unicode):
                assert attribute.key in limits.LISTS | dict.fromkeys(by_hub) or column.length, (
                    f"{table}.{attribute.key}"
                )


# --- The log --------------------------------------------------------------
def record(message: str, *given: Any, failed: bool = False) -> logging.LogRecord:
    """A record as the log makes it."""
    logger = logging.getLogger("test-limits")
    try:
        raise ValueError(long(100_000))
    except ValueError as error:
        about = (ValueError, error, error.__traceback__) if failed else None
        return logger.makeRecord(logger.name, logging.INFO, "file", 1, message, given, about)


def test_a_message_of_the_log_is_cut() -> None:
    assert record("GET %s", long(64_000)).getMessage() == f"GET {long(996)}… (64004 characters)"
    assert record("GET %s", "/hub/").getMessage() == "GET /hub/"


def test_a_traceback_is_cut() -> None:
    text = logging.Formatter().format(record("it failed", failed=True))
    assert text.startswith("it failed\nTraceback") and len(text) < 21_000


def test_a_users_server_cuts_as_the_hub_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its image has the file beside the configuration, which loads it."""
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    folder = short_records.__file__.rpartition("/")[0]
    loader = PyFileConfigLoader("short_records.py", folder)
    assert loader.load_config() == Config()
    assert record("GET %s", long(64_000)).getMessage().endswith("… (64004 characters)")


def test_each_attack_gets_through_without_the_limits(tmp_path: Path) -> None:
    """JupyterHub itself takes all of it: these tests fail in a process where nothing was bound."""
    (tmp_path / "unbound.py").write_text("import limits\nlimits.bound = lambda: None\n")
    attacks = "bounded or refused or without_end or newest or fill_the_options or no_request_of_a_user"
    pytest_here = [sys.executable, "-m", "pytest", "-p", "unbound", "-p", "no:cacheprovider", "-rfp", "--tb=no"]
    done = subprocess.run(
        [*pytest_here, "-k", attacks, __file__],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(limits.__file__).parent}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    outcomes = re.findall(r"^(PASSED|FAILED) ", done.stdout, re.M)
    assert set(outcomes) == {"FAILED"} and len(outcomes) > 20, done.stdout[-3000:]
