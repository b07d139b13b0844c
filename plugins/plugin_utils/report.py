"""Mistakes: records while variables and machine are checked, text when all are known. Sentences are put together here.

No check looks at a sentence: whether a variable is wrong already is asked of the records.
"""

from __future__ import annotations

from typing import NamedTuple

PREFIX = "jupyterhub_home_"
# The place of what is no variable's fault.
THIS_MACHINE = "This machine"


class Place(NamedTuple):
    """Where a mistake is: in a variable, by its public name, and there such as ('user kim', 'groups')."""

    variable: str
    inside: tuple[str, ...] = ()

    def within(self, part: str) -> Place:
        """A place inside this one."""
        return Place(self.variable, (*self.inside, part))


class Mistake(NamedTuple):
    """What is wrong, a sentence without its subject, and what to write instead, or by another label to do."""

    place: Place
    what: str
    write: str
    label: str = "Write"

    def text(self) -> str:
        """The mistake as its owner reads it."""
        return f"{', '.join((self.place.variable, *self.place.inside))}: {self.what}\n     {self.label}: {self.write}"


class Report:
    """Collects mistakes."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []

    def add(self, where: Place | str, what: str, write: str, label: str = "Write") -> None:
        """Note a mistake; where: a place, or the name of a whole variable."""
        place = where if isinstance(where, Place) else Place(where)
        self.mistakes.append(Mistake(place, what, write, label))

    def about(self, *names: str) -> bool:
        """Whether one of these variables (without prefix) has a mistake already."""
        return not {PREFIX + name for name in names}.isdisjoint(mistake.place.variable for mistake in self.mistakes)

    def text(self, done: str = "nothing was changed") -> str:
        """All mistakes, numbered. done: what was done before they were found."""
        count = len(self.mistakes)
        head = "1 thing has" if count == 1 else f"{count} things have"
        body = "\n".join(f"  {number}. {mistake.text()}" for number, mistake in enumerate(self.mistakes, 1))
        return f"{head} to be put right first; {done}.\n{body}"


def some(names: list[str]) -> str:
    """Names as a message has them; many are counted."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
