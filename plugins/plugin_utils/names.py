"""Names: which known one was meant, and variables of the role that are misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report


def nearest(name: str, known: Any) -> str:
    """The known name that is most like this one, or '' when none is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return next(iter(close or [one for one in known if len(name) > 3 and name in one]), "")


def misspelt(name: str, specs: Collection[str]) -> bool:
    """Whether a name is meant to be one of the specs and is none: by its prefix, or but for a letter or two."""
    if name in specs or not name.lower().startswith("jupyter"):
        return False
    return name.startswith(PREFIX) or bool(difflib.get_close_matches(name.lower(), list(specs), n=1, cutoff=0.92))


def check_names(names: Collection[str], known: Collection[str], report: Report) -> None:
    """Report names that are meant to be variables of the role and are none."""
    # The prefix, which they all share, would make any name look like any other.
    short = [name.removeprefix(PREFIX) for name in known]
    for name in sorted(names):
        like = nearest(name.removeprefix(PREFIX), short) if name.startswith(PREFIX) else nearest(name, known)
        write = f"{PREFIX}{like.removeprefix(PREFIX)}: ..." if like else "a name from docs/variables.md"
        report.add(name, "there is no such variable.", write)
