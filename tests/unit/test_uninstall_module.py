"""jupyterhub.home.uninstall: what is a project's, and that nothing else goes with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import belongings, build_cache, contract, installed
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, fingerprint_of
from ansible_collections.jupyterhub.home.plugins.modules import uninstall
from conftest import Program, RunModule
from fake_engine import Engine

COMPOSE, LABEL = "com.docker.compose.project", "jupyterhub-home"


class Machine:
    """An engine with two hubs and what others have, and the folders of the hubs."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine, self.home, self.lab = engine, root / "home", root / "lab"
        for folder in (self.home, self.lab):
            (folder / "hub").mkdir(parents=True)
            (folder / "compose.yml").write_text(f"name: {folder.name}\n")
        self.service("home-hub", "home/hub:1", self.home, tokens="abc")
        self.service("home-proxy", "0123456789ab", self.home, tokens="abc")  # its image was removed
        self.container("home-user-kim", "quay.io/x/y:1", {f"{LABEL}.project": "home"})
        self.service("lab-hub", "lab/hub:1", self.lab, tokens="abc")
        self.service("cloud-web", "nextcloud:30", Path("/srv/cloud"))
        self.container("database", "postgres:17", {})
        ours, compose = f"{LABEL}.project", COMPOSE
        volumes: dict[str, dict[str, str]] = {
            "home-data": {compose: "home"}, "home-user-kim": {ours: "home"}, "lab-data": {},
            "lab-user-lee": {ours: "lab"}, "cloud_data": {compose: "cloud"}, "old-user-max": {ours: "old"},
            "photo-data": {},
        }  # fmt: skip
        for name, labels in volumes.items():
            engine.volume(name, labels)
        engine.state["networks"] = {name: {"Id": f"id-{name}", "Labels": {COMPOSE: name}} for name in ("home", "lab")}
        engine.state["images"] = [
            "home/hub:1", "home/base:1", "home/notes:2", "lab/hub:1", "homes/hub:1", "<none>:<none>",
        ]  # fmt: skip
        engine.save()

    def container(self, name: str, image: str, labels: dict[str, str]) -> None:
        self.engine.state["containers"][name] = self.engine.container(labels, image=image)
        self.engine.save()

    def service(self, name: str, image: str, folder: Path, **ours: str) -> None:
        """A container that Compose has made from a folder."""
        labels = {COMPOSE: folder.name, f"{COMPOSE}.working_dir": str(folder)}
        self.container(name, image, labels | {f"{LABEL}.{key}": value for key, value in ours.items()})

    def changes(self) -> list[str]:
        """The commands that do more than list."""
        lines = self.engine.calls.read_text().splitlines()
        return [line for line in lines if line.split()[0] != "ps" and line.split()[1] != "ls"]


@pytest.fixture
def machine(engine: Engine, tmp_path: Path) -> Machine:
    return Machine(engine, tmp_path)


