"""The running hub as a row of the table looks at it."""

from __future__ import annotations

import contextlib
import json
import re
from functools import cached_property
from typing import Any

import requests
from client import HubClient, HubError, Kernel, LoginRefused
from machine import address
from testinfra.host import Host

PROJECT = "jupyterhub-home"
# What a value may be made of that only the machine knows.
OWN, OTHER = "@own address@", "@other address@"


def password(name: str) -> str:
    """Of every user of these tests."""
    return f"{name}-test-secret"


def answers(url: str) -> bool:
    """Whether a page is there, itself and not in another place."""
    session = requests.Session()
    session.trust_env = False  # a proxy for the internet knows no machine at home
    try:
        return session.get(url, timeout=10, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False


class World:
    """A hub on the machine, the variables that it came from (without the common prefix), what that run printed.

    Servers and kernels are started when they are first looked at, and kept.
    """

    def __init__(self, host: Host, variables: dict[str, Any] | None = None, output: str = "") -> None:
        self.host = host
        self.variables = {name.removeprefix("jupyterhub_home_"): value for name, value in (variables or {}).items()}
        self.output = output
        self.clients: dict[str, HubClient] = {}
        self.kernels: dict[str, str] = {}  # their ids

    # --- Where it is ------------------------------------------------------
    @cached_property
    def addresses(self) -> dict[str, str]:
        """Two addresses that the tests reach; the second is added to the machine by the first look."""
        own = address(self.host)
        # Far from those that Docker gives, in the same network, and no other test machine's beside it.
        other = re.sub(r"\.\d+(\.\d+)$", r".255\1", own)
        self.host.check_output(f"ip address replace {other}/16 dev eth0")
        return {OWN: own, OTHER: other}

    def filled(self, value: Any) -> Any:
        """A value with the machine's addresses in the place of their marks."""
        text = json.dumps(value)
        for mark, found in self.addresses.items():
            text = text.replace(mark, found)
        return json.loads(text)

    @property
    def project(self) -> str:
        return str(self.variables.get("project", PROJECT))

    @property
    def root_url(self) -> str:
        """Of the proxy, without the hub's own path."""
        bound = self.variables.get("bind_address", OWN)
        return f"http://{self.filled(bound)}:{self.variables.get('port', 8000)}"

    @property
    def url(self) -> str:
        return self.root_url + str(self.variables.get("base_url", "/"))

    # --- Who gets in ------------------------------------------------------
    def client(self, name: str, secret: str | None = None) -> HubClient:
        """A user who has not logged in yet."""
        return HubClient(self.url, name, password(name) if secret is None else secret)

    def session(self, name: str, secret: str | None = None) -> HubClient:
        """A new login; LoginRefused if there is none."""
        client = self.client(name, secret)
        client.login()
        return client

    def lets_in(self, name: str, secret: str | None = None) -> bool:
        try:
            self.session(name, secret)
        except LoginRefused:
            return False
        return True

    # --- Servers ----------------------------------------------------------
    def server(self, name: str) -> HubClient:
        """A user's session whose server runs and is entered."""
        if name not in self.clients:
            client = self.session(name)
            client.stop()  # one from before would not show today's variables
            client.spawn()
            client.enter().raise_for_status()
            self.clients[name] = client
        return self.clients[name]

    def compute(self, name: str, code: str) -> str:
        """What a cell prints in a user's server, without the space around it.

        One kernel runs all of them, each over a connection of its own: one that nobody reads from soon ends.
        """
        server = self.server(name)
        if name not in self.kernels:
            answer = server.api("POST", "/kernels", json={"name": "python3"})
            answer.raise_for_status()
            self.kernels[name] = answer.json()["id"]
        kernel = Kernel(server, name, self.kernels[name])
        try:
            return kernel.execute(code).strip()
        finally:
            kernel.close()

    def stop_servers(self) -> None:
        """Stop every server that was looked at, as its user; the session may have ended with its user or password.

        A user who is gone took the server along.
        """
        for name in self.clients:
            with contextlib.suppress(LoginRefused):
                self.session(name).stop()
        self.kernels, self.clients = {}, {}

    # --- The engine -------------------------------------------------------
    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker knows of a container of the project: hub, proxy or user-NAME."""
        record: dict[str, Any] = json.loads(self.host.check_output(f"docker inspect {self.project}-{service}"))[0]
        return record

    def server_container(self, name: str) -> dict[str, Any]:
        """What Docker knows of a user's running server."""
        self.server(name)
        return self.inspect(f"user-{name}")

    def installed_in_server(self, name: str, package: str) -> str:
        """The version of a package in a user's running server, empty if it has none."""
        self.server(name)
        return self.installed(f"user-{name}", "python3", package)

    def installed(self, service: str, python: str, package: str) -> str:
        """The version of a package in a running container, empty if it has none."""
        code = f"import importlib.metadata as m; print(m.version('{package}'))"
        done = self.host.run(f'docker exec {self.project}-{service} {python} -c "{code}"')
        if done.rc != 0 and "PackageNotFoundError" not in done.stderr:
            raise HubError(f"{service}: {done.stderr}")
        return str(done.stdout.strip())
