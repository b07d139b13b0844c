"""The configuration of the hub and of a server without either: what the JSON files become, and who wins over whom."""

import asyncio
import contextlib
import json
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configuration
import culler
import disk
import engine_watch
import jupyterhub.roles
import pytest
import reconcile
import settings_files
from authenticator import HomeAuthenticator
from conftest import ROLE
from docker.errors import NotFound
from jupyterhub import apihandlers, orm
from jupyterhub.auth import PAMAuthenticator
from jupyterhub.httpclient import JupyterHubHTTPClient
from mounts import HOME, WORK, identity, mounts_for
from spawner import CA_BUNDLE, FRESH_SETTINGS, PUT_ASIDE, SERVER_SETTINGS, WITHOUT_PACKAGES, HomeSpawner
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader
from traitlets.utils.importstring import import_item

HUB_IMAGE = ROLE / "files/images/hub"
HUB = {"project": "home", "base_url": "/", "admin_access": True, "config": {}}
SPAWNER = {
    "base_url": "/",
    "image": "user:1",
    "default_url": "/lab",
    "memory_limit": "1G",
    "cpu_limit": 1.5,
    "pids_limit": 100,
    "mounts": [],
    "ca_bundle": None,
    "idle_timeout": 1000,
}
USERS = {
    "alice": {"admin": True, "groups": ["staff"], "session": "a1"},
    "bob": {"admin": False, "groups": [], "session": "b1"},
}


def mount(target: str, **values: Any) -> dict[str, Any]:
    """One entry of spawner.json's mounts, after mounts_for()."""
    return {
        "source": "/srv/x",
        "target": target,
        "read_only": False,
        "users": None,
        "uid": 0,
        "gid": 0,
        **values,
    }


class Files:
    """The settings files in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("hub.json", HUB)
        self.write("spawner.json", SPAWNER)
        self.write("users.json", USERS)
        self.write("proxy-token", "secret-of-the-proxy\n")
        self.write("users-token", "secret-of-ansible\n")

    def write(self, name: str, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.folder / name).write_text(text)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    for constant, name in {
        "HUB": "hub.json",
        "SPAWNER": "spawner.json",
        "USERS": "users.json",
        "UNDECLARED": "undeclared.json",
        "TOKEN": "proxy-token",
        "USERS_TOKEN": "users-token",
        "EXTRA": "extra.py",
    }.items():
        monkeypatch.setattr(settings_files, constant, tmp_path / name)
    # Neither threads nor hooks in SQLAlchemy stay behind.
    monkeypatch.setattr(engine_watch, "end_without_engine", lambda: None)
    monkeypatch.setattr(disk, "keep", lambda url: None)
    return Files(tmp_path)


@pytest.fixture(autouse=True)
def unchanged_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put JupyterHub's own roles back after each test."""
    monkeypatch.setattr(jupyterhub.roles, "get_default_roles", jupyterhub.roles.get_default_roles)


def load(files: Files, **hub: Any) -> Config:
    """What JupyterHub would get from jupyterhub_config.py."""
    files.write("hub.json", HUB | hub)
    return PyFileConfigLoader("jupyterhub_config.py", str(HUB_IMAGE)).load_config()


# --- engine ---------------------------------------------------------------


