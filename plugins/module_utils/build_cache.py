"""What builds of ours leave in the engine: BuildKit's records, and which of them are nobody else's."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any, NamedTuple
from urllib.parse import quote

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError

TIMEOUT = 300  # seconds: an old engine counts all that it has, to answer


class Connection(http.client.HTTPConnection):
    """To the engine: the client's own commands tell nothing of what a record stands on, and cannot name several."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(contract.SOCKET)


def asked(method: str, path: str) -> Any:
    """The engine's answer; EngineError where there is none."""
    connection = Connection("engine")
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        raise EngineError(f"{contract.SOCKET}: {error}") from error
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise EngineError(f"The engine answers {response.status} to {path}: {body.decode(errors='replace').strip()}")
    return json.loads(body)


class Record(NamedTuple):
    """One of BuildKit's: its identity, what it stands on, bytes, whether it names a command of ours, and whether it is
    what a client sent for a build, of which nobody can tell whose."""

    name: str
    parents: frozenset[str]
    size: int
    marked: bool
    sent: bool = False


def records() -> list[Record]:
    """All that the engine has."""
    found = asked("GET", "/system/df?type=build-cache")["BuildCache"] or []
    answer = []
    for fields in found:
        one = {key.strip(): value for key, value in fields.items()}  # Docker 26 has a space in the key Parents
        parents = one.get("Parents") or filter(None, [one.get("Parent")])
        said = one["Description"]
        marked, sent = contract.BUILD_MARK in said, said.startswith("local source")
        answer.append(Record(one["ID"], frozenset(parents), one["Size"], marked, sent))
    return answer


def ours(known: list[Record]) -> list[Record]:
    """Those with our mark, what stands on them, and what they stand on that nothing else does. What was sent is ours
    where no other build has left anything."""
    own = {record.name for record in known if record.marked}
    while more := {record.name for record in known if record.parents & own} - own:
        own |= more
    below = {parent for record in known if record.name in own for parent in record.parents} - own
    while below:
        used = {parent for record in known if record.name not in own for parent in record.parents}
        free = below - used
        own |= free
        below = {parent for record in known if record.name in free for parent in record.parents} - own
    rest = [record for record in known if record.name not in own]
    return known if own and all(record.sent for record in rest) else [record for record in known if record.name in own]


def prune(names: list[str]) -> None:
    """Remove these records, and no others; what stands on others goes first."""
    filters = json.dumps({"id": [f"^({'|'.join(map(re.escape, names))})$"]})
    while asked("POST", f"/build/prune?all=1&filters={quote(filters)}")["CachesDeleted"]:
        pass