@pytest.fixture(autouse=True)
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs leave what is of no interest, and archives are: elsewhere than on a machine."""
    folder = tmp_path / "passing"
    folder.mkdir()
    monkeypatch.setattr(contract, "compose_hashes", lambda project: f"{folder}/{project}.hashes")
    monkeypatch.setattr(contract, "notes", lambda project: (f"{folder}/{project}.hashes",))
    monkeypatch.setattr(contract, "archives", lambda project: f"{folder}/{project}/archives")
    monkeypatch.setattr(contract, "INSTALLED", f"{folder}/state/installed")
    monkeypatch.setattr(belongings, "LEFT", (folder / "images.lock", folder / "base"))
    left = [build_cache.Record("one", frozenset(), 1_600_000_000, marked=True)]

    def prune(names: list[str]) -> None:
        assert names == ["one"]
        left.clear()

    monkeypatch.setattr(build_cache, "records", lambda: list(left))
    monkeypatch.setattr(build_cache, "prune", prune)
    return folder


def run(run_module: RunModule, project: str, directory: Path, **options: Any) -> dict[str, Any]:
    check = options.pop("check", False)
    told = {"delete_data": False, "delete_packages": False, **options}
    arguments = {"project": project, "directory": str(directory), **told}
    return run_module(uninstall, arguments, check=check)


def test_four_steps(machine: Machine, run_module: RunModule) -> None:
    tried = run(run_module, "home", machine.home, check=True)
    assert tried["changed"] and machine.changes() == [] and machine.home.exists()
    assert tried["notes"] == [
        "Would be removed, containers: home-hub, home-proxy, home-user-kim",
        "Would be removed, networks: home",
        "Would be removed, images: home/base:1, home/hub:1",
        f"Would be removed, folders: {machine.home}",
        "Kept, with everybody's files and the hub's database, volumes: home-data, home-user-kim",
    ]
    done = run(run_module, "home", machine.home)
    assert [note.replace("Removed", "Would be removed") for note in done["notes"]] == tried["notes"]
    assert machine.changes() == [
        "rm --force --volumes home-hub home-proxy home-user-kim",
        "network rm home",
        "image rm --force home/base:1 home/hub:1",
    ]
    assert not machine.home.exists() and (machine.lab / "compose.yml").exists()


def test_the_walls_go_after_whom_they_are_around(machine: Machine, run_module: RunModule, program: Program) -> None:
    """And of another project nothing."""
    calls = program("nft", "printf 'table inet jhh-%s\\n' lab home")
    assert "Would be removed, walls: jhh-home" in run(run_module, "home", machine.home, check=True)["notes"]
    notes = run(run_module, "home", machine.home)["notes"]
    assert notes.index("Removed, networks: home") < notes.index("Removed, walls: jhh-home")
    assert [line for line in calls.read_text().splitlines() if "list" not in line] == ["delete table inet jhh-home"]


def test_the_unit_goes_first(
    machine: Machine, run_module: RunModule, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would start the containers again. Somebody's own unit of that name stays."""
    for module in (belongings, uninstall):
        monkeypatch.setattr(module, "UNITS", tmp_path / "units")
    (tmp_path / "units").mkdir()
    link = tmp_path / "units/home-watch.service"
    link.symlink_to(machine.home / "watch/home-watch.service")
    (tmp_path / "units/lab-watch.service").touch()
    calls = program("systemctl", "true")
    tried = run(run_module, "home", machine.home, check=True)
    assert tried["notes"][0] == "Would be removed, units: home-watch.service" and link.is_symlink()
    assert calls.read_text() == ""
    done = run(run_module, "home", machine.home)
    assert done["notes"][0] == "Removed, units: home-watch.service" and not link.is_symlink()
    assert calls.read_text().splitlines() == [
        "disable --now --quiet home-watch.service", "daemon-reload", "reset-failed --quiet home-watch.service"
    ]  # fmt: skip
    run(run_module, "lab", machine.lab)
    assert (tmp_path / "units/lab-watch.service").exists()


def test_the_data_goes_when_told(machine: Machine, run_module: RunModule) -> None:
    done = run(run_module, "lab", machine.lab, delete_data=True)
    # Its hub is there, so the volume that lost its labels is its own, too.
    assert machine.changes()[-1] == "volume rm lab-data lab-user-lee"
    assert done["notes"][-1] == "Removed, volumes: lab-data, lab-user-lee"
    assert run(run_module, "old", machine.home / "none", delete_data=True)["notes"] == [
        "Removed, volumes: old-user-max"
    ]


