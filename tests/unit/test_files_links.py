"""jupyterhub.home.files where somebody has put a link: what it leads to is theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import record
from ansible_collections.jupyterhub.home.plugins.modules import files
from conftest import RunModule
from test_files_module import declared, state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.mark.parametrize("linked", ["images", "images/user"])
def test_a_link_in_the_place_of_a_folder(root: Path, run_module: RunModule, tmp_path: Path, linked: str) -> None:
    """What it leads to is somebody's: nothing there is written, given to another owner or removed."""
    arguments = {
        "root": str(root), "files": {"images/user/x": declared("x"), "a": declared("a")}, "exact": ["images"],
        "digest": "d",
    }  # fmt: skip
    run_module(files, arguments)
    precious = tmp_path / "precious"
    (precious / "sub").mkdir(parents=True, mode=0o700)
    (precious / "sub/thesis.txt").write_text("years")
    precious.chmod(0o700)
    shutil.rmtree(root / linked)
    (root / linked).symlink_to(precious)
    assert record.Record(root).intact(["images"]) == ""
    for check in (True, False):
        assert run_module(files, arguments, check=check)["changed"]
        assert state(precious) == {"sub": "folder", "sub/thesis.txt": "years"}
        assert precious.stat().st_mode & 0o7777 == 0o700
    assert state(root) == {"a": "a", "images": "folder", "images/user": "folder", "images/user/x": "x"}
    assert not (root / linked).is_symlink() and record.Record(root).intact(["images"]) == "d"


def test_the_root_may_be_a_link(root: Path, run_module: RunModule, tmp_path: Path) -> None:
    """An owner's to a larger disk."""
    (tmp_path / "disk").mkdir()
    root.symlink_to(tmp_path / "disk")
    arguments = {"root": str(root), "files": {"images/x": declared("x")}, "exact": ["images"], "digest": "d"}
    assert run_module(files, arguments)["changed"]
    assert not run_module(files, arguments)["changed"]
    assert root.is_symlink() and record.Record(root).intact(["images"]) == "d"
