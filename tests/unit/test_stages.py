"""What holds for the tests of a stage, without its machine."""

from __future__ import annotations

import re
import subprocess
import sys

from conftest import ROOT


def test_the_hub_of_a_stage_is_removed_last() -> None:
    """Also where other files are asked for after it, or come after it in the alphabet."""
    files = ("tests/e2e/test_uninstall.py", "tests/e2e/test_login.py")
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=--strict-markers", "--collect-only", "-q", *files],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    order = re.findall(r"^(tests/e2e/\w+\.py)::", listed, re.M)
    assert list(dict.fromkeys(order)) == list(reversed(files)), listed