def leave(passing: Path, program: Program) -> None:
    """What runs leave beside their folder; of what was installed, a package and a file are gone again."""
    for name in (
        "home.hashes",
        "xyz.hashes",
        "images.lock",
        "state/installed",
        "base/log",
        "home/archives/eve_2026-06-30_120000.tar",
    ):
        (passing / name).parent.mkdir(parents=True, exist_ok=True)
        (passing / name).touch()
    installed = ["docker.io", "nftables", "docker.io", "mmdebstrap", "/no/such/file", str(passing / "daemon.json")]
    (passing / "state/installed").write_text("\n".join(installed))
    (passing / "daemon.json").touch()
    program("dpkg-query", "printf 'docker.io\\tii \\nmmdebstrap\\trc \\nnftables\\tii \\nvim\\tii \\n'")


def test_nothing_of_the_last_hub_is_left_but_what_is_said(
    machine: Machine, run_module: RunModule, program: Program, passing: Path
) -> None:
    leave(passing, program)
    run(run_module, "home", machine.home, check=True)
    assert (passing / "home.hashes").exists() and (passing / "base").exists()
    notes = run(run_module, "home", machine.home)["notes"]
    assert not any("installed" in note for note in notes), "another hub may need it"
    assert not (passing / "home.hashes").exists() and (passing / "state").exists()
    for project in ("old", "lab"):
        last = run(run_module, project, machine.lab, delete_data=True)["notes"]
    assert not any("installed" in note for note in last), "somebody's files are still there"
    tried = run(run_module, "home", machine.home, delete_data=True, check=True)["notes"]
    assert "Would be removed, of the cache of builds: 1.6 GB" in tried
    last = run(run_module, "home", machine.home, delete_data=True)["notes"]
    archive = passing / "home/archives/eve_2026-06-30_120000.tar"
    kept = f"docker.io, nftables, {passing}/daemon.json"
    assert last == [
        "Removed, volumes: home-data, home-user-kim",
        f"Removed, archives: {archive}",
        "Removed, of the cache of builds: 1.6 GB",
        f"Kept, because others may use it by now, what was installed: {kept}. To remove these packages: apt-get remove "
        "docker.io nftables (apt-get purge would delete all volumes that Docker has)",
    ]
    assert sorted(path.name for path in passing.iterdir()) == ["daemon.json", "state"]


def test_packages_go_when_told(machine: Machine, run_module: RunModule, program: Program, passing: Path) -> None:
    """Not with containers or packages of others, nor with anybody's volumes, which Debian's docker.io would delete."""
    leave(passing, program)
    along = "Remv docker.io [1]\\nRemv nftables [1]\\nRemv gitlab-runner [1]\\n"
    calls = program("apt-get", f"test -e $here/fails && {{ echo locked >&2; exit 100; }}; printf '{along}'")
    told = {"delete_data": True, "delete_packages": True}
    kept = f"what was installed: docker.io, nftables, {passing}/daemon.json"
    assert not any("installed" in note for note in run(run_module, "home", machine.home, **told)["notes"])
    run(run_module, "lab", machine.lab, delete_data=True)
    needs = "the container cloud-web, the container database, the package gitlab-runner"
    for check in (True, False):
        notes = run(run_module, "old", machine.lab, delete_packages=True, check=check)["notes"]
        assert notes[-1].startswith(f"Kept, because of {needs}, {kept}. To remove these packages: apt-get remove "), (
            notes
        )

    machine.engine.state = machine.engine.load()
    machine.engine.state["containers"].clear()
    machine.engine.save()
    calls = program("apt-get", "test ! -e $here/fails || { echo locked >&2; exit 100; }")
    (calls.parent / "fails").touch()
    failed = run(run_module, "old", machine.lab, **told)
    assert failed["failed"] and "apt-get remove failed: locked" in failed["msg"] and (passing / "state").exists()
    (calls.parent / "fails").unlink()
    for check, done in ((True, "Would be removed"), (False, "Removed")):
        notes = run(run_module, "old", machine.lab, check=check, **told)["notes"]
        assert notes == [f"{done}, packages: docker.io, nftables", f"{done}, files: {passing}/daemon.json"]
    assert calls.read_text().splitlines()[-1] == "--yes -qq remove docker.io nftables", "volumes of others are there"
    assert list(passing.iterdir()) == []


