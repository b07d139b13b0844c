"""What the unit tests share: the project's Python made importable, modules run in this process, fake programs."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from fake_engine import Engine

if TYPE_CHECKING:  # JupyterHub is imported by tests of the hub's own code alone: it takes two seconds
    from hub_settings import Files
    from real_hub import Hub, MakeHub
    from users_runs import Converge, Homes

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/jupyterhub_home"

for imported in ("collections", "roles/jupyterhub_home/files/images/hub", "scripts"):
    sys.path.insert(0, str(ROOT / imported))

RunModule = Callable[..., dict[str, Any]]
Program = Callable[[str, str], Path]


class Request(NamedTuple):
    """What a web server was asked: the method and path, the token, and the JSON body."""

    what: str
    token: str | None
    body: Any


class Web(NamedTuple):
    """A web server: its address, and what it was asked."""

    url: str
    asked: list[Request]


Serve = Callable[..., Web]


@pytest.fixture
def run_module() -> RunModule:
    """run_module(module, arguments, check=False): what the module answers, its whole output under `output`.

    Its warnings are always there: where Ansible's own runs, as in these tests, they would go to the terminal.
    """

    def run(module: ModuleType, arguments: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        output = io.StringIO()
        internal = {"_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
        arguments = {**arguments, **internal}
        warnings: list[str] = []
        with (
            patch_module_args(arguments),
            contextlib.redirect_stdout(output),
            mock.patch.object(AnsibleModule, "warn", lambda self, text: warnings.append(text)),
            pytest.raises(SystemExit),
        ):
            module.main()
        answer: dict[str, Any] = json.loads(output.getvalue())
        return {**answer, "warnings": warnings, "output": output.getvalue()}

    return run


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """program(name, script): a shell script that stands before a program of that name. Its calls are in NAME.calls."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def put(name: str, script: str) -> Path:
        calls = folder / f"{name}.calls"
        calls.touch()
        (folder / name).write_text(f"#!/bin/sh\necho \"$*\" >>'{calls}'\nhere='{folder}'\n{script}\n")
        (folder / name).chmod(0o755)
        return calls

    return put


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(503, (200, {...})): a server that answers with these, the last one from then on.

    A status alone has a page as its body, as a proxy's errors; beside it stands JSON. location: where to ask instead.
    """
    servers = []

    def start(*answers: int | tuple[int, Any], location: str = "") -> Web:
        coming = list(answers)
        asked: list[Request] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = json.loads(text) if text else None
                asked.append(Request(f"{self.command} {self.path}", self.headers["Authorization"], body))
                answer = coming.pop(0) if len(coming) > 1 else coming[0]
                status, body = answer if isinstance(answer, tuple) else (answer, None)
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(b"<p>a page</p>" if body is None else json.dumps(body).encode())

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return Web(f"http://127.0.0.1:{server.server_port}/", asked)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes only in waiting, which takes none."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)


@pytest.fixture
def os_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str], None]:
    """os_release(module, text): the module reads this text in place of /etc/os-release."""

    def replace(module: ModuleType, text: str) -> None:
        other = tmp_path / "os-release"
        other.write_text(text)
        monkeypatch.setattr(module, "Path", lambda path: other if path == "/etc/os-release" else tmp_path / "nothing")

    return replace


DOCKER_13 = {
    "ServerVersion": "26.1.5+dfsg1",
    "DockerRootDir": "/var/lib/docker",
    "ClientInfo": {"Plugins": [{"Name": "buildx", "Version": "0.13.1"}, {"Name": "compose", "Version": "2.26.1"}]},
}


def docker(program: Program, info: object, more: str = "", status: int = 0) -> Path:
    """A docker whose `info` prints this."""
    text = info if isinstance(info, str) else json.dumps(info)
    return program(
        "docker",
        f"""case $1 in
        info) cat <<'END'\n{text}\nEND\nexit {status} ;;
        --version) echo 'Docker version 26.1.5+dfsg1, build a72d7cd' ;;
        {more}\nesac""",
    )


@pytest.fixture
def held() -> Iterator[int]:
    """A port on 127.0.0.1 that somebody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service `spark` and a folder `backup` that stand in the contract, and nowhere else."""
    from ansible_collections.jupyterhub.home.plugins.module_utils import contract

    spark = contract.Service("spark", 58084, contract.HUB.group, (contract.PROXY_TOKEN,))
    monkeypatch.setattr(contract, "SERVICES", (*contract.SERVICES, spark))
    monkeypatch.setattr(contract, "FOLDERS", (*contract.FOLDERS, contract.Folder("backup", exact=True)))


@pytest.fixture
def engine(program: Program, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine with nothing in it."""
    engine = Engine(program("docker", f'exec {sys.executable} -I -S "$here/docker.py" "$@"'))
    script, start = engine.here / "docker", subprocess.run
    text = script.read_text()

    def run(command: Any, **options: Any) -> Any:
        found = command[0] == "docker" and shutil.which("docker") == str(script) and script.read_text() == text
        return engine.run(command, **options) if found else start(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    return engine


# --- The hub's own code ---------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The settings files of a hub that could start, where its code reads them."""
    from hub_settings import settings_in

    return settings_in(tmp_path, monkeypatch)


@pytest.fixture
def guarded(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """guarded(KEY=value of hub.json): a hub with a guard for the settings that there are then."""
    from guarded_hub import guarded_hubs

    with guarded_hubs(files, tmp_path, monkeypatch) as start:
        yield start


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()


@pytest.fixture
def make_hub(loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHub]:
    """make_hub(database address, Class={trait: value}): a hub."""
    from real_hub import hubs

    with hubs(loop, tmp_path, monkeypatch) as make:
        yield make


@pytest.fixture
def hub(make_hub: MakeHub) -> Hub:
    return make_hub()


# --- Runs of the module users ---------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files go."""
    from users_runs import folder_in

    return folder_in(tmp_path, monkeypatch)


@pytest.fixture
def token_file(folder: Path) -> Path:
    """The token of a hub that was started once."""
    from users_runs import TOKEN

    path = folder.parent / "users-token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.fixture
def homes(engine: Engine) -> Homes:
    """An engine with the users' volumes."""
    from users_runs import Homes

    return Homes(engine)


@pytest.fixture
def converge(folder: Path, token_file: Path, run_module: RunModule, serve: Serve, homes: Homes) -> Converge:
    """converge({user}, ..., check=False, option=value): one run, with a hub that has nothing to change."""
    from users_contract import NOTHING
    from users_runs import converge_with

    return converge_with(folder, token_file, run_module, serve((200, NOTHING)).url)


# --- scripts/hub.py -------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without a vault."""
    from clones import clone_in

    return clone_in(tmp_path, monkeypatch)
