"""The images that the hub needs: a tag carries a digest of all that the image is built from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.systems import BASE_SUITE

# What all images are built with, beside the folder of each; the last is of the hub's and the user's.
SHARED = ("Dockerfile", "apt-install", "hub/short_records.py")
CACHE = re.compile(r"\.|__pycache__$")


def digest(*inputs: Any) -> str:
    """A SHA-256 of JSON data, in hexadecimal; the order of keys makes no difference."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def tree(root: Path) -> dict[str, str]:
    """A folder's text files by their path below it, without hidden ones and Python's caches."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    named = {path.relative_to(root): path for path in paths}
    return {
        str(name): path.read_text(encoding="utf-8")
        for name, path in named.items()
        if not any(CACHE.match(part) for part in name.parts)
    }


def desired_images(settings: dict[str, Any], contexts: Path, present: Collection[str]) -> dict[str, Any]:
    """The images for these settings, each a target of one Dockerfile.

    contexts: the role's folder of what they are built with; present: tags that the engine has.
    Returns `base` (what the builds stand on: a tag alone is to be pulled), `builds` (the images to be built, in this
    order), `tags` ({hub, proxy, user}), `services` (those of them that Compose starts) and `missing` (those that the
    engine does not have).
    """
    project = settings["project"]
    recipe = tree(contexts / "base")
    base = {
        "tag": f"{project}/{contract.BASE_IMAGE}:{digest(BASE_SUITE, recipe)[:12]}",
        "suite": BASE_SUITE,
        "packages": recipe["packages"].split(),
        "dpkg": recipe["dpkg.cfg"],
    }
    if settings["base_image"]:
        base = {"tag": settings["base_image"]}
    shared = [contract.build_arguments(), *((contexts / name).read_text(encoding="utf-8") for name in SHARED)]
    packages = {contract.HUB.name: settings["hub_packages"], contract.USER_IMAGE: settings["user_packages"]}

    def build(name: str) -> dict[str, Any]:
        own = packages.get(name, [])
        return {
            "name": name,
            "tag": f"{project}/{name}:{digest(base['tag'], shared, tree(contexts / name), own)[:12]}",
            "context": f"{settings['directory']}/{contract.IMAGES}",
            "packages": own,
        }

    builds = [
        build(name)
        for name in (*contract.service_images(), contract.USER_IMAGE)
        if name != contract.USER_IMAGE or not settings["user_image"]
    ]
    tags = {"user": settings["user_image"]} | {build["name"]: build["tag"] for build in builds}
    missing = [tag for tag in tags.values() if tag not in present]
    services = [tags[name] for name in contract.service_images()]
    return {"base": base, "builds": builds, "tags": tags, "services": services, "missing": missing}
