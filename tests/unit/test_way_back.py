"""What is kept of a hub that is made anew, and how it comes back: files, images, database."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils.database import copy_database, revision
from ansible_collections.jupyterhub.home.plugins.module_utils.way_back import Before
from ansible_collections.jupyterhub.home.plugins.modules import files, way_back
from conftest import Program, RunModule

OLD = {"compose.yml": "name: home\n", "hub/hub.json": "{}\n", "hub/extra.py": "old\n"}
NEW = {"compose.yml": "name: home # new\n", "hub/hub.json": "{}\n", "hub/more.py": "new\n"}


def write(run_module: RunModule, root: Path, texts: dict[str, str], digest: str) -> None:
    own = {"owner": os.geteuid(), "group": os.getegid(), "mode": "0640"}
    specified = {name: {"content": text, **own} for name, text in texts.items()}
    more = {"exact": ["hub"], "digest": digest, "kept_with": "compose.yml"}
    assert "failed" not in run_module(files, {"root": str(root), "files": specified, **more})


def there(root: Path) -> dict[str, str]:
    """The files of a folder but for what is kept."""
    paths = [
        path for path in sorted(root.rglob("*")) if path.is_file() and "before" not in path.relative_to(root).parts
    ]
    return {str(path.relative_to(root)): path.read_text() for path in paths}


def test_files_come_back(run_module: RunModule, tmp_path: Path) -> None:
    root = tmp_path / "home"
    write(run_module, root, OLD, "one")
    assert not Before(root).exists()
    was = there(root)
    write(run_module, root, NEW, "two")
    before = Before(root)
    assert (root / "before").stat().st_mode & 0o777 == 0o700
    assert before.changed_files() == ["compose.yml", "hub/extra.py", "written.json"]
    before.put_files_back()
    assert there(root) == was and (root / "hub/extra.py").stat().st_mode & 0o777 == 0o640
    before.drop()
    assert sorted(path.name for path in root.iterdir()) == ["compose.yml", "hub", "written.json"]


def test_what_was_kept_first_stays(run_module: RunModule, tmp_path: Path) -> None:
    """A run that was killed has made something that nobody knows to work."""
    root = tmp_path / "home"
    for number, texts in enumerate([OLD, NEW, {**NEW, "compose.yml": "name: home # third\n"}]):
        write(run_module, root, texts, str(number))
    assert (root / "before/files/compose.yml").read_text() == OLD["compose.yml"]


def test_only_what_makes_containers_anew_is_kept_for(run_module: RunModule, tmp_path: Path) -> None:
    root = tmp_path / "home"
    write(run_module, root, OLD, "one")
    write(run_module, root, {**OLD, "hub/extra.py": "other\n"}, "two")
    assert not Before(root).exists()
    # What somebody has edited is none to go back to.
    (root / "compose.yml").write_text("name: home # by hand\n")
    write(run_module, root, NEW, "three")
    assert not Before(root).exists()


def database(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [version])
        connection.execute("CREATE TABLE users (name)")
    return path


def test_a_copy_of_a_database_in_use(tmp_path: Path) -> None:
    source = database(tmp_path / "jupyterhub.sqlite", "one")
    hub = sqlite3.connect(source)
    hub.execute("UPDATE alembic_version SET version_num = 'two'")
    copy_database(source, tmp_path / "copy")
    assert revision(tmp_path / "copy") == "one" and (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    hub.rollback()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# An engine whose images are the files of `images`, and whose hub says how it is.
DOCKER = """case "$1 $2" in
"inspect home-hub") cat "$here/things" ;;
"volume inspect") cat "$here/volume" ;;
"image inspect") cat "$here/images/$(echo "$5" | tr / _)" 2>/dev/null || exit 1 ;;
"image rm") rm "$here/images/$(echo "$3" | tr / _)" ;;
"tag "*) echo "$2" >"$here/images/$(echo "$3" | tr / _)" ;;
esac"""


class Engine:
    """A hub of the image home/hub:1, identity `old`."""

    def __init__(self, program: Program, tmp_path: Path) -> None:
        self.calls = program("docker", DOCKER)
        self.here, self.root, self.data = self.calls.parent, tmp_path / "home", tmp_path / "data"
        (self.here / "images").mkdir()
        self.image("hub:1", "old")
        self.image("proxy:1", "same")
        self.database = database(self.data / "jupyterhub.sqlite", "r1")
        volume = {"Driver": "local", "Options": None, "Mountpoint": str(self.data)}
        (self.here / "volume").write_text(json.dumps([volume]))
        self.hub_is("running", "healthy")

    def image(self, name: str, identity: str) -> None:
        (self.here / f"images/home_{name}").write_text(identity)

    def images(self) -> dict[str, str]:
        return {
            path.name.removeprefix("home_"): path.read_text().strip()
            for path in sorted((self.here / "images").iterdir())
        }

    def hub_is(self, status: str, health: str) -> None:
        labels = {"com.docker.compose.project.working_dir": str(self.root)}
        bound = {"8000/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8001"}]}
        state = {"Status": status, "Health": {"Status": health}}
        things: list[dict[str, Any]] = [
            {"Name": "/home-hub", "Image": "old", "Config": {"Image": "home/hub:1", "Labels": labels}, "State": state},
            {
                "Name": "/home-proxy", "Image": "same", "HostConfig": {"PortBindings": bound},
                "Config": {"Image": "home/proxy:1", "Env": ["HUB_BASE_URL=/below/"]},
            },
            # Of the hub's image by name, and made anew by somebody on another one.
            {"Name": "/home-guard", "Image": "other", "Config": {"Image": "home/hub:1"}},
        ]  # fmt: skip
        (self.here / "things").write_text(json.dumps(things))


@pytest.fixture
def engine(program: Program, tmp_path: Path, run_module: RunModule) -> Engine:
    made = Engine(program, tmp_path)
    write(run_module, made.root, OLD, "one")
    return made


def way(run_module: RunModule, engine: Engine, state: str, **more: Any) -> dict[str, Any]:
    return run_module(way_back, {"state": state, "project": "home", "directory": str(engine.root), **more})


def test_a_migrated_hub_goes_back(engine: Engine, run_module: RunModule) -> None:
    write(run_module, engine.root, NEW, "two")
    answer = way(run_module, engine, "keep", network="br chosen 10.77.0.0/20")
    assert answer["kept"] and answer["changed"] is False
    assert engine.images() == {"hub:1": "old", "hub:kept": "old", "proxy:1": "same", "proxy:kept": "same"}
    # The new hub's own copy, its migration, and an image made anew under the old name.
    (engine.data / "jupyterhub.sqlite.2026-11-26").touch()
    with sqlite3.connect(engine.database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'r2'")
    engine.image("hub:1", "new")
    assert way(run_module, engine, "keep")["kept"]  # by the next run, if this one was killed: nothing is kept anew
    answer = way(run_module, engine, "back")
    assert answer["tried"] == [
        "other settings (compose.yml, hub/extra.py)", "other images (home/hub:1)",
        "a database migrated from revision r1 to r2",
    ]  # fmt: skip
    assert (answer["folder"], answer["network"]) == (str(engine.root), "br chosen 10.77.0.0/20")
    assert (answer["url"], answer["replaced"]) == ("http://127.0.0.1:8001/below/", ["new"])
    assert revision(engine.database) == "r1" and engine.images()["hub:1"] == "old"
    assert sorted(path.name for path in engine.data.iterdir()) == ["jupyterhub.sqlite"]
    assert "stop home-hub" in engine.calls.read_text()
    assert there(engine.root)["compose.yml"] == OLD["compose.yml"]
    assert "failed" not in way(run_module, engine, "drop", images=["new"])
    assert engine.images() == {"hub:1": "old", "proxy:1": "same"} and not Before(engine.root).exists()


def test_a_database_that_was_not_migrated_stays(engine: Engine, run_module: RunModule) -> None:
    """What users did meanwhile is in it."""
    write(run_module, engine.root, NEW, "two")
    way(run_module, engine, "keep")
    with sqlite3.connect(engine.database) as connection:
        connection.execute("INSERT INTO users VALUES ('new')")
    now = engine.database.read_bytes()
    assert "database" not in str(way(run_module, engine, "back")["tried"])
    assert way(run_module, engine, "undo")["changed"] is False
    assert engine.database.read_bytes() == now and "stop" not in engine.calls.read_text()


@pytest.mark.parametrize("state", ["undo", "back"])
def test_half_of_a_migration(engine: Engine, run_module: RunModule, state: str) -> None:
    """It was killed when it had changed a table, and not noted its revision: no hub could begin with that."""
    assert way(run_module, engine, "undo")["changed"] is False  # nothing is kept
    write(run_module, engine.root, NEW, "two")
    way(run_module, engine, "keep")
    (engine.data / "jupyterhub.sqlite.2026-11-26").touch()
    with sqlite3.connect(engine.database) as connection:
        connection.execute("ALTER TABLE users ADD COLUMN half")
    arguments = {"state": "undo", "project": "home", "directory": str(engine.root)}
    assert run_module(way_back, arguments, check=True)["changed"] and "stop" not in engine.calls.read_text()
    answer = way(run_module, engine, state)
    assert answer["changed"] and "stop home-hub" in engine.calls.read_text()
    assert ("a migration of the database, begun at revision r1" in answer["tried"]) is (state == "back")
    with sqlite3.connect(engine.database) as connection:
        assert [row[1] for row in connection.execute("PRAGMA table_info(users)")] == ["name"]
    assert sorted(path.name for path in engine.data.iterdir()) == ["jupyterhub.sqlite"]


def test_a_whole_migration_is_not_undone(engine: Engine, run_module: RunModule) -> None:
    """The hub may have been used since."""
    write(run_module, engine.root, NEW, "two")
    way(run_module, engine, "keep")
    with sqlite3.connect(engine.database) as connection:
        connection.execute("ALTER TABLE users ADD COLUMN whole")
        connection.execute("UPDATE alembic_version SET version_num = 'r2'")
    assert way(run_module, engine, "undo")["changed"] is False and "stop" not in engine.calls.read_text()


def test_nothing_to_go_back_to(engine: Engine, run_module: RunModule) -> None:
    assert not way(run_module, engine, "keep")["kept"]  # nothing changes
    for status, health in [("restarting", ""), ("exited", ""), ("running", "unhealthy")]:
        engine.hub_is(status, health)
        write(run_module, engine.root, {**NEW, "compose.yml": f"name: home # {status} {health}\n"}, status)
        assert not way(run_module, engine, "keep")["kept"]
        assert not Before(engine.root).exists()
    (engine.here / "things").write_text("[]")
    assert not way(run_module, engine, "keep")["kept"]


def test_renewed_images_are_kept_for_before_they_take_a_name(engine: Engine, run_module: RunModule) -> None:
    engine.image("user:1", "user-old")
    assert way(run_module, engine, "keep", images=["home/user:1"])["kept"]
    engine.image("user:1", "user-new")
    assert way(run_module, engine, "back")["replaced"] == ["user-new"]
    assert engine.images()["user:1"] == "user-old"


def test_a_hub_that_moves_to_another_folder_goes_back_to_its_own(
    engine: Engine, run_module: RunModule, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    arguments = {"project": "home", "directory": str(tmp_path / "other")}
    assert run_module(way_back, {"state": "keep", **arguments})["kept"]
    assert run_module(way_back, {"state": "back", **arguments})["folder"] == str(engine.root)


def test_a_database_that_cannot_be_copied_stops_the_run(engine: Engine, run_module: RunModule) -> None:
    engine.database.write_text("no database, and longer than the head of one would be" * 9)
    write(run_module, engine.root, NEW, "two")
    answer = way(run_module, engine, "keep")
    assert answer["failed"] and "is not made anew, and goes on: file is not a database" in answer["msg"]


def test_check_mode_keeps_nothing(engine: Engine, run_module: RunModule) -> None:
    arguments = {"state": "keep", "project": "home", "directory": str(engine.root)}
    assert run_module(way_back, arguments, check=True)["kept"] is False and engine.calls.read_text() == ""