def test_a_socket_that_nobody_listens_on_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing for now, or is silent only once, is not."""
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(engine_watch, "ENGINE", str(path))
    engines: list[socket.socket] = []
    steps = ["missing", "answers", "silent", "missing", "silent", "silent", "left over"]

    def pause(_: float) -> None:
        path.unlink(missing_ok=True)
        if (step := steps.pop(0)) != "missing":
            engines.append(socket.socket(socket.AF_UNIX))
            engines[-1].bind(str(path))
            if step == "answers":
                engines[-1].listen()

    monkeypatch.setattr(time, "sleep", pause)
    engine_watch.watch_engine()
    assert steps == ["left over"]
    for engine in engines:
        engine.close()


# --- files ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), ("", "is empty"), ("{,}", "is not JSON"), ("[]", "not a JSON object"), ("{}", "lacks a")],
)
def test_broken_file_is_one_clear_error(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(settings_files.SettingsError, match=message) as error:
        settings_files.read_json(path, "a")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["hub.json", "spawner.json", "proxy-token", "users-token"])
def test_hub_does_not_start_without_a_file(files: Files, name: str) -> None:
    (files.folder / name).unlink()
    with pytest.raises(SystemExit, match=f"jupyterhub-home: cannot read .*{name}"):
        PyFileConfigLoader("jupyterhub_config.py", str(HUB_IMAGE)).load_config()


def test_without_a_list_there_is_nobody(files: Files) -> None:
    """The hub may start before the first list is written."""
    (files.folder / "users.json").unlink()
    assert settings_files.declared_users() == {}
    c = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert c.Authenticator.admin_users == set()
    assert asyncio.run(HomeAuthenticator().refresh_user(SimpleNamespace(name="alice"))) is False


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_broken_list_lets_nobody_in(files: Files, text: str) -> None:
    files.write("users.json", text)
    with pytest.raises(settings_files.SettingsError):
        asyncio.run(HomeAuthenticator().refresh_user(SimpleNamespace(name="alice")))


# --- configuration --------------------------------------------------------


def test_defaults(files: Files) -> None:
    c = load(files)
    assert c.JupyterHub.authenticator_class is HomeAuthenticator
    assert c.DockerSpawner.prefix == "home-user"
    assert c.JupyterHub.cleanup_servers is False
    assert c.ConfigurableHTTPProxy.auth_token == "secret-of-the-proxy"
    services = {service["name"]: service for service in c.JupyterHub.services}
    assert services.keys() == {"proxy", "ansible", "idle-culler"}
    assert services["proxy"]["api_token"] == "secret-of-the-proxy"
    assert services["ansible"]["api_token"] == "secret-of-ansible"
    roles = {role["name"]: role for role in c.JupyterHub.load_roles}
    assert roles.keys() == services.keys(), "the list of users decides who is an admin, at any time"
    assert all(role["services"] == [name] for name, role in roles.items())
    assert roles["proxy"]["scopes"] == ["proxy"]
    assert roles["ansible"]["scopes"] == [reconcile.SCOPE]
    assert "access:servers" in roles["idle-culler"]["scopes"]


@pytest.mark.parametrize("theirs", [HomeAuthenticator, HomeSpawner])
def test_the_owners_python_has_our_classes_by_one_name(theirs: type) -> None:
    """As text in a trait, or imported: where they really stand may change."""
    assert import_item(f"jupyterhub_home.{theirs.__name__}") is theirs


def test_the_culler_asks_often_and_knows_no_limit_of_its_own(files: Files) -> None:
    """The limit is in spawner.json, and may change while it runs."""
    (service,) = [one for one in load(files).JupyterHub.services if one["name"] == "idle-culler"]
    assert "--cull-every=5" in service["command"]
    assert not any(part.startswith("--timeout") for part in service["command"])


def test_owner_traits_then_owner_python_win(files: Files) -> None:
    files.write("extra.py", "c.Spawner.http_timeout = 3\nc.JupyterHub.services.append({'name': 'own'})\n")
    c = load(files, config={"Spawner": {"http_timeout": 1, "start_timeout": 2}})
    assert (c.Spawner.http_timeout, c.Spawner.start_timeout) == (3, 2)
    assert [service["name"] for service in c.JupyterHub.services] == ["proxy", "ansible", "idle-culler", "own"]


def test_owner_lists_do_not_drop_ours_but_replace_by_name(files: Files) -> None:
    mine = {"name": "idle-culler", "services": ["idle-culler"], "scopes": []}
    c = load(files, config={"JupyterHub": {"load_roles": [mine], "services": [{"name": "own"}]}})
    assert {service["name"] for service in c.JupyterHub.services} == {"own", "proxy", "ansible", "idle-culler"}
    assert [role for role in c.JupyterHub.load_roles if role["name"] == "idle-culler"] == [mine]


@pytest.mark.parametrize("text", ["raise ValueError('oops')", "def (:"])
def test_broken_extra_stops_the_hub(files: Files, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    files.write("extra.py", f"c.X.password = 'my-secret'\n{text}")
    with pytest.raises(SystemExit, match=r"jupyterhub-home: .*extra\.py, line 2: (ValueError|SyntaxError)"):
        load(files)
    assert "my-secret" not in capsys.readouterr().err


def test_another_authenticator_gets_the_admins_and_nothing_else(files: Files) -> None:
    c = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert c.Authenticator == {"admin_users": {"alice"}}
    assert "admin" not in {role["name"] for role in c.JupyterHub.load_roles}
    c = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}, "Authenticator": {"admin_users": ["x"]}})
    assert c.Authenticator.admin_users == ["x"]


def test_the_admin_page_says_where_users_are_changed(files: Files) -> None:
    """Unless another authenticator decides who is known; templates of the owner's go before."""
    assert load(files).JupyterHub.template_paths == [configuration.TEMPLATES]
    assert load(files, config={"JupyterHub": {"template_paths": ["/x"]}}).JupyterHub.template_paths == [
        "/x",
        configuration.TEMPLATES,
    ]
    files.write("extra.py", "c.JupyterHub.template_paths.append('/y')")
    assert load(files).JupyterHub.template_paths == ["/y", configuration.TEMPLATES]
    other = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert other.JupyterHub.template_paths == ["/y", configuration.TEMPLATES]
    assert "undeclared_stay" not in other.JupyterHub.template_vars


