"""The guard: alone with the Docker engine's socket, it makes users' servers as they are declared.

It answers as much of the engine's API as DockerSpawner needs, on a Unix socket for the hub. From a request for a server
it takes for whom it is, its environment and a choice among the owner's images. All else it makes itself, by the hub's
own spawner and from the same files, which root wrote; a request that is for anything else is refused. No byte and no
path of a request goes on to the engine.

See docs/security.md for what this keeps from a hub that was taken over.
"""

import asyncio
import contextlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configuration
import docker
import engine_watch
import requests
import settings_files
from aiohttp import web
from authenticator import HomeAuthenticator
from docker.errors import APIError, DockerException
from jupyterhub.spawner import SpawnException
from settings_files import Settings, SettingsError, declared_users, undeclared_stay
from spawner import FRESH_SETTINGS_VARIABLE, LABEL, HomeSpawner
from traitlets.config import Config, PyFileConfigLoader
from traitlets.utils.importstring import import_item

SOCKET = Path("/run/guard/docker.sock")
CONFIG_FILE = Path(__file__).with_name("jupyterhub_config.py")
MAX_BODY = 2**20  # bytes; a request for a server has 3,000
PATIENCE = 10  # seconds for the body of a request
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")
VARIABLE = re.compile(r"[^=\0]+=[^\0]*")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """What is not done, and why; status: of HTTP."""

    def __init__(self, why: str, status: int = 403) -> None:
        super().__init__(why)
        self.status = status


# --- What is declared --------------------------------------------------------


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
                    "guard cannot know"
                )
            if self.compares:
                return {"Id": ""}
            return await super().docker("create_container_from_config", config, name, platform)

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


# --- What is answered --------------------------------------------------------


def without_duplicates(pairs: list[tuple[str, Any]]) -> Settings:
    """A JSON object whose keys are each there once, in any case."""
    if len({key.lower() for key, _ in pairs}) < len(pairs):
        raise RefusedError("a key is there twice", 400)
    return dict(pairs)


async def body_of(request: web.Request) -> Settings:
    """The JSON object of a request."""
    if request.headers.get("Transfer-Encoding"):
        raise RefusedError("a body in chunks", 411)
    try:
        async with asyncio.timeout(PATIENCE):
            text = await request.text()
        body = json.loads(text, object_pairs_hook=without_duplicates)
    except (ValueError, RecursionError, TimeoutError) as error:
        raise RefusedError("no JSON", 400) from error
    if not isinstance(body, dict):
        raise RefusedError("no JSON object", 400)
    return body


