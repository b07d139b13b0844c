"""What is tried before the hub reads it: the settings in a hub of their own, and the arguments of trial servers."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jupyterhub.roles
import pytest
import settings_files
import trial
import trial_database
import trial_servers
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.modules import trial as module
from conftest import Program, RunModule
from hub_settings import HUB, SPAWNER
from jupyterhub import orm
from mounts import HOME, WORK

SECRET = "hunter2-and-more"

Try = Callable[..., list[str]]


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Try:
    """tried(config, extra): what the trial says of these, each problem in one line."""
    names = {"HUB": "hub.json", "SPAWNER": "spawner.json", "EXTRA": "extra.py", "USERS": "users.json"}
    for constant, name in {**names, "TOKEN": "proxy-token", "USERS_TOKEN": "users-token"}.items():
        monkeypatch.setattr(settings_files, constant, tmp_path / name)
    for name in ("KEPT", "STATE"):
        monkeypatch.setattr(trial, name, tmp_path / name)
    monkeypatch.setattr(trial.TrialHub, "init_secrets", lambda app: setattr(app, "cookie_secret", b"x" * 32))
    # What follows may change it; see withhold_server_access().
    monkeypatch.setattr(jupyterhub.roles, "get_default_roles", jupyterhub.roles.get_default_roles)

    def run(config: dict[str, Any], extra: str = "", seconds: int = 120) -> list[str]:
        hub = json.dumps({**HUB, "config": config})
        texts = {settings_files.HUB: hub, settings_files.SPAWNER: json.dumps(SPAWNER), settings_files.EXTRA: extra}
        files = {str(path): text for path, text in texts.items()}
        found = asyncio.run(
            trial.problems_of({"files": files, "host": "home-trial", "network": "", "seconds": seconds, "guard": True})
        )
        return [
            f"{one['variable'].removeprefix('jupyterhub_home_')}: {one['what']} Write: {one['write']}" for one in found
        ]

    return run


@pytest.mark.parametrize("text", ['{"mia": {"admin": true}}', '{"mia": 1}', "[]", "no JSON", ""])
def test_a_list_of_users_that_somebody_broke_is_not_the_owners_mistake(tried: Try, text: str) -> None:
    settings_files.USERS.write_text(text)
    assert tried({}) == []


@pytest.mark.parametrize(
    ("config", "extra"),
    [
        ({}, ""),
        (
            {
                "Spawner": {"start_timeout": 60, "cmd": ["jupyterhub-singleuser"]},
                "DockerSpawner": {"remove": False},
                "HomeSpawner": {"mem_limit": "3G"},
                "ConfigurableHTTPProxy": {"check_running_interval": 9},
                "JupyterHub": {"authenticator_class": "dummy", "load_groups": {"family": {"users": ["bob"]}}},
                "DummyAuthenticator": {"allowed_users": ["bob", "trial"]},
            },
            "",
        ),
        # Classes and names of the owner's own, and what Python does at a hub's start.
        (
            {"MyAuthenticator": {"house": SECRET}},
            "from traitlets import Unicode\n"
            "from jupyterhub_home import HomeAuthenticator\n"
            "class MyAuthenticator(HomeAuthenticator):\n    house = Unicode(config=True)\n"
            "c.JupyterHub.authenticator_class = MyAuthenticator\n"
            "c.Whatever.x = 1\n"
            "c.Spawner.environment.update({'A': 'b'})\n"
            "c.JupyterHub.services.append({'name': 'x', 'url': 'http://127.0.0.1:1'})\n",
        ),
    ],
    ids=["nothing", "traits", "python"],
)
def test_what_works_passes(tried: Try, config: dict[str, Any], extra: str) -> None:
    assert tried(config, extra) == []


@pytest.mark.parametrize(
    ("config", "extra", "said"),
    [
        (
            {"Spawner": {"start_timeout": "soon"}},
            "",
            ["config: Spawner.start_timeout is text, not an int. Write: Spawner: {start_timeout: 60}"],
        ),
        (
            {},
            "c.Spawner.start_timeout = 'soon'",
            ["extra_config: Spawner.start_timeout is text, not an int. Write: c.Spawner.start_timeout = 60"],
        ),
        (
            {},
            "x = 1\nimport nosuchmodule",
            ["extra_config: line 2: ModuleNotFoundError: No module named 'nosuchmodule'. "
             "Write: jupyterhub_home_hub_packages: [nosuchmodule], or the name of a module that is there"],
        ),
        (
            {"JupyterHub": {"authenticator_class": "githubb"}},
            "",
            ["config: JupyterHub.authenticator_class is 'githubb', which is no class that can be imported and none of "
             "default, dummy, null, pam, shared-password. Write: JupyterHub: {authenticator_class: github}, "
             "with jupyterhub_home_hub_packages: [oauthenticator]"],
        ),
        (
            {"JupyterHub": {"authenticator_class": "oauthenticator.github.GitHubOAuthenticator"}},
            "",
            ["config: JupyterHub.authenticator_class is 'oauthenticator.github.GitHubOAuthenticator', whose package "
             "the hub does not have. Write: jupyterhub_home_hub_packages: [oauthenticator]"],
        ),
        (
            {"Spawnr": {"x": 1}, "Spawner": {"start_timeot": 4}, "GoogleOAuthenticator": {"client_secret": SECRET}},
            "c.HomeSpawner.mem_limitt = '3G'",
            ["config: Spawner has no trait start_timeot. Write: Spawner: {start_timeout: ...}",
             "config: the hub knows no class GoogleOAuthenticator. "
             "Write: jupyterhub_home_hub_packages: [oauthenticator], or take it away",
             "config: the hub knows no class Spawnr. Write: Spawner: {...}",
             "extra_config: HomeSpawner has no trait mem_limitt. Write: c.HomeSpawner.mem_limit"],
        ),
        ({}, "import sys\nsys.exit(3)", ["extra_config: line 2: it ends the hub (sys.exit). Write: what goes on"]),
        (
            {},
            f"password = '{SECRET}'\nraise ValueError('not ' + password)",
            ["extra_config: line 2: ValueError: not. Write: what the hub can start with"],
        ),
        (
            {"JupyterHub": {"load_roles": [{"name": "watchers", "scopes": ["list:userz"]}]}},
            "",
            ['config: ScopeNotFound: "Scope \'list:userz\' for role watchers does not exist". '
             "Write: what the hub can start with"],
        ),
        (
            {"JupyterHub": {"services": [{"name": "x", "api_token": SECRET, "colour": SECRET}]}},
            "",
            ["config: AttributeError: No such service field: colour. Write: what the hub can start with"],
        ),
        (
            {"HomeAuthenticator": {"allowed_users": {"a": SECRET}}},
            "",
            ["config: HomeAuthenticator.allowed_users is a dictionary, not a set. "
             "Write: HomeAuthenticator: {allowed_users: ...}"],
        ),
        (
            {"Authenticator": {"auth_refresh_age": 3}},
            "from jupyterhub.auth import Authenticator\n"
            "class Mine(Authenticator):\n"
            "    def __init__(self, **more):\n        super().__init__(**more)\n        self.missing.part\n"
            "c.JupyterHub.authenticator_class = Mine",
            ["extra_config: line 5: AttributeError: 'Mine' object has no attribute 'missing'. "
             "Write: what the hub can start with"],
        ),
    ],
    ids=["type", "extra", "import", "class", "package", "names", "exit", "secret", "scope", "service", "set", "init"],
)  # fmt: skip
def test_what_cannot_work_is_said(tried: Try, config: dict[str, Any], extra: str, said: list[str]) -> None:
    found = tried(config, extra)
    assert sorted(found) == said
    assert SECRET not in "".join(found)


def test_what_does_not_end_is_said(tried: Try) -> None:
    said = "extra_config: line 2: it does not come to an end. Write: what ends"
    assert tried({}, "c.Spawner.debug = True\nwhile True: pass", seconds=1) == [said]


def test_the_hubs_own_files_are_there_and_its_database_is_a_copy(tried: Try) -> None:
    """Which the configuration can add to and spoil."""
    (trial.KEPT / "more").mkdir(parents=True)
    (trial.KEPT / "more/names.txt").write_text("kim")
    kept = trial.KEPT / trial_database.NAME
    with orm.new_session_factory(f"sqlite:///{kept}")() as db:
        db.add(orm.User(name="kim"))
        db.commit()
    before = kept.read_bytes()
    read = f"from pathlib import Path\nhere = Path('{trial.STATE}')\n"
    assert tried({}, f"{read}assert (here / 'more/names.txt').read_text() == 'kim'\n(here / 'new').touch()") == []
    with orm.new_session_factory(f"sqlite:///{trial.STATE / trial_database.NAME}")() as db:
        assert orm.User.find(db, "kim") is not None
        assert orm.Service.find(db, "ansible") is not None  # it is the copy that the hub was tried on
    assert sorted(path.name for path in trial.KEPT.rglob("*")) == [trial_database.NAME, "more", "names.txt"]
    assert kept.read_bytes() == before


def test_a_database_that_the_hub_cannot_have_is_said(tried: Try) -> None:
    trial.KEPT.mkdir()
    (trial.KEPT / trial_database.NAME).write_text("everything, and more than the head of a file of SQLite's " * 9)
    (said,) = tried({})
    assert said.startswith("The hub's database: jupyterhub.sqlite in the hub's volume cannot be read: file is not a d")
    # One that the owner has elsewhere is left alone.
    assert tried({"JupyterHub": {"db_url": f"sqlite:///{trial.KEPT}/jupyterhub.sqlite"}}) == []


# --- servers ----------------------------------------------------------------


def test_a_trial_server_touches_no_files() -> None:
    """Whatever way the owner has of mounting something."""
    container = {
        "networking_config": {"lab": {}},
        "host_config": {
            "NetworkMode": "lab",
            "Binds": ["/srv/data:/data:rw", "home-alice:/home/jovyan:rw"],
            "Mounts": [
                {"Type": "bind", "Source": "/srv/kim", "Target": WORK, "ReadOnly": False},
                {"Type": "bind", "Source": "/srv/settings", "Target": f"{HOME}/.jupyter", "ReadOnly": False},
                {"Type": "bind", "Source": "/disk/tmp", "Target": "/tmp", "ReadOnly": False},
                {
                    "Type": "volume",
                    "Source": "home-user-alice",
                    "Target": "/x",
                    "VolumeOptions": {"Labels": {"a": "b"}},
                },
            ],
        },
    }
    trial_servers.make_harmless(container, "home")
    assert "networking_config" not in container
    assert container["host_config"] == {
        "NetworkMode": "home",
        "RestartPolicy": {},
        "PortBindings": {},
        "Binds": ["/srv/data:/data:ro"],
        "Mounts": [
            {"Type": "bind", "Source": "/srv/kim", "Target": WORK, "ReadOnly": True},
            {"Type": "tmpfs", "Target": f"{HOME}/.jupyter", "TmpfsOptions": {"Mode": 0o1777}},
            {"Type": "volume", "Target": "/tmp"},
            {"Type": "volume", "Target": "/x"},
            {"Type": "volume", "Target": "/home/jovyan"},
        ],
    }


def test_each_different_set_of_mounts_is_tried_once() -> None:
    def mount(target: str, users: list[str] | None, uid: int = 0) -> dict[str, Any]:
        return {"source": "/srv/x", "target": target, "users": users, "uid": uid, "gid": uid, "read_only": False}

    names: dict[str, dict[str, Any]] = {f"user{number}": {} for number in range(1000)}
    homes = [mount(WORK, [name], uid=2000 + number) for number, name in enumerate(names)]
    assert trial_servers.sets_of_mounts(names, homes) == {"user0": frozenset({WORK})}
    more = [*homes[:1], mount("/data", None), mount("/tools", ["user1"])]
    found = trial_servers.sets_of_mounts(names, more)
    assert found == {"user0": {WORK, "/data"}, "user1": {"/data", "/tools"}, "user2": {"/data"}}
    names["user7"] = {"uid": 1001}
    assert trial_servers.sets_of_mounts(names, []) == {"user0": frozenset(), "user7": frozenset()}
    many = [mount(f"/data/{name}", [name]) for name in names]
    assert len(trial_servers.sets_of_mounts(names, many)) == trial_servers.MAX_SETS


# --- the module -------------------------------------------------------------

ARGUMENTS = {
    "project": "home", "image": "home/hub:1", "user_image": "home/user:1", "owner": 58081, "socket_gid": 105,
    "network": "br-jhh chosen 10.77.0.0/20",
    "settings": json.dumps({"extra.py": SECRET}),
}  # fmt: skip
ENGINE = """case "$1 $2" in
"image inspect") test ! -e "$here/bare" ;;
"inspect home") echo '[{"Name": "home"}]' ;;
"inspect "*) echo '[]' ;;
"run "*) cat >"$here/input"; cat "$here/answer"; exit $(cat "$here/status") ;;
esac"""


@pytest.fixture
def engine(program: Program) -> Callable[[str, int], Path]:
    """engine(answer, status): a docker whose trial prints this; returns the file of its calls."""

    def put(answer: str, status: int = 0) -> Path:
        calls = program("docker", ENGINE)
        (calls.parent / "answer").write_text(answer)
        (calls.parent / "status").write_text(str(status))
        return calls

    return put


def test_a_trial_that_passes(engine: Callable[..., Path], run_module: RunModule, tmp_path: Path) -> None:
    calls = engine('noise\n{"problems": []}\n')
    answer = run_module(module, {**ARGUMENTS, "directory": str(tmp_path)})
    assert answer["changed"] is False and "failed" not in answer
    lines = calls.read_text().splitlines()
    remove = "rm --force --volumes home-trial home-trial-server home-trial-server-home"
    assert lines.count(remove) == 2 and lines[-1] == remove
    desired = json.loads((calls.parent / "input").read_text())
    assert desired["network"] == "home" and SECRET in desired["files"]["/etc/jupyterhub-home/extra.py"]
    assert SECRET not in answer["output"] + calls.read_text()


def test_a_trial_that_fails_says_everything_at_once(
    engine: Callable[..., Path], run_module: RunModule, tmp_path: Path
) -> None:
    problems = [
        {"variable": "jupyterhub_home_config", "what": "Spawner has no trait x.", "write": "Spawner: {y: ...}"},
        {"variable": "jupyterhub_home_mounts", "what": "it ends.", "write": "target: /x", "log": "one\ntwo"},
    ]
    engine(json.dumps({"problems": problems}))
    answer = run_module(module, {**ARGUMENTS, "directory": str(tmp_path)})
    assert answer["failed"] and answer["problems"] == problems
    assert answer["msg"] == (
        "2 things have to be put right first. It was tried beside the hub, which goes on as it was.\n"
        "  1. jupyterhub_home_config: Spawner has no trait x.\n"
        "     Write: Spawner: {y: ...}\n"
        "  2. jupyterhub_home_mounts: it ends.\n"
        "     Write: target: /x\n"
        "     The end of its log:\n"
        "       one\n"
        "       two\n"
        "To go on without a trial: jupyterhub_home_trial: false"
    )


def test_what_is_needed_without_a_trial_too_is_not_to_be_gone_round(
    engine: Callable[..., Path], run_module: RunModule, tmp_path: Path
) -> None:
    problems = [{"variable": "The hub's database", "what": "it is newer.", "label": "Do", "write": "go back"}]
    engine(json.dumps({"problems": problems}))
    answer = run_module(module, {**ARGUMENTS, "directory": str(tmp_path)})
    assert answer["msg"].endswith("  1. The hub's database: it is newer.\n     Do: go back")


def test_in_a_network_that_is_shut_no_server_is_tried(
    engine: Callable[..., Path], run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not reach the hub. The firewall rules, for want of which the network is shut, are set later in a run."""
    shut = tmp_path / "closed"
    shut.touch()
    monkeypatch.setattr(contract, "walls_notes", lambda project: ("", str(shut)))
    calls = engine('{"problems": []}')
    assert "failed" not in run_module(module, {**ARGUMENTS, "directory": str(tmp_path)})
    assert json.loads((calls.parent / "input").read_text())["network"] == ""
    assert "--network=bridge" in calls.read_text()


@pytest.mark.parametrize(("status", "said"), [(137, "without a word (exit status 137)"), (125, "could not be started")])
def test_a_trial_without_an_answer_fails(
    engine: Callable[..., Path], run_module: RunModule, tmp_path: Path, status: int, said: str
) -> None:
    calls = engine("Killed", status)
    answer = run_module(module, {**ARGUMENTS, "directory": str(tmp_path)})
    assert answer["failed"] and said in answer["msg"]
    assert calls.read_text().splitlines()[-1].startswith("rm --force")


def test_without_images_nothing_is_tried(engine: Callable[..., Path], run_module: RunModule, tmp_path: Path) -> None:
    """Check mode before the first run."""
    calls = engine("")
    (calls.parent / "bare").touch()
    answer = run_module(module, {**ARGUMENTS, "directory": str(tmp_path)}, check=True)
    assert "failed" not in answer and "run" not in calls.read_text()
