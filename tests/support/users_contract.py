"""What the users module posts to the hub, and what the hub answers: the handler's tests and the module's both take it
from here, so that neither can change alone.
"""

from __future__ import annotations

from typing import Any

PATH = "/hub/api/jupyterhub-home/users"
SERVERS = {"image": "user:1"}
Answer = tuple[int, dict[str, Any]]


def entry(admin: bool = False, groups: list[str] | None = None, session: str = "s1") -> dict[str, Any]:
    """A user in a request, as in users.json."""
    return {"admin": admin, "groups": groups or [], "session": session}


def request(
    users: dict[str, dict[str, Any]], *, keep_undeclared: bool = False, decides: bool = False, pretend: bool = False
) -> dict[str, Any]:
    """The body of a POST."""
    return {
        "users": users,
        "keep_undeclared": keep_undeclared,
        "decides": decides,
        "servers": SERVERS,
        "pretend": pretend,
    }


# The body of the answer when all is as declared: every kind of difference that there is.
NOTHING: dict[str, Any] = {
    "add": [], "remove": [], "promote": [], "demote": [], "log_out": [], "groups": {}, "remove_groups": [],
    "running": [], "outdated": {}, "mended": [],
}  # fmt: skip

# One of each kind: who is in the database (with a group that has no name), who is to be, the answer, and what the run
# says of it.
BEFORE = {
    "alice": entry(admin=True, session="alice-s1"),
    "bob": entry(groups=["lab"], session="bob-s1"),
    "carl": entry(groups=["old"], session="carl-s1"),
    "dora": entry(session="dora-s1"),
}
RUNNING = ("bob", "carl")
OUTDATED = {"bob": ["image", "cpu_limit"]}
AFTER = {
    "alice": entry(session="alice-s1"),
    "bob": entry(admin=True, groups=["lab", "new"], session="bob-s1"),
    "dora": entry(session="dora-s2"),
    "eve": entry(groups=["new"], session="eve-s1"),
}
EVERYTHING: dict[str, Any] = {
    "add": ["eve"], "remove": ["carl"], "promote": ["bob"], "demote": ["alice"], "log_out": ["dora"],
    "groups": {"bob": ["lab", "new"]}, "remove_groups": ["old"],
    "running": ["carl"], "outdated": OUTDATED, "mended": ["a group had no name"],
}  # fmt: skip
SAID = [
    "Mended in the hub's database: a group had no name",
    "Added to the hub: eve",
    "Removed from the hub, with sessions and tokens: carl",
    "Their servers were running, and are stopped: carl",
    "Admin now: bob",
    "No admin any more: alice",
    "Sessions ended: dora",
    "Other groups: bob",
    "Groups removed: old",
]


def refusal(status: int, message: str) -> Answer:
    return status, {"status": status, "message": message}


ANOTHER_AUTHENTICATOR = refusal(404, "another authenticator decides who is known")
LOCKED = refusal(503, "the hub's database cannot be used: database is locked")
STUCK = refusal(503, "the server of bob could not be stopped; the hub's log says why")
