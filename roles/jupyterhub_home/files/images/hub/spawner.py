"""How a user's server is started: its container, its home and its volumes."""

import asyncio
import contextlib
import inspect
import os
import socket
import tarfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import disk
import requests
import settings_files
from docker.errors import APIError, DockerException, NotFound, create_api_error_from_http_exception
from dockerspawner import DockerSpawner
from dockerspawner.dockerspawner import _deep_merge
from engine_watch import is_absent
from jupyterhub.spawner import SpawnException
from mounts import (
    HOME,
    NOTHING_OF_THE_HOME,
    ON_A_FULL_DISK,
    OTHER_FOLDER,
    PUT_ASIDE,
    WORK,
    disk_not_ready,
    identity,
    mount_points,
    mounts_for,
    not_mounted,
    not_there,
    of_another_owner,
    other_folder,
    own_volumes,
    places_of,
)
from settings_files import Settings, declared_users, read_json
from traitlets import Unicode, default

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# What pip, requests, OpenSSL and Node.js read in place of a bundle of their own.
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
LABEL = "jupyterhub-home"
# Whether this hub asks the guard, which has the engine's socket and readies homes: see guard.py.
GUARDED = "DOCKER_HOST" in os.environ
GUARD_RESTARTS = 30  # seconds in which it is back, if it ever is
DNS_LABEL_MAX = 63
# A user may choose these for one start of a server, on the hub's pages.
ONCE = {WITHOUT_PACKAGES := "without_packages", FRESH_SETTINGS := "fresh_settings"}
FRESH_SETTINGS_VARIABLE = f"JUPYTERHUB_HOME_{FRESH_SETTINGS.upper()}"  # says so to the guard, and not to the server
SERVER_SETTINGS = ("image", "default_url", "memory_limit", "cpu_limit", "pids_limit", "mounts", "ca_bundle")


def patiently(ask: Callable[[], Any]) -> Any:
    """What `ask` returns; a guard that is being restarted is waited for."""
    end = time.monotonic() + GUARD_RESTARTS
    while True:
        try:
            return ask()
        except (DockerException, requests.ConnectionError) as error:
            if not GUARDED or not is_absent(error) or time.monotonic() > end:
                raise
            time.sleep(0.25)  # in a thread of DockerSpawner's; a guard's start takes about two seconds


def refusal(error: Exception) -> Exception:
    """What JupyterHub is to be told of a server that did not start."""
    why = "it does not answer"
    if isinstance(error, APIError):
        if GUARDED and error.status_code == OTHER_FOLDER:
            return other_folder(str(error.explanation))
        if not GUARDED or error.status_code not in (403, 503):
            return disk.refusal(error)
        why = str(error.explanation)
    elif not GUARDED:
        return error
    refused: Exception = SpawnException(f"The guard has not made the server: {why}.", reason="guard", status_code=503)
    return refused


