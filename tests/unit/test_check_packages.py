"""pip requirements."""

from __future__ import annotations

import pytest
from checks import checked


@pytest.mark.parametrize(
    "package",
    ["a", "numpy>=2,<3", "x[a,b]==1.*", "x!=1", "x~=1.0", "x===1", "zope.interface", "a-b_c<2"],
)
def test_requirements(package: str) -> None:
    assert checked(user_packages=[package])[1] == ""


@pytest.mark.parametrize(
    "package",
    ["", "-r x", "--pre", "a b", "a=1", "a>", "a,b", "a[b", "./a", "git+https://a/b", "a;b", "$(a)", "`a`", "a\n"],
)
def test_no_requirements(package: str) -> None:
    assert "is not a pip requirement" in checked(user_packages=[package])[1]
