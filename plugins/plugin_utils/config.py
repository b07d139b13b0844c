"""The hub's own configuration: traits as data, and Python, neither of which is run or shown."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import EXAMPLE_VALUES, said


def strange_values(value: Any, path: str) -> Iterator[str]:
    """The places in nested data that JSON cannot carry."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from strange_values(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from strange_values(inner, path)
    elif (isinstance(value, float) and not math.isfinite(value)) or not isinstance(
        value, (str, int, float, type(None))
    ):
        yield path


def check_config(config: dict[Any, Any], report: Report) -> None:
    """{ClassName: {trait: value}} of plain data. Values are never shown: they may be an authenticator's secrets."""
    variable = f"{PREFIX}config"
    for name, traits in config.items():
        if not isinstance(traits, dict) or not re.fullmatch(r"[A-Z][A-Za-z0-9_]*", str(name)):
            report.add(
                variable,
                f"{said(name)} is not a class with a dictionary of traits.",
                f"{variable}: {EXAMPLE_VALUES[variable]}",
            )
            continue
        for trait, value in traits.items():
            if not str(trait).isidentifier():
                report.add(variable, f"{name} has no trait {said(trait)}.", f"{variable}: {EXAMPLE_VALUES[variable]}")
            for place in dict.fromkeys(strange_values(value, f"{name}.{trait}")):
                report.add(
                    variable,
                    f"{place} is no text, number, true or false that JSON can carry.",
                    f'{trait}: "...", in quotes',
                )


def check_extra_config(text: str, report: Report) -> None:
    """Whether the text is Python, as far as this Python can tell; it is not run."""
    variable = f"{PREFIX}extra_config"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # doubtful code is its author's business
            compile(text, variable, "exec")
    except SyntaxError as error:
        report.add(
            variable, f"line {error.lineno or 1} is not Python: {error.msg}.", f"{variable}: {EXAMPLE_VALUES[variable]}"
        )
    except (ValueError, RecursionError, MemoryError):
        report.add(variable, "it is not Python that can be read.", f"{variable}: {EXAMPLE_VALUES[variable]}")