class HomeSpawner(DockerSpawner):
    """DockerSpawner that reads spawner.json at every spawn; what the owner configured wins."""

    _executor = ThreadPoolExecutor(4)  # DockerSpawner's single thread lets one slow stop block all
    project = Unicode(help="Name that containers and volumes are labelled with.").tag(config=True)
    settings: Settings
    started_with: Settings | None = None
    once: frozenset[str] = frozenset()
    user_options: Settings
    orm_spawner: Any
    extra_host_config: Any
    extra_create_kwargs: Any

    @default("options_from_form")  # type: ignore[untyped-decorator]
    def _default_options_from_form(self) -> Callable[[Settings], Settings]:
        theirs = super()._default_options_from_form()  # knows an image only

        def options_from_form(form: Settings) -> Settings:
            return {**theirs(form), **dict.fromkeys(ONCE & form.keys(), True)}

        return options_from_form

    def mine(self, settings: Settings, users: dict[str, Settings]) -> Settings:
        """What of spawner.json's settings, and of users.json, is for this user's server."""
        mounts = mounts_for(self.user.name, settings["mounts"])
        own = {key: users.get(self.user.name, {}).get(key) for key in ("uid", "disk")}
        return {key: settings[key] for key in SERVER_SETTINGS} | {"mounts": mounts} | own

    def outdated_settings(self, settings: Settings, users: dict[str, Settings]) -> list[str]:
        """The keys of `mine` that were something else when this server started."""
        mine = self.mine(settings, users)
        before = self.started_with or mine
        found = [key for key, value in mine.items() if before.get(key) != value]
        # It answers below the address that it was started with, and nowhere else.
        if self.server and not self.server.base_url.startswith(f"{settings['base_url']}user/"):
            found.append("base_url")
        return found

    def get_state(self) -> Settings:
        state: Settings = super().get_state()
        if self.object_id:
            state["started_with"] = self.started_with
        if self.server:
            state["base_url"] = self.server.base_url  # for the culler
        return state

    def load_state(self, state: Settings) -> None:
        super().load_state(state)
        self.started_with = state.get("started_with")

    async def apply_group_overrides(self) -> None:
        """Take spawner.json; the first step of a spawn, before all that the owner can hook in."""
        self.settings = self.mine(read_json(settings_files.SPAWNER, *SERVER_SETTINGS), declared_users())
        values = {
            "image": self.settings["image"],
            "default_url": self.settings["default_url"],
            "mem_limit": self.settings["memory_limit"],
            "cpu_limit": self.settings["cpu_limit"],
            "mounts": self.docker_mounts(),
        }
        configured = self._find_my_config(self.config)
        for trait, value in values.items():
            if trait not in configured:
                setattr(self, trait, value)
        self.started_with = self.settings
        self.take_choices()
        await super().apply_group_overrides()

    def take_choices(self) -> None:
        """Take what is for this start alone, and an image when there is no choice any more.

        JupyterHub remembers what a user chose, and gives it to every later start.
        """
        self.once = frozenset(ONCE & self.user_options.keys())
        gone = self.once if self.allowed_images else {*self.once, "image"}
        self.user_options = {key: value for key, value in self.user_options.items() if key not in gone}
        if self.orm_spawner and self.once:
            self.orm_spawner.user_options = self.user_options

    def labels(self) -> dict[str, str]:
        """What the server's container and volumes are known by."""
        return {f"{LABEL}.project": self.project, f"{LABEL}.user": self.user.name}

    def docker_mounts(self) -> list[Settings]:
        """Arguments of docker.types.Mount: the host folders, the user's volumes as home and as work folder in it."""
        mounts: list[Settings] = [
            {
                "type": "bind",
                # DockerSpawner fills in {username} and the like; a path is meant as it is written
                "source": mount["source"].replace("{", "{{").replace("}", "}}"),
                "target": mount["target"].replace("{", "{{").replace("}", "}}"),
                "read_only": mount["read_only"],
            }
            for mount in self.settings["mounts"]
        ]
        if self.settings["ca_bundle"]:  # a network that inspects TLS is known to the machine alone
            bundle = self.settings["ca_bundle"]
            mounts.append({"type": "bind", "source": bundle, "target": CA_BUNDLE, "read_only": True})
        taken = {mount["target"] for mount in mounts}
        taken |= {os.path.normpath(target) for target in self.volume_mount_points}  # the owner's
        if self.settings["disk"] and "/tmp" not in taken:
            mounts.append({"type": "bind", "source": f"{self.settings['disk']}/tmp", "target": "/tmp"})
        # No name is escaped so that it ends in -home.
        for target, volume in ((HOME, "{prefix}-{username}-home"), (WORK, "{prefix}-{username}")):
            if target not in taken:
                mounts.append({"type": "volume", "source": volume, "target": target, "labels": self.labels()})
        return mounts

    def identity(self) -> Settings:
        """Who the server runs as."""
        return identity(self.settings["mounts"], self.settings["uid"])

    def host_config(self) -> Settings:
        """Arguments of create_host_config that DockerSpawner has no trait for."""
        host: Settings = {
            "auto_remove": False,  # the log of a crashed server stays until its next start
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "group_add": self.identity()["group_add"],
            "ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],  # a crash leaves no core file among the user's
            "log_config": {"type": "json-file", "config": {"max-size": "10m", "max-file": "2"}},
        }
        # What is built here has volumes where it must write; who has a disk is to write nowhere else.
        if self.image.startswith(f"{self.project}/user:") or self.settings["disk"]:
            host["read_only"] = True
        if self.settings["disk"]:
            host["tmpfs"] = {"/var/lib/extrausers": "size=1m,mode=0775,gid=100,nosuid,nodev,noexec"}
        if self.mem_limit:
            host["memswap_limit"] = self.mem_limit  # both together: no swap beyond the limit
        if self.settings["pids_limit"]:
            host["pids_limit"] = self.settings["pids_limit"]
        return host

    def create_kwargs(self) -> Settings:
        """Arguments of create_container that DockerSpawner has no trait for."""
        kwargs: Settings = {"labels": self.labels(), "stop_timeout": 30}
        if user := self.identity()["user"]:
            kwargs["user"] = user
        return kwargs

    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        if self.settings["ca_bundle"]:
            env = dict.fromkeys(CA_VARIABLES, CA_BUNDLE) | env
        if self.identity()["user"]:
            env.setdefault("HOME", HOME)  # Docker gives a user without a passwd entry /
        if self.settings["disk"]:
            env = ON_A_FULL_DISK | env
        if WITHOUT_PACKAGES in self.once:
            env["PYTHONNOUSERSITE"] = "1"
        if FRESH_SETTINGS in self.once and GUARDED:
            env[FRESH_SETTINGS_VARIABLE] = "1"
        return env

    def _docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return patiently(lambda: super(HomeSpawner, self)._docker(method, *args, **kwargs))

    async def create_object(self) -> Settings:
        """Create the container with our options below the owner's, which win key by key."""
        if refused := self.disk_problem():
            raise refused
        given = self.extra_host_config, self.extra_create_kwargs
        layers = []
        for ours, theirs in zip((self.host_config(), self.create_kwargs()), given, strict=True):
            theirs = theirs(self) if callable(theirs) else theirs
            theirs = await theirs if inspect.isawaitable(theirs) else theirs
            layers.append(_deep_merge(ours, theirs))
        try:
            self.extra_host_config, self.extra_create_kwargs = layers
            container: Settings = await super().create_object()
        except APIError as error:
            if refused := not_there(self.user.name, self.settings["mounts"], error):
                raise refused from error
            raise
        finally:
            self.extra_host_config, self.extra_create_kwargs = given
        if not GUARDED:
            await self.prepare_home(container["Id"])
        return container

    async def check_folders(self, container: str) -> None:
        """Remove the container and refuse a start if a folder of the machine is another one than the role has seen."""
        bound = {(mount["Source"], mount["Target"]) for mount in self.mount_binds if mount["Type"] == "bind"}
        for mount in self.settings["mounts"]:
            if (mount["source"], mount["target"]) in bound:
                owner = await self.owner(container, f"{mount['target']}/.")  # also if a link of the user's leads there
                # Only now: what is mounted when somebody looks there (autofs) has been looked at.
                away = mount["mount_point"] not in mount_points()
                if away or owner != mount["uid"]:
                    await self.docker("remove_container", container, v=True)
                    raise not_mounted(self.user.name, mount) if away else of_another_owner(self.user.name, mount, owner)

    def disk_problem(self, container: Settings | None = None, volumes: Sequence[Settings] = ()) -> Exception | None:
        """Why the server cannot start with its user's disk as it is; None if it can. The guard sees what is mounted."""
        places = None if GUARDED else places_of(container or {}, volumes)
        return disk_not_ready(self.user.name, self.settings["disk"], places)

    async def prepare_home(self, container: str) -> None:
        """Make home and work belong to whom the server will run as, and put the settings aside if the user said so.

        That is, if the folders of the machine are what they were; otherwise SpawnException.
        Another user's files, from a time with another uid or work folder, could be neither read nor changed, and ssh
        wants its own to be their user's. The group stays: the one that the image gave.
        """
        await self.check_folders(container)
        volumes = own_volumes(self.mount_binds, self.labels())
        found = await self.docker("inspect_container", container)
        if refused := self.disk_problem(found, volumes):
            await self.docker("remove_container", container, v=True)
            raise refused
        if not volumes:
            return  # the owner's own
        user = found["Config"]["User"]
        uid = user.partition(":")[0]
        if uid.isdecimal() and int(uid):
            owners = await asyncio.gather(*(self.owner(container, volume["Target"]) for volume in volumes))
            others = [volume for volume, owner in zip(volumes, owners, strict=True) if owner != int(uid)]
            if others:
                script, may = f'chown -hR {uid} "$0"', ["CHOWN", "DAC_READ_SEARCH"]
                # Root's programs are those of the image that this runs on, whoever made the user's image.
                own = (await self.docker("inspect_container", socket.gethostname()))["Image"]
                await self.in_volumes(others, script, image=own, user="0", cap_add=may)
        if FRESH_SETTINGS in self.once and volumes[0]["Target"] == HOME:
            await self.in_volumes(volumes[:1], PUT_ASIDE, image=self.image, user=user)

    async def owner(self, container: str, path: str) -> int:
        """The numeric owner of a folder in a container that need not run."""

        def head() -> int:
            # As the client's own get_archive, but closed after what is said of the folder itself.
            url = f"{self.client.base_url}/v{self.client.api_version}/containers/{container}/archive"
            plain = {"Accept-Encoding": "identity"}
            request = self.client.get(
                url, params={"path": path}, headers=plain, stream=True, timeout=self.client.timeout
            )
            with request as answer:
                try:
                    answer.raise_for_status()
                except requests.HTTPError as error:
                    create_api_error_from_http_exception(error)  # with the engine's own words
                with tarfile.open(fileobj=answer.raw, mode="r|", bufsize=tarfile.BLOCKSIZE) as archive:
                    folder = archive.next()
            if folder is None:
                raise tarfile.ReadError(f"the engine says nothing of {path}")
            return folder.uid

        return await asyncio.wrap_future(self.executor.submit(head))

    async def in_volumes(
        self, volumes: list[Settings], script: str, image: str, user: str, cap_add: list[str] | None = None
    ) -> None:
        """Run a shell script, whose $0 is where the first one is, and the others below, in a container that has nothing
        else. A failure is logged."""
        name = f"{self.container_name}-home"
        host = self.client.create_host_config(
            mounts=volumes, network_mode="none", cap_drop=["ALL"], cap_add=cap_add, security_opt=["no-new-privileges"]
        )
        with contextlib.suppress(NotFound):  # of a start that was killed, or given up while many files changed hands
            await self.docker("wait", name)
            await self.docker("remove_container", name, v=True, force=True)
        await self.docker(
            "create_container", image=image, name=name, user=user,
            entrypoint=["/bin/sh", "-c", script, volumes[0]["Target"]],
            environment=NOTHING_OF_THE_HOME, working_dir="/", labels=self.labels(), host_config=host,
        )  # fmt: skip
        await self.docker("start", name)
        ended = await self.docker("wait", name)
        if ended["StatusCode"]:
            said = await self.docker("logs", name)
            self.log.error("The home of %s: %s", self.user.name, said.decode(errors="replace").strip())
        await self.docker("remove_container", name, v=True)

    async def start(self) -> tuple[str, int]:
        """Start the container and give its host and port, no sooner than it listens or has ended.

        JupyterHub asks at ever longer intervals, which costs half a second at the usual start time.
        """
        with contextlib.suppress(OSError):
            disk.make_room()
        try:
            host, port = await super().start()
        except (DockerException, requests.RequestException) as error:
            raise refusal(error) from error
        attempt = 0
        while not await self.listens(host, port):
            attempt += 1
            if attempt % 20 == 0 and await self.poll() is not None:
                break  # JupyterHub says so
            await asyncio.sleep(0.05)
        return host, port

    async def listens(self, host: str, port: int) -> bool:
        """Whether something accepts TCP connections there."""
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self, now: bool = False) -> None:
        if self._spawn_future and not self._spawn_future.done():
            # It never answered, and the hub gives up: its log is the only witness.
            self.log.error("Failed to start; see `docker logs %s`", self.object_name)
            await self.stop_object()
        else:
            await super().stop(now)

    async def remove_object(self) -> None:
        await self.stop_object()  # one that the hub no longer knew may still run, and holds the name
        await super().remove_object()

    @property
    def internal_hostname(self) -> str:
        """The container's name, or its short id where DNS cannot carry so long a name."""
        name: str = self.object_name
        return name if len(name) <= DNS_LABEL_MAX else self.object_id[:12]
