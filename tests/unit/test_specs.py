"""The variables are the same everywhere: defaults, argument specs and documentation."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import variables
import yaml
from conftest import ROLE, ROOT

SPECS = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]
PLUGIN_UTILS = ROOT / "plugins/plugin_utils"
# The rooms that derive what a run places from the variables.
DERIVES = ("addresses", "backup", "compose", "desired", "hub", "images", "schedule", "systems", "walls")
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())


def test_specs_and_defaults_are_equal() -> None:
    specs = {name: option["default"] for name, option in SPECS["main"]["options"].items()}
    assert specs == DEFAULTS
    assert {name: type(value) for name, value in specs.items()} == {
        name: type(value) for name, value in DEFAULTS.items()
    }


def test_every_default_is_explained() -> None:
    """Headings, meaning, examples and value, in the order of the specs."""
    text = (ROLE / "defaults/main.yml").read_text()
    assert list(DEFAULTS) == list(SPECS["main"]["options"])
    assert re.findall(r"^# --- (.*?) -+$", text, re.M) == [
        "Who", "Where", "Servers", "Images", "Machine", "Backups", "Anything else"
    ]  # fmt: skip
    for before, line in itertools.pairwise(text.splitlines()):
        if line.startswith("jupyterhub_home_"):
            assert before.startswith("# "), line
    for variable in ("users", "mounts"):
        (examples,) = re.findall(rf"((?:^#   - .*\n)+)^jupyterhub_home_{variable}: ", text, re.M)
        assert isinstance(yaml.safe_load(examples.replace("#   - ", "- ")), list)


def descriptions(options: dict[str, Any]) -> list[str]:
    return [
        text
        for option in options.values()
        for text in [str(option["description"]), *descriptions(option.get("options", {}))]
    ]


def test_every_option_has_a_type_and_a_sentence() -> None:
    for entry in SPECS.values():
        assert all("type" in option for option in entry["options"].values())
        assert all(text.endswith(".") for text in descriptions(entry["options"]))


def test_no_variable_is_forgotten_or_invented() -> None:
    """Every public name in the role is one of the specs, and every one of the specs is used."""
    known = {name for entry in SPECS.values() for name in entry["options"]}
    files = [*ROLE.glob("tasks/*.yml"), *ROLE.glob("handlers/*.yml"), *ROLE.glob("vars/main/*.yml")]
    text = "\n".join(path.read_text() for path in files)
    names = set(re.findall(r"(?<![\w/])jupyterhub_home_\w+", text))
    assert names <= known
    # What is derived of them, and what the tasks take from the first one's result.
    derived = "\n".join(PLUGIN_UTILS.joinpath(f"{name}.py").read_text() for name in DERIVES)
    used = set(re.findall(r"__jupyterhub_home_checked\.settings\.(\w+)", text))
    used |= set(re.findall(r'(?:good|settings)\["(\w+)"\]', derived))
    assert {f"jupyterhub_home_{name}" for name in used} <= known
    # Only the checks read these.
    only_checked = {"free_disk_min", "allow_no_users", "allow_mass_removal"}
    assert known - names - {f"jupyterhub_home_{name}" for name in used} == {
        f"jupyterhub_home_{n}" for n in only_checked
    }


def test_every_playbook_checks_first() -> None:
    """Whatever a playbook changes, the first task of what it takes from the role is the validator."""
    books = [ROOT / "site.yml", *sorted(ROOT.glob("playbooks/*.yml"))]
    plays = [play for book in books for play in yaml.safe_load(book.read_text())]
    for play in (play for play in plays if play.get("ansible.builtin.import_playbook") != "../site.yml"):
        (role,) = [task["ansible.builtin.import_role"] for task in play["tasks"]]
        path = ROLE / f"tasks/{role.get('tasks_from', 'main')}.yml"
        first = yaml.safe_load(path.read_text())[0]
        if inner := first.get("ansible.builtin.import_tasks"):
            first = yaml.safe_load((ROLE / "tasks" / inner).read_text())[0]
        assert "jupyterhub.home.validate" in first and "when" not in first, path
        assert role["rolespec_validate"] is False, "Ansible's own check comes before, and says less"


def test_the_documentation_names_no_other_variable() -> None:
    known = {name for entry in SPECS.values() for name in entry["options"]}
    pages = [page for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if page.name != "CHANGELOG.md"]
    named = {name for page in pages for name in re.findall(r"(?<!\w)jupyterhub_home_\w+", page.read_text())}
    assert named <= known


def test_the_table_has_every_option() -> None:
    table = variables.table()
    for name in DEFAULTS:
        assert table.count(f"| `{name}` |") == 1
    for name in ("users[].password_hash", "users[].renamed_from", "mounts[].read_only", "delete_homes"):
        assert table.count(f"| `jupyterhub_home_{name}` |") == 1
    assert len({line.count(" | ") for line in table.splitlines()[2:]}) == 1


def test_what_is_written_is_what_the_specs_give() -> None:
    assert (ROOT / variables.PAGE).read_text() == variables.page(), "make docs writes it anew"
    assert (ROOT / variables.DEFAULTS).read_text() == variables.defaults(), "make docs writes it anew"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with old defaults, and a page whose table is old."""
    specs = variables.SPECS.relative_to(ROOT)
    (tmp_path / variables.DEFAULTS).parent.mkdir(parents=True)
    (tmp_path / variables.DEFAULTS).write_text("old\n")
    (tmp_path / variables.PAGE).parent.mkdir()
    for path in (specs, Path("scripts/variables.py")):
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copy(ROOT / path, tmp_path / path)
    (tmp_path / variables.PAGE).write_text("before\n<!-- variables -->\nold\n<!-- /variables -->\nafter\n")
    return tmp_path


def run(clone: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "scripts/variables.py"), *options]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def test_both_are_checked_and_written(clone: Path) -> None:
    page, defaults = clone / variables.PAGE, clone / variables.DEFAULTS
    found = run(clone, "--check")
    assert found.returncode == 1 and str(variables.DEFAULTS) in found.stderr
    assert page.read_text().count("old") == 1 and defaults.read_text() == "old\n"
    assert run(clone, "--write").returncode == 0
    assert page.read_text().startswith("before\n<!-- variables -->\n| variable |")
    assert page.read_text().endswith("|\n<!-- /variables -->\nafter\n")
    assert defaults.read_text() == variables.defaults()
    assert run(clone, "--check").returncode == 0
    page.write_text(page.read_text().replace("| variable |", "| name |"))
    found = run(clone, "--check")
    assert found.returncode == 1 and str(variables.PAGE) in found.stderr


@pytest.mark.parametrize("text", ["", "<!-- variables -->\n", "<!-- variables -->\n<!-- /variables -->\n" * 2])
def test_a_page_without_a_place(clone: Path, text: str) -> None:
    (clone / variables.PAGE).write_text(text)
    done = run(clone, "--write")
    assert done.returncode == 1 and "no place for the table" in done.stderr
    assert (clone / variables.PAGE).read_text() == text


def test_a_wrong_option(clone: Path) -> None:
    assert run(clone, "--wirte").returncode == 1
