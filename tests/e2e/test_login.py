"""Who gets in, and who does not."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import requests
from client import HubClient, LoginRefused
from conftest import DECLARED, PASSWORDS, ClientFactory
from testinfra.host import Host

SHADOW = "/opt/jupyterhub-home/users/shadow"


@pytest.mark.parametrize("name", PASSWORDS)
def test_declared_user_gets_in(login: ClientFactory, name: str) -> None:
    """A password with spaces, quotes and umlauts; a name that is escaped; a hash instead."""
    assert login(name).model()["name"] == name


def test_rights_are_as_declared(login: ClientFactory) -> None:
    mia, alice = login("mia").model(), login("alice.smith").model()
    assert (mia["admin"], sorted(mia["groups"])) == (True, ["family"])
    assert (alice["admin"], sorted(alice["groups"])) == (False, ["children", "family"])


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("bob", "wrong", id="wrong password"),
        pytest.param("bob", "", id="no password"),
        pytest.param("nobody-here", "bob-test-secret", id="unknown user"),
        pytest.param("root", "", id="root of the container"),
        pytest.param("lou", "", id="locked, no password"),
        pytest.param("lou", "!", id="locked, the lock as password"),
    ],
)
def test_refused(url: str, name: str, password: str) -> None:
    with pytest.raises(LoginRefused, match="Invalid username or password"):
        HubClient(url, name, password).login()


@pytest.fixture
def empty_hash(host: Host) -> Iterator[None]:
    """While it lasts, lou's hash is empty: for stock PAM, a login without password."""
    host.check_output(f"cp --preserve {SHADOW} {SHADOW}.kept")
    host.check_output(f"sed --in-place=.edited 's/^lou:!:/lou::/' {SHADOW}")
    host.check_output(f"chown --reference={SHADOW}.kept {SHADOW}")
    yield
    host.check_output(f"mv {SHADOW}.kept {SHADOW} && rm {SHADOW}.edited")


@pytest.mark.usefixtures("empty_hash")
@pytest.mark.parametrize("password", ["", "anything"])
def test_empty_hash_is_refused(host: Host, url: str, password: str) -> None:
    assert host.file(SHADOW).contains("^lou::")
    with pytest.raises(LoginRefused):
        HubClient(url, "lou", password).login()


def test_nobody_else_is_declared() -> None:
    """Whoever has neither a password here nor the lock would be in no test of a login."""
    assert {user["name"] for user in DECLARED} - PASSWORDS.keys() == {"lou"}


def test_refusal_tells_nothing_about_the_user(url: str) -> None:
    answers = set()
    for name in ("bob", "nobody-here"):
        with pytest.raises(LoginRefused) as refused:
            HubClient(url, name, "wrong").login()
        answers.add(str(refused.value))
    assert len(answers) == 1


def begin_to_send(url: str, size: int) -> int:
    """The status of a POST that says how large its body is and sends the first of it."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.putrequest("POST", parts.path)
    connection.putheader("Content-Length", str(size))
    connection.endheaders(b"x" * 1000)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_hub_takes_no_large_body(url: str, serve: ClientFactory) -> None:
    """It would keep it in memory, from anybody. A server's own pages take one, as an upload is."""
    for path in ("/hub/login", "/hub/api/users", "/hub/spawn"):
        assert requests.post(f"{url}{path}", data=b"x" * 2**20, timeout=60).status_code == 403, "without a login"
        assert begin_to_send(f"{url}{path}", 3 * 2**20) == 400, "and it does not wait for the rest"
    bob = serve("bob")
    text = "x" * 3 * 2**20
    bob.save("large.txt", text)
    assert bob.load("large.txt") == text
    bob.api("DELETE", "/contents/large.txt").raise_for_status()
