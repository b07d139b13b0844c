"""The idle culler, asking each server itself what it does.

The hub's record of activity cannot tell: a cell that computes without output leaves no trace in it,
and a forgotten browser tab, which asks for news every few seconds, looks like somebody working.
Activity here is: a busy kernel; a kernel that ran something, a terminal that moved, or a saved open
notebook within the timeout. A server that cannot be asked is left alone, because it may be busy.
"""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyterhub_idle_culler import IdleCuller, parse_date, utcnow
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets.config import Config
from traitlets.log import get_logger

SPAWNER = Path("/etc/jupyterhub-home/spawner.json")
PORT = 8888  # DockerSpawner's
REQUEST_TIMEOUT = 20  # seconds
ASK_EVERY = timedelta(minutes=10)  # at the longest

Model = dict[str, Any]

# By the server's path: what a kernel did that has been shut down since still counts.
last_seen: dict[str, datetime] = {}
last_asked: dict[str, datetime] = {}


async def ask(server: Model, path: str, **arguments: str) -> Any:
    """GET from a server's own API, not through the proxy, which would count as activity.

    Gives the decoded JSON, or None if the server has no such thing.
    """
    host = server["state"]["object_id"][:12]  # Docker's DNS knows containers by their short id
    query = "&".join(f"{key}={value}" for key, value in arguments.items())
    url = f"http://{host}:{PORT}{server['url']}api/{path}?no_track_activity=1&{query}"
    headers = {"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"}
    try:
        response = await AsyncHTTPClient().fetch(url, headers=headers, request_timeout=REQUEST_TIMEOUT)
    except HTTPClientError as error:
        if error.code == 404:
            return None
        raise
    return json.loads(response.body)


async def last_activity(server: Model, kernels: list[Model]) -> datetime:
    """When anything last happened in a server, as far as this culler has seen."""
    stamps = [kernel["last_activity"] for kernel in kernels]
    stamps += [terminal["last_activity"] for terminal in await ask(server, "terminals") or []]
    for session in await ask(server, "sessions") or []:
        if notebook := await ask(server, f"contents/{quote(session['path'])}", content="0"):
            stamps.append(notebook["last_modified"])
    # A server without any of these that is new to this culler may have been left a moment ago.
    first = parse_date(server["started"]) if stamps else utcnow()
    seen: datetime = max([last_seen.get(server["url"], first), *map(parse_date, stamps)])
    last_seen[server["url"]] = seen
    return seen


async def is_idle(*, inactive: timedelta, inactive_limit: int, server: Model) -> bool:
    """Whether to stop a server: the culler's `cull_arbiter_hook`.

    The limit is spawner.json's, which may change while this runs, not the culler's own inactive_limit.
    """
    limit = timedelta(seconds=json.loads(SPAWNER.read_text())["idle_timeout"])
    started: datetime = parse_date(server["started"])
    now: datetime = utcnow()
    if not limit:
        return False
    if now - started < limit:
        last_seen.pop(server["url"], None)  # another server than before
        return False
    if now - last_asked.get(server["url"], started) < min(limit / 4, ASK_EVERY):
        return False
    last_asked[server["url"]] = now
    try:
        kernels = await ask(server, "kernels")
        if kernels is None:  # no Jupyter server: the hub's record is all there is
            return inactive >= limit
        if any(kernel["execution_state"] == "busy" for kernel in kernels):
            last_seen[server["url"]] = now
            return False
        return now - await last_activity(server, kernels) >= limit
    except Exception as error:
        get_logger().warning("Leaving %s alone, it cannot be asked: %s", server["url"], error)
        return False


if __name__ == "__main__":
    IdleCuller.launch_instance(config=Config({"IdleCuller": {"cull_arbiter_hook": is_idle}}))
