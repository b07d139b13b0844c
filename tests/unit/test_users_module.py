"""jupyterhub.home.users: login files, the hub's database and home volumes match the list."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import atomic, contract, crypt, hub
from ansible_collections.jupyterhub.home.plugins.modules import users
from conftest import Program, RunModule, Serve, Web
from fake_engine import Engine
from notes import foretold
from spawner import HomeSpawner

ALICE = {"name": "alice", "password": "hunter2-alice", "admin": True, "groups": ["staff", "family"]}
BOB = {"name": "bob", "password": "hunter2-bob"}
FILES = ["group", "passwd", "shadow", "undeclared.json", "users.json"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files go. An ordinary user cannot give files to root, and gets them instead."""
    if os.getuid() != 0:

        def mine(function: Any) -> Any:
            def call(*arguments: Any, **names: Any) -> Any:
                return function(*arguments, **{**names, "owner": os.getuid(), "group": os.getgid()})

            return call

        monkeypatch.setattr(users, "replace_file", mine(atomic.replace_file))
        monkeypatch.setattr(users, "present_text", mine(atomic.present_text))
    return tmp_path / "users"


@pytest.fixture
def token_file(folder: Path) -> Path:
    """The token of a hub that was started once."""
    path = folder.parent / "users-token"
    path.write_text(f"{TOKEN}\n")
    return path


Converge = Callable[..., dict[str, Any]]


