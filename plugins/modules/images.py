#!/usr/bin/python
"""Make sure that images exist, pulling or building only those that do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils.base_image import make_base
from ansible_collections.jupyterhub.home.plugins.module_utils.building import (
    ImageError,
    build,
    run_docker,
    wait_for_others,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, has_image, remove_image
from ansible_collections.jupyterhub.home.plugins.module_utils.renewing import Renewal, take

DOCUMENTATION = r"""
module: images
short_description: Build or pull the images that are missing
description:
  - A tag carries a hash of its inputs, so an image that exists is the right one and nothing is built again.
  - A build that is killed leaves no tag, so the next run makes it.
  - Before it makes anything, it tries whether the engine can start a container.
options:
  base:
    type: dict
    required: true
    description:
      - The image that the builds stand on. With a suite it is made from Debian's packages, with the mirrors that the
        machine's own apt uses; otherwise it is pulled.
    suboptions:
      tag: {type: str, required: true, description: Its name.}
      suite: {type: str, description: Debian's suite.}
      packages: {type: list, elements: str, default: [], description: Debian's packages in it.}
      dpkg: {type: str, default: "", description: The text of its dpkg.cfg(5).}
  builds:
    type: list
    elements: dict
    required: true
    description: The images that are built.
    suboptions:
      name: {type: str, required: true, description: Its target in the Dockerfile.}
      tag: {type: str, required: true, description: Its name.}
      context: {type: path, required: true, description: Folder on the machine with the Dockerfile.}
      packages: {type: list, elements: str, default: [], description: What pip installs besides.}
  pulls: {type: list, elements: str, default: [], description: Images used as they are.}
  secrets:
    type: dict
    default: {}
    description: Files that builds read and images do not keep; missing ones are left out.
    suboptions:
      ca: {type: path, description: A bundle of certificates.}
      pip: {type: path, description: Configuration of pip.}
      npm: {type: path, description: Configuration of npm.}
  renew:
    type: bool
    default: false
    description:
      - Make all of them anew, also those that are there, under other names. The names of those in which packages
        differ go to the new ones by O(take). One that cannot be had fails, and leaves all as it was.
  take:
    type: dict
    default: {}
    description: RV(staged) of an earlier call, whose images are put in their places; nothing else is done.
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Build the hub's image if its tag is not there
  jupyterhub.home.images:
    base: {tag: "debian:13"}
    builds:
      - {name: hub, tag: "jupyterhub-home/hub:0123456789ab", context: /opt/jupyterhub-home/images}
    secrets: {pip: /etc/pip.conf}
"""
RETURN = r"""
made: {description: "Images built or pulled, anew those that differ.", type: list, elements: str, returned: always}
staged: {description: "With O(renew), new images that differ, by the name to be given.", type: dict, returned: always}
notes:
  description: With O(renew), what differs in them, a line each; with O(take), whose servers run on an old one.
  type: list
  elements: str
  returned: always
"""


WOULD_RENEW = "A run would make all images anew, and replace those in which packages differ."
INIT_ENVIRONMENT = Path("/proc/1/environ")


NESTING = (
    "This machine is itself a container ({}), and must be allowed to hold others. On Proxmox: pct set NUMBER "
    "--features nesting=1,keyctl=1; with Incus or LXD: incus config set NAME security.nesting=true. Then start it anew."
)


def try_engine() -> None:
    """Raise ImageError where the engine cannot start a container, before minutes go into images.

    The trial's image is empty: when the engine misses its command (exit status 127), all else of a start has worked.
    """
    try:
        image = docker("import", "-", text="\0" * 1024)
        try:
            docker("run", "--rm", "--memory=64m", "--pids-limit=64", "--security-opt=no-new-privileges", image, "/no")
        finally:
            remove_image(image)
        why = "a container of an empty image ends well"
    except EngineError as error:
        if error.status == 127:
            return
        why = error.why
    first = INIT_ENVIRONMENT.read_text(encoding="utf-8", errors="replace").split("\0")
    kinds = [pair.partition("=")[2] for pair in first if pair.startswith("container=")]
    remedy = (
        NESTING.format(kinds[0]) if kinds else "Look at journalctl -u docker, or without systemd /var/log/docker.log."
    )
    raise ImageError(f"The Docker engine cannot start a container: {why}\n{remedy}")


def arguments() -> dict[str, Any]:
    """The module's options."""
    packages = {"type": "list", "elements": "str", "default": []}
    return {
        "base": {
            "type": "dict",
            "required": True,
            "options": {
                "tag": {"type": "str", "required": True},
                "suite": {"type": "str"},
                "packages": packages,
                "dpkg": {"type": "str", "default": ""},
            },
        },
        "builds": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "tag": {"type": "str", "required": True},
                "context": {"type": "path", "required": True},
                "packages": packages,
            },
        },
        "pulls": {"type": "list", "elements": "str", "default": []},
        "renew": {"type": "bool", "default": False},
        "take": {"type": "dict", "default": {}},
        "secrets": {
            "type": "dict",
            "default": {},
            "no_log": False,
            "options": {name: {"type": "path"} for name in ("ca", "pip", "npm")},
        },
    }


