"""jupyterhub.home.users: what the hub is asked, and what is made of its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import crypt, hub
from conftest import Program, Serve
from notes import foretold
from users_contract import (
    AFTER,
    ANOTHER_AUTHENTICATOR,
    EVERYTHING,
    LOCKED,
    NOTHING,
    OUTDATED,
    PATH,
    SAID,
    SERVERS,
    STUCK,
    Answer,
    refusal,
    request,
)
from users_runs import ALICE, BOB, TOKEN, Converge, hash_in, names_in, rights_in, sessions_in


def test_without_a_hub_ever_started_nobody_is_asked(converge: Converge, serve: Serve, token_file: Path) -> None:
    web = serve((200, NOTHING))
    token_file.unlink()
    failed = converge(ALICE, url=web.url)
    assert failed["failed"] and f"{token_file} is not there; run without --tags first" in failed["msg"]
    assert converge(ALICE, url=web.url, check=True)["reconciled"] is False
    assert web.asked == []


@pytest.mark.parametrize("check", [True, False])
def test_request_and_answer_are_those_of_the_contract(
    folder: Path, converge: Converge, serve: Serve, check: bool
) -> None:
    """The hub's own tests are asked, and answer, the same."""
    wanted = [{"name": name, "password": "hunter2", **AFTER[name]} for name in AFTER]
    converge(*wanted)
    web = serve((200, EVERYTHING))
    done = converge(*wanted, url=web.url, check=check)
    (asked,) = web.asked
    assert asked.what == f"POST {PATH}"
    sessions = sessions_in(folder)
    assert asked.body == request({name: {**AFTER[name], "session": sessions[name]} for name in AFTER}, pretend=check)
    assert done["notes"] == ([foretold(note) for note in SAID] if check else SAID)
    assert done["outdated"] == OUTDATED


@pytest.mark.parametrize("keep", [True, False])
def test_the_hub_gets_the_users_of_the_file(folder: Path, converge: Converge, serve: Serve, keep: bool) -> None:
    web = serve((200, NOTHING))
    tried = converge(ALICE, BOB, url=web.url, keep_undeclared=keep, check=True)
    done = converge(ALICE, {"name": "carl", "state": "absent"}, url=web.url, keep_undeclared=keep)
    assert tried["reconciled"] and done["reconciled"]
    foretold, asked = web.asked
    assert foretold.what == asked.what == f"POST {PATH}"
    assert foretold.token == asked.token == f"token {TOKEN}"
    assert (foretold.body["pretend"], asked.body["pretend"]) == (True, False)
    assert foretold.body["keep_undeclared"] is asked.body["keep_undeclared"] is keep
    assert foretold.body["servers"] == asked.body["servers"] == SERVERS
    assert sorted(foretold.body["users"]) == ["alice", "bob"]
    assert asked.body["users"] == rights_in(folder)


@pytest.mark.parametrize("check", [True, False])
def test_what_the_hub_repairs_is_a_change(converge: Converge, serve: Serve, check: bool) -> None:
    converge(ALICE, BOB)
    found = {
        "add": ["alice"], "remove": ["zoe", "yan"], "running": ["zoe"], "promote": ["alice"], "demote": ["bob"],
        "log_out": ["bob"], "groups": {"bob": ["lab"]}, "remove_groups": ["old"], "outdated": {"bob": ["image"]},
    }  # fmt: skip
    done = converge(ALICE, BOB, url=serve((200, found)).url, check=check)
    assert (done["changed"], done["added"], done["updated"], done["removed"]) == (True, [], [], [])
    said = [
        "Added to the hub: alice",
        "Removed from the hub, with sessions and tokens: zoe, yan",
        "Their servers were running, and are stopped: zoe",
        "Admin now: alice",
        "No admin any more: bob",
        "Sessions ended: bob",
        "Other groups: bob",
        "Groups removed: old",
    ]
    assert done["notes"] == ([foretold(note) for note in said] if check else said)
    assert not check or not {*said} & {*done["notes"]}, "a try speaks as if it had done something"
    assert done["diff"][1]["after"].splitlines() == done["notes"]
    assert done["outdated"] == {"bob": ["image"]}


def test_what_is_merely_outdated_is_no_change(converge: Converge, serve: Serve) -> None:
    converge(ALICE)
    done = converge(ALICE, url=serve((200, {**NOTHING, "outdated": {"alice": ["image"]}})).url)
    assert (done["changed"], done["notes"], done["outdated"]) == (False, [], {"alice": ["image"]})
    assert len(done["diff"]) == 1


@pytest.mark.parametrize("answer", [502, 503, 404, (403, {"message": "no"}), (503, {"message": "database is locked"})])
def test_a_hub_that_need_not_answer(folder: Path, converge: Converge, serve: Serve, answer: Any) -> None:
    """In check mode it may not be there yet, or be one that the run would start anew."""
    web = serve(answer)
    for url in (web.url, "http://127.0.0.1:1/"):
        tried = converge(ALICE, url=url, check=True)
        assert (tried["changed"], tried["reconciled"], tried["notes"]) == (True, False, [])
    assert not folder.exists() and len(web.asked) == 1


