"""Mistakes: collected while variables and machine are checked, and printed all at once."""

from __future__ import annotations

PREFIX = "jupyterhub_home_"


def some(names: list[str]) -> str:
    """Names as a message has them; many are counted."""
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


class Report:
    """Collects mistakes: where, what is wrong, and the line to write instead."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def add(self, where: str, what: str, write: str, label: str = "Write") -> None:
        self.mistakes.append(f"{where}: {what}\n     {label}: {write}")

    def about(self, *names: str) -> bool:
        """Whether one of these variables (without prefix) has a mistake already."""
        places = tuple(PREFIX + name + sign for name in names for sign in ":,")
        return any(mistake.startswith(places) for mistake in self.mistakes)

    def text(self) -> str:
        count = len(self.mistakes)
        head = "1 thing has" if count == 1 else f"{count} things have"
        body = "\n".join(f"  {number}. {mistake}" for number, mistake in enumerate(self.mistakes, 1))
        return f"{head} to be put right first; nothing was changed.\n{body}"