@pytest.mark.parametrize("access", [True, False])
def test_admin_access(files: Files, access: bool) -> None:
    load(files, admin_access=access)
    scopes = next(role["scopes"] for role in jupyterhub.roles.get_default_roles() if role["name"] == "admin")
    for scope in ("access:servers", "shares", "tokens", "proxy", "admin:users"):
        assert (scope in scopes) is access
    assert {"admin-ui", "admin:servers"} <= set(scopes)


# --- users ----------------------------------------------------------------


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
    """A new user whom the hub has shown to the authenticator; gives the row of the database."""
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


@pytest.mark.parametrize("authenticator", [HomeAuthenticator, "dummy"])
def test_the_hub_answers_ansible(files: Files, authenticator: Any) -> None:
    """Whatever the authenticator; see UsersHandler."""
    load(files, config={"JupyterHub": {"authenticator_class": "dummy"}} if authenticator == "dummy" else {})
    assert apihandlers.default_handlers.count((reconcile.PATH, reconcile.UsersHandler)) == 1


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


# --- servers --------------------------------------------------------------


def test_mounts_for_a_user() -> None:
    mounts = [
        mount("/a", users=["alice"], source="/mine"),
        mount("/a/", source="/everyone"),
        mount("/b", users=["bob"]),
    ]
    assert [(m["source"], m["target"]) for m in mounts_for("alice", mounts)] == [("/mine", "/a")]
    assert [(m["source"], m["target"]) for m in mounts_for("carl", mounts)] == [("/everyone", "/a")]


@pytest.mark.parametrize(
    ("mounts", "user", "groups"),
    [
        ([], None, []),
        ([mount(WORK, uid=1001, gid=1002)], "1001:1002", ["100", "1002"]),
        ([mount(WORK, uid=1001, gid=0)], "1001:100", ["100"]),
        ([mount(WORK, uid=0, gid=0)], None, []),
        ([mount("/srv", uid=7, gid=8), mount("/opt", gid=0)], None, ["8"]),
        ([mount(WORK, uid=1001, gid=1001), mount("/srv", gid=8)], "1001:1001", ["8", "100", "1001"]),
    ],
)
def test_who_a_server_runs_as(mounts: list[dict[str, Any]], user: str | None, groups: list[str]) -> None:
    assert identity(mounts) == {"user": user, "group_add": groups}


class Engine:
    """Stands in for Docker's API client and remembers what it was asked to create."""

    base_url, api_version, timeout = "http+docker://localhost", "1.41", 60
    image_user = "1000:100"

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.home_owner = 1000
        self.in_home: list[dict[str, Any]] = []  # containers beside the server's
        self.status = 0  # what these end with

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, **options: Any) -> dict[str, str]:
        if options["name"].endswith("-home"):
            self.in_home.append(options)
        else:
            self.created = options
        return {"Id": "0123456789abcdef"}

    def inspect_container(self, container: str) -> dict[str, Any]:
        return {"Config": {"User": self.created.get("user", self.image_user)}}

    @contextlib.contextmanager
    def get(self, url: str, params: dict[str, str], **_: Any) -> Iterator[Any]:
        """The engine's answer with a folder as tar: its head, and then what must not be asked for."""
        assert url.endswith("/v1.41/containers/0123456789abcdef/archive") and params == {"path": HOME}
        head = tarfile.TarInfo("jovyan")
        head.uid = self.home_owner
        yield SimpleNamespace(raise_for_status=lambda: None, iter_content=lambda size: iter([head.tobuf()]))

    def remove_container(self, name: str, force: bool = False) -> None:
        if force:  # nothing is left of an earlier start
            raise NotFound(name)

    def start(self, name: str) -> None:
        assert self.in_home[-1]["name"] == name

    def wait(self, name: str) -> dict[str, int]:
        return {"StatusCode": self.status}

    def logs(self, name: str) -> bytes:
        return b"mv: what it says\n"

    def inspect_image(self, image: str) -> dict[str, Any]:
        return {"Config": {"Cmd": ["jupyterhub-singleuser"]}}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine()
    monkeypatch.setattr(HomeSpawner, "_client", engine)
    yield engine


