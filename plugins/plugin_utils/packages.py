"""The packages that images get: pip requirements by name."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import said

# PEP 508 without spaces, addresses and markers.
VERSION = r"(===|[=!~<>]=|[<>])[A-Za-z0-9.*+!_-]+"
REQUIREMENT = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._-]+(,[A-Za-z0-9._-]+)*\])?"
    rf"({VERSION}(,{VERSION})*)?"
)


def check_packages(good: dict[str, Any], report: Report) -> None:
    """pip requirements, and that the image takes any."""
    for name in ("user_packages", "hub_packages"):
        for package in good[name]:
            if "://" in package or package.startswith(("git+", "file:", "/")) or " @ " in package:
                tail = re.split(r"[@#?]", package.split(" @ ")[0].rstrip("/").rpartition("/")[2])[0]
                like = re.sub(r"(\.git|\.whl|\.zip|\.tar\.gz)$", "", tail)
                report.add(
                    PREFIX + name,
                    f"{said(package)} is not a pip requirement for here: addresses are not supported, only names.",
                    f'{PREFIX}{name}: ["{like if REQUIREMENT.fullmatch(like) else "numpy>=2"}"]',
                )
            elif not REQUIREMENT.fullmatch(package):
                closer = re.sub(r"\s+", "", package)
                report.add(
                    PREFIX + name,
                    f"{said(package)} is not a pip requirement without spaces.",
                    f'{PREFIX}{name}: ["{closer if REQUIREMENT.fullmatch(closer) else "numpy>=2"}"]',
                )
    if good["user_image"] and good["user_packages"]:
        report.add(
            f"{PREFIX}user_packages",
            f"only the image built here takes packages, not {said(good['user_image'])}.",
            f'{PREFIX}user_packages: [], or {PREFIX}user_image: ""',
        )
