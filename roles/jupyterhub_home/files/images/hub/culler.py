"""The idle culler, asking each server itself what it does.

The hub's record of activity cannot tell: a cell that computes without output leaves no trace in it,
and a forgotten browser tab, which asks for news every few seconds, looks like somebody working.
Activity here is: a busy kernel; a kernel that ran something, a terminal that moved, a saved open
notebook; a kernel or terminal that is there no more. A server that cannot be asked is left alone,
because it may be busy.

A server is watched from its start on, because what a kernel did is lost with it, and what was seen
is kept in a file, because the culler ends with the hub.

Whoever runs code in a server can read what the server is asked with. So each is asked with a token of its
own user's that opens this one server, and the culler's own token goes to the hub alone.
"""

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import settings_files
from jupyterhub_idle_culler import IdleCuller, parse_date, utcnow
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets.config import Config
from traitlets.log import get_logger

SEEN = Path("/srv/jupyterhub/idle.json")
PORT = 8888  # DockerSpawner's
REQUEST_TIMEOUT = 20  # seconds
LOOK_TIMEOUT = 60  # seconds for all that one server is asked: the others wait for the slowest
MAX_ANSWER = 2**20  # bytes; a kernel has 300
ASK_EVERY = timedelta(minutes=10)  # at the longest
FORGET = timedelta(days=1)  # what is said of a server that is there no more
TOKEN_USED = timedelta(minutes=30)  # for so long a server is asked with the same one, which is good for twice as long

Model = dict[str, Any]


@dataclass
class Watch:
    """What was seen of one server; times in ISO 8601, so that JSON can carry them."""

    started: str
    asked: str
    active: str  # the last activity
    things: list[str]  # kernels and terminals


def read_seen() -> dict[str, Watch]:
    """What an earlier culler saw, by the server's path; nothing if there was none."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        return {url: Watch(**entry) for url, entry in json.loads(SEEN.read_text()).items()}
    return {}


watched: dict[str, Watch] | None = None
tried: dict[str, str] = {}  # when each was asked last, whether or not it answered


def keep_seen(seen: dict[str, Watch], now: datetime) -> None:
    """Write down what was seen, for the culler after the hub's next start; a full disk costs that alone."""
    for url in [url for url, watch in seen.items() if now - parse_date(watch.asked) > FORGET]:
        del seen[url]
    try:
        new = SEEN.with_suffix(".new")
        new.write_text(json.dumps({url: asdict(watch) for url, watch in seen.items()}))
        new.replace(SEEN)
    except OSError as error:
        get_logger().warning("What was seen of servers cannot be written down: %s", error)


tokens: dict[str, tuple[str, datetime]] = {}  # what opens each server, and when it is asked with another


async def token_for(server: Model) -> str:
    """A token that opens this server and nothing else, from the hub."""
    name = server["full_name"]  # USER/SERVER
    now: datetime = utcnow()
    token, until = tokens.get(name, ("", now))
    if now < until:
        return token
    wanted = {
        "note": "idle culler: whether this server is busy",
        "expires_in": int(2 * TOKEN_USED.total_seconds()),
        "scopes": [f"access:servers!server={name}"],
    }
    response = await AsyncHTTPClient().fetch(
        f"{os.environ['JUPYTERHUB_API_URL']}/users/{quote(name.partition('/')[0])}/tokens",
        method="POST",
        headers={"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"},
        body=json.dumps(wanted),
        request_timeout=REQUEST_TIMEOUT,
    )
    token = str(json.loads(response.body)["token"])
    tokens[name] = token, now + TOKEN_USED
    return token


async def ask(server: Model, path: str, **arguments: str) -> Any:
    """GET from a server's own API, not through the proxy, which would count as activity.

    Gives the decoded JSON, or None if the server has no such thing.
    """
    host = server["state"]["object_id"][:12]  # Docker's DNS knows containers by their short id
    base = server["state"].get("base_url", server["url"])  # of when it started
    query = "&".join(f"{key}={value}" for key, value in arguments.items())
    url = f"http://{host}:{PORT}{base}api/{path}?no_track_activity=1&{query}"
    headers = {"Authorization": f"token {await token_for(server)}"}
    # Whoever has taken over a server must not have the hub ask others for them, nor read without an end.
    client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_ANSWER)
    try:
        response = await client.fetch(url, headers=headers, request_timeout=REQUEST_TIMEOUT, follow_redirects=False)
    except HTTPClientError as error:
        if error.code == 404:
            return None
        if error.code == 403:  # its user took the token back
            tokens.pop(server["full_name"], None)
        raise
    finally:
        client.close()
    return json.loads(response.body)


async def look(server: Model, before: Watch | None, limit: timedelta, now: datetime) -> Watch | None:
    """What a server does, and when it last did anything; None if it is no Jupyter server. before: the last look."""
    kernels = await ask(server, "kernels")
    if kernels is None:
        return None
    terminals = await ask(server, "terminals") or []
    stamps = [parse_date(one["last_activity"]) for one in [*kernels, *terminals]]
    for session in await ask(server, "sessions") or []:
        if notebook := await ask(server, f"contents/{quote(session['path'])}", content="0"):
            stamps.append(parse_date(notebook["last_modified"]))
    things = sorted([kernel["id"] for kernel in kernels] + [terminal["name"] for terminal in terminals])
    if any(kernel["execution_state"] == "busy" for kernel in kernels) or (before and set(before.things) - set(things)):
        stamps.append(now)
    stamps.append(parse_date(before.active if before else server["started"]))
    if now - parse_date(before.asked if before else server["started"]) > limit / 4:
        # Nobody has looked for long, as while the hub was down: anything that the server was asked may be work.
        status = await ask(server, "status")
        stamps.append(parse_date(status["last_activity"]) if status else now)
    return Watch(server["started"], now.isoformat(), max(stamps).isoformat(), things)


async def is_idle(*, inactive: timedelta, inactive_limit: int, server: Model) -> bool:
    """Whether to stop a server: the culler's `cull_arbiter_hook`.

    The limit is spawner.json's, which may change while this runs, not the culler's own inactive_limit. A server is
    asked twelve times a limit, so that it stops no later than a quarter of the limit after it: what was done in a
    kernel that is gone is known to within a twelfth.
    """
    global watched
    if watched is None:
        watched = read_seen()
    limit = timedelta(seconds=settings_files.read_json(settings_files.SPAWNER, "idle_timeout")["idle_timeout"])
    if not limit:
        return False
    now: datetime = utcnow()
    before = watched.get(server["url"])
    if before and before.started != server["started"]:
        before = None  # another server than before
    last = tried.get(server["url"], before.asked if before else server["started"])
    due = before and last == before.asked and now - parse_date(before.active) >= limit
    if not due and server["url"] in tried and now - parse_date(last) < min(limit / 12, ASK_EVERY):
        return False
    tried[server["url"]] = now.isoformat()
    try:
        async with asyncio.timeout(LOOK_TIMEOUT):
            seen = await look(server, before, limit, now)
    except Exception as error:
        get_logger().warning("Leaving %s alone, it cannot be asked: %s", server["url"], error)
        return False
    if seen is None:  # the hub's record is all there is
        return inactive >= limit
    watched[server["url"]] = seen
    keep_seen(watched, now)
    return bool(now - parse_date(seen.active) >= limit)


if __name__ == "__main__":
    IdleCuller.launch_instance(config=Config({"IdleCuller": {"cull_arbiter_hook": is_idle}}))
