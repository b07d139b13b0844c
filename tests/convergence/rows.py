"""A row of the table of variables, and the variables of a run with many rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from world import World, password

STEPS = ("set", "changed", "removed")


@dataclass(frozen=True)
class Row:
    """One variable, or one key of the entries of a list of dictionaries: NAME[].KEY."""

    variable: str
    see: Callable[[World], Any]
    first: tuple[Any, Any]  # a value, and what is seen with it
    then: tuple[Any, Any]
    default: Any  # what is seen without one
    entry: dict[str, Any] | None = None  # of a key: the rest of the entry that it stands in
    entry_stays: bool = True  # without its key; false where an entry must have that key
    before: Callable[[World], None] | None = None  # puts something there before each run

    def value(self, step: str) -> Any:
        return {"set": self.first[0], "changed": self.then[0], "removed": None}[step]

    def expected(self, step: str) -> Any:
        return {"set": self.first[1], "changed": self.then[1], "removed": self.default}[step]


def user(name: str, **more: Any) -> dict[str, Any]:
    """An entry of jupyterhub_home_users."""
    return {"name": name, "password": password(name), **more}


# They are there all the time: an admin, and two with servers to look at.
USERS = [user("mia", admin=True), user("alice"), user("bob")]


def compose(rows: Iterable[Row], step: str) -> dict[str, Any]:
    """The variables of one run."""
    values: dict[str, Any] = {"jupyterhub_home_users": list(USERS)}
    for row in rows:
        name, _, key = row.variable.partition("[].")
        if key and (step != "removed" or row.entry_stays):
            entry = dict(row.entry or {})
            if step != "removed":
                entry[key] = row.value(step)
            values.setdefault(name, []).append(entry)
        elif not key and step != "removed":
            value = row.value(step)
            values[name] = [*values.get(name, []), *value] if isinstance(value, list) else value
    return values


def in_server(code: str, name: str = "alice") -> Callable[[World], str]:
    """What a cell prints in a user's server."""
    return lambda world: world.compute(name, code)
