"""What differs between the systems that the role knows: another release is another entry of SYSTEMS."""

from __future__ import annotations

from typing import Any, NamedTuple


class System(NamedTuple):
    """A release of a distribution, and where Docker comes from on it."""

    engine: tuple[str, ...]  # packages of the distribution's own engine, client included
    buildx: str  # package of the client's build plugin; '' where there is none
    compose: bool  # whether `engine` has Compose 2; otherwise the pinned wheel brings it
    supported: bool = True  # otherwise the role is tried on it, and every run says that this is no promise


# By ID and VERSION_ID of os-release(5), or VERSION_CODENAME where that is not there, as in Debian testing.
SYSTEMS = {
    ("debian", "12"): System(("docker.io",), "", compose=False),
    ("debian", "13"): System(
        ("docker.io", "docker-cli", "docker-compose", "docker-buildx"), "docker-buildx", compose=True
    ),
    ("debian", "forky"): System(
        ("docker.io", "docker-cli", "docker-compose", "docker-buildx"), "docker-buildx", compose=True, supported=False
    ),
}
SUPPORTED = "Debian 12 and 13"  # in words
# Of Docker's own repository, which has the same names for all of them.
DOCKER_PACKAGES = ("docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin")
# Of the base image, which is made from Debian's packages whatever the machine's own release.
BASE_SUITE = "trixie"
# From this version on, the docker client builds only with the plugin.
BUILDX_SINCE = 23


def system_key(machine: dict[str, Any]) -> tuple[str, str]:
    """By what a machine's system is in SYSTEMS, if it is."""
    found = machine["system"]
    return found.get("id", ""), found.get("version_id") or found.get("version_codename", "")


def notes_about(machine: dict[str, Any]) -> list[str]:
    """What is to be said of the machine's system at the end of every run."""
    if SYSTEMS[system_key(machine)].supported:
        return []
    name = machine["system"]["pretty_name"]
    return [f"This machine runs {name}, on which this role is tried but not supported; supported are {SUPPORTED}."]


def docker_needs(settings: dict[str, Any], machine: dict[str, Any]) -> dict[str, Any]:
    """What a machine whose system is known lacks of Docker, from the settings and what was found on it.

    Returns `packages` (missing ones), `repository` (Docker's own is to be added), `compose_wheel` (Compose is to come
    from its wheel), `cannot_build` (no package brings the client's build plugin) and `ready` (nothing is to be done).
    """
    docker, programs = machine["docker"], machine["programs"]
    system = SYSTEMS[system_key(machine)]
    source, installed = settings["docker_source"], docker["installed"]
    wheel = not docker["compose"] and (installed or (source == "distribution" and not system.compose))
    client = int((docker["client"] or "0").partition(".")[0])
    buildx_missing = installed and not docker["buildx"] and client >= BUILDX_SINCE
    engine: tuple[str, ...] = {"distribution": system.engine, "docker": DOCKER_PACKAGES, "none": ()}[source]
    packages = [
        *(engine if not installed else ()),
        *(["docker-cli"] if installed and not docker["client"] else []),
        *(["mmdebstrap"] if not settings["base_image"] and "mmdebstrap" not in programs else []),
        *(["nftables"] if "nft" not in programs else []),
        *(["e2fsprogs"] if settings["disk_limit"] and "mkfs.ext4" not in programs else []),
        *(["iproute2"] if "ip" not in programs else []),  # lists the machine's addresses
        *([system.buildx] if buildx_missing and system.buildx else []),
        *(["restic"] if settings["backup"] and "restic" not in programs else []),
        *(["python3-venv", "ca-certificates"] if wheel else []),
    ]
    works = docker["version"] and docker["compose"] and not buildx_missing and not docker["rules_gone"]
    return {
        "packages": packages,
        "repository": not installed and source == "docker",
        "compose_wheel": wheel,
        "cannot_build": buildx_missing and not system.buildx,
        "ready": bool(works) and not packages and not machine["dpkg_broken"],
    }