def spawn(
    engine: Engine,
    config: dict[str, Any] | None = None,
    name: str = "alice.b",
    chosen: tuple[str, ...] = (),
    **traits: Any,
) -> Any:
    """The spawner after the steps of a spawn that shape the container."""
    user = SimpleNamespace(name=name, groups=[], url=f"/user/{name}/")
    ours = {"HomeSpawner": {"project": "home"}, "DockerSpawner": {"prefix": "home-user", "network_name": "home"}}
    merged = Config(ours)
    merged.merge(Config(config or {}))
    spawner = HomeSpawner(config=merged, user=user)
    spawner.get_args = list
    spawner.user_options = {"image": "chosen:1", **dict.fromkeys(chosen, "on")}
    spawner.orm_spawner = SimpleNamespace(name="", server=None, user_options=spawner.user_options)
    asyncio.run(spawner.apply_group_overrides())
    for trait, value in traits.items():
        setattr(spawner, trait, value)
    asyncio.run(spawner.create_object())
    return spawner


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that needs no hub."""
    monkeypatch.setattr("dockerspawner.DockerSpawner.get_env", lambda self: {"A": "1"})


def test_container(files: Files, engine: Engine) -> None:
    spawner = spawn(engine)
    host = engine.created["host_config"]
    assert engine.created["image"] == "user:1"
    assert engine.created["name"] == "home-user-alice-2eb"
    assert engine.created["labels"] == {"jupyterhub-home.project": "home", "jupyterhub-home.user": "alice.b"}
    assert "user" not in engine.created
    assert host["mem_limit"] == host["memswap_limit"] == 2**30
    assert (host["pids_limit"], host["cpu_quota"], host["auto_remove"]) == (100, 150_000, False)
    assert (host["cap_drop"], host["security_opt"]) == (["ALL"], ["no-new-privileges"])
    assert [(m["Type"], m["Source"], m["Target"]) for m in host["mounts"]] == [
        ("volume", "home-user-alice-2eb-home", HOME),
        ("volume", "home-user-alice-2eb", WORK),
    ]
    for volume in host["mounts"]:
        assert volume["VolumeOptions"]["Labels"] == engine.created["labels"]
    assert engine.in_home == []
    assert spawner.user_options == {}


def test_every_spawn_reads_the_file_and_nothing_sticks(files: Files, engine: Engine) -> None:
    spawner = spawn(engine)
    empty = {"memory_limit": None, "cpu_limit": None, "pids_limit": None, "image": "user:2"}
    files.write("spawner.json", SPAWNER | empty)
    asyncio.run(spawner.apply_group_overrides())
    asyncio.run(spawner.create_object())
    host = engine.created["host_config"]
    assert engine.created["image"] == "user:2"
    assert not {"mem_limit", "memswap_limit", "pids_limit", "cpu_quota"} & set(host)


@pytest.mark.parametrize("level", ["Spawner", "DockerSpawner", "HomeSpawner"])
def test_owner_wins_at_every_level(files: Files, engine: Engine, level: str) -> None:
    options = {"shm_size": "1g", "pids_limit": 7}
    spawner = spawn(engine, {level: {"mem_limit": "2G", "default_url": "/tree", "extra_host_config": options}})
    host = engine.created["host_config"]
    assert spawner.default_url == "/tree"
    assert host["mem_limit"] == host["memswap_limit"] == 2**31
    assert (host["shm_size"], host["pids_limit"], host["cap_drop"]) == ("1g", 7, ["ALL"])


def test_owner_hook_may_be_a_function_and_comes_later(files: Files, engine: Engine) -> None:
    async def host_config(spawner: Any) -> dict[str, Any]:
        return {"shm_size": spawner.image}

    spawn(engine, extra_host_config=host_config, mem_limit="3G", extra_create_kwargs={"labels": {"x": "y"}})
    host = engine.created["host_config"]
    assert (host["shm_size"], host["memswap_limit"]) == ("user:1", 3 * 2**30)
    assert engine.created["labels"]["x"] == "y"
    assert len(engine.created["labels"]) == 3


def test_folder_instead_of_volume(files: Files, engine: Engine) -> None:
    folder = mount(WORK + "/", source="/home/{username}", users=["alice.b"], uid=1001, gid=1001)
    files.write("spawner.json", SPAWNER | {"mounts": [folder]})
    spawn(engine)
    mounts = engine.created["host_config"]["mounts"]
    assert [(m["Type"], m["Source"], m["Target"]) for m in mounts] == [
        ("bind", "/home/{username}", WORK),
        ("volume", "home-user-alice-2eb-home", HOME),
    ]
    assert engine.created["user"] == "1001:1001"
    assert engine.created["environment"]["HOME"] == HOME
    spawn(engine, name="bob")
    assert engine.created["host_config"]["mounts"][0]["Type"] == "volume"
    assert "user" not in engine.created


@pytest.mark.parametrize(
    ("before", "folder", "image_user", "chown"),
    [
        (1000, None, "1000:100", None),
        (1001, None, "1000:100", "1000"),  # the mount of the work folder is gone
        (1001, None, "1000", "1000"),
        (1000, 1001, "1000:100", "1001"),
        (1001, 1001, "1000:100", None),
        (1001, None, "jovyan", None),  # only the image knows who that is
        (1001, None, "", None),
        (1001, None, "0:0", None),
    ],
)
def test_the_home_belongs_to_whom_the_server_runs_as(
    files: Files, engine: Engine, before: int, folder: int | None, image_user: str, chown: str | None
) -> None:
    if folder:
        files.write("spawner.json", SPAWNER | {"mounts": [mount(WORK, uid=folder, gid=7)]})
    engine.home_owner, engine.image_user = before, image_user
    spawn(engine)
    if chown is None:
        assert engine.in_home == []
        return
    (beside,) = engine.in_home
    assert beside["entrypoint"] == ["/bin/sh", "-c", f'chown -hR {chown} "$0"', HOME]
    # Root must not run what a user has put there, whatever the image says of its path and libraries.
    assert beside["environment"]["PATH"] == "/usr/sbin:/usr/bin:/sbin:/bin"
    assert {beside["environment"][name] for name in ("LD_PRELOAD", "LD_LIBRARY_PATH")} == {""}
    assert (beside["name"], beside["image"], beside["user"]) == ("home-user-alice-2eb-home", "user:1", "0")
    assert beside["labels"] == engine.created["labels"]
    host = beside["host_config"]
    assert [m["Source"] for m in host["mounts"]] == ["home-user-alice-2eb-home"]
    assert (host["network_mode"], host["cap_drop"]) == ("none", ["ALL"])
    assert host["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]


@pytest.mark.parametrize("trait", ["volumes", "read_only_volumes"])
@pytest.mark.parametrize(("target", "ours"), [(HOME, WORK), (WORK + "/", HOME)])
def test_the_owners_volume_takes_the_place_of_ours(
    files: Files, engine: Engine, trait: str, target: str, ours: str
) -> None:
    engine.home_owner = 7
    spawn(engine, {"DockerSpawner": {trait: {"nfs-{username}": target}}})
    assert [m["Target"] for m in engine.created["host_config"]["mounts"]] == [ours]
    assert len(engine.in_home) == (ours == HOME)


def test_a_start_without_own_packages(files: Files, engine: Engine) -> None:
    spawner = spawn(engine, chosen=(WITHOUT_PACKAGES,))
    assert spawner.options_from_form({"without_packages": ["on"], "x": ["1"]}) == {WITHOUT_PACKAGES: True}
    assert engine.created["environment"]["PYTHONNOUSERSITE"] == "1"
    assert engine.in_home == []
    assert spawner.user_options == spawner.orm_spawner.user_options == {}, "the next start would have it too"
    asyncio.run(spawner.apply_group_overrides())
    asyncio.run(spawner.create_object())
    assert "PYTHONNOUSERSITE" not in engine.created["environment"]


@pytest.mark.parametrize("status", [0, 1])
def test_a_start_with_fresh_settings(
    files: Files, engine: Engine, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    engine.status = status
    spawner = spawn(engine, {"DockerSpawner": {"allowed_images": ["chosen:1"]}}, chosen=(FRESH_SETTINGS,))
    (beside,) = engine.in_home
    assert beside["entrypoint"] == ["/bin/sh", "-c", PUT_ASIDE, HOME]
    assert (beside["user"], beside["host_config"]["cap_add"]) == ("1000:100", None)
    assert ("The home of alice.b: mv: what it says" in caplog.text) == bool(status)
    assert spawner.user_options == spawner.orm_spawner.user_options == {"image": "chosen:1"}


def test_settings_are_put_aside_and_nothing_else(tmp_path: Path) -> None:
    """And once more, when some are there again."""
    for name in (".jupyter/lab/theme", ".local/share/jupyter/kernels/x", ".local/lib/package", ".ssh/config", "thesis"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".bashrc").symlink_to("/nowhere")
    tmp_path.chmod(0o300)
    subprocess.run(["/bin/sh", "-c", PUT_ASIDE, str(tmp_path)], check=True)
    kept = next(tmp_path.glob("old-settings-*"))
    moved = {str(path.relative_to(kept)) for path in kept.rglob("*") if not path.is_dir()}
    assert moved == {".jupyter/lab/theme", ".local/share/jupyter/kernels/x", ".bashrc"}
    for name in (".local/lib/package", ".ssh/config", "thesis"):
        assert (tmp_path / name).read_text() == name
    assert not (tmp_path / ".jupyter").exists()


def test_servers_trust_the_machines_bundle(files: Files, engine: Engine) -> None:
    files.write("spawner.json", SPAWNER | {"ca_bundle": "/etc/ssl/lab.pem"})
    spawn(engine)
    bundle = engine.created["host_config"]["mounts"][0]
    assert (bundle["Source"], bundle["Target"], bundle["ReadOnly"]) == ("/etc/ssl/lab.pem", CA_BUNDLE, True)
    assert engine.created["environment"]["PIP_CERT"] == CA_BUNDLE
    files.write("spawner.json", SPAWNER)
    spawn(engine)
    assert [m["Type"] for m in engine.created["host_config"]["mounts"]] == ["volume", "volume"]


@pytest.mark.parametrize(("answers", "ended", "asked"), [([False, False, True], None, 3), ([False] * 99, 1, 20)])
def test_start_waits_until_it_listens_or_has_ended(
    files: Files, engine: Engine, monkeypatch: pytest.MonkeyPatch, answers: list[bool], ended: int | None, asked: int
) -> None:
    spawner = spawn(engine)
    seen: list[tuple[str, int]] = []

    async def started(self: Any) -> tuple[str, int]:
        return "alice-server", 8888

    async def listens(host: str, port: int) -> bool:
        seen.append((host, port))
        return answers[len(seen) - 1]

    async def poll() -> int | None:
        return ended

    async def sleep(seconds: float) -> None:
        assert seconds < 0.1

    monkeypatch.setattr("dockerspawner.DockerSpawner.start", started)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(spawner, "listens", listens)
    monkeypatch.setattr(spawner, "poll", poll)
    assert asyncio.run(spawner.start()) == ("alice-server", 8888)
    assert seen == [("alice-server", 8888)] * asked


def test_a_running_server_knows_what_it_was_started_with(files: Files, engine: Engine) -> None:
    """Across a restart of the hub, too; another user's mount and the limit of idle servers are not its business."""
    spawner = spawn(engine, name="alice")
    assert spawner.outdated_settings(SPAWNER) == []
    others = [mount("/data", users=["bob"], source="/b")]
    assert spawner.outdated_settings(SPAWNER | {"mounts": others, "idle_timeout": 5}) == []
    own = [mount("/data", users=["alice"], source="/a")]
    changed = {"mounts": own, "image": "user:2", "memory_limit": None, "default_url": "/tree", "ca_bundle": "/x.pem"}
    wanted = ["image", "default_url", "memory_limit", "mounts", "ca_bundle"]
    assert spawner.outdated_settings(SPAWNER | changed) == wanted
    spawner.object_id = "0123456789abcdef"
    state = json.loads(json.dumps(spawner.get_state()))
    files.write("spawner.json", SPAWNER | changed)
    later = spawn(engine, name="alice")
    assert later.outdated_settings(SPAWNER | changed) == []
    later.load_state(state)
    assert later.outdated_settings(SPAWNER | changed) == wanted


