"""Types, sizes, and text that stands for something else."""

from __future__ import annotations

import math

import pytest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import size_in_bytes
from checks import checked


@pytest.mark.parametrize("name", ["port", "cpu_limit", "pids_limit", "idle_timeout"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_to_work_with(name: str, value: float) -> None:
    assert f"{PREFIX}{name}: it is {value}, not a" in checked(**{name: value})[1]


def test_text_of_the_command_line_becomes_a_number() -> None:
    good, said = checked(port="8080", cpu_limit="1.5", idle_timeout="0")
    assert said == ""
    assert (good["port"], good["cpu_limit"], good["idle_timeout"]) == (8080, 1.5, 0)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("512M", 512 * 2**20), ("1.5G", 3 * 2**29), ("2T", 2**41), ("1K", 1024), ("7", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "G", "1g", "1GB", "-1G", "1 G", ".5G", "1.G", "1e3", "9" * 400, "inf", "nan", "1G\n"]
)
def test_no_sizes(text: str) -> None:
    assert size_in_bytes(text) is None
