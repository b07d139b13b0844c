"""module_utils/contract: names stand there, and nowhere else in the plugins."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import mounts
import pytest
import settings_files
import spawner
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.compose import watch_unit
from conftest import ROLE, ROOT

CONTRACT = ROOT / "plugins/module_utils/contract.py"
# Labels, ids, ends of names, and files that more than one part knows.
NAMES = re.compile(
    r"com\.docker\.compose|jupyterhub-home\.(project|user|trial|settings|tokens)|5808[12]"
    r"|-(hub|proxy|data|aside|trial|user-|(watch|walls|renew|backup)\.(service|timer))$|(?<!jupyterhub)-home$|^proxy$"
    r"|^(compose\.yml|written\.json|users\.json|undeclared\.json)$"
    r"|^/?watch(/.*)?$|^/?walls/|^/?(renew|backup)/|^/?images/|/images$|/etc/jupyterhub-home"
    r"|^(hub/(hub\.json|extra\.py|spawner\.json|users-token|generation|tried)|secrets/.+|users/.+)$"
)


def texts(path: Path) -> list[str]:
    """The texts in a Python file, those of f-strings in their parts; not what documents it, nor headers of a diff."""
    tree = ast.parse(path.read_text())
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper())
    }
    headers = {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and str(key.value).endswith("_header")
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation | headers
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda path: path.stem)
def test_a_name_stands_in_the_contract_alone(path: Path) -> None:
    found = [text for text in texts(path) if NAMES.search(text)]
    assert bool(found) is (path == CONTRACT), f"write contract.NAME in place of {found}"


@pytest.mark.parametrize(
    "path", sorted(ROLE.glob("tasks/*.yml")) + sorted(ROLE.glob("vars/**/*.yml")), ids=lambda path: path.stem
)
def test_the_tasks_have_its_folders_from_it(path: Path) -> None:
    named = "|".join([re.escape(contract.HUB_SETTINGS_FOLDER), *(rf"exact: .*\b{f}\b" for f in contract.folders())])
    assert re.findall(named, path.read_text()) == []


def test_the_watch_script_starts_every_service() -> None:
    unit = watch_unit({"project": "home", "directory": "/opt/home"})
    assert f"watch/watch {contract.data_volume('home')} " in unit
    assert all(name in unit for name in contract.containers("home").values())


def test_the_hub_has_the_same_names() -> None:
    folder = Path(contract.HUB_SETTINGS_FOLDER)
    ours = [contract.HUB_SETTINGS, contract.SPAWNER_SETTINGS, contract.EXTRA_CONFIG, contract.USERS_TOKEN]
    theirs = [settings_files.HUB, settings_files.SPAWNER, settings_files.EXTRA, settings_files.USERS_TOKEN]
    assert theirs == [folder / Path(file).name for file in ours]
    assert contract.LABEL == spawner.LABEL
    assert Path(contract.MOUNTS_READ) == mounts.MOUNTS_READ


@pytest.mark.parametrize("user", ["alice", "alice.b", "eva_m", "x-home", "a-2e", "zoë", "b@c"])
def test_a_volume_has_the_name_of_its_user(user: str) -> None:
    for volume in contract.user_volumes("home", user):
        assert contract.user_of_volume("home", volume) == user
        assert contract.user_of_volume("lab", volume) == ""