def test_a_running_server_keeps_its_address(files: Files, engine: Engine) -> None:
    """Until its next start, and the culler is told which that is."""
    spawner = spawn(engine, name="alice")
    spawner.orm_spawner = None  # it would be asked for another server
    spawner.server = SimpleNamespace(base_url="/user/alice/")
    assert spawner.outdated_settings(SPAWNER) == []
    assert spawner.outdated_settings(SPAWNER | {"base_url": "/below/"}) == ["base_url"]
    assert spawner.get_state()["base_url"] == "/user/alice/"
    spawner.server.base_url = "/below/user/alice/"
    assert spawner.outdated_settings(SPAWNER | {"base_url": "/below/"}) == []
    assert spawner.outdated_settings(SPAWNER) == ["base_url"]


def test_a_server_that_does_not_run_has_no_settings(files: Files, engine: Engine) -> None:
    spawner = spawn(engine)
    spawner.object_id = ""
    assert "started_with" not in spawner.get_state()
    spawner.load_state({})
    assert spawner.outdated_settings(SPAWNER) == []
    # Nor has one that an older version of the hub started.
    spawner.load_state({"object_id": "0123456789ab"})
    assert spawner.outdated_settings(SPAWNER | {"image": "user:2"}) == []


@pytest.mark.parametrize("missing", SERVER_SETTINGS)
def test_a_spawn_needs_every_setting(files: Files, engine: Engine, missing: str) -> None:
    files.write("spawner.json", {key: value for key, value in SPAWNER.items() if key != missing})
    with pytest.raises(settings_files.SettingsError, match=f"lacks {missing}"):
        spawn(engine)


