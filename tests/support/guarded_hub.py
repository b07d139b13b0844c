"""A hub and its guard, before an engine that records what it is asked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import configuration
import docker
import guard
import pytest
from hub_settings import HUB, Files, load
from recording_engine import API, Engine, recording_engine

Guarded = Callable[..., "Hub"]
ENVIRONMENT = {"JUPYTERHUB_USER": "bob", "JUPYTERHUB_SERVER_NAME": "", "JUPYTERHUB_API_TOKEN": "secret-of-bobs-server"}
SERVER = {"jupyterhub-home.project": "home", "jupyterhub-home.user": "bob"}


class Hub:
    """A hub's side: servers that it asks an engine, or a guard, for."""

    def __init__(self, files: Files, engine: Engine, path: Path) -> None:
        self.files, self.engine, self.path = files, engine, path
        self.settings: dict[str, Any] = {}

    def ask_for(
        self, where: Path, user: str = "bob", name: str = "", groups: tuple[str, ...] = (), **options: Any
    ) -> None:
        """Create a server's container, on an engine or a guard; what of the hub's own code comes after stays away."""
        config = load(self.files, **self.settings)
        base: Any = config.JupyterHub.spawner_class

        class Asking(base):
            _client = docker.APIClient(f"unix://{where}", version="auto")

            def get_env(self) -> dict[str, str]:
                return {**ENVIRONMENT, "JUPYTERHUB_USER": self.user.name, "JUPYTERHUB_SERVER_NAME": self.name}

            async def prepare_home(self, container: str) -> None:
                pass

        person = SimpleNamespace(name=user, groups=[SimpleNamespace(name=one) for one in groups])
        row = SimpleNamespace(name=name, server=None, user_options=options)
        asking: Any = Asking(config=config, user=person, orm_spawner=row)
        asking.user_options = options

        async def create() -> None:
            await asking.apply_group_overrides()
            if chosen := asking.user_options.get("image"):
                asking.image = await asking.check_allowed(chosen)
            await asking.create_object()

        asyncio.run(create())

    def body(self, **request: Any) -> Any:
        """The body of such a request, as the engine would get it from a hub with its socket."""
        self.ask_for(self.engine.socket, **request)
        body = self.engine.created()[-1]
        self.engine.asked.clear()
        return body

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """The status and message that the guard answers with."""
        connection = http.client.HTTPConnection("guard", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.path))
        text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
        connection.request(method, path, text, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        try:
            return answer.status, str(json.loads(content)["message"])
        except (ValueError, KeyError, TypeError):
            return answer.status, content

    def create(self, body: Any, name: str = "home-user-bob", **headers: str) -> tuple[int, str]:
        """What the guard answers to a request for a container."""
        return self.request("POST", f"{API}/containers/create?name={name}", body, **headers)


def answers(path: Path) -> bool:
    """Whether somebody listens on a socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@contextlib.contextmanager
def guarded_hubs(files: Files, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """Gives what starts a guard, before a recording engine, for the settings that there are then; hub.json's others."""
    with recording_engine(folder / "engine.sock") as engine:
        yield from guards(files, engine, folder, monkeypatch)


def guards(files: Files, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """The same before a given engine."""
    hub = Hub(files, engine, tmp_path / "guard.sock")
    monkeypatch.setattr(guard, "SOCKET", hub.path)
    monkeypatch.setattr(configuration, "run_for_good", configuration.run_for_good)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving: list[Any] = []

    def start(**settings: Any) -> Hub:
        hub.settings = settings
        if settings:
            files.write("hub.json", HUB | settings)
        client = docker.APIClient(f"unix://{engine.socket}", version="auto")
        serving.append(asyncio.run_coroutine_threadsafe(guard.serve(guard.make(client)), loop))
        while not answers(hub.path):
            assert not serving[0].done(), serving[0].exception()
        engine.asked.clear()
        return hub

    yield start
    for one in serving:
        one.cancel()
        concurrent.futures.wait(serving, timeout=60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
