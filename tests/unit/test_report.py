"""The report of all mistakes."""

from __future__ import annotations

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Mistake, Place, Report


def test_the_report_counts() -> None:
    report = Report()
    report.add("a", "b.", "c")
    assert report.text() == "1 thing has to be put right first; nothing was changed.\n  1. a: b.\n     Write: c"
    report.add("d", "e.", "f")
    assert report.text().startswith("2 things have to be put right first;")


def test_a_mistake_is_a_record_until_it_is_printed() -> None:
    report = Report()
    report.add(Place("a").within("user kim").within("groups"), "b.", "c", label="Do")
    report.add("d", "e.", "f")
    assert report.mistakes == [
        Mistake(Place("a", ("user kim", "groups")), "b.", "c", "Do"),
        Mistake(Place("d"), "e.", "f"),
    ]
    assert [mistake.text() for mistake in report.mistakes] == [
        "a, user kim, groups: b.\n     Do: c",
        "d: e.\n     Write: f",
    ]


def test_which_variables_are_wrong_is_no_question_of_words() -> None:
    report = Report()
    # A name in an inventory may have any signs, and then begins as the text of another's mistake would.
    report.add(f"{PREFIX}port, the old one", "there is no such variable.", f"{PREFIX}port: ...")
    report.add(f"{PREFIX}config", f"{PREFIX}users: x.", f"{PREFIX}users: y")
    assert not report.about("port", "users")
    report.add(Place(f"{PREFIX}users").within("user kim"), "x.", "y")
    assert report.about("port", "users") and report.about("config") and not report.about("port", "user")
