"""module_utils/findings: sentences of what was found."""

from __future__ import annotations

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import FILES, Finding, What, sentences


@pytest.mark.parametrize("what", What)
def test_everything_that_can_differ_has_a_sentence(what: What) -> None:
    current = next(iter(FILES)) if what is What.FILE else "CURRENT"
    (text,) = sentences([Finding(what, "NAME", current, "DESIRED")])
    assert text.endswith(".") and "{" not in text


def test_files_are_told_together() -> None:
    """Those of which the same is to be told, where the first of them comes."""
    found = [Finding(What.FILE, name, how, "") for name, how in (("a", "mode"), ("b", "gone"), ("c", "mode"))]
    found.insert(2, Finding(What.VOLUME, "home-data", "gone", "there"))
    found += [Finding(What.CONTAINER, name, "paused", "running") for name in ("home-hub", "home-proxy")]
    assert sentences(found) == [
        "a and c were given another owner or mode.",
        "b was gone.",
        "the volume home-data was gone.",
        "the container home-hub was paused.",
        "the container home-proxy was paused.",
    ]
    assert sentences([]) == []
