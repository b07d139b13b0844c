"""jupyterhub.home.report: what a run says at its end."""

from __future__ import annotations

from ansible_collections.jupyterhub.home.plugins.action.report import lines


def test_what_was_found_comes_first_and_the_address_last() -> None:
    assert lines(
        {
            "found": ["hub/extra.py was edited."],
            "notes": ["Added to the hub: kim"],
            "outdated": {"lee": ["image", "mounts"]},
            "invitation": ["Open it:", "http://192.168.1.20:8000/"],
        }
    ) == [
        "Found: hub/extra.py was edited.",
        "Added to the hub: kim",
        "Still on older settings until its next start (in the hub: Home, Stop My Server): lee (image, mounts)",
        "Open it:",
        "http://192.168.1.20:8000/",
    ]
    assert lines({}) == []
    assert lines({"invitation": ["Open it:"]}) == ["Open it:"], "of a machine whose addresses nobody knows"


def test_check_mode_does_not_say_that_it_can_be_opened() -> None:
    invitation = ["Open it from any device on your network:", "http://192.168.1.20:8000/"]
    assert lines({"notes": ["Would be added to the hub: kim"], "invitation": invitation}, check_mode=True) == [
        "Would be added to the hub: kim",
        "A run would serve it at:",
        "http://192.168.1.20:8000/",
    ]
    assert lines({}, check_mode=True) == []
