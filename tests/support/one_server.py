"""What the tests of one server's spawner share: the engine that makes it."""

import contextlib
import io
import tarfile
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from docker.errors import APIError, NotFound
from mounts import HOME


class Engine:
    """Stands in for Docker's API client and remembers what it was asked to create."""

    base_url, api_version, timeout, image_user = "http+docker://localhost", "1.41", 60, "1000:100"

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.home_owner = 1000
        self.owners: dict[str, int] = {}  # of other folders
        self.in_home: list[dict[str, Any]] = []  # containers beside the server's
        self.looked_at: Callable[[], None] = lambda: None  # what happens to the machine when somebody does
        self.removed: list[str] = []
        self.fails: APIError | None = None  # what it says to a container
        self.status = 0  # what these end with

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, **options: Any) -> dict[str, str]:
        if self.fails:
            raise self.fails
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
        assert url.endswith("/v1.41/containers/0123456789abcdef/archive")
        self.looked_at()
        head = tarfile.TarInfo("jovyan é")  # such a name comes in a head before the head
        head.uid = self.home_owner if params["path"] == HOME else self.owners[params["path"].removesuffix("/.")]
        yield SimpleNamespace(raise_for_status=lambda: None, raw=io.BytesIO(head.tobuf(tarfile.PAX_FORMAT)))

    def remove_container(self, name: str, v: bool, force: bool = False) -> None:
        assert v, "what an image has as volumes would stay"
        if force:  # nothing is left of an earlier start
            raise NotFound(name)
        self.removed.append(name)

    def start(self, name: str) -> None:
        assert self.in_home[-1]["name"] == name

    def wait(self, name: str) -> dict[str, int]:
        return {"StatusCode": self.status}

    def logs(self, name: str) -> bytes:
        return b"mv: what it says\n"

    def inspect_image(self, image: str) -> dict[str, Any]:
        return {"Config": {"Cmd": ["jupyterhub-singleuser"]}}
