"""tests/convergence tests every variable and every tag there is."""

from __future__ import annotations

import re
import sys
from typing import Any

import yaml
from conftest import ROLE, ROOT

FOLDER = ROOT / "tests/convergence"
sys.path.append(str(FOLDER))
import rows  # noqa: E402 (found by the line above)
import table  # noqa: E402

SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]


def phases(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those in blocks, too."""
    return [phase for task in tasks for phase in (phases(task["block"]) if "block" in task else [task])]


PHASES = phases(yaml.safe_load((ROLE / "tasks/main.yml").read_text()))
TAGS = {tag for phase in PHASES for tag in phase["tags"]} - {"always"}


def names(options: dict[str, Any]) -> set[str]:
    """Every option, and NAME[].KEY for every key of its entries."""
    keys = {f"{name}[].{key}" for name, option in options.items() for key in option.get("options", {})}
    return {*options, *keys}


PUBLIC = set().union(*(names(entry["options"]) for entry in SPECS.values()))
ROWS = [row.variable for row in table.ROWS]


def test_every_variable_has_one_row() -> None:
    tested = [*ROWS, *table.ELSEWHERE]
    assert len(tested) == len(set(tested)), "two rows for one variable"
    assert PUBLIC - set(tested) == set(), "variables without a row in tests/convergence/rows_*.py or a test in table.py"
    assert set(tested) - PUBLIC == set(), "rows without a variable"


def test_tests_elsewhere_exist() -> None:
    files = (
        "convergence/test_variables.py",
        "quickstart/test_quickstart.py",
        "backup/test_backup.py",
        "backup/test_restore.py",
    )
    text = "\n".join((FOLDER.parent / name).read_text() for name in files)
    assert set(table.ELSEWHERE.values()) <= set(re.findall(r"^def (test_\w+)", text, re.M))
    for variable, function in table.ELSEWHERE.items():
        body = re.split(rf"^def {function}\b", text, flags=re.M)[1]
        body = re.split(r"^(?:@|def |class )", body, maxsplit=1, flags=re.M)[0]
        short = variable.removeprefix("jupyterhub_home_").rpartition("[].")[2]
        assert re.search(rf"(\b|_home_){short}\b", body), variable


def test_a_row_can_fail() -> None:
    """A change shows, and so does what stays of a value that is taken away again."""
    for row in table.ROWS:
        assert row.first[0] != row.then[0], row.variable
        assert row.first[1] != row.then[1], row.variable
        assert row.then[1] != row.default, row.variable


def test_values_go_together() -> None:
    """Each run has every variable once; entries keep what belongs to other rows."""
    for step in rows.STEPS:
        variables = rows.compose(table.ROWS, step)
        users = [user["name"] for user in variables["jupyterhub_home_users"] if "name" in user]
        assert len(users) == len(set(users))
        targets = [mount["target"] for mount in variables["jupyterhub_home_mounts"]]
        assert len(targets) == len(set(targets))
    assert set(rows.compose(table.ROWS, "removed")) == {"jupyterhub_home_users", "jupyterhub_home_mounts"}


def test_every_tag_is_tested_and_documented() -> None:
    page = (ROOT / "docs/re-running.md").read_text()
    (rows,) = re.findall(r"^\| tag \| does \|\n\|---\|---\|\n((?:\|.*\n)+)", page, re.M)
    assert set(re.findall(r"^\| `(\w+)`", rows, re.M)) == TAGS
    tested = re.search(r"^TAGS = (\[.*\])$", (FOLDER / "test_tags.py").read_text(), re.M)
    assert tested and set(yaml.safe_load(tested[1])) == TAGS
