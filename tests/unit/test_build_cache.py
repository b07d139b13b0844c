"""module_utils/build_cache: what builds of ours have left in the engine goes, and no other build's."""

from __future__ import annotations

import json
import re
import socketserver
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import build_cache, contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError
from conftest import ROLE

OURS = "mount / from exec /bin/sh -c : built for jupyterhub-home; set -eu; apt"
RECORDS = {
    "base": ([], "from local image"), "system": (["base"], OURS), "copied": (["system"], "fileop target"),
    "hub": (["copied"], "mount / from exec /bin/sh -c useradd"), "pip": ([], f"cached mount /pip from exec {OURS}"),
    "debian": ([], "pulled from docker.io/library/debian"), "theirs": (["debian"], "mount / from exec make"),
    "upon": (["debian"], OURS), "context": ([], "local source for context"), "own": ([], "cached mount /root/pip"),
}  # fmt: skip
GOES = {"base", "system", "copied", "hub", "pip", "upon"}


class Engine(socketserver.ThreadingUnixStreamServer):
    """An engine that keeps records, of which it removes what nothing stands on."""

    records: dict[str, tuple[list[str], str]]
    key = "Parents"
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        records, key = self.server.records.items(), self.server.key
        found = [
            {"ID": name, "Size": 1000, "Description": said, key: "".join(on) if key == "Parent" else on}
            for name, (on, said) in records
        ]
        self.answer({"BuildCache": found or None})

    def do_POST(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        (pattern,) = json.loads(asked["filters"][0])["id"]
        below = {parent for on, _ in self.server.records.values() for parent in on}
        gone = [name for name in self.server.records if re.search(pattern, name) and name not in below]
        for name in gone:
            del self.server.records[name]
        self.answer({"CachesDeleted": gone or None, "SpaceReclaimed": 0})

    def answer(self, body: Any) -> None:
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def address_string(self) -> str:
        return "engine"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(contract, "SOCKET", str(tmp_path / "socket"))
    with Engine(contract.SOCKET, Handler) as server:
        server.records = dict(RECORDS)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("key", ["Parents", " Parents", "Parent"])  # Docker 27, 26 and 20.10
def test_ours_goes_and_nobody_elses(engine: Engine, key: str) -> None:
    engine.key = key
    found = build_cache.ours(build_cache.records())
    assert {record.name for record in found} == GOES and sum(record.size for record in found) == 6000
    build_cache.prune([record.name for record in found])
    assert engine.records.keys() == RECORDS.keys() - GOES
    assert build_cache.ours(build_cache.records()) == []


def test_what_was_sent_goes_where_no_other_build_was(engine: Engine) -> None:
    for name in ("theirs", "debian", "own"):
        del engine.records[name]
    build_cache.prune([record.name for record in build_cache.ours(build_cache.records())])
    assert engine.records == {}
    engine.records["context"] = RECORDS["context"]
    assert build_cache.ours(build_cache.records()) == [], "of a build of somebody else's"


def test_an_engine_that_has_none(engine: Engine) -> None:
    engine.records = {}
    assert build_cache.records() == []


def test_an_engine_that_refuses(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.status = 500
    with pytest.raises(EngineError, match="The engine answers 500 to /build/prune"):
        build_cache.prune(["base"])
    monkeypatch.setattr(contract, "SOCKET", "/no/such/socket")
    with pytest.raises(EngineError, match="/no/such/socket: "):
        build_cache.records()


def test_the_mark_is_in_what_all_images_stand_on() -> None:
    """And in every command with a cache, whose record stands on nothing."""
    text = (ROLE / "files/images/Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)", text, re.M)
    assert [stage for base, stage in stages if base != "system"] == ["system"]
    commands = re.findall(r"^RUN .*?(?<!\\)$", text, re.M | re.S)
    assert contract.BUILD_MARK in commands[0]
    caches = [command for command in commands if "type=cache" in command]
    assert caches and all(contract.BUILD_MARK in command for command in caches)
    assert set(re.findall(r"type=cache,([^=]*)=", text)) == {"id"}