def test_purged_where_docker_has_nothing(
    machine: Machine, run_module: RunModule, program: Program, passing: Path
) -> None:
    leave(passing, program)
    calls = program("apt-get", "true")
    machine.engine.state = {"containers": {}, "networks": {}, "volumes": {}, "images": [], "composed": {}}
    shutil.rmtree(machine.engine.here / "volumes")
    machine.engine.save()
    for project, labels in (("home-data", {COMPOSE: "home"}), ("home-user-kim", {f"{LABEL}.project": "home"})):
        machine.engine.volume(project, labels)
    machine.engine.save()
    (note,) = [one for one in run(run_module, "home", machine.home, check=True)["notes"] if "installed" in one]
    assert "apt-get remove docker.io nftables (apt-get purge would delete" in note, "everybody's files are kept"
    run(run_module, "home", machine.home, delete_data=True, delete_packages=True)
    assert calls.read_text().splitlines()[-1] == "--yes -qq purge docker.io nftables"


def test_archives_stay(machine: Machine, run_module: RunModule, program: Program, passing: Path) -> None:
    leave(passing, program)
    archive = passing / "home/archives/eve_2026-06-30_120000.tar"
    assert f"Kept, archives of users' homes: {archive}" in run(run_module, "home", machine.home)["notes"]
    assert archive.exists()


@pytest.mark.parametrize("project", ["xyz", "cloud", "photo"])
def test_nothing_of_anybody_else_is_a_projects(machine: Machine, run_module: RunModule, project: str) -> None:
    """Another hub's folder neither, nor what another Compose project or nobody's has under such a name."""
    done = run(run_module, project, machine.home, delete_data=True)
    assert (done["changed"], done["notes"], machine.changes()) == (False, [], [])
    assert (machine.home / "compose.yml").exists()


def test_the_folder_that_the_hub_was_started_from_goes_too(machine: Machine, run_module: RunModule) -> None:
    """Also with one that it had before it moved, and never with another hub's."""
    old = machine.home.with_name("before")
    old.mkdir()
    (old / "compose.yml").write_text("name: lab\n")
    run(run_module, "lab", old)
    assert not machine.lab.exists() and not old.exists() and machine.home.exists()
    run(run_module, "lab", machine.home)
    assert (machine.home / "hub").is_dir()


def test_what_is_not_the_roles_stays(machine: Machine, run_module: RunModule) -> None:
    (machine.home / "thesis.tex").touch()
    done = run(run_module, "home", machine.home)
    assert [path.name for path in machine.home.iterdir()] == ["thesis.tex"]
    assert f"Kept, of the folder {machine.home}, what is not the role's: thesis.tex" in done["notes"]


def test_what_was_done_before_an_error_is_said(machine: Machine, run_module: RunModule) -> None:
    (machine.engine.here / "fails").write_text("network")
    failed = run(run_module, "home", machine.home)
    assert failed["failed"] and failed["changed"]
    assert failed["msg"] == (
        "docker network rm home: in use\nRemoved, containers: home-hub, home-proxy, home-user-kim. "
        "Run it again when that is mended."
    )


