"""Ask the hub over HTTP, and say what is wrong with it in its own words."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import named

# A hub that fails on its configuration is restarted by Docker at once; a start that is merely slow is not.
CRASHES = 3
PAUSE = 0.25  # seconds between two tries
DOWN = 20  # tries: a container that is just being restarted or renewed is down for a moment
# What sqlite says, in the hub's log or its answer, of a file that it cannot use.
DATABASE = re.compile(r"database is locked|disk image is malformed|file is not a database|disk I/O error")
DATABASE_HELP = (
    "The hub's database, jupyterhub.sqlite in the volume {volume}, is locked by another program or damaged. Nothing of "
    "it was deleted. If it is damaged, put a copy back in its place, or move it aside: the next start makes a new one, "
    "and the users, their passwords and files are not in it."
)
Answer = TypeVar("Answer")


class HubError(Exception):
    """The hub does not do what it is asked; the text says what and why."""


class NoAnswerError(HubError):
    """Nothing that speaks HTTP for the hub answers, perhaps only for now."""


class NotFoundError(HubError):
    """The hub answers that it has no such page."""


def request(url: str, *, data: Any = None, token: str = "", timeout: float = 5) -> bytes:
    """The body of an answer 200 to a GET, or with data (sent as JSON) to a POST.

    A proxy of the environment is not asked. Raises NoAnswerError while nothing answers or our own proxy has no hub
    behind it, HubError with the hub's own message else.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"token {token}"} if token else {})
    asked = urllib.request.Request(url, None if data is None else json.dumps(data).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=timeout) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            message = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            raise NoAnswerError(f"status {error.code}") from error  # a page of the proxy's, not of the hub's API
        raise (NotFoundError if error.code == 404 else HubError)(f"{message} (status {error.code})") from error
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise NoAnswerError(str(error)) from error


def condition(container: str) -> tuple[str, int]:
    """A container's state in Docker's word, such as running or exited, and how often Docker has restarted it."""
    try:
        status, count = docker("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", container).split(" ")
        return status, int(count)
    except (EngineError, ValueError):
        return "not there", 0


def wait_for(ask: Callable[[], Answer], container: str, seconds: float) -> Answer:
    """What `ask` returns, asked again while it raises NoAnswerError, for so many seconds at most.

    Raises HubError with the last lines of the hub's log, at once when its container keeps crashing or does not run, or
    with the hub's own message. Of a database that cannot be used, both say what that means.
    """
    end = time.monotonic() + seconds
    before, down = None, 0
    while True:
        try:
            return ask()
        except NoAnswerError as error:
            status, count = condition(container)
            before = count if before is None else before
            down = 0 if status in ("running", "restarting") else down + 1
            why = str(error)
            if count - before >= CRASHES:
                why = f"the container {container} keeps crashing"
            elif down >= DOWN:
                why = f"the container {container} is {status}"
            elif time.monotonic() < end:
                time.sleep(PAUSE)
                continue
            raise HubError(f"the hub does not answer: {why}.\n{last_words(container)}") from error
        except HubError as error:
            if not DATABASE.search(str(error)):
                raise
            raise HubError(f"{error}\n{database_help(container)}") from error


def database_help(container: str) -> str:
    """What it means that the database of a hub's container cannot be used."""
    return DATABASE_HELP.format(volume=contract.data_volume(contract.project_of_hub(container)))


def last_words(container: str) -> str:
    """What the end of the hub's log says; of a database that cannot be used, what that means."""
    try:
        lines = docker("logs", "--tail", "30", container, merged=True).splitlines()
    except EngineError as error:
        lines = error.why.splitlines()
    if wrong := [line.strip() for line in lines if DATABASE.search(line)]:
        return f"{wrong[-1]}\n{database_help(container)}"
    return "\n".join(["Last lines of the hub's log:", *lines])


def said_of_hub(found: dict[str, Any], users: dict[str, Any], *, pretend: bool) -> list[str]:
    """The differences that the hub found, one line a kind: what was done, or with pretend what would be."""
    kinds = [
        ("Mended in the hub's database: {}", "Would be mended in the hub's database: {}", found.get("mended", [])),
        ("Added to the hub: {}", "Would be added to the hub: {}", found["add"]),
        (
            "Removed from the hub, with sessions and tokens: {}",
            "Would be removed from the hub, with sessions and tokens: {}",
            found["remove"],
        ),
        (
            "Their servers were running, and are stopped: {}",
            "Their servers are running, and would be stopped: {}",
            found["running"],
        ),
        ("Admin now: {}", "Would be admin: {}", found["promote"]),
        ("No admin any more: {}", "Would be no admin any more: {}", found["demote"]),
        ("Sessions ended: {}", "Sessions would be ended: {}", found["log_out"]),
        ("Other groups: {}", "Would have other groups: {}", sorted(name for name in found["groups"] if name in users)),
        ("Groups removed: {}", "Groups would be removed: {}", found["remove_groups"]),
    ]
    return [line for done, would, names in kinds for line in named(would if pretend else done, names)]
