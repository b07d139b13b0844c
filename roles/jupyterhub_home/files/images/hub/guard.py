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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker
import engine_watch
import requests
from aiohttp import web
from docker.errors import APIError, DockerException
from jupyterhub.spawner import SpawnException
from policy import Policy, RefusedError, environment_of, load_configuration
from settings_files import Settings, SettingsError
from spawner import LABEL

SOCKET = Path("/run/guard/docker.sock")
MAX_BODY = 2**20  # bytes; a request for a server has 3,000
PATIENCE = 10  # seconds for the body of a request
MADE_TO_START = 600  # seconds in which a server that was made is started
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


# --- What is answered --------------------------------------------------------


def without_duplicates(pairs: list[tuple[str, Any]]) -> Settings:
    """A JSON object whose keys are each there once, in any case."""
    if len({key.lower() for key, _ in pairs}) < len(pairs):
        raise RefusedError("a key is there twice", 400)
    return dict(pairs)


def age(container: Settings) -> float:
    """Seconds since a container was made, by what the engine knows of it."""
    made = datetime.fromisoformat(re.sub("[.].*", "", container["Created"]).removesuffix("Z") + "+00:00")
    return (datetime.now(UTC) - made).total_seconds()


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
        if re.sub("^(index[.])?docker[.]io/", "", name).startswith(f"{self.policy.project}/"):
            # Whoever has that name at a registry must not come in the place of what was built here.
            raise RefusedError(f"No such image: {name[:200]}, which is built on this machine", 404)
        if not self.policy.knows(f"{name}:{tag}"):
            self.image(name if tag == "latest" else f"{name}:{tag}")  # declared without a tag
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
        found = await self.container(request)
        self.policy.check_user(found["Config"]["Labels"][f"{LABEL}.user"])
        if self.policy.removes and (found["State"]["Status"] != "created" or age(found) > MADE_TO_START):
            raise RefusedError("a server that was made earlier, perhaps by another declaration", 409)
        await self.ask("start", found["Id"])
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
