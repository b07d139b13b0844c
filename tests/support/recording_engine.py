"""A Docker engine that does nothing, answers as if it had, and remembers what it was asked; on a Unix socket."""

from __future__ import annotations

import json
import socket
import socketserver
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

API = "/v1.41"
ID = "0123456789abcdef" * 4


class Engine:
    """What it was asked, and what it answers."""

    def __init__(self, path: Path) -> None:
        self.socket = path
        self.asked: list[tuple[str, str, Any]] = []  # method, path with query, body
        self.containers: dict[str, dict[str, str]] = {}  # labels by name
        self.made, self.state = "2026-01-01T00:00:00.123456789Z", "running"  # of these
        self.folders_owner = 0  # of what a server mounts
        self.status = 0  # answered to everything, if not 0

    def did(self) -> list[tuple[str, str, Any]]:
        """What could have changed something."""
        return [one for one in self.asked if one[0] != "GET"]

    def created(self) -> list[Any]:
        """The bodies of requests for containers."""
        return [body for method, path, body in self.asked if path.startswith(f"{API}/containers/create")]

    def answer(self, method: str, path: str) -> tuple[int, bytes]:
        """Status and body."""
        name = path.removeprefix(f"{API}/containers/").split("/")[0].split("?")[0]
        known: Any = None
        if self.status:
            return self.status, b'{"message": "the engine is unwell"}'
        if path.endswith("/version"):
            known = {"ApiVersion": API[2:], "Version": "26.1.5"}
        elif "/images/create" in path:
            return 200, b'{"status": "pulled"}\n'
        elif "/images/" in path:
            known = {"Config": {"Cmd": ["jupyterhub-singleuser"]}}
        elif "/containers/create" in path:
            return 201, json.dumps({"Id": ID, "Warnings": []}).encode()
        elif "/archive" in path:
            head = tarfile.TarInfo("jovyan")
            head.uid = 1000 if path.endswith(("jovyan", "work")) else self.folders_owner
            return 200, head.tobuf()
        elif path.endswith("/wait"):
            known = {"StatusCode": 0}
        elif path.endswith("/json") and (name in (ID, socket.gethostname()) or name in self.containers):
            labels = self.containers.get(name, {})
            known = {
                "Id": ID, "Config": {"User": "1000:100", "Labels": labels}, "Created": self.made, "Image": "sha256:own",
                "State": {"Running": True, "Status": self.state},
            }  # fmt: skip
        elif method != "GET":
            return 204, b""
        return (200, json.dumps(known).encode()) if known else (404, b'{"message": "No such container"}')


class Handler(BaseHTTPRequestHandler):
    """HTTP for an Engine."""

    protocol_version = "HTTP/1.1"
    engine: Engine

    def handle_any(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.engine.asked.append((self.command, self.path, json.loads(text) if text else None))
        status, body = self.engine.answer(self.command, self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = handle_any

    def address_string(self) -> str:
        return "a client"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@contextmanager
def recording_engine(path: Path) -> Iterator[Engine]:
    """One that listens on this path."""
    engine = Engine(path)
    handler = type("Bound", (Handler,), {"engine": engine})
    server = socketserver.ThreadingUnixStreamServer(str(path), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