class Guard:
    """The answers. policy: None while it is damaged, and then broken says how."""

    def __init__(self, client: docker.APIClient, policy: Policy | None, broken: str = "") -> None:
        self.client, self.policy_or_none, self.broken = client, policy, broken
        self.executor = ThreadPoolExecutor(32)
        if policy:
            policy.server_class._client = client

    @property
    def policy(self) -> Policy:
        """RefusedError while it is damaged."""
        if self.policy_or_none is None:
            raise RefusedError(f"nothing is done while the settings are broken: {self.broken}", 503)
        return self.policy_or_none

    def app(self) -> web.Application:
        """All that is answered; anything else is refused."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[answer_or_refuse])
        api = f"/v{self.client.api_version}"
        app.router.add_get("/version", self.version)
        app.router.add_get(f"{api}/version", self.version)
        app.router.add_get(api + "/images/{image:.+}/json", self.inspect_image)
        app.router.add_post(f"{api}/images/create", self.pull)
        app.router.add_post(f"{api}/containers/create", self.create)
        app.router.add_get(api + "/containers/{name}/json", self.inspect)
        app.router.add_post(api + "/containers/{name}/start", self.start)
        app.router.add_post(api + "/containers/{name}/stop", self.stop)
        app.router.add_delete(api + "/containers/{name}", self.remove)
        return app

    async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """What the engine answers."""
        call = getattr(self.client, method)
        return await asyncio.wrap_future(self.executor.submit(call, *args, **kwargs))

    async def version(self, _: web.Request) -> web.Response:
        """The first that a hub asks, which does not start without an answer."""
        self.policy  # noqa: B018 (refuses while it is damaged)
        return web.json_response(await self.ask("version", api_version=False))

    def image(self, name: str) -> str:
        """The name of an image that servers may be of."""
        if not self.policy.knows(name):
            raise RefusedError(f"No such image: {name[:200]}", 404)
        return name

    async def inspect_image(self, request: web.Request) -> web.Response:
        return web.json_response(await self.ask("inspect_image", self.image(request.match_info["image"])))

    async def pull(self, request: web.Request) -> web.Response:
        name, tag = request.query.get("fromImage", ""), request.query.get("tag", "latest")
        image = f"{name}:{tag}"
        if not self.policy.knows(image):
            self.image(name)  # in whose declaration the tag goes without saying
        return web.Response(text=await self.ask("pull", name, tag))

    async def container(self, request: web.Request) -> Settings:
        """What the engine knows of a user's server of this project; RefusedError for any other container."""
        name = request.match_info["name"]
        policy = self.policy
        missing = RefusedError(f"No such container: {name[:200]}", 404)
        if not NAME.fullmatch(name):
            raise missing
        found: Settings = await self.ask("inspect_container", name)
        labels = found["Config"].get("Labels") or {}
        if labels.get(f"{LABEL}.project") != policy.project or f"{LABEL}.user" not in labels:
            raise missing
        return found

    async def inspect(self, request: web.Request) -> web.Response:
        return web.json_response(await self.container(request))

    async def start(self, request: web.Request) -> web.Response:
        await self.ask("start", (await self.container(request))["Id"])
        return web.Response(status=204)

    async def stop(self, request: web.Request) -> web.Response:
        await self.ask("stop", (await self.container(request))["Id"])
        return web.Response(status=204)

    async def remove(self, request: web.Request) -> web.Response:
        await self.ask("remove_container", (await self.container(request))["Id"], v=True)
        return web.Response(status=204)

    async def create(self, request: web.Request) -> web.Response:
        asked = await body_of(request)
        environment = environment_of(asked)
        user, server_name = environment.get("JUPYTERHUB_USER", ""), environment.get("JUPYTERHUB_SERVER_NAME", "")
        self.policy.check_user(user)
        spawner = self.policy.server(user, server_name, environment)
        await self.policy.ready(spawner, asked, request.query.get("name", ""))
        return web.json_response(await spawner.create_object(), status=201)


@web.middleware
async def answer_or_refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a handler answers; a refusal, the engine's own, or that it does not answer, as the engine would say it."""
    try:
        if request.body_exists and not request.path.endswith("/containers/create"):
            raise RefusedError("a body", 400)
        if "Upgrade" in request.headers:
            raise RefusedError("another protocol", 400)
        return await handler(request)
    except APIError as error:
        return message(error.status_code or 503, str(error.explanation or error))
    except (DockerException, requests.RequestException) as error:
        return message(503, f"the engine does not answer: {type(error).__name__}")
    except SettingsError as error:
        why, status = f"nothing is done while the settings are broken: {error}", 503
    except RefusedError as error:
        why, status = str(error), error.status
    except SpawnException as error:  # a folder of the machine is not what it was
        print(f"guard: {error.log_message}", file=sys.stderr)
        return message(error.status_code, error.message)
    except web.HTTPException as error:
        why, status = "not a call that servers need" if error.status in (404, 405) else error.reason, 403
    except Exception as error:  # of the owner's own code
        last = traceback.extract_tb(error.__traceback__)[-1]
        why, status = f"{type(error).__name__} in {last.filename}, line {last.lineno}", 503
    if status != 404:
        print(f"guard: refused {request.method} {request.path[:200]!r}: {why}", file=sys.stderr)
    return message(status, why)


def message(status: int, text: str) -> web.Response:
    """An answer as the engine gives it."""
    return web.json_response({"message": text}, status=status)


def make(client: docker.APIClient) -> Guard:
    """A guard for the settings that there are; broken ones are no reason to leave the hub without an answer."""
    try:
        return Guard(client, Policy(load_configuration()))
    except SettingsError as error:
        print(f"guard: everything is refused: {error}", file=sys.stderr)
        return Guard(client, None, str(error))


async def serve(guard: Guard) -> None:
    """Answer on the socket, for the hub's group alone, for good."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it quotes what is no HTTP
    runner = web.AppRunner(guard.app(), access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(SOCKET)).start()
        SOCKET.chmod(0o660)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    engine_watch.end_without_engine()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(make(docker.APIClient(version="auto"))))


if __name__ == "__main__":
    main()
