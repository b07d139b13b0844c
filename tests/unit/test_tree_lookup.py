"""jupyterhub.home.tree: a folder of text files as one dictionary."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.jupyterhub.home.plugins.lookup import tree


def test_a_folder(tmp_path: Path) -> None:
    for name, text in {
        "Dockerfile": "FROM x\n", "inner/a.py": "ä\n", ".hidden": "x", ".cache/b": "x", "__pycache__/a.pyc": "x",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (found,) = tree.LookupModule().run([str(tmp_path)])
    assert found == {"Dockerfile": "FROM x\n", "inner/a.py": "ä\n"}
    assert list(found) == sorted(found)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(AnsibleLookupError, match="is no folder"):
        tree.LookupModule().run([str(tmp_path / "nothing")])
