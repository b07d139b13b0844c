"""Variables that are one plain value."""

from __future__ import annotations

import pytest
from checks import checked


@pytest.mark.parametrize("text", ["jupyter", "", "//", "/a b/", "/../x", "http://a/", "/ü/", "a/./b", "/a//b"])
def test_the_suggested_base_url_can_be_used(text: str) -> None:
    said = checked(base_url=text)[1]
    assert said
    assert checked(base_url=said.rpartition(": ")[2])[1] == ""


@pytest.mark.parametrize("text", ["2gb", "2 GiB", "1,5G", "2048 m", "10", "x", "-1", "1GG"])
def test_the_suggested_memory_can_be_used(text: str) -> None:
    said = checked(memory_limit=text)[1]
    assert said
    assert checked(memory_limit=said.rpartition(": ")[2])[1] == ""


@pytest.mark.parametrize("text", ["20gb", "100M", "9T", "x", "20"])
def test_the_suggested_disk_can_be_used(text: str) -> None:
    said = checked(disk_limit=text)[1]
    assert said
    assert checked(disk_limit=said.rpartition(": ")[2])[1] == ""
    assert checked(disk_limit="")[1] == checked(disk_limit="256M")[1] == ""


@pytest.mark.parametrize(
    "image",
    [
        "debian",
        "debian:13",
        "a/b",
        "quay.io/jupyter/scipy-notebook:2026-11-02",
        "localhost:5000/x",
        "a.b/c__d-e.f:V1_x",
    ],
)
def test_images(image: str) -> None:
    assert checked(user_image=image)[1] == ""


@pytest.mark.parametrize(
    "image", ["A", "a b", "a:", "a/", "/a", "-a", "a:b:c", "a@sha256:12", "a//b", "a$b", "a\n", "a:é"]
)
def test_no_images(image: str) -> None:
    assert "is not an image reference" in checked(user_image=image)[1]


@pytest.mark.parametrize(
    "directory",
    ["/", "/opt", "/home/kim", "/usr/local", "/var/lib", "/etc/docker", "/usr/share/hub", "/proc/1",
     "/var/lib/docker/x", "hub", "/opt/../etc/x", "/opt/hub/", "/opt/a b", "/opt/a:b", "/opt/$HOME", "//opt/hub", ""],
)  # fmt: skip
def test_no_directories(directory: str) -> None:
    assert "of a folder of the role's own" in checked(directory=directory)[1]


@pytest.mark.parametrize(
    "directory", ["/opt/hub", "/srv/hub", "/home/kim/hub", "/var/lib/jupyterhub-home", "/usr/local/hub"]
)
def test_directories(directory: str) -> None:
    assert checked(directory=directory)[1] == ""
