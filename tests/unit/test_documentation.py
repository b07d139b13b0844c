"""What ansible-doc shows of the collection's modules and actions."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
ACTIONS = sorted(path.stem for path in ROOT.glob("plugins/action/*.py"))
OPTION_KEYS = {"type", "elements", "required", "default", "choices", "description", "options", "no_log"}


def documentation(path: Path) -> dict[str, Any]:
    """The parts of a module's documentation, as YAML."""
    texts = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
        if node.targets[0].id in ("DOCUMENTATION", "EXAMPLES", "RETURN")
    }
    return {name: yaml.safe_load(text) for name, text in texts.items()}


def check_options(options: dict[str, Any], where: str) -> None:
    """In a mapping on one line, a comma in a sentence begins another key, and ansible-doc shows both."""
    for name, option in options.items():
        assert set(option) <= OPTION_KEYS and "type" in option, f"{where}, {name}"
        text = option["description"]
        sentences = text if isinstance(text, list) else [text]
        assert all(sentence.endswith(".") for sentence in sentences), f"{where}, {name}"
        check_options(option.get("options", {}), f"{where}, {name}")


@pytest.mark.parametrize("name", MODULES)
def test_every_option_is_described(name: str) -> None:
    shown = documentation(ROOT / f"plugins/modules/{name}.py")
    assert shown["DOCUMENTATION"]["module"] == name
    check_options(shown["DOCUMENTATION"]["options"], name)
    for key, value in (shown.get("RETURN") or {}).items():
        assert {"description", "type", "returned"} <= set(value), key


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_documented_beside_the_modules(name: str) -> None:
    shown = documentation(ROOT / f"plugins/modules/{name}.py")
    action = import_module(f"ansible_collections.jupyterhub.home.plugins.action.{name}").ActionModule
    assert set(shown["DOCUMENTATION"]["options"]) == action._VALID_ARGS
    required = {key for key, option in shown["DOCUMENTATION"]["options"].items() if option.get("required")}
    for example in shown["EXAMPLES"]:
        assert required <= set(example[f"jupyterhub.home.{name}"]) <= action._VALID_ARGS