@pytest.mark.usefixtures("no_waiting")
def test_a_hub_that_starts_is_waited_for(converge: Converge, serve: Serve) -> None:
    web = serve(502, 503, 404, 502, (200, {**NOTHING, "add": ["alice"]}))
    done = converge(ALICE, url=web.url)
    assert (done["reconciled"], done["notes"]) == (True, ["Added to the hub: alice"])
    assert len(web.asked) == 5


@pytest.mark.usefixtures("no_waiting")
def test_a_hub_that_must_answer(folder: Path, converge: Converge) -> None:
    converge(BOB)
    failed = converge(ALICE, url="http://127.0.0.1:1/")
    assert failed["failed"] and failed["changed"]
    assert failed["msg"].startswith("http://127.0.0.1:1/: the hub does not answer: ")
    assert "Connection refused" in failed["msg"]
    assert "Last lines of the hub's log:\nlast words of the hub\nThe users' files are written" in failed["msg"]
    assert names_in(folder) == ["alice"] == list(rights_in(folder))
    assert crypt.verifies("hunter2-alice", hash_in(folder, "alice"))
    assert not converge(ALICE)["changed"]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    "answer",
    [refusal(403, "Missing or invalid credentials."), STUCK, refusal(500, "it broke")],
    ids=["403", "503", "500"],
)
def test_a_hub_that_refuses_says_why(converge: Converge, serve: Serve, answer: Answer) -> None:
    """It answers, so that there is nothing to wait for."""
    web = serve(answer)
    failed = converge(ALICE, url=web.url)
    assert failed["failed"]
    assert failed["msg"].startswith(
        f"{web.url}: {answer[1]['message']} (status {answer[0]})\nThe users' files are written"
    )
    assert len(web.asked) == 1


@pytest.mark.usefixtures("no_waiting")
def test_a_database_that_cannot_be_used_is_named(converge: Converge, serve: Serve, program: Program) -> None:
    web = serve(LOCKED)
    text = converge(ALICE, url=web.url)["msg"]
    assert text.count(hub.DATABASE_HELP.format(volume="home-data")) == 1
    # Or the hub cannot even start, and its log says so.
    words = "sqlite3.DatabaseError: file is not a database"
    program("docker", f"case $1 in inspect) echo running 0 ;; logs) echo '{words}' ;; esac")
    text = converge(ALICE, url="http://127.0.0.1:1/")["msg"]
    assert text.count(hub.DATABASE_HELP.format(volume="home-data")) == 1 and words in text


def test_another_authenticator_knows_of_no_list(converge: Converge, serve: Serve) -> None:
    web = serve(ANOTHER_AUTHENTICATOR, ANOTHER_AUTHENTICATOR, refusal(404, "Not Found"))
    for _ in range(2):
        done = converge(ALICE, url=web.url)
        assert (done["reconciled"], done["notes"], done["outdated"]) == (True, [], {})
    # A hub of an older version, whose list is about to decide.
    (warning,) = converge(ALICE, url=web.url, decides=True, check=True)["warnings"]
    assert "What the hub would change cannot be told" in warning
    assert [request.body["decides"] for request in web.asked] == [False, False, True]


@pytest.mark.parametrize(
    ("settings", "path"), [('{"base_url": "/old/"}', "/old/"), ("{}", "/new/"), ("{", "/new/"), (None, "/new/")]
)
def test_the_hub_is_asked_where_it_is_now(
    converge: Converge, serve: Serve, token_file: Path, settings: str | None, path: str
) -> None:
    """Another base URL comes into its settings later in a run, and in a try not at all."""
    if settings is not None:
        token_file.with_name("hub.json").write_text(settings)
    web = serve((200, NOTHING))
    converge(ALICE, url=f"{web.url}new/", check=True)
    converge(ALICE, url=f"{web.url}new/")
    assert {request.what for request in web.asked} == {f"POST {path}{PATH[1:]}"}


def test_the_hub_reads_whether_undeclared_users_stay(converge: Converge, folder: Path) -> None:
    for keep, changed in ((False, True), (True, True), (True, False), (False, True)):
        tried = converge(ALICE, keep_undeclared=keep, check=True)
        done = converge(ALICE, keep_undeclared=keep)
        assert tried["changed"] is done["changed"] is changed
        assert json.loads((folder / "undeclared.json").read_text()) == {"stay": keep}


def test_check_mode_does_not_fail_on_a_hub_that_does_not_answer(converge: Converge, serve: Serve) -> None:
    web = serve((503, {"message": "the hub's database cannot be used: disk I/O error"}))
    tried = converge(ALICE, url=web.url, check=True)
    (warning,) = tried["warnings"]
    assert "What the hub would change cannot be told: the hub's database cannot be used: disk I/O error" in warning
    assert "failed" not in tried and tried["reconciled"] is False
