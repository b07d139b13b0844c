"""Start servers of users for a moment, as the hub of the settings on trial would start them."""

import asyncio
import importlib.metadata
import time
from typing import Any, ClassVar

import settings_files
from dockerspawner.dockerspawner import APIError
from jupyterhub import orm, roles
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.user import User
from mounts import HOME, WORK, identity, mounts_for
from policy import Policy, RefusedError, as_received
from settings_files import Settings, read_json
from spawner import LABEL, HomeSpawner
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule, RuleRouter
from tornado.simple_httpclient import SimpleAsyncHTTPClient

MAX_SETS = 8  # different sets of mounts that servers are started with
LOG_LINES = 15
PREFIX = "jupyterhub_home_"

Problem = dict[str, str]


class FaultError(Exception):
    """A server cannot serve: the variable that it lies with, what was seen, and the last lines of its log."""

    def __init__(self, variable: str, what: str, log: str = "") -> None:
        super().__init__(what)
        self.variable, self.what, self.log = variable, what, log


def trial_user(app: JupyterHub, name: str) -> User:
    """A user of this name, whom the configuration may have put into the hub's database already."""
    row = orm.User.find(app.db, name)
    if row is None:
        row = orm.User(name=name)
        app.db.add(row)
        app.db.commit()
        roles.assign_default_roles(app.db, row)
    user: User = app.users[row]
    return user


