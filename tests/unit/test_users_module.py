"""jupyterhub_home_users: the login files match the list, and a password that stays keeps its hash."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jupyterhub_home_atomic as atomic
import jupyterhub_home_crypt as crypt
import jupyterhub_home_users as users
import pytest
from conftest import RunModule

ALICE = {"name": "alice", "password": "hunter2-alice", "admin": True, "groups": ["staff", "family"]}
BOB = {"name": "bob", "password": "hunter2-bob"}
FILES = ["group", "passwd", "shadow", "users.json"]


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
def converge(folder: Path, run_module: RunModule) -> Any:
    """converge([user, ...], check=False): one run."""

    def run(*wanted: dict[str, Any], check: bool = False) -> dict[str, Any]:
        arguments = {"directory": str(folder), "users": list(wanted), "owner": os.getuid()}
        answer = run_module(users, arguments, check=check)
        assert "hunter2" not in answer["output"]
        if folder.exists():
            assert all(hash_in(folder, name) not in answer["output"] for name in names_in(folder))
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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_four_steps(folder: Path, converge: Any) -> None:
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


def test_the_files_have_their_form(folder: Path, converge: Any) -> None:
    converge(BOB, ALICE)
    assert (folder / "passwd").read_text() == (
        "alice:x:100001:100000::/nonexistent:/usr/sbin/nologin\nbob:x:100002:100000::/nonexistent:/usr/sbin/nologin\n"
    )
    assert (folder / "group").read_text() == "hubusers:x:100000:\n"
    assert all(line.count(":") == 8 for line in (folder / "shadow").read_text().splitlines())
    assert json.loads((folder / "users.json").read_text()) == {
        "alice": {"admin": True, "groups": ["family", "staff"]},
        "bob": {"admin": False, "groups": []},
    }


def test_only_the_hub_reads_the_hashes(folder: Path, converge: Any) -> None:
    converge(ALICE)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in folder.iterdir()}
    assert modes == {"group": 0o644, "passwd": 0o644, "shadow": 0o400, "users.json": 0o640}
    assert folder.stat().st_mode & 0o7777 == 0o755


def test_a_password_that_stays_keeps_its_hash_byte_for_byte(folder: Path, converge: Any) -> None:
    converge(ALICE, BOB)
    before = hash_in(folder, "alice")
    done = converge(ALICE, {**BOB, "password": "hunter2-new"})
    assert done["updated"] == ["bob"]
    assert hash_in(folder, "alice") == before
    assert crypt.verifies("hunter2-new", hash_in(folder, "bob"))
    assert not crypt.verifies("hunter2-bob", hash_in(folder, "bob"))


def test_a_given_hash_is_taken_as_it_is(folder: Path, converge: Any) -> None:
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
def test_no_usable_hash_is_replaced(folder: Path, converge: Any, present: str) -> None:
    converge(ALICE)
    (folder / "shadow").chmod(0o600)
    (folder / "shadow").write_text(f"alice:{present}:::::::\n")
    converge(ALICE)
    assert crypt.verifies("hunter2-alice", hash_in(folder, "alice"))


def test_numbers_stay_whoever_comes_and_goes(folder: Path, converge: Any) -> None:
    converge(BOB)
    bob = id_in(folder, "bob")
    done = converge(ALICE, BOB)
    assert (done["added"], id_in(folder, "bob")) == (["alice"], bob)
    alice = id_in(folder, "alice")
    assert alice > bob
    done = converge(ALICE)
    assert (done["removed"], names_in(folder), id_in(folder, "alice")) == (["bob"], ["alice"], alice)


def test_rights_are_reported(folder: Path, converge: Any) -> None:
    converge(ALICE, BOB)
    shadow = (folder / "shadow").read_bytes()
    done = converge({**ALICE, "admin": False}, {**BOB, "groups": ["staff"]})
    assert done["updated"] == ["alice", "bob"]
    assert '"staff"' in done["diff"]["after"] and '"staff"' in done["diff"]["before"]
    assert (folder / "shadow").read_bytes() == shadow


def test_check_mode_changes_nothing(folder: Path, converge: Any) -> None:
    converge(ALICE, BOB)
    before = contents(folder)
    tried = converge({**ALICE, "password": "hunter2-other"}, check=True)
    assert (tried["changed"], tried["updated"], tried["removed"]) == (True, ["alice"], ["bob"])
    assert "another password: alice" in tried["diff"]["after_header"]
    assert contents(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_lost_or_damaged_file_is_mended(folder: Path, converge: Any, name: str) -> None:
    converge(ALICE, BOB)
    before = contents(folder)
    (folder / name).unlink()
    assert converge(ALICE, BOB)["changed"]
    if name != "shadow":
        assert contents(folder) == before
    (folder / name).chmod(0o600)
    (folder / name).write_text("{ damaged")
    assert converge(ALICE, BOB)["changed"]
    assert sorted(contents(folder)) == FILES
    assert names_in(folder) == ["alice", "bob"]
    assert not converge(ALICE, BOB)["changed"]


def test_no_users_is_a_list_too(folder: Path, converge: Any) -> None:
    converge(ALICE)
    assert converge()["removed"] == ["alice"]
    assert (folder / "shadow").read_text() == ""


def test_a_user_of_another_authenticator_has_no_way_past_pam(folder: Path, converge: Any) -> None:
    converge({"name": "alice"})
    assert (folder / "shadow").read_text() == "alice:*:::::::\n"
