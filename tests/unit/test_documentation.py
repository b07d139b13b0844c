"""What ansible-doc shows of the collection's modules and actions."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

MODULES = sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))
ACTIONS = sorted(path.stem for path in ROOT.glob("plugins/action/*.py"))
OPTION_KEYS = {"type", "elements", "required", "default", "choices", "description", "suboptions", "no_log"}
RETURN_KEYS = {"type", "elements", "returned", "description", "contains", "sample"}


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
        check_options(option.get("suboptions", {}), f"{where}, {name}")


@pytest.mark.parametrize("name", MODULES)
def test_every_option_is_described(name: str) -> None:
    shown = documentation(ROOT / f"plugins/modules/{name}.py")
    assert shown["DOCUMENTATION"]["module"] == name
    check_options(shown["DOCUMENTATION"]["options"], name)
    for key, value in (shown.get("RETURN") or {}).items():
        assert {"description", "type", "returned"} <= set(value) <= RETURN_KEYS, key


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_documented_beside_the_modules(name: str) -> None:
    shown = documentation(ROOT / f"plugins/modules/{name}.py")
    action = import_module(f"ansible_collections.jupyterhub.home.plugins.action.{name}").ActionModule
    assert set(shown["DOCUMENTATION"]["options"]) == action._VALID_ARGS
    required = {key for key, option in shown["DOCUMENTATION"]["options"].items() if option.get("required")}
    for example in shown["EXAMPLES"]:
        assert required <= set(example[f"jupyterhub.home.{name}"]) <= action._VALID_ARGS


# Those that do something on the machine themselves; the others are the documentation of an action.
RUNNING = [name for name in MODULES if "def main(" in (ROOT / f"plugins/modules/{name}.py").read_text()]
# Whose keys are free: paths, and what another program gets as it is.
FREE = {"images.take", "files.files", "users.servers", "report.outdated", "status.machine"}


class CaughtError(Exception):
    """A module's argument_spec, in place of a run."""


@pytest.fixture
def module(request: pytest.FixtureRequest) -> Any:
    return import_module(f"ansible_collections.jupyterhub.home.plugins.modules.{request.param}")


def spec_of(module: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    def catch(argument_spec: dict[str, Any], **_: Any) -> None:
        raise CaughtError(argument_spec)

    monkeypatch.setattr(module, "AnsibleModule", catch)
    with pytest.raises(CaughtError) as caught:
        module.main()
    spec: dict[str, Any] = caught.value.args[0]
    return spec


def compared(options: dict[str, Any], inner: str) -> dict[str, Any]:
    """What documentation and argument_spec both say of options; inner: where they have those of a dictionary."""
    return {
        name: {
            "type": option.get("type", "str"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "elements": option.get("elements"),
            "choices": option.get("choices"),
            "options": compared(option.get(inner, {}), inner),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("module", RUNNING, indirect=True)
def test_a_module_is_documented(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module.__name__.rpartition(".")[2]
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert documentation["module"] == name
    assert compared(documentation["options"], "suboptions") == compared(spec_of(module, monkeypatch), "options")
    for example in yaml.safe_load(module.EXAMPLES):
        arguments = example[f"jupyterhub.home.{name}"] or {}
        required = {option for option, value in documentation["options"].items() if value.get("required")}
        assert example["name"] and required <= set(arguments) <= set(documentation["options"])
    answers = set(re.findall(r"exit_json\(([^)]*)", Path(module.__file__).read_text()))
    if answers - {"changed=False"}:
        returned = yaml.safe_load(module.RETURN)
        assert all({"description", "type", "returned"} <= set(value) for value in returned.values())
    else:
        assert not hasattr(module, "RETURN"), "it returns nothing"


def dictionaries(options: dict[str, Any], place: str) -> list[str]:
    """Options that are dictionaries of unknown keys."""
    found = []
    for name, option in options.items():
        if "dict" in (option.get("type"), option.get("elements")) and not option.get("suboptions"):
            found.append(f"{place}.{name}")
        found += dictionaries(option.get("suboptions", {}), f"{place}.{name}")
    return found


@pytest.mark.parametrize("module", MODULES, indirect=True)
def test_a_dictionary_has_suboptions(module: Any) -> None:
    documentation = yaml.safe_load(module.DOCUMENTATION)
    assert set(dictionaries(documentation["options"], documentation["module"])) <= FREE
