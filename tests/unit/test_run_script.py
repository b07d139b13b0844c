"""tests/run.sh: which stages make a run fail, with stages that are not real."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Program

# molecule's arguments end with the scenario's name.
MOLECULE = """case "$*" in *" {}") echo 'FAILED tests/e2e/test_it.py::test_it - what went wrong'; exit 1 ;; esac"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with run.sh, whose stages lint and unit pass, and which has no engine and no machine."""
    for name in ("engine.sh", "machine/machine.sh", "lint.sh"):
        path = tmp_path / "tests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    shutil.copy(ROOT / "tests/run.sh", tmp_path / "tests/run.sh")
    return tmp_path


@pytest.mark.parametrize("stages", [["lint", "forky", "default"], ["lint", "default", "--", "forky"]])
@pytest.mark.parametrize(
    ("failing", "outcomes", "passes"),
    [
        ("none", {"forky": "passed", "default": "passed"}, True),
        ("forky", {"forky": "warned", "default": "passed"}, True),
        ("default", {"forky": "passed", "default": "FAILED"}, False),
    ],
)
def test_only_the_stage_of_what_is_not_promised_may_fail(
    checkout: Path, program: Program, stages: list[str], failing: str, outcomes: dict[str, str], passes: bool
) -> None:
    program("make", """case "$*" in *test-venv-path) echo "$here/venv" ;; esac""")
    calls = program("molecule", MOLECULE.format(failing))
    done = subprocess.run([checkout / "tests/run.sh", *stages], text=True, capture_output=True, check=False)
    assert len(calls.read_text().splitlines()) == 2, done.stdout + done.stderr
    table, _, end = done.stdout.rpartition("=== stages")[2].partition("\n=== ")
    assert dict(re.findall(r"^(\w+) +(\w+) +\d+ s$", table, re.M)) == {"lint": "passed", **outcomes}
    assert (done.returncode == 0) is passes
    if failing == "none":
        assert end == ""
    else:
        assert end.startswith(f"{failing} {outcomes[failing].lower()}\nFAILED tests/e2e/test_it.py")


def test_what_a_killed_run_left_is_removed_before_the_first_machine(checkout: Path, program: Program) -> None:
    # A machine that still has the store of images as its volume would keep the next one from a new store.
    left = checkout / "left"
    left.touch()
    machine = checkout / "tests/machine/machine.sh"
    machine.write_text(f'#!/bin/sh\n[ "$1" = clean ] && rm -f {left}\n')
    program("make", """case "$*" in *test-venv-path) echo "$here/venv" ;; esac""")
    program("molecule", f"! [ -e {left} ]")
    done = subprocess.run([checkout / "tests/run.sh", "default"], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_scenario_is_run_by_one_goal() -> None:
    scenarios = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}
    runs = re.findall(r"^test(?:-long)?:.*\n\t@tests/run\.sh (.*)$", (ROOT / "Makefile").read_text(), re.M)
    stages = [stage for run in runs for stage in run.split() if stage != "--"]
    assert sorted([*scenarios, "lint", "unit", "input"]) == sorted(stages)
    (named,) = re.findall(r"^test-%:.*", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"test-(\w+)", named)) == set(stages)
