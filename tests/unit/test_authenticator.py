"""authenticator: who may log in, what they may do, and for how long."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import reconcile
from authenticator import HomeAuthenticator
from hub_settings import USERS, Files
from jupyterhub import orm
from jupyterhub.auth import PAMAuthenticator
from traitlets.config import Config


@pytest.fixture
def pam(monkeypatch: pytest.MonkeyPatch) -> None:
    """PAM that accepts whoever says `right`."""

    async def authenticate(self: Any, handler: Any, data: dict[str, str]) -> str | None:
        return data["username"] if data["password"] == "right" else None

    monkeypatch.setattr(PAMAuthenticator, "authenticate", authenticate)


def log_in(authenticator: Any, name: str, password: str = "right") -> Any:
    return asyncio.run(authenticator.get_authenticated_user(None, {"username": name, "password": password}))


@pytest.mark.usefixtures("pam")
def test_login_takes_admin_and_groups_from_the_file_each_time(files: Files) -> None:
    authenticator = HomeAuthenticator()
    alice = log_in(authenticator, "alice")
    assert (alice["admin"], alice["groups"]) == (True, ["staff"])
    assert log_in(authenticator, "bob")["admin"] is False
    assert log_in(authenticator, "alice", "wrong") is None
    assert log_in(authenticator, "root") is None
    files.write("users.json", {"root2": {}, "alice": {"admin": False}})
    assert log_in(authenticator, "root2")["groups"] == []
    assert log_in(authenticator, "alice")["admin"] is False
    assert log_in(authenticator, "bob") is None


def test_open_session_follows_the_file(files: Files) -> None:
    authenticator = HomeAuthenticator()
    handler = SimpleNamespace()
    alice = SimpleNamespace(name="alice")
    model: Any = asyncio.run(authenticator.refresh_user(alice, handler))
    assert model["admin"] is True
    files.write("users.json", {})
    assert asyncio.run(authenticator.refresh_user(alice, handler)) is False


@pytest.mark.usefixtures("files")
def test_authenticator_defaults_and_owner() -> None:
    ours = HomeAuthenticator()
    assert (ours.service, ours.allow_all, ours.manage_groups) == ("jupyterhub", True, True)
    assert ours.allowed_users == set(), "the file alone says who is allowed"
    owner = Config({"Authenticator": {"auth_refresh_age": 7}, "PAMAuthenticator": {"service": "login"}})
    theirs = HomeAuthenticator(config=owner)
    assert (theirs.auth_refresh_age, theirs.service) == (7, "login")


def added(name: str) -> Any:
    """A new user whom the hub has shown to the authenticator; returns the row of the database."""
    row = orm.User(name=name, cookie_id="random")
    asyncio.run(HomeAuthenticator().add_user(SimpleNamespace(name=name, orm_user=row)))
    return row


@pytest.mark.usefixtures("files")
def test_a_new_user_gets_the_declared_session() -> None:
    """No account of the system is asked for, and whoever is not declared may stand in the database."""
    assert added("alice").cookie_id == reconcile.cookie_id(USERS["alice"]) == "declared-a1"
    assert added("zoe").cookie_id == "random"


@pytest.mark.usefixtures("files")
def test_the_rows_that_there_are_stay_as_they_are() -> None:
    """At its start the hub shows each to the authenticator; their sessions are the reconciliation's business."""
    row = orm.User(name="alice", cookie_id="declared-older")
    asyncio.run(HomeAuthenticator().add_user(row))
    assert row.cookie_id == "declared-older"


def request_with(client: str | None) -> Any:
    """A request with a token for an OAuth client, None for one with a cookie."""
    token = SimpleNamespace(client_id=client)
    return SimpleNamespace(get_token=lambda: token if client else None)


@pytest.mark.parametrize(
    ("stay", "cookie_id", "client", "good"),
    [
        (True, "random", "jupyterhub", True),
        (True, "random", "jupyterhub-user-zoe", False),  # a session in a browser, of a login that there was once
        (True, "random", None, False),
        (True, "declared-z1", "jupyterhub", False),  # who was declared is gone with the declaration
        (False, "random", "jupyterhub", False),
        (None, "random", "jupyterhub", False),
    ],
)
def test_tokens_of_users_of_the_pages(
    files: Files, stay: bool | None, cookie_id: str, client: str | None, good: bool
) -> None:
    if stay is not None:
        files.write("undeclared.json", {"stay": stay})
    zoe = SimpleNamespace(name="zoe", orm_user=SimpleNamespace(cookie_id=cookie_id))
    assert asyncio.run(HomeAuthenticator().refresh_user(zoe, request_with(client))) is good


@pytest.mark.usefixtures("pam")
def test_users_of_the_pages_cannot_log_in(files: Files) -> None:
    files.write("undeclared.json", {"stay": True})
    assert log_in(HomeAuthenticator(), "zoe") is None
