"""jupyterhub.home.users: volumes follow a new name, and go when an owner says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from conftest import Program, Serve, Web
from notes import foretold
from spawner import HomeSpawner
from users_contract import (
    NOTHING,
)
from users_runs import ALICE, BOB, TOKEN, Converge, Homes

ANNA = {"name": "anna", "password": "hunter2", "renamed_from": "anne"}


@pytest.mark.parametrize("name", ["alice", "a.b", "a-b", "a_b-c.d", "_x", "a1", "kim.lee-1_2"])
def test_a_volume_has_dockerspawners_name(name: str) -> None:
    work = f"home-user-{HomeSpawner._escape(name)}"
    assert contract.user_volumes("home", name) == (f"{work}-home", work)


@pytest.fixture
def web(serve: Serve) -> Web:
    """A hub that finds nothing to do."""
    return serve((200, NOTHING))


def test_files_follow_a_renamed_user(converge: Converge, homes: Homes, web: Web) -> None:
    """Check, real, real again, check again."""
    data = homes.volume("home-user-anne", "a", "b")
    data.chmod(0o700)
    number = data.stat().st_ino
    tried = converge(ANNA, url=web.url, check=True)
    assert tried["changed"] and tried["notes"] == ["Home of anne would be carried over to anna"]
    assert homes.changes() == []
    done = converge(ANNA, url=web.url)
    assert done["notes"] == ["Home of anne carried over to anna"]
    assert homes.volumes() == {"home-user-anna": ["a of home-user-anne", "b of home-user-anne"]}
    moved = (homes.volumes_folder / "home-user-anna/_data").stat()
    assert (moved.st_ino, moved.st_mode & 0o7777) == (number, 0o700), "copied"
    assert homes.changes() == [
        "volume create --label=jupyterhub-home.project=home --label=jupyterhub-home.user=anna home-user-anna",
        "volume rm home-user-anne",
    ]
    for check in (False, True):
        again = converge(ANNA, url=web.url, check=check)
        assert (again["changed"], again["notes"]) == (False, [])
    assert len(homes.changes()) == 2


def test_a_home_that_moves_is_not_said_to_be_kept(converge: Converge, homes: Homes, serve: Serve) -> None:
    converge({"name": "anne", "password": "hunter2"})
    homes.volume("home-user-anne", "a")
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


def test_names_that_docker_cannot_write(converge: Converge, homes: Homes, web: Web) -> None:
    homes.volume("home-user-anne-2eo", "a")
    converge({"name": "anne-o", "password": "hunter2", "renamed_from": "anne.o"}, url=web.url)
    assert homes.volumes() == {"home-user-anne-2do": ["a of home-user-anne-2eo"]}


def test_an_empty_home_gives_way(converge: Converge, homes: Homes, web: Web) -> None:
    """She has logged in under the new name, and saved nothing."""
    homes.volume("home-user-anne", "a")
    homes.volume("home-user-anna")
    homes.held("ended", "home-user-anna", status="exited", id="0123456789ab")
    converge(ANNA, url=web.url)
    assert homes.volumes() == {"home-user-anna": ["a of home-user-anne"]}
    assert homes.changes()[0] == "rm --volumes 0123456789ab"


@pytest.mark.parametrize("check", [True, False])
def test_two_homes_with_files_are_left_alone(converge: Converge, homes: Homes, web: Web, check: bool) -> None:
    homes.volume("home-user-anne", "a")
    homes.volume("home-user-anna", "b")
    failed = converge(ANNA, url=web.url, check=check)
    assert failed["failed"]
    assert failed["msg"].startswith("Both anne and anna have files, in the volumes home-user-anne and home-user-anna; ")
    assert failed["msg"].endswith("Take renamed_from: anne away to keep both.")
    assert homes.volumes() == {"home-user-anna": ["b of home-user-anna"], "home-user-anne": ["a of home-user-anne"]}
    assert homes.changes() == []


def test_a_move_that_was_killed_is_finished(converge: Converge, homes: Homes, web: Web) -> None:
    """After the files had moved and before the old volume was removed."""
    homes.volume("home-user-anne").rmdir()
    homes.volume("home-user-anna", "a")
    assert converge(ANNA, url=web.url, check=True)["changed"]
    done = converge(ANNA, url=web.url)
    assert done["changed"] and done["notes"] == ["Home of anne carried over to anna"]
    assert homes.volumes() == {"home-user-anna": ["a of home-user-anna"]}
    assert not converge(ANNA, url=web.url)["changed"]


def test_a_move_that_was_killed_before_the_files_moved(converge: Converge, homes: Homes, web: Web) -> None:
    homes.volume("home-user-anne", "a")
    homes.volume("home-user-anna")
    converge(ANNA, url=web.url)
    assert homes.volumes() == {"home-user-anna": ["a of home-user-anne"]}


def test_the_whole_home_follows(converge: Converge, homes: Homes, web: Web) -> None:
    for name in ("anne-home", "anne"):
        homes.volume(f"home-user-{name}", "a")
    homes.held("ended", "home-user-anne-home", status="exited", id="0123456789ab")
    tried = converge(ANNA, url=web.url, check=True)
    note = "Home of anne carried over to anna"
    assert tried["notes"] == [foretold(note)] and homes.changes() == []
    assert converge(ANNA, url=web.url)["notes"] == [note]
    assert homes.volumes() == {
        "home-user-anna": ["a of home-user-anne"],
        "home-user-anna-home": ["a of home-user-anne-home"],
    }
    assert homes.changes()[0] == "rm --volumes 0123456789ab"
    assert not converge(ANNA, url=web.url)["changed"]


def test_settings_of_the_new_name_are_kept_in_the_old_home(converge: Converge, homes: Homes, web: Web) -> None:
    """She has started a server under the new name, and saved nothing in its work folder."""
    for name, file in {"anne-home": "a", "anne": "b", "anna-home": "c"}.items():
        homes.volume(f"home-user-{name}", file)
    homes.volume("home-user-anna")
    tried = converge(ANNA, url=web.url, check=True)
    note = "Home of anne carried over to anna; what anna had is in ~/home-of-anna"
    assert tried["notes"] == [foretold(note)] and homes.changes() == []
    assert converge(ANNA, url=web.url)["notes"] == [note]
    data = homes.volumes_folder / "home-user-anna-home/_data"
    assert (data / "a").read_text() == "a of home-user-anne-home"
    assert (data / "home-of-anna/c").read_text() == "c of home-user-anna-home"
    assert (homes.volumes_folder / "home-user-anna/_data/b").read_text() == "b of home-user-anne"
    assert not converge(ANNA, url=web.url)["changed"]


@pytest.mark.parametrize("killed_after", ["home kept", "home moved", "home removed", "work moved"])
def test_a_move_of_both_that_was_killed_is_finished(
    converge: Converge, homes: Homes, web: Web, killed_after: str
) -> None:
    old, old_work = (homes.volume(f"home-user-anne{suffix}", "a") for suffix in ("-home", ""))
    new = homes.volume("home-user-anna-home", "c")
    steps: dict[str, Callable[[], object]] = {
        "home kept": lambda: new.rename(old / "home-of-anna"),
        "home moved": lambda: old.rename(new),
        "home removed": old.parent.rmdir,
        "work moved": lambda: old_work.rename(homes.volume("home-user-anna")),
    }
    for name, step in steps.items():
        step()
        if name == killed_after:
            break
    assert converge(ANNA, url=web.url)["changed"]
    assert sorted(volume.name for volume in homes.volumes_folder.iterdir()) == [
        "home-user-anna",
        "home-user-anna-home",
    ]
    assert (new / "a").read_text() == "a of home-user-anne-home"
    assert (new / "home-of-anna/c").read_text() == "c of home-user-anna-home"
    assert (homes.volumes_folder / "home-user-anna/_data/a").read_text() == "a of home-user-anne"
    assert not converge(ANNA, url=web.url)["changed"]


@pytest.mark.parametrize("who", ["anne-home", "anna-home"])
def test_a_home_is_in_use_also_where_the_work_folder_is_the_machines(
    converge: Converge, homes: Homes, web: Web, who: str
) -> None:
    homes.volume("home-user-anne-home", "a")
    homes.volume("home-user-anna-home", "a")
    homes.held("a-server", f"home-user-{who}")
    assert "is in use by a-server" in converge(ANNA, url=web.url)["msg"]
    assert homes.changes() == []


def test_a_whole_home_is_deleted(converge: Converge, homes: Homes, web: Web) -> None:
    for name in ("bob-home", "bob", "bob-2do-home"):
        homes.volume(f"home-user-{name}", "a")
    done = converge(ALICE, url=web.url, delete_homes=["bob"])
    assert done["notes"] == ["Home of bob deleted: home-user-bob-home, home-user-bob"]
    assert list(homes.volumes()) == ["home-user-bob-2do-home"]


@pytest.mark.parametrize("who", ["anne", "anna"])
def test_a_home_in_use_is_not_moved(converge: Converge, homes: Homes, web: Web, who: str) -> None:
    homes.volume("home-user-anne", "a")
    homes.volume("home-user-anna")
    homes.held(f"jupyter-{who}", f"home-user-{who}")
    failed = converge(ANNA, url=web.url)
    assert failed["failed"]
    assert failed["msg"] == (
        f"The home of {who}, home-user-{who}, is in use by jupyter-{who}. Stop that server, then run again."
    )
    assert homes.volumes() == {"home-user-anna": [], "home-user-anne": ["a of home-user-anne"]}


@pytest.mark.parametrize(
    "inspected",
    [{"Driver": "nfs"}, {"Driver": "local", "Options": {"device": "/dev/sdb1"}, "Mountpoint": "/no/such/folder"}],
)
def test_a_volume_of_another_kind_is_not_moved(
    converge: Converge, homes: Homes, web: Web, inspected: dict[str, Any]
) -> None:
    homes.volume("home-user-anne", "a")
    homes.engine.state["volumes"]["home-user-anne"] = {"labels": {}, "inspected": inspected}
    homes.engine.save()
    failed = converge(ANNA, url=web.url)
    assert failed["msg"] == "The volume home-user-anne is not one of Docker's own; move its files yourself."
    assert homes.changes() == []


def test_homes_are_deleted_only_by_name(converge: Converge, homes: Homes, web: Web) -> None:
    """Check, real, real again, check again."""
    for name in ("alice", "bob", "bobby"):
        homes.volume(f"home-user-{name}", "a")
    homes.held("ended", "home-user-bob", status="exited", id="0123456789ab")
    names = ["bob", "bobbi", "nobody"]
    unknown = "In jupyterhub_home_delete_homes, but there is no home of that name: bobbi (did you mean bobby?), nobody"
    tried = converge(ALICE, url=web.url, delete_homes=names, check=True)
    assert tried["changed"] and tried["notes"] == ["Home of bob would be deleted: home-user-bob", unknown]
    assert homes.changes() == []
    done = converge(ALICE, url=web.url, delete_homes=names)
    assert done["changed"] and done["notes"] == ["Home of bob deleted: home-user-bob", unknown]
    assert homes.changes() == ["rm --volumes 0123456789ab", "volume rm home-user-bob"]
    assert sorted(homes.volumes()) == ["home-user-alice", "home-user-bobby"]
    for check in (False, True):
        again = converge(ALICE, url=web.url, delete_homes=names, check=check)
        # The line stays for years: one that was deleted is not spoken of, one that nobody ever had is.
        assert (again["changed"], again["notes"]) == (False, [unknown])


def test_a_home_that_was_never_made_is_not_missed(converge: Converge, homes: Homes, web: Web) -> None:
    """Of a user who goes in the same run, and never had a server."""
    converge(ALICE, BOB, url=web.url)
    for _ in range(2):
        notes = converge(ALICE, url=web.url, delete_homes=["bob"])["notes"]
        assert not [note for note in notes if "delete_homes" in note]
    assert homes.changes() == []


def test_a_home_in_use_is_not_deleted(converge: Converge, homes: Homes, web: Web) -> None:
    homes.volume("home-user-bob", "a")
    homes.held("jupyter-bob", "home-user-bob")
    failed = converge(ALICE, url=web.url, delete_homes=["bob"])
    assert failed["failed"] and "in use by jupyter-bob" in failed["msg"]
    assert sorted(homes.volumes()) == ["home-user-bob"]


def test_an_error_of_docker_is_said(converge: Converge, web: Web, token_file: Path, program: Program) -> None:
    token_file.write_text(TOKEN)
    program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    failed = converge(ANNA, url=web.url)
    assert failed["msg"] == "docker volume ls --quiet: Cannot connect to the Docker daemon"


@pytest.mark.parametrize("check", [True, False])
def test_homes_of_the_gone_are_kept_and_named(converge: Converge, homes: Homes, serve: Serve, check: bool) -> None:
    web = serve((200, {**NOTHING, "remove": ["bob", "dora", "eve"]}))
    converge(ALICE, BOB, {"name": "carl-o", "password": "hunter2"})
    for name in ("alice", "bob-home", "bob", "carl-2do-home", "eve"):
        homes.volume(f"home-user-{name}", "a")
    done = converge(ALICE, url=web.url, delete_homes=["eve"], check=check)
    said = "Their files are kept, in the volumes home-user-bob-home, home-user-bob, home-user-carl-2do-home"
    assert said in done["notes"]
    assert len(homes.volumes()) == (5 if check else 4)


@pytest.mark.usefixtures("no_waiting")
def test_no_home_is_touched_before_the_hub_has_answered(converge: Converge, homes: Homes, serve: Serve) -> None:
    """A server of the old name may still run."""
    homes.volume("home-user-anne", "a")
    homes.volume("home-user-bob", "a")
    done = converge(ANNA, url=serve(502).url, delete_homes=["bob"])
    assert done["failed"] and homes.changes() == []


@pytest.mark.usefixtures("web")
def test_without_anything_to_move_docker_is_not_asked(converge: Converge, homes: Homes, web: Web) -> None:
    converge(ALICE, url=web.url)
    assert homes.calls.read_text() == ""
