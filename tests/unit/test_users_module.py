"""jupyterhub.home.users: login files match the list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import crypt
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import named
from ansible_collections.jupyterhub.home.plugins.modules import users
from notes import foretold
from users_runs import ALICE, BOB, Converge, contents, hash_in, id_in, names_in, rights_in, sessions_in

FILES = ["group", "passwd", "shadow", "undeclared.json", "users.json"]


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


def test_a_uid_is_the_hubs_to_know(folder: Path, converge: Converge) -> None:
    """And nobody's password or session changes with it. Whoever has none has no word of it."""
    converge(ALICE, BOB)
    sessions = sessions_in(folder)
    done = converge({**ALICE, "uid": 1001}, BOB)
    assert (done["changed"], done["updated"]) == (True, ["alice"])
    assert done["diff"][0]["after"] == "alice, admin, in family, in staff, uid 1001\nbob\n"
    assert rights_in(folder)["alice"]["uid"] == 1001 and "uid" not in rights_in(folder)["bob"]
    assert sessions_in(folder) == sessions and id_in(folder, "alice") == 100001
    assert converge(ALICE, BOB)["updated"] == ["alice"]
    assert "uid" not in rights_in(folder)["alice"]


def test_check_mode_changes_nothing(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    before = contents(folder)
    tried = converge({**ALICE, "password": "hunter2-other"}, check=True)
    assert (tried["changed"], tried["updated"], tried["removed"]) == (True, ["alice"], ["bob"])
    assert tried["diff"][0]["after"] == "alice, admin, in family, in staff, another password\n"
    assert contents(folder) == before


@pytest.mark.parametrize("name", FILES)
def test_a_lost_or_damaged_file_is_repaired(folder: Path, converge: Converge, name: str) -> None:
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
    desired = ({**ALICE, "password": "hunter2-new"}, {"name": "carl", "password": "hunter2"})
    with pytest.raises(KeyboardInterrupt):
        converge(*desired, keep_undeclared=True)
    assert (folder / "shadow").read_bytes() == shadow
    assert (sessions_in(folder).get("alice") != before["alice"]) == (killed_at == "shadow")
    monkeypatch.setattr(users, "replace_file", replace)
    assert converge(*desired)["changed"]
    assert names_in(folder) == ["alice", "carl"] == sorted(sessions_in(folder))
    assert crypt.verifies("hunter2-new", hash_in(folder, "alice"))
    assert sessions_in(folder)["alice"] != before["alice"]
    assert not converge(*desired)["changed"]


def test_absent_is_as_if_not_in_the_list(folder: Path, converge: Converge) -> None:
    converge(ALICE, BOB)
    done = converge(ALICE, {"name": "bob", "state": "absent"}, {"name": "carl", "state": "absent", "admin": True})
    assert (done["removed"], done["added"], names_in(folder)) == (["bob"], [], ["alice"])
    assert sorted(rights_in(folder)) == ["alice"]
    assert done["notes"] == ["Accounts removed: bob"]
    assert converge({**ALICE, "state": "present"}, BOB)["added"] == ["bob"]


@pytest.mark.parametrize("desired", [[{**ALICE, "admin": False}], [BOB], [{**ALICE, "state": "absent"}, BOB], []])
def test_the_last_admin_does_not_go_unsaid(converge: Converge, desired: list[dict[str, Any]]) -> None:
    assert converge(ALICE, BOB)["warnings"] == []
    (warning,) = converge(*desired, check=True)["warnings"]
    assert "Nobody is an admin of the hub any more." in warning
    assert len(converge(*desired)["warnings"]) == 1
    assert converge(*desired)["warnings"] == []


def test_one_admin_is_enough(converge: Converge) -> None:
    converge(ALICE, {**BOB, "admin": True})
    assert converge({**BOB, "admin": True})["warnings"] == []


def test_many_names_are_counted() -> None:
    names = [f"user{number:02}" for number in range(25)]
    assert named("Gone: {}", names) == [f"Gone: {', '.join(names[:20])} and 5 more"]
    assert named("Gone: {}", names[:20]) == [f"Gone: {', '.join(names[:20])}"]
    assert named("Gone: {}", []) == []


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


def test_a_link_in_the_place_of_the_folder(folder: Path, converge: Converge, tmp_path: Path) -> None:
    """No hash goes to where it leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "own.txt").write_text("kept")
    folder.symlink_to(elsewhere)
    converge(ALICE)
    assert [path.name for path in elsewhere.iterdir()] == ["own.txt"]
    assert not folder.is_symlink() and (folder / "shadow").exists()
