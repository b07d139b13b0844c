"""Read a folder of small text files on the controller as one dictionary."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: tree
short_description: A folder's text files as a dictionary
description: Maps each file's path below the folder to its text. Hidden files and Python's caches are left out.
options:
  _terms: {description: Folders on the controller., required: true, type: list, elements: path}
"""

CACHE = re.compile(r"\.|__pycache__$")


class LookupModule(LookupBase):
    """Gives one dictionary {relative path: text} a folder."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        trees = []
        for term in terms:
            root = Path(term)
            if not root.is_dir():
                raise AnsibleLookupError(f"jupyterhub.home.tree: {root} is no folder")
            trees.append(
                {
                    str(path.relative_to(root)): path.read_text(encoding="utf-8")
                    for path in sorted(root.rglob("*"))
                    if path.is_file() and not any(CACHE.match(part) for part in path.relative_to(root).parts)
                }
            )
        return trees