def test_name_too_long_for_dns(files: Files, engine: Engine) -> None:
    spawner = spawn(engine, name="a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_")
    spawner.object_id = "0123456789abcdef"
    assert spawner.internal_hostname == "0123456789ab"
    assert spawn(engine).internal_hostname == "home-user-alice-2eb"


# --- idle servers ---------------------------------------------------------

TICK = 5  # seconds between two looks of the culler
START = datetime(2026, 11, 25, tzinfo=UTC)


class Server:
    """A Jupyter server in virtual time, and the culler that watches it; times are seconds since the server's start."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        self.settings = folder / "spawner.json"
        self.monkeypatch = monkeypatch
        self.now = 0.0
        self.asked: list[float] = []
        self.kernels: dict[str, dict[str, Any]] | None = {}
        self.terminals: dict[str, float] = {}
        self.notebooks: dict[str, float | None] = {}
        self.last_request = 0.0  # of anything, a forgotten browser tab included
        self.recorded = 0.0  # in the hub
        self.fails = False
        self.limit(limit)
        monkeypatch.setattr(settings_files, "SPAWNER", self.settings)
        monkeypatch.setattr(culler, "SEEN", folder / "idle.json")
        monkeypatch.setattr(culler, "ask", self.ask)
        monkeypatch.setattr(culler, "utcnow", lambda: START + timedelta(seconds=self.now))
        self.restart_culler()

    def limit(self, seconds: int) -> None:
        """Write another limit."""
        self.seconds = seconds
        self.settings.write_text(json.dumps(SPAWNER | {"idle_timeout": seconds}))

    def restart_culler(self) -> None:
        """Another process, as after a restart of the hub."""
        self.monkeypatch.setattr(culler, "watched", None)
        self.monkeypatch.setattr(culler, "tried", {})

    def at(self, seconds: float) -> str:
        return (START + timedelta(seconds=seconds)).isoformat()

    async def ask(self, server: dict[str, Any], path: str, **arguments: str) -> Any:
        if self.fails:
            raise OSError("no answer")
        if path == "kernels":
            self.asked.append(self.now)
            return self.kernels and list(self.kernels.values()) if self.kernels is not None else None
        if path == "terminals":
            return [{"name": name, "last_activity": self.at(when)} for name, when in self.terminals.items()]
        if path == "sessions":
            return [{"path": name} for name in self.notebooks]
        if path == "status":
            return {"last_activity": self.at(self.last_request)}
        saved = self.notebooks[path.removeprefix("contents/").replace("%20", " ")]
        return None if saved is None else {"last_modified": self.at(saved)}

    def compute(self, name: str = "k", state: str = "idle") -> None:
        """A kernel does something now."""
        assert self.kernels is not None
        self.kernels[name] = {"id": name, "execution_state": state, "last_activity": self.at(self.now)}

    def look(self) -> bool:
        """Whether the culler, which looks now, stops the server."""
        server = {"url": "/user/alice/", "started": self.at(0)}
        inactive = timedelta(seconds=self.now - self.recorded)
        return asyncio.run(culler.is_idle(inactive=inactive, inactive_limit=600, server=server))

    def goes_on(self, until: float, tick: float = TICK) -> None:
        """Time passes, and the culler looks and does not stop the server."""
        while self.now + tick <= until:
            self.now += tick
            assert not self.look(), f"stopped after {self.now} s"
        self.now = until

    def stops(self, after: float, tick: float = TICK) -> None:
        """It stops: no sooner than the limit after its last activity, and within a quarter more."""
        while not self.look():
            self.now += tick
            assert self.now <= after + 1.25 * self.seconds, "too late"
        assert self.now >= after + self.seconds, "too early"


@pytest.fixture(params=[60, 1000, 42000])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path, monkeypatch, request.param)
    server.now = 3  # the culler's first look
    return server


def tick_of(server: Server) -> float:
    """The culler looks every 5 seconds; with a long limit that would be many looks for a test."""
    return max(TICK, server.seconds / 100)


def test_a_server_in_which_nothing_was_opened(server: Server) -> None:
    server.last_request = 10**6  # of a forgotten browser tab, which asks all the time
    server.stops(after=0, tick=tick_of(server))


def test_a_kernel_that_is_idle(server: Server) -> None:
    server.goes_on(server.seconds / 3, tick_of(server))
    server.compute()
    server.stops(after=server.now, tick=tick_of(server))


@pytest.mark.parametrize("thing", ["kernel", "terminal"])
def test_what_was_shut_down_still_counts(server: Server, thing: str) -> None:
    """It did something until then, of which nothing tells any more."""
    server.compute()
    server.terminals["1"] = server.now
    server.goes_on(server.seconds * 2 / 3, tick_of(server))
    begin = server.now
    server.kernels, server.terminals = ({}, server.terminals) if thing == "kernel" else (server.kernels, {})
    server.stops(after=begin, tick=tick_of(server))


def test_a_terminal(server: Server) -> None:
    server.goes_on(server.seconds / 3, tick_of(server))
    server.terminals["1"] = server.now
    server.stops(after=server.now, tick=tick_of(server))


def test_a_notebook_that_was_saved(server: Server) -> None:
    server.compute()
    server.notebooks = {"a b.ipynb": server.now, "console": None}
    server.goes_on(server.seconds / 2, tick_of(server))
    server.notebooks["a b.ipynb"] = server.now
    server.stops(after=server.now, tick=tick_of(server))


def test_a_busy_kernel_never_stops_a_server(server: Server) -> None:
    server.compute(state="busy")
    server.compute("other")
    server.goes_on(server.seconds * 3, tick_of(server))
    server.compute()
    server.stops(after=server.now, tick=tick_of(server))


def test_the_hub_restarted_in_between(server: Server) -> None:
    """Again and again, and with a browser tab that asks all the time: what was seen is kept."""
    server.last_request = 10**6
    tick = tick_of(server)
    for part in (0.2, 0.4, 0.6, 0.8):
        server.goes_on(server.seconds * part, tick)
        server.restart_culler()
    server.stops(after=0, tick=tick)


def test_the_hub_was_down_for_long(server: Server) -> None:
    """Whatever the server was asked meanwhile may have been work."""
    tick = tick_of(server)
    server.goes_on(server.seconds / 2, tick)
    server.restart_culler()
    server.now = server.last_request = server.seconds * 0.9
    server.now += server.seconds / 2
    server.stops(after=server.last_request, tick=tick)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"/user/alice/": {"started": "x"}}'])
def test_what_was_seen_is_lost(server: Server, text: str) -> None:
    server.goes_on(server.seconds / 2, tick_of(server))
    culler.SEEN.write_text(text)
    server.restart_culler()
    server.stops(after=0, tick=tick_of(server))


def test_what_was_seen_cannot_be_written(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(culler, "SEEN", Path("/proc/nothing/idle.json"))
    server.stops(after=0, tick=tick_of(server))


def test_a_later_server_of_the_same_user(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.goes_on(server.seconds * 0.9, tick_of(server))
    monkeypatch.setattr(f"{__name__}.START", START + timedelta(seconds=server.now))
    server.now = 3
    server.stops(after=0, tick=tick_of(server))


def test_a_server_that_cannot_be_asked_is_left_alone(server: Server) -> None:
    """And is not asked at every look."""
    server.fails = True
    server.goes_on(server.seconds * 3, tick_of(server))
    server.fails = False
    server.last_request = 1
    server.stops(after=server.now - server.seconds, tick=tick_of(server))


@pytest.mark.parametrize("limit", [60, 42000])
def test_a_failing_server_is_asked_no_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    server = Server(tmp_path, monkeypatch, limit)
    tries: list[float] = []

    async def fail(*_: Any, **__: Any) -> None:
        tries.append(server.now)
        raise OSError

    monkeypatch.setattr(culler, "ask", fail)
    server.goes_on(3600)
    assert len(tries) == 3600 // max(limit // 12 if limit < 7200 else 600, TICK)


def test_a_server_without_kernels_api_goes_by_the_hub(server: Server) -> None:
    server.kernels = None
    server.goes_on(server.seconds / 2, tick_of(server))
    server.recorded = server.now
    server.stops(after=server.now, tick=tick_of(server))


@pytest.mark.parametrize(("limit", "times"), [(60, 720), (1200, 36), (42000, 6)])
def test_a_server_is_left_in_peace_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, times: int
) -> None:
    """Asked twelve times a limit, or each ten minutes: so often in an hour."""
    server = Server(tmp_path, monkeypatch, limit)
    server.compute(state="busy")
    server.goes_on(3600)
    assert len(server.asked) in (times, times + 1)


def test_another_limit_holds_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No restart of the culler, and so none of the hub."""
    server = Server(tmp_path, monkeypatch, 42000)
    server.compute()
    server.goes_on(5000)
    server.limit(0)
    server.goes_on(6000)
    server.limit(9000)
    server.goes_on(7000)
    server.limit(1000)
    server.now += TICK
    assert server.look()