class TrialSpawner(HomeSpawner):
    """Starts a user's server beside the real one: with the same image, identity and limits, and nobody's files."""

    host = ""
    network = ""
    tokens: ClassVar[set[str]] = set()  # of the servers of the trial
    only: frozenset[str] | None = None  # targets of the mounts that it gets; None: all
    policy: Policy | None = None  # that the guard would have
    tail = ""  # of the log of its container

    def _object_name_default(self) -> str:
        return f"{self.host}-server"

    def mine(self, settings: Settings, users: dict[str, Settings]) -> Settings:
        mine = super().mine(settings, users)
        if self.only is not None:
            mine["mounts"] = [mount for mount in mine["mounts"] if mount["target"] in self.only]
        return mine

    def get_env(self) -> dict[str, str]:
        self.tokens.add(self.api_token)
        return super().get_env()

    def docker(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "create_container" and kwargs["name"] == self.object_name and self.policy and self.only is None:
            return self.create_if_declared(**kwargs)
        return self.docker_harmlessly(method, *args, **kwargs)

    async def create_if_declared(self, **kwargs: Any) -> Any:
        """Create the container if the guard would; FaultError if not."""
        assert self.policy is not None
        config = {key: value for key, value in kwargs.items() if key not in ("name", "platform")}
        asked = as_received(self.client.create_container_config(**config))
        try:
            await self.policy.compare(self.user.name, self.name, asked)
        except RefusedError as error:
            raise FaultError("guard", f"{error}.") from error
        return await self.docker_harmlessly("create_container", **kwargs)

    def docker_harmlessly(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Ask the engine so that nothing of anybody's can change."""
        if method == "create_container":
            kwargs["labels"] = {f"{LABEL}.trial": self.project}  # with the real ones it would be taken for a user's
            if kwargs["name"] == self.object_name:
                make_harmless(kwargs, self.network)
        return super().docker(method, *args, **kwargs)

    async def check_folders(self, container: str) -> None:
        """Nothing: the run has just looked, and where a server may write there is memory in the place of a folder."""

    def disk_problem(self, *_: Any) -> None:
        """Nothing: the server gets nothing of anybody's disk."""

    async def in_volumes(self, volumes: list[Settings], *what: Any, **more: Any) -> None:
        """As in a user's own, in those that the server of the trial has in their place."""
        container = await self.docker("inspect_container", self.object_name)
        own = {one["Destination"]: one.get("Name") for one in container["Mounts"]}
        volumes = [{**volume, "Source": own[volume["Target"]]} for volume in volumes]
        await super().in_volumes(volumes, *what, **more)

    async def listens(self, host: str, port: int) -> bool:
        # Asked first: the name of a container that has ended may take long to be found nowhere.
        return await self.poll() is not None or await super().listens(host, port)

    async def remove_object(self) -> None:
        """Remove the container at once, with its volumes; what it said last is kept."""
        try:
            log = await self.docker("logs", self.object_id, tail=LOG_LINES)
            self.tail = log.decode(errors="replace").strip()
        except APIError:
            pass  # a log driver that cannot be read
        await self.docker("remove_container", self.object_id, v=True, force=True)

    async def stop(self, now: bool = False) -> None:
        if await self.get_object():
            await self.remove_object()
        self.clear_state()


def make_harmless(container: Settings, network: str) -> None:
    """Change the arguments of create_container so that no file of anybody's can change.

    Folders of the machine become read-only. In the place of a volume is one that goes with the container, and in that
    of a folder in the home, where a server has to write, there is memory.
    """
    host = container["host_config"]
    mounts = []
    for mount in host.get("Mounts") or []:
        in_home = mount["Target"].startswith(f"{HOME}/") and mount["Target"] != WORK
        if mount["Type"] == "volume" or mount["Target"] == "/tmp":
            mounts.append({"Type": "volume", "Target": mount["Target"]})
        elif mount["Type"] == "bind" and in_home and not mount.get("ReadOnly"):
            mounts.append({"Type": "tmpfs", "Target": mount["Target"], "TmpfsOptions": {"Mode": 0o1777}})
        else:
            mounts.append({**mount, "ReadOnly": mount["Type"] == "bind"})
    binds = []
    for bind in host.get("Binds") or []:
        source, target = bind.split(":")[:2]
        if source.startswith("/"):
            binds.append(f"{source}:{target}:ro")
        else:
            mounts.append({"Type": "volume", "Target": target})
    host.update(Mounts=mounts, Binds=binds, NetworkMode=network, RestartPolicy={}, PortBindings={})
    container.pop("networking_config", None)


def sets_of_mounts(users: dict[str, Settings], mounts: list[Settings]) -> dict[str, frozenset[str]]:
    """Users with their targets, one for each different set of mounts. users: see users.json.

    Sets are the same if their targets are, and if either both or none of the servers run as another user than the
    image's own.
    """
    seen: dict[Any, str] = {}
    for name, user in users.items():
        mine = mounts_for(name, mounts)
        targets = frozenset(mount["target"] for mount in mine)
        seen.setdefault((targets, identity(mine, user.get("uid"))["user"] is not None), name)
    return {name: targets for (targets, _), name in list(seen.items())[:MAX_SETS]}


class Known(Matcher):
    """Lets the servers of the trial ask the hub, and nobody else."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        token = request.headers.get("Authorization", "").rpartition(" ")[2]
        return {} if token in TrialSpawner.tokens or request.path.rstrip("/") == self.prefix else None


def can_try(app: JupyterHub) -> bool:
    """Whether servers are as the role makes them, and not as only a login or the owner's own code can tell."""
    spawner = trial_user(app, "trial").spawner
    hooks = spawner.pre_spawn_hook or spawner.auth_state_hook
    app.users.delete(spawner.user)
    return app.spawner_class is HomeSpawner and not hooks and not app.internal_ssl


class Trial:
    """Servers of a hub that is able to start."""

    def __init__(self, app: JupyterHub, host: str, network: str, guarded: bool) -> None:
        self.app = app
        for settings in (app.tornado_settings, app.tornado_application.settings):
            settings["spawner_class"] = TrialSpawner
            settings["authenticator"] = Authenticator()  # the owner's may ask for a login at a spawn
        TrialSpawner.host, TrialSpawner.network = host, network
        TrialSpawner.policy = Policy(app.config) if guarded else None
        app.hub.connect_url, app.hub.connect_ip = "", host
        router = RuleRouter([Rule(Known(f"{app.hub.base_url}api"), app.tornado_application)])
        HTTPServer(router).listen(app.hub.port, "0.0.0.0")
        self.client = SimpleAsyncHTTPClient(force_instance=True)

    async def problems(self, users: dict[str, Settings]) -> list[Problem]:
        """What keeps servers of users from serving: the first problem that is found."""
        mounts = read_json(settings_files.SPAWNER)["mounts"]
        for name, targets in sets_of_mounts(users, mounts).items():
            if fault := await self.fault(name):
                sources = {mount["target"]: mount["source"] for mount in mounts_for(name, mounts)}
                return [await self.blame(name, fault, {target: sources[target] for target in sorted(targets)})]
        return []

    async def blame(self, name: str, fault: FaultError, sources: dict[str, str]) -> Problem:
        """Whose fault it is: the image's, or that of a mount, target to source."""
        bare = await self.fault(name, frozenset()) if sources and fault.variable == "user_image" else fault
        if bare:
            fault = bare
        else:
            where = f"all mounts of user {name}"
            for target, source in sources.items():
                alone = len(sources) == 1 or await self.fault(name, frozenset({target}))
                if alone:
                    where, fault = f"{source} at {target}", alone if isinstance(alone, FaultError) else fault
                    break
            what = f"with {where}, a server {fault.what}; without, it serves."
            return problem("mounts", what, f"target: {WORK}, or another folder below {HOME}", fault.log)
        if fault.variable == "user_image":
            image = read_json(settings_files.SPAWNER)["image"]
            variable, write = "user_image", f"an image with jupyterhub-singleuser, of JupyterHub {version()}"
            if image.startswith(f"{TrialSpawner.host.removesuffix('-trial')}/"):
                variable, write = "user_packages", "packages that go with Jupyter"
            if self.app.config.get("DockerSpawner") or self.app.config.get("Spawner"):
                write += f"; or mend what {PREFIX}config and {PREFIX}extra_config say of the spawner"
            return problem(variable, f"a server of {image} {fault.what}.", write, fault.log)
        instead = {"guard": "false", "default_url": "/lab"}[fault.variable]
        return problem(fault.variable, fault.what, f"{PREFIX}{fault.variable}: {instead}", fault.log)

    async def fault(self, name: str, only: frozenset[str] | None = None) -> FaultError | None:
        """Start a user's server, ask it for its first page, remove it; returns why it cannot serve."""
        TrialSpawner.only = only
        user = trial_user(self.app, name)
        spawner = user.spawner
        spawner.post_start_cmd = ""
        spawner.pull_policy = "never"
        # What the hub does after the start is done here, where a server that has ended is not waited for.
        user._wait_up = self.serves
        try:
            await user.spawn()
        except FaultError as fault:
            await spawner.stop()
            return FaultError(fault.variable, fault.what, spawner.tail if fault.variable == "user_image" else "")
        except TimeoutError:
            return FaultError("user_image", f"does not listen within {spawner.start_timeout} s", spawner.tail)
        except Exception as error:  # of Docker, or of the owner's own in the configuration
            return FaultError("user_image", f"cannot be started: {explanation(error)}", spawner.tail)
        finally:
            spawner.stop_polling()
            await spawner.stop()
            self.app.users.delete(user)
        return None

    async def serves(self, spawner: TrialSpawner) -> None:
        """Wait until a server answers, and ask it for its first page; FaultError if it has none."""
        url = f"{spawner.server.host}{spawner.server.base_url}"
        end = time.monotonic() + spawner.http_timeout
        status = 0
        while not status:
            if await spawner.poll() is not None:
                raise FaultError("user_image", "ends when it starts")
            if time.monotonic() > end:
                raise FaultError("user_image", f"does not answer within {spawner.http_timeout} s")
            status, theirs = await self.ask(f"{url}api", spawner)
            if not status:
                await asyncio.sleep(0.05)
        page = spawner.default_url.lstrip("/")
        status, theirs = await self.ask(url + page, spawner)
        if status == 404 and "/" in page:
            # A file that only its user has: is there what shows it?
            status, theirs = await self.ask(url + page.partition("/")[0], spawner)
        if status == 404:
            raise FaultError("default_url", f"{spawner.default_url!r} is a page that servers do not have (404).")
        if status >= 400 or not status:
            other = f" (its JupyterHub is {theirs}, the hub's {version()})" if theirs not in ("", version()) else ""
            raise FaultError("user_image", f"answers its user with an error{other}: {status or 'no answer'}")

    async def ask(self, url: str, spawner: TrialSpawner) -> tuple[int, str]:
        """The status that a server answers its user with, 0 without an answer; and the JupyterHub that it has."""
        headers = {"Authorization": f"token {spawner.api_token}"}
        request = HTTPRequest(url, headers=headers, follow_redirects=False, request_timeout=30)
        try:
            answer = await self.client.fetch(request, raise_error=False)
        except OSError:
            return 0, ""
        return 0 if answer.code == 599 else answer.code, answer.headers.get("X-JupyterHub-Version", "")


def version() -> str:
    """The hub's version."""
    return importlib.metadata.version("jupyterhub")


def explanation(error: Exception) -> str:
    """What went wrong, on one line."""
    text = getattr(error, "explanation", None) or f"{type(error).__name__}: {error}"
    return " ".join(str(text).split()).rstrip(".")


def problem(variable: str, what: str, write: str, log: str = "") -> Problem:
    """A problem as the trial prints it."""
    return {"variable": PREFIX + variable, "what": what, "write": write, "log": log}
