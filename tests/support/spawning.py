"""A user's server asked for: the hub's spawner, before an engine that remembers what it was asked to create."""

import asyncio
import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, NotFound
from mounts import HOME, WORK
from spawner import HomeSpawner
from traitlets.config import Config

VOLUMES = "/var/lib/docker/volumes/home-user-alice-2eb"  # where the folders of alice.b's are


class Engine:
    """Stands in for Docker's API client and remembers what it was asked to create."""

    base_url, api_version, timeout, image_user = "http+docker://localhost", "1.41", 60, "1000:100"

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.owners = {HOME: 1000, WORK: 1000}
        self.in_volumes: list[dict[str, Any]] = []  # containers beside the server's
        self.looked_at: Callable[[], None] = lambda: None  # what happens to the machine when somebody does
        self.removed: list[str] = []
        self.running: list[str] = []  # of these
        self.fails: APIError | None = None  # what it says to a container
        self.status = 0  # what these end with

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, **options: Any) -> dict[str, str]:
        if self.fails:
            raise self.fails
        if options["name"].endswith("-home"):
            self.in_volumes.append(options)
        else:
            self.created = options
        return {"Id": "0123456789abcdef"}

    def inspect_container(self, container: str) -> dict[str, Any]:
        mounts = [{"Name": f"home-user-alice-2eb{end}", "Source": f"{VOLUMES}{end}/_data"} for end in ("-home", "")]
        user = self.created.get("user", self.image_user)
        return {"Config": {"User": user}, "Image": f"of {container}", "Mounts": mounts}

    @contextlib.contextmanager
    def get(self, url: str, params: dict[str, str], **_: Any) -> Iterator[Any]:
        """The engine's answer with a folder as tar: its head, and then what must not be asked for."""
        assert url.endswith("/v1.41/containers/0123456789abcdef/archive")
        self.looked_at()
        head = tarfile.TarInfo("jovyan é")  # such a name comes in a head before the head
        head.uid = self.owners[params["path"].removesuffix("/.")]
        yield SimpleNamespace(raise_for_status=lambda: None, raw=io.BytesIO(head.tobuf(tarfile.PAX_FORMAT)))

    def remove_container(self, name: str, v: bool, force: bool = False) -> None:
        assert v, "what an image has as volumes would stay"
        assert not force or name not in self.running, "it would begin anew"
        self.removed.append(name)

    def start(self, name: str) -> None:
        assert self.in_volumes[-1]["name"] == name
        self.running.append(name)

    def wait(self, name: str) -> dict[str, int]:
        if name not in self.running:
            raise NotFound(name)
        self.running.remove(name)
        return {"StatusCode": self.status}

    def logs(self, name: str) -> bytes:
        return b"mv: what it says\n"

    def inspect_image(self, image: str) -> dict[str, Any]:
        return {"Config": {"Cmd": ["jupyterhub-singleuser"]}}


def engine_in(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The engine of every spawner, whose environment needs no hub."""
    engine = Engine()
    monkeypatch.setattr(HomeSpawner, "_client", engine)
    monkeypatch.setattr("dockerspawner.DockerSpawner.get_env", lambda self: {"A": "1"})
    return engine


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