def test_without_a_limit_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path, monkeypatch, 0)
    server.goes_on(10**6, 10**4)
    assert server.asked == []


def test_a_server_is_asked_below_the_address_that_it_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own address may be another since."""
    asked = []

    async def fetch(self: Any, url: str, **_: Any) -> Any:
        asked.append(url)
        return SimpleNamespace(body=b"[]")

    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "t")
    monkeypatch.setattr("tornado.httpclient.AsyncHTTPClient.fetch", fetch)
    for state in ({}, {"base_url": "/old/user/alice/"}):
        server = {"url": "/new/user/alice/", "state": {"object_id": "0123456789abcdef", **state}}
        asyncio.run(culler.ask(server, "kernels"))
    assert [url.split("?")[0] for url in asked] == [
        "http://0123456789ab:8888/new/user/alice/api/kernels",
        "http://0123456789ab:8888/old/user/alice/api/kernels",
    ]


# --- a user's server ------------------------------------------------------


def test_a_server_keeps_no_connection_and_no_address_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither outlives a hub that went without a word."""
    trait = JupyterHubHTTPClient.connector_options
    monkeypatch.setattr(trait, "default_args", trait.default_args)  # to be put back
    config = PyFileConfigLoader("jupyter_server_config.py", str(ROLE / "files/images/user")).load_config()
    assert config.HubAuth.cache_max_age == 5

    async def options() -> dict[str, Any]:
        given: dict[str, Any] = JupyterHubHTTPClient().connector_options
        return given

    assert asyncio.run(options()) == {"force_close": True, "use_dns_cache": False}