@pytest.fixture
def converge(folder: Path, token_file: Path, run_module: RunModule, serve: Serve, engine: Engine) -> Converge:
    """converge({user}, ..., check=False, option=value): one run, with a hub that has nothing to change."""
    hub_url = serve((200, NOTHING)).url

    def run(*wanted: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
        plain = {
            "url": hub_url,
            "keep_undeclared": False,
            "servers": {"image": "user:1"},
            "delete_homes": [],
            "timeout": 5,
        }
        arguments = {
            "directory": str(folder), "users": json.dumps(wanted), "owner": os.getuid(), "project": "home",
            "token_file": str(token_file), **plain, **options,
        }  # fmt: skip
        answer = run_module(users, arguments, check=check)
        assert "hunter2" not in answer["output"]
        if folder.exists():
            assert all(hash_in(folder, name) not in answer["output"] for name in names_in(folder))
            assert all(user["session"] not in answer["output"] for user in rights_in(folder).values())
        return answer

    return run


def names_in(folder: Path) -> list[str]:
    return [line.split(":")[0] for line in (folder / "passwd").read_text().splitlines()]


def hash_in(folder: Path, name: str) -> str:
    """A user's hash in shadow."""
    return users.table(folder / "shadow")[name][1]


def id_in(folder: Path, name: str) -> int:
    """A user's number in passwd."""
    return int(users.table(folder / "passwd")[name][2])


def rights_in(folder: Path) -> dict[str, dict[str, Any]]:
    """What is in users.json, nothing when it is no JSON."""
    try:
        found: dict[str, dict[str, Any]] = json.loads((folder / "users.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def sessions_in(folder: Path) -> dict[str, str]:
    return {name: user["session"] for name, user in rights_in(folder).items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_four_steps(folder: Path, converge: Converge) -> None:
    tried = converge(ALICE, BOB, check=True)
    assert tried["changed"] and not folder.exists()
    done = converge(ALICE, BOB)
    assert (done["changed"], done["added"], done["removed"], done["updated"]) == (True, ["alice", "bob"], [], [])
    assert sorted(contents(folder)) == FILES
    before = contents(folder)
    for check in (False, True):
        again = converge(ALICE, BOB, check=check)
        assert (again["changed"], again["added"], again["updated"]) == (False, [], [])
        assert contents(folder) == before


def test_the_files_have_their_form(folder: Path, converge: Converge) -> None:
    converge(BOB, ALICE)
    assert (folder / "passwd").read_text() == (
        "alice:x:100001:100000::/nonexistent:/usr/sbin/nologin\nbob:x:100002:100000::/nonexistent:/usr/sbin/nologin\n"
    )
    assert (folder / "group").read_text() == "hubusers:x:100000:\n"
    assert all(line.count(":") == 8 for line in (folder / "shadow").read_text().splitlines())
    sessions = sessions_in(folder)
    assert rights_in(folder) == {
        "alice": {"admin": True, "groups": ["family", "staff"], "session": sessions["alice"]},
        "bob": {"admin": False, "groups": [], "session": sessions["bob"]},
    }
    assert len(set(sessions.values())) == 2 and all(len(session) == 32 for session in sessions.values())


def test_only_the_hub_reads_the_hashes(folder: Path, converge: Converge) -> None:
    converge(ALICE)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in folder.iterdir()}
    assert modes == {"group": 0o644, "passwd": 0o644, "shadow": 0o400, "undeclared.json": 0o640, "users.json": 0o640}
    assert folder.stat().st_mode & 0o7777 == 0o755


def test_a_password_that_stays_keeps_its_hash_byte_for_byte(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    before = hash_in(folder, "alice")
    done = converge(ALICE, {**BOB, "password": "hunter2-new"})
    assert done["updated"] == ["bob"]
    assert hash_in(folder, "alice") == before
    assert crypt.verifies("hunter2-new", hash_in(folder, "bob"))
    assert not crypt.verifies("hunter2-bob", hash_in(folder, "bob"))


def test_a_given_hash_is_taken_as_it_is(folder: Path, converge: Converge) -> None:
    hashed = crypt.hash_password("hunter2")
    converge({"name": "alice", "password_hash": hashed})
    assert hash_in(folder, "alice") == hashed
    done = converge({"name": "alice", "password_hash": f"!{hashed}"})
    assert done["updated"] == ["alice"]
    assert hash_in(folder, "alice") == f"!{hashed}"
    # The password of the hash that is there already verifies, so moving from hash to password changes nothing.
    converge({"name": "alice", "password_hash": hashed})
    assert not converge({"name": "alice", "password": "hunter2"})["changed"]


@pytest.mark.parametrize("present", ["", "!", "*", "$y$damaged", "hunter2-alice"])
def test_no_usable_hash_is_replaced(folder: Path, converge: Converge, present: str) -> None:
    converge(ALICE)
    (folder / "shadow").chmod(0o600)
    (folder / "shadow").write_text(f"alice:{present}:::::::\n")
    converge(ALICE)
    assert crypt.verifies("hunter2-alice", hash_in(folder, "alice"))


def test_numbers_stay_whoever_comes_and_goes(folder: Path, converge: Converge) -> None:
    converge(BOB)
    bob = id_in(folder, "bob")
    done = converge(ALICE, BOB)
    assert (done["added"], id_in(folder, "bob")) == (["alice"], bob)
    alice = id_in(folder, "alice")
    assert alice > bob
    done = converge(ALICE)
    assert (done["removed"], names_in(folder), id_in(folder, "alice")) == (["bob"], ["alice"], alice)


def test_rights_are_reported(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    shadow = (folder / "shadow").read_bytes()
    done = converge({**ALICE, "admin": False}, {**BOB, "groups": ["staff"]})
    assert done["updated"] == ["alice", "bob"]
    (diff,) = done["diff"]
    assert (diff["before"], diff["after"]) == (
        "alice, admin, in family, in staff\nbob\n",
        "alice, in family, in staff\nbob, in staff\n",
    )
    assert (folder / "shadow").read_bytes() == shadow


def test_check_mode_changes_nothing(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    before = contents(folder)
    tried = converge({**ALICE, "password": "hunter2-other"}, check=True)
    assert (tried["changed"], tried["updated"], tried["removed"]) == (True, ["alice"], ["bob"])
    assert tried["diff"][0]["after"] == "alice, admin, in family, in staff, another password\n"
    assert contents(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_lost_or_damaged_file_is_mended(folder: Path, converge: Converge, name: str) -> None:
    converge(ALICE, BOB)
    before = contents(folder)
    (folder / name).unlink()
    assert converge(ALICE, BOB)["changed"]
    if name in ("group", "passwd"):  # a hash and a session cannot be the same again
        assert contents(folder) == before
    (folder / name).chmod(0o600)
    (folder / name).write_text("{ damaged")
    assert converge(ALICE, BOB)["changed"]
    assert sorted(contents(folder)) == FILES
    assert names_in(folder) == ["alice", "bob"]
    assert not converge(ALICE, BOB)["changed"]


def test_no_users_is_a_list_too(folder: Path, converge: Converge) -> None:
    converge(ALICE)
    assert converge()["removed"] == ["alice"]
    assert (folder / "shadow").read_text() == ""


def test_a_user_of_another_authenticator_has_no_way_past_pam(folder: Path, converge: Converge) -> None:
    converge({"name": "alice"})
    assert (folder / "shadow").read_text() == "alice:*:::::::\n"


# --- Sessions -------------------------------------------------------------


def test_a_session_lasts_as_long_as_the_password(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    before = sessions_in(folder)
    done = converge({**ALICE, "admin": False, "groups": []}, BOB)
    assert (sessions_in(folder), done["updated"]) == (before, ["alice"])
    converge({**ALICE, "password_hash": hash_in(folder, "alice"), "password": None}, BOB)
    assert sessions_in(folder) == before
    done = converge({**ALICE, "password": "hunter2-new"}, BOB)
    assert done["updated"] == ["alice"]
    assert sessions_in(folder)["bob"] == before["bob"]
    assert sessions_in(folder)["alice"] != before["alice"]


def test_who_comes_back_has_another_session(folder: Path, converge: Converge) -> None:
    bob = {"name": "bob", "password_hash": crypt.hash_password("hunter2")}
    converge(ALICE, bob)
    before = sessions_in(folder)
    converge(ALICE)
    converge(ALICE, bob)
    assert sessions_in(folder)["alice"] == before["alice"]
    assert sessions_in(folder)["bob"] != before["bob"]


def test_a_list_of_an_older_version_gets_sessions(folder: Path, converge: Converge) -> None:
    converge(ALICE)
    (folder / "users.json").write_text(json.dumps({"alice": {"admin": True, "groups": ["family", "staff"]}}))
    shadow = (folder / "shadow").read_bytes()
    assert converge(ALICE)["updated"] == ["alice"]
    assert len(sessions_in(folder)["alice"]) == 32
    assert (folder / "shadow").read_bytes() == shadow


@pytest.mark.parametrize("killed_at", FILES)
def test_a_kill_grants_nobody_a_login_too_early(
    folder: Path, converge: Converge, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """The session changes before the password, so that no cookie of the old one outlives it."""
    converge(ALICE, BOB)
    before, shadow = sessions_in(folder), (folder / "shadow").read_bytes()
    (folder / "group").write_text("damaged")
    replace = users.__dict__["replace_file"]  # perhaps the fixture's

    def killed(path: Path, *rest: Any, **names: Any) -> None:
        if path.name == killed_at:
            raise KeyboardInterrupt
        replace(path, *rest, **names)

    monkeypatch.setattr(users, "replace_file", killed)
    wish = ({**ALICE, "password": "hunter2-new"}, {"name": "carl", "password": "hunter2"})
    with pytest.raises(KeyboardInterrupt):
        converge(*wish, keep_undeclared=True)
    assert (folder / "shadow").read_bytes() == shadow
    assert (sessions_in(folder).get("alice") != before["alice"]) == (killed_at == "shadow")
    monkeypatch.setattr(users, "replace_file", replace)
    assert converge(*wish)["changed"]
    assert names_in(folder) == ["alice", "carl"] == sorted(sessions_in(folder))
    assert crypt.verifies("hunter2-new", hash_in(folder, "alice"))
    assert sessions_in(folder)["alice"] != before["alice"]
    assert not converge(*wish)["changed"]


# --- Who is in the list ---------------------------------------------------


def test_absent_is_as_if_not_in_the_list(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    done = converge(ALICE, {"name": "bob", "state": "absent"}, {"name": "carl", "state": "absent", "admin": True})
    assert (done["removed"], done["added"], names_in(folder)) == (["bob"], [], ["alice"])
    assert sorted(rights_in(folder)) == ["alice"]
    assert done["notes"] == ["Accounts removed: bob"]
    assert converge({**ALICE, "state": "present"}, BOB)["added"] == ["bob"]


@pytest.mark.parametrize("wish", [[{**ALICE, "admin": False}], [BOB], [{**ALICE, "state": "absent"}, BOB], []])
def test_the_last_admin_does_not_go_unsaid(converge: Converge, wish: list[dict[str, Any]]) -> None:
    assert converge(ALICE, BOB)["warnings"] == []
    (warning,) = converge(*wish, check=True)["warnings"]
    assert "Nobody is an admin of the hub any more." in warning
    assert len(converge(*wish)["warnings"]) == 1
    assert converge(*wish)["warnings"] == []


def test_one_admin_is_enough(converge: Converge) -> None:
    converge(ALICE, {**BOB, "admin": True})
    assert converge({**BOB, "admin": True})["warnings"] == []


def test_many_names_are_counted() -> None:
    names = [f"user{number:02}" for number in range(25)]
    assert users.named("Gone: {}", names) == [f"Gone: {', '.join(names[:20])} and 5 more"]
    assert users.named("Gone: {}", names[:20]) == [f"Gone: {', '.join(names[:20])}"]
    assert users.named("Gone: {}", []) == []


# --- The hub --------------------------------------------------------------

TOKEN = "users-t0ken"
NOTHING: dict[str, Any] = {
    "add": [], "remove": [], "promote": [], "demote": [], "log_out": [], "groups": {}, "remove_groups": [],
    "running": [], "outdated": {},
}  # fmt: skip


class Homes:
    """The volumes of an engine, in which a hub runs."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.calls = engine, engine.calls
        self.volumes_folder = engine.here / "volumes"
        self.volumes_folder.mkdir()
        self.held("home-hub", "home-data")

    def held(self, container: str, volume: str, **more: str) -> None:
        """A container, which runs, holds a volume; more: what else the engine knows of it."""
        self.engine.state["containers"][container] = self.engine.container({}, volumes=(volume,)) | more
        self.engine.save()

    def volume(self, name: str, *files: str) -> Path:
        """A volume with these files."""
        data = self.volumes_folder / name / "_data"
        data.mkdir(parents=True)
        for file in files:
            (data / file).write_text(f"{file} of {name}")
        return data

    def volumes(self) -> dict[str, list[str] | None]:
        """Every volume's files, None where the folder is gone."""
        return {
            volume.name: sorted(path.read_text() for path in (volume / "_data").iterdir())
            if (volume / "_data").exists()
            else None
            for volume in sorted(self.volumes_folder.iterdir())
        }

    def changes(self) -> list[str]:
        """The commands that change something."""
        changing = ("volume create", "volume rm", "rm")
        return [line for line in self.calls.read_text().splitlines() if line.startswith(changing)]


@pytest.fixture
def engine(engine: Engine) -> Homes:
    """An engine with the users' volumes."""
    return Homes(engine)


def test_without_a_hub_ever_started_nobody_is_asked(converge: Converge, serve: Serve, token_file: Path) -> None:
    web = serve((200, NOTHING))
    token_file.unlink()
    failed = converge(ALICE, url=web.url)
    assert failed["failed"] and f"{token_file} is not there; run without --tags first" in failed["msg"]
    assert converge(ALICE, url=web.url, check=True)["reconciled"] is False
    assert web.asked == []


@pytest.mark.parametrize("keep", [True, False])
def test_the_hub_gets_the_users_of_the_file(folder: Path, converge: Converge, serve: Serve, keep: bool) -> None:
    web = serve((200, NOTHING))
    tried = converge(ALICE, BOB, url=web.url, keep_undeclared=keep, check=True)
    done = converge(ALICE, {"name": "carl", "state": "absent"}, url=web.url, keep_undeclared=keep)
    assert tried["reconciled"] and done["reconciled"]
    foretold, asked = web.asked
    assert foretold.what == asked.what == "POST /hub/api/jupyterhub-home/users"
    assert foretold.token == asked.token == f"token {TOKEN}"
    assert (foretold.body["pretend"], asked.body["pretend"]) == (True, False)
    assert foretold.body["keep_undeclared"] is asked.body["keep_undeclared"] is keep
    assert foretold.body["servers"] == asked.body["servers"] == {"image": "user:1"}
    assert sorted(foretold.body["users"]) == ["alice", "bob"]
    assert asked.body["users"] == rights_in(folder)


@pytest.mark.parametrize("check", [True, False])
def test_what_the_hub_mends_is_a_change(converge: Converge, serve: Serve, check: bool) -> None:
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
def test_a_hub_that_starts_is_waited_for(converge: Converge, serve: Serve, engine: Homes) -> None:
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
    ("status", "message"),
    [(403, "Missing or invalid credentials."), (503, "the server of bob could not be stopped"), (500, "it broke")],
)
def test_a_hub_that_refuses_says_why(converge: Converge, serve: Serve, status: int, message: str) -> None:
    """It answers, so that there is nothing to wait for."""
    web = serve((status, {"status": status, "message": message}))
    failed = converge(ALICE, url=web.url)
    assert failed["failed"]
    assert failed["msg"].startswith(f"{web.url}: {message} (status {status})\nThe users' files are written")
    assert len(web.asked) == 1


@pytest.mark.usefixtures("no_waiting")
def test_a_database_that_cannot_be_used_is_named(converge: Converge, serve: Serve, program: Program) -> None:
    web = serve((503, {"message": "the hub's database cannot be used: database is locked"}))
    text = converge(ALICE, url=web.url)["msg"]
    assert text.count(hub.DATABASE_HELP.format(volume="home-data")) == 1
    # Or the hub cannot even start, and its log says so.
    words = "sqlite3.DatabaseError: file is not a database"
    program("docker", f"case $1 in inspect) echo running 0 ;; logs) echo '{words}' ;; esac")
    text = converge(ALICE, url="http://127.0.0.1:1/")["msg"]
    assert text.count(hub.DATABASE_HELP.format(volume="home-data")) == 1 and words in text


def test_another_authenticator_knows_of_no_list(converge: Converge, serve: Serve) -> None:
    web = serve((404, {"status": 404, "message": "Not Found"}))
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
    assert {request.what for request in web.asked} == {f"POST {path}hub/api/jupyterhub-home/users"}


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


# --- Home volumes ---------------------------------------------------------

ANNA = {"name": "anna", "password": "hunter2", "renamed_from": "anne"}


@pytest.mark.parametrize("name", ["alice", "a.b", "a-b", "a_b-c.d", "_x", "a1", "kim.lee-1_2"])
def test_a_volume_has_dockerspawners_name(name: str) -> None:
    work = f"home-user-{HomeSpawner._escape(name)}"
    assert contract.user_volumes("home", name) == (f"{work}-home", work)


@pytest.fixture
def web(serve: Serve) -> Web:
    """A hub that finds nothing to do."""
    return serve((200, NOTHING))


def test_files_follow_a_renamed_user(converge: Converge, engine: Homes, web: Web) -> None:
    """Check, real, real again, check again."""
    data = engine.volume("home-user-anne", "a", "b")
    data.chmod(0o700)
    number = data.stat().st_ino
    tried = converge(ANNA, url=web.url, check=True)
    assert tried["changed"] and tried["notes"] == ["Home of anne would be carried over to anna"]
    assert engine.changes() == []
    done = converge(ANNA, url=web.url)
    assert done["notes"] == ["Home of anne carried over to anna"]
    assert engine.volumes() == {"home-user-anna": ["a of home-user-anne", "b of home-user-anne"]}
    moved = (engine.volumes_folder / "home-user-anna/_data").stat()
    assert (moved.st_ino, moved.st_mode & 0o7777) == (number, 0o700), "copied"
    assert engine.changes() == [
        "volume create --label=jupyterhub-home.project=home --label=jupyterhub-home.user=anna home-user-anna",
        "volume rm home-user-anne",
    ]
    for check in (False, True):
        again = converge(ANNA, url=web.url, check=check)
        assert (again["changed"], again["notes"]) == (False, [])
    assert len(engine.changes()) == 2


def test_a_home_that_moves_is_not_said_to_be_kept(converge: Converge, engine: Homes, serve: Serve) -> None:
    converge({"name": "anne", "password": "hunter2"})
    engine.volume("home-user-anne", "a")
    web = serve((200, {**NOTHING, "add": ["anna"], "remove": ["anne"]}))
    for check in (True, False):
        said = [
            "Accounts removed: anne",
            "Added to the hub: anna",
            "Removed from the hub, with sessions and tokens: anne",
            "Home of anne carried over to anna",
        ]
        wanted = [foretold(note) for note in said] if check else said
        assert converge(ANNA, url=web.url, check=check)["notes"] == wanted


def test_names_that_docker_cannot_write(converge: Converge, engine: Homes, web: Web) -> None:
    engine.volume("home-user-anne-2eo", "a")
    converge({"name": "anne-o", "password": "hunter2", "renamed_from": "anne.o"}, url=web.url)
    assert engine.volumes() == {"home-user-anne-2do": ["a of home-user-anne-2eo"]}


def test_an_empty_home_gives_way(converge: Converge, engine: Homes, web: Web) -> None:
    """She has logged in under the new name, and saved nothing."""
    engine.volume("home-user-anne", "a")
    engine.volume("home-user-anna")
    engine.held("ended", "home-user-anna", status="exited", id="0123456789ab")
    converge(ANNA, url=web.url)
    assert engine.volumes() == {"home-user-anna": ["a of home-user-anne"]}
    assert engine.changes()[0] == "rm 0123456789ab"


@pytest.mark.parametrize("check", [True, False])
def test_two_homes_with_files_are_left_alone(converge: Converge, engine: Homes, web: Web, check: bool) -> None:
    engine.volume("home-user-anne", "a")
    engine.volume("home-user-anna", "b")
    failed = converge(ANNA, url=web.url, check=check)
    assert failed["failed"]
    assert failed["msg"].startswith("Both anne and anna have files, in the volumes home-user-anne and home-user-anna; ")
    assert failed["msg"].endswith("Take renamed_from: anne away to keep both.")
    assert engine.volumes() == {"home-user-anna": ["b of home-user-anna"], "home-user-anne": ["a of home-user-anne"]}
    assert engine.changes() == []


def test_a_move_that_was_killed_is_finished(converge: Converge, engine: Homes, web: Web) -> None:
    """After the files had moved and before the old volume was removed."""
    engine.volume("home-user-anne").rmdir()
    engine.volume("home-user-anna", "a")
    assert converge(ANNA, url=web.url, check=True)["changed"]
    done = converge(ANNA, url=web.url)
    assert done["changed"] and done["notes"] == ["Home of anne carried over to anna"]
    assert engine.volumes() == {"home-user-anna": ["a of home-user-anna"]}
    assert not converge(ANNA, url=web.url)["changed"]


def test_a_move_that_was_killed_before_the_files_moved(converge: Converge, engine: Homes, web: Web) -> None:
    engine.volume("home-user-anne", "a")
    engine.volume("home-user-anna")
    converge(ANNA, url=web.url)
    assert engine.volumes() == {"home-user-anna": ["a of home-user-anne"]}


def test_the_whole_home_follows(converge: Converge, engine: Homes, web: Web) -> None:
    for name in ("anne-home", "anne"):
        engine.volume(f"home-user-{name}", "a")
    engine.held("ended", "home-user-anne-home", status="exited", id="0123456789ab")
    tried = converge(ANNA, url=web.url, check=True)
    note = "Home of anne carried over to anna"
    assert tried["notes"] == [foretold(note)] and engine.changes() == []
    assert converge(ANNA, url=web.url)["notes"] == [note]
    assert engine.volumes() == {
        "home-user-anna": ["a of home-user-anne"],
        "home-user-anna-home": ["a of home-user-anne-home"],
    }
    assert engine.changes()[0] == "rm 0123456789ab"
    assert not converge(ANNA, url=web.url)["changed"]


def test_settings_of_the_new_name_are_kept_in_the_old_home(converge: Converge, engine: Homes, web: Web) -> None:
    """She has started a server under the new name, and saved nothing in its work folder."""
    for name, file in {"anne-home": "a", "anne": "b", "anna-home": "c"}.items():
        engine.volume(f"home-user-{name}", file)
    engine.volume("home-user-anna")
    tried = converge(ANNA, url=web.url, check=True)
    note = "Home of anne carried over to anna; what anna had is in ~/home-of-anna"
    assert tried["notes"] == [foretold(note)] and engine.changes() == []
    assert converge(ANNA, url=web.url)["notes"] == [note]
    data = engine.volumes_folder / "home-user-anna-home/_data"
    assert (data / "a").read_text() == "a of home-user-anne-home"
    assert (data / "home-of-anna/c").read_text() == "c of home-user-anna-home"
    assert (engine.volumes_folder / "home-user-anna/_data/b").read_text() == "b of home-user-anne"
    assert not converge(ANNA, url=web.url)["changed"]


@pytest.mark.parametrize("killed_after", ["home kept", "home moved", "home removed", "work moved"])
def test_a_move_of_both_that_was_killed_is_finished(
    converge: Converge, engine: Homes, web: Web, killed_after: str
) -> None:
    old, old_work = (engine.volume(f"home-user-anne{suffix}", "a") for suffix in ("-home", ""))
    new = engine.volume("home-user-anna-home", "c")
    steps: dict[str, Callable[[], object]] = {
        "home kept": lambda: new.rename(old / "home-of-anna"),
        "home moved": lambda: old.rename(new),
        "home removed": old.parent.rmdir,
        "work moved": lambda: old_work.rename(engine.volume("home-user-anna")),
    }
    for name, step in steps.items():
        step()
        if name == killed_after:
            break
    assert converge(ANNA, url=web.url)["changed"]
    assert sorted(volume.name for volume in engine.volumes_folder.iterdir()) == [
        "home-user-anna",
        "home-user-anna-home",
    ]
    assert (new / "a").read_text() == "a of home-user-anne-home"
    assert (new / "home-of-anna/c").read_text() == "c of home-user-anna-home"
    assert (engine.volumes_folder / "home-user-anna/_data/a").read_text() == "a of home-user-anne"
    assert not converge(ANNA, url=web.url)["changed"]


@pytest.mark.parametrize("who", ["anne-home", "anna-home"])
def test_a_home_is_in_use_also_where_the_work_folder_is_the_machines(
    converge: Converge, engine: Homes, web: Web, who: str
) -> None:
    engine.volume("home-user-anne-home", "a")
    engine.volume("home-user-anna-home", "a")
    engine.held("a-server", f"home-user-{who}")
    assert "is in use by a-server" in converge(ANNA, url=web.url)["msg"]
    assert engine.changes() == []


def test_a_whole_home_is_deleted(converge: Converge, engine: Homes, web: Web) -> None:
    for name in ("bob-home", "bob", "bob-2do-home"):
        engine.volume(f"home-user-{name}", "a")
    done = converge(ALICE, url=web.url, delete_homes=["bob"])
    assert done["notes"] == ["Home of bob deleted: home-user-bob-home, home-user-bob"]
    assert list(engine.volumes()) == ["home-user-bob-2do-home"]


@pytest.mark.parametrize("who", ["anne", "anna"])
def test_a_home_in_use_is_not_moved(converge: Converge, engine: Homes, web: Web, who: str) -> None:
    engine.volume("home-user-anne", "a")
    engine.volume("home-user-anna")
    engine.held(f"jupyter-{who}", f"home-user-{who}")
    failed = converge(ANNA, url=web.url)
    assert failed["failed"]
    assert failed["msg"] == (
        f"The home of {who}, home-user-{who}, is in use by jupyter-{who}. Stop that server, then run again."
    )
    assert engine.volumes() == {"home-user-anna": [], "home-user-anne": ["a of home-user-anne"]}


@pytest.mark.parametrize(
    "inspected",
    [{"Driver": "nfs"}, {"Driver": "local", "Options": {"device": "/dev/sdb1"}, "Mountpoint": "/no/such/folder"}],
)
def test_a_volume_of_another_kind_is_not_moved(
    converge: Converge, engine: Homes, web: Web, inspected: dict[str, Any]
) -> None:
    engine.volume("home-user-anne", "a")
    engine.engine.state["volumes"]["home-user-anne"] = {"labels": {}, "inspected": inspected}
    engine.engine.save()
    failed = converge(ANNA, url=web.url)
    assert failed["msg"] == "The volume home-user-anne is not one of Docker's own; move its files yourself."
    assert engine.changes() == []


def test_homes_are_deleted_only_by_name(converge: Converge, engine: Homes, web: Web) -> None:
    """Check, real, real again, check again."""
    for name in ("alice", "bob", "bobby"):
        engine.volume(f"home-user-{name}", "a")
    engine.held("ended", "home-user-bob", status="exited", id="0123456789ab")
    names = ["bob", "bobbi", "nobody"]
    unknown = "In jupyterhub_home_delete_homes, but there is no home of that name: bobbi (did you mean bobby?), nobody"
    tried = converge(ALICE, url=web.url, delete_homes=names, check=True)
    assert tried["changed"] and tried["notes"] == ["Home of bob would be deleted: home-user-bob", unknown]
    assert engine.changes() == []
    done = converge(ALICE, url=web.url, delete_homes=names)
    assert done["changed"] and done["notes"] == ["Home of bob deleted: home-user-bob", unknown]
    assert engine.changes() == ["rm 0123456789ab", "volume rm home-user-bob"]
    assert sorted(engine.volumes()) == ["home-user-alice", "home-user-bobby"]
    for check in (False, True):
        again = converge(ALICE, url=web.url, delete_homes=names, check=check)
        # The line stays for years: one that was deleted is not spoken of, one that nobody ever had is.
        assert (again["changed"], again["notes"]) == (False, [unknown])


def test_a_home_that_was_never_made_is_not_missed(converge: Converge, engine: Homes, web: Web) -> None:
    """Of a user who goes in the same run, and never had a server."""
    converge(ALICE, BOB, url=web.url)
    for _ in range(2):
        notes = converge(ALICE, url=web.url, delete_homes=["bob"])["notes"]
        assert not [note for note in notes if "delete_homes" in note]
    assert engine.changes() == []


def test_a_home_in_use_is_not_deleted(converge: Converge, engine: Homes, web: Web) -> None:
    engine.volume("home-user-bob", "a")
    engine.held("jupyter-bob", "home-user-bob")
    failed = converge(ALICE, url=web.url, delete_homes=["bob"])
    assert failed["failed"] and "in use by jupyter-bob" in failed["msg"]
    assert sorted(engine.volumes()) == ["home-user-bob"]


def test_an_error_of_docker_is_said(converge: Converge, web: Web, token_file: Path, program: Program) -> None:
    token_file.write_text(TOKEN)
    program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    failed = converge(ANNA, url=web.url)
    assert failed["msg"] == "docker volume ls --quiet: Cannot connect to the Docker daemon"


@pytest.mark.parametrize("check", [True, False])
def test_homes_of_the_gone_are_kept_and_named(converge: Converge, engine: Homes, serve: Serve, check: bool) -> None:
    web = serve((200, {**NOTHING, "remove": ["bob", "dora", "eve"]}))
    converge(ALICE, BOB, {"name": "carl-o", "password": "hunter2"})
    for name in ("alice", "bob-home", "bob", "carl-2do-home", "eve"):
        engine.volume(f"home-user-{name}", "a")
    done = converge(ALICE, url=web.url, delete_homes=["eve"], check=check)
    said = "Their files are kept, in the volumes home-user-bob-home, home-user-bob, home-user-carl-2do-home"
    assert said in done["notes"]
    assert len(engine.volumes()) == (5 if check else 4)


@pytest.mark.usefixtures("no_waiting")
def test_no_home_is_touched_before_the_hub_has_answered(converge: Converge, engine: Homes, serve: Serve) -> None:
    """A server of the old name may still run."""
    engine.volume("home-user-anne", "a")
    engine.volume("home-user-bob", "a")
    done = converge(ANNA, url=serve(502).url, delete_homes=["bob"])
    assert done["failed"] and engine.changes() == []


@pytest.mark.usefixtures("web")
def test_without_anything_to_move_docker_is_not_asked(converge: Converge, engine: Homes, web: Web) -> None:
    converge(ALICE, url=web.url)
    assert engine.calls.read_text() == ""


def test_files_that_somebody_changed_are_said(folder: Path, converge: Converge) -> None:
    assert converge(ALICE, BOB)["notes"] == []
    with (folder / "passwd").open("a") as passwd, (folder / "shadow").open("a") as shadow:
        passwd.write("eve:x:100900:100000::/nonexistent:/usr/sbin/nologin\n")
        shadow.write("eve:$6$of-eve:::::::\n")
    (folder / "group").unlink()
    before = contents(folder)
    said = [
        "Found: users/group was gone.",
        "Found: users/passwd and users/shadow were edited.",
        "Accounts removed: eve",
    ]
    tried = converge(ALICE, BOB, check=True)
    assert (tried["changed"], tried["notes"]) == (True, [foretold(note) for note in said]) and contents(
        folder
    ) == before
    done = converge(ALICE, BOB)
    assert (done["changed"], done["notes"]) == (True, said)
    assert names_in(folder) == ["alice", "bob"]
    for check in (False, True):
        again = converge(ALICE, BOB, check=check)
        assert (again["changed"], again["notes"]) == (False, [])
    # A change by variable is none of somebody else's.
    assert converge({**ALICE, "password": "hunter2-other"})["notes"] == ["Accounts removed: bob"]
