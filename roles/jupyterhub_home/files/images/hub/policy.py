"""Who may have a server, and which one: what the guard goes by, from the files that root wrote."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configuration
import settings_files
from authenticator import HomeAuthenticator
from settings_files import Settings, SettingsError, declared_users, undeclared_stay
from spawner import FRESH_SETTINGS_VARIABLE, HomeSpawner
from traitlets.config import Config, PyFileConfigLoader
from traitlets.utils.importstring import import_item

CONFIG_FILE = Path(__file__).with_name("jupyterhub_config.py")
VARIABLE = re.compile(r"[^=\0]+=[^\0]*")


class RefusedError(Exception):
    """What is not done, and why; status: of HTTP."""

    def __init__(self, why: str, status: int = 403) -> None:
        super().__init__(why)
        self.status = status


def load_configuration() -> Config:
    """The configuration that the hub has; SettingsError when it cannot be had."""
    setattr(configuration, "run_for_good", lambda c: None)  # noqa: B010 (mypy takes no other assignment)
    try:
        config: Config = PyFileConfigLoader(CONFIG_FILE.name, path=str(CONFIG_FILE.parent)).load_config()
    except SystemExit as error:
        raise SettingsError(str(error)) from error
    return config


def class_of(chosen: Any) -> type:
    """A class that is given as itself or by its name; object for what has no name here, such as an entry point's."""
    if isinstance(chosen, str):
        try:
            chosen = import_item(chosen)
        except ImportError:
            return object
    return chosen if isinstance(chosen, type) else object


def environment_of(asked: Settings) -> dict[str, str]:
    """The environment that is asked for."""
    lines = asked.get("Env")
    if not isinstance(lines, list) or not all(isinstance(line, str) and VARIABLE.fullmatch(line) for line in lines):
        raise RefusedError("Env is no list of NAME=VALUE", 400)
    return dict(line.split("=", 1) for line in lines)


def differences(asked: Any, declared: Any, where: str = "") -> list[str]:
    """Where two JSON values differ, as dotted keys."""
    if isinstance(asked, dict) and isinstance(declared, dict):
        keys = sorted(asked.keys() | declared.keys())
        return [
            found
            for key in keys
            for found in differences(asked.get(key), declared.get(key), f"{where}.{key}" if where else key)
        ]
    return [] if asked == declared else [where or "all of it"]


def as_received(config: Any) -> Settings:
    """The body of a request as whoever gets it reads it."""
    body: Settings = json.loads(json.dumps(config))
    return body


def declared_server(base: type[HomeSpawner]) -> type[HomeSpawner]:
    """A spawner that makes a server with a given environment, and only if it is the one that was asked for."""

    # The base may be a class of the owner's, which no checker of types knows beforehand.
    class DeclaredServer(base):  # type: ignore[valid-type,misc]
        _executor = ThreadPoolExecutor(32)
        environment_asked: dict[str, str]
        asked: Settings
        asked_name: str
        compares: bool = False  # and makes nothing

        def get_env(self) -> dict[str, str]:
            return dict(self.environment_asked)

        def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
            if method == "create_container" and kwargs.get("name") == self.object_name:
                return self.create_as_asked(**kwargs)
            return super().docker(method, *args, **kwargs)

        async def create_as_asked(self, name: str, platform: str | None = None, **kwargs: Any) -> Any:
            """Create the container; RefusedError where another one is declared than was asked for."""
            config = self.client.create_container_config(**kwargs)
            declared = {**as_received(config), "Env": self.asked.get("Env")}
            if other := differences(self.asked, declared) + differences(self.asked_name, name, "name"):
                raise RefusedError(
                    f"a server of {self.user.name} is asked for that is another one than is declared, by "
                    f"{', '.join(other[:5])}. What code in jupyterhub_home_extra_config does when a server starts, the "
                    "guard cannot know; jupyterhub_home_guard: false has the hub make servers itself"
                )
            if self.compares:
                return {"Id": ""}
            return await super().docker("create_container_from_config", config, name, platform)

        def disk_problem(self, *found: Any) -> Exception | None:
            return None if self.compares else super().disk_problem(*found)

        async def prepare_home(self, container: str) -> None:
            if not self.compares:
                await super().prepare_home(container)

    return DeclaredServer


class Policy:
    """Who may have a server, and which one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        chosen = class_of(config.JupyterHub.get("spawner_class"))
        self.server_class = declared_server(chosen if issubclass(chosen, HomeSpawner) else HomeSpawner)
        self.lists_users = class_of(config.JupyterHub.get("authenticator_class")) is HomeAuthenticator

    @property
    def project(self) -> str:
        """The label that all servers have."""
        return str(self.config.HomeSpawner.project)

    @cached_property
    def removes(self) -> bool:
        """Whether servers' containers are removed when they end, so that each start is of a new one."""
        return bool(self.server("", "", {}).remove)

    def check_user(self, name: str) -> None:
        """RefusedError for one whom nobody has declared, where the list of users says who there is."""
        if not name or (self.lists_users and not undeclared_stay() and name not in declared_users()):
            raise RefusedError(f"no user {name[:64]!r} is declared")

    def server(self, user: str, server_name: str, environment: dict[str, str]) -> Any:
        """The spawner of a user's server, which is not ready yet: see `ready`."""
        groups = [SimpleNamespace(name=name) for name in declared_users().get(user, {}).get("groups", [])]
        spawner = self.server_class(
            config=self.config,
            user=SimpleNamespace(name=user, escaped_name=user, groups=groups, settings={}),
            orm_spawner=SimpleNamespace(name=server_name, server=None, user_options={}, state={}),
        )
        spawner.environment_asked = environment
        return spawner

    async def ready(self, spawner: Any, asked: Settings, name: str) -> None:
        """Have the spawner know what is declared, and take the image of the request if the owner allows it."""
        await spawner.apply_group_overrides()
        spawner.asked, spawner.asked_name = asked, name
        if spawner.environment_asked.pop(FRESH_SETTINGS_VARIABLE, ""):
            spawner.once = frozenset({"fresh_settings"})
        image = asked.get("Image")
        if isinstance(image, str) and self.allows(spawner, image):
            spawner.image = image

    async def compare(self, user: str, server_name: str, asked: Settings) -> None:
        """RefusedError where this request for a server would be refused for what the server is."""
        spawner = self.server(user, server_name, environment_of(asked))
        await self.ready(spawner, asked, spawner.object_name)
        spawner.compares = True
        await spawner.create_object()

    def allows(self, spawner: Any, image: str) -> bool:
        """Whether the owner lets users choose this image."""
        allowed = spawner._get_allowed_images()
        return bool(allowed) and (allowed == "*" or image in allowed.values())

    def knows(self, image: str) -> bool:
        """Whether a server may be of this image."""
        spawner = self.server("", "", {})
        declared = settings_files.read_json(settings_files.SPAWNER, "image")["image"]
        return image in (declared, spawner.image) or callable(spawner.allowed_images) or self.allows(spawner, image)