class Maker:
    """Makes what is missing, or with pretend only tells; `made` has the names, in this order."""

    def __init__(self, base: dict[str, Any], secrets: dict[str, str], *, pretend: bool) -> None:
        self.base, self.secrets, self.pretend = base, secrets, pretend
        self.made: list[str] = []

    def pull(self, image: str, what: str) -> None:
        """Pull an image, unless it is there."""
        if image in self.made or has_image(image):
            return
        self.made.append(image)
        if not self.pretend:
            run_docker(what, "pull", "--quiet", image)

    def have_base(self) -> None:
        """Make or pull the base, unless it is there."""
        tag = self.base["tag"]
        if not self.base["suite"]:
            self.pull(tag, f"Pulling the base image {tag}")
        elif tag not in self.made and not has_image(tag):
            self.made.append(tag)
            if not self.pretend:
                make_base(tag, self.base["suite"], self.base["packages"], self.base["dpkg"])

    def build(self, image: dict[str, Any]) -> None:
        """Build an image on the base, unless it is there."""
        if has_image(image["tag"]):
            return
        self.have_base()
        self.made.append(image["tag"])
        if not self.pretend:
            build(self.base["tag"], image, self.secrets)


def main() -> None:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    pulls, builds, base = (module.params[name] for name in ("pulls", "builds", "base"))
    secrets = {key: path for key, path in module.params["secrets"].items() if path and os.path.isfile(path)}
    maker = Maker(base, secrets, pretend=module.check_mode)
    if module.check_mode and module.params["renew"]:
        module.exit_json(changed=True, made=[], staged={}, notes=[WOULD_RENEW])
    lock = None if module.check_mode else wait_for_others()  # noqa: F841 (open as long as this runs)
    project = builds[0]["tag"].partition("/")[0] if builds else ""
    renewal = Renewal(base, project, secrets)
    try:
        if module.params["take"]:
            notes = take(project, module.params["take"])
            module.exit_json(changed=True, made=list(module.params["take"]), staged={}, notes=notes)
        renew = module.params["renew"]
        if not module.check_mode and (renew or not all(map(has_image, [*pulls, *(one["tag"] for one in builds)]))):
            try_engine()
        if renew:
            renewal.run(builds, pulls)
            staged = renewal.staged
            module.exit_json(changed=bool(staged), made=list(staged), staged=staged, notes=renewal.tell())
        for image in pulls:
            maker.pull(image, f"Pulling {image}")
        for image in builds:
            maker.build(image)
    except ImageError as error:
        module.fail_json(msg=str(error), made=maker.made)
    module.exit_json(changed=bool(maker.made), made=maker.made, staged={}, notes=[])


if __name__ == "__main__":
    main()