def test_a_machine_without_docker_has_a_folder(
    run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a first run that was killed before it wrote compose.yml, and not one that only looks like it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "home/secrets").mkdir(parents=True)
    assert run(run_module, "home", tmp_path / "home")["notes"] == [f"Removed, folders: {tmp_path}/home"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home/compose.yml").touch()
    assert run(run_module, "home", tmp_path / "home")["notes"] == []


def test_the_projects_on_the_machine(machine: Machine) -> None:
    assert belongings.projects() == {"home": str(machine.home), "lab": str(machine.lab), "old": ""}
    assert "cloud" not in json.dumps(belongings.belongings("home", machine.home))


@pytest.mark.usefixtures("imagined")
def test_what_the_contract_has_goes(machine: Machine, run_module: RunModule) -> None:
    (machine.home / "backup").mkdir()
    machine.engine.state["images"].append("home/spark:1")
    machine.service("home-spark", "home/spark:1", machine.home)
    notes = run(run_module, "home", machine.home)["notes"]
    assert "Removed, images: home/base:1, home/hub:1, home/spark:1" in notes
    assert "Removed, containers: home-hub, home-proxy, home-spark, home-user-kim" in notes
    assert not machine.home.exists()


def test_what_another_version_has_written_goes(machine: Machine, run_module: RunModule) -> None:
    """Its record tells, also after a kill; what it does not tell of stays."""
    for name in ("backup", "photos"):
        (machine.home / name).mkdir()
    (machine.home / "backup/latest").touch()
    (machine.home / ".settings.yml.new").touch()
    Record(machine.home).end({"backup/latest": fingerprint_of(machine.home / "backup/latest"), "settings.yml": "gone"})
    done = run(run_module, "home", machine.home)
    assert [path.name for path in machine.home.iterdir()] == ["photos"]
    assert f"Kept, of the folder {machine.home}, what is not the role's: photos" in done["notes"]


def test_the_record_is_removed_last(machine: Machine, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.home / "backup").mkdir()
    (machine.home / "backup/latest").touch()
    Record(machine.home).end({"backup/latest": fingerprint_of(machine.home / "backup/latest")})
    removed: list[str] = []
    monkeypatch.setattr(shutil, "rmtree", lambda path: removed.append(path.name))
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: removed.append(path.name))
    run(run_module, "home", machine.home)
    assert removed[-2:] == ["written.json", "home.hashes"] and {"backup", "hub", "compose.yml"} <= set(removed)


def test_python_stays(machine: Machine, run_module: RunModule, program: Program, passing: Path) -> None:
    """make and Ansible could not end their run without it."""
    leave(passing, program)
    (passing / "state/installed").write_text("docker.io python3 libpython3-stdlib nftables")
    listed = "".join(f"{name}\\tii \\n" for name in ("docker.io", "python3", "libpython3-stdlib", "nftables"))
    program("dpkg-query", f"printf '{listed}'")
    program("apt-cache", "printf 'python3\\n  Depends: python3.13\\nlibpython3-stdlib\\nlibc6\\n'")
    calls = program("apt-get", "true")
    machine.engine.state = {"containers": {}, "networks": {}, "volumes": {}, "images": [], "composed": {}}
    shutil.rmtree(machine.engine.here / "volumes")
    machine.engine.save()
    for check in (True, False):
        notes = run(run_module, "home", machine.home, delete_packages=True, check=check)["notes"]
        assert notes[-1] == (
            "Kept, because make and Ansible run with it, what was installed: libpython3-stdlib, python3. To remove "
            "these packages: apt-get purge libpython3-stdlib python3"
        )
    assert "Removed, packages: docker.io, nftables" in notes
    assert calls.read_text().splitlines()[-1] == "--yes -qq purge docker.io nftables"
    assert (passing / "state/installed").read_text() == "libpython3-stdlib\npython3\n"


def test_files_go_with_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passing: Path) -> None:
    """As of the wheel of Compose: a folder, and a link into it below others; what somebody put beside it stays."""
    monkeypatch.setattr(installed, "LOCAL", tmp_path / "lib")
    compose, plugin = tmp_path / "lib/compose", tmp_path / "lib/docker/cli-plugins/docker-compose"
    for others in ("buildx", ""):
        (compose / "venv").mkdir(parents=True)
        plugin.parent.mkdir(parents=True)
        plugin.symlink_to(compose / "venv")
        if others:
            (plugin.parent / others).touch()
        installed.remove("purge", [], [str(compose), str(plugin)], [])
        assert not compose.exists() and not plugin.is_symlink()
        assert plugin.parent.exists() is bool(others)
        shutil.rmtree(plugin.parent.parent, ignore_errors=True)
    assert (tmp_path / "lib").exists()
