"""The hub's own configuration, as data and as Python."""

from __future__ import annotations

from pathlib import Path

from checks import checked


def test_a_config_is_shown_without_its_values() -> None:
    for config in [
        "hunter2",
        ["hunter2"],
        {"X": "hunter2"},
        {"x": {"y": "hunter2"}},
        {"X": {"y": [{"z": b"hunter2"}]}},
    ]:
        said = checked(config=config)[1]
        assert said and "hunter2" not in said


def test_extra_config_is_not_run(tmp_path: Path) -> None:
    assert checked(extra_config=f"open({str(tmp_path / 'made')!r}, 'w')\nc.X.y = '\\d'\n")[1] == ""
    assert list(tmp_path.iterdir()) == []
