"""The report of all mistakes."""

from __future__ import annotations

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import Report


def test_the_report_counts() -> None:
    report = Report()
    report.add("a", "b.", "c")
    assert report.text() == "1 thing has to be put right first; nothing was changed.\n  1. a: b.\n     Write: c"
    report.add("d", "e.", "f")
    assert report.text().startswith("2 things have to be put right first;")
