#!/usr/bin/python
"""Remove a project's older images, which nothing uses."""

from __future__ import annotations

import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.building import ImageError, run_docker, wait_for_others
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import inspect, remove_image

DOCUMENTATION = r"""
module: prune
short_description: Remove the images of a project that nothing uses
description:
  - Images that a container was made from stay, also one that does not run.
options:
  project: {type: str, required: true, description: The project whose images are looked at.}
  keep: {type: list, elements: str, required: true, description: Images that stay in any case.}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Remove the old images
  jupyterhub.home.prune:
    project: jupyterhub-home
    keep: ["jupyterhub-home/hub:0123456789ab"]
"""
RETURN = r"""
removed: {description: Images that went., type: list, elements: str, returned: always}
"""


def superfluous(prefix: str, keep: set[str]) -> list[str]:
    """The images of ours that are not to be kept and that no user's server runs on.

    What a hub may go back to is M(jupyterhub.home.way_back)'s to let go of.
    """
    listed = ["--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]
    found = run_docker("Listing images", "image", "ls", "--filter", f"reference={prefix}*", *listed).splitlines()
    images = dict(line.split() for line in found)
    containers = run_docker("Listing containers", "ps", "--all", "--quiet").split()
    in_use = {container["Image"] for container in inspect(*containers).values()}
    # Docker takes the last name of an image from none that a container was made from.
    last = {name for name, image in images.items() if image in in_use and list(images.values()).count(image) == 1}
    return [name for name in images if name not in keep | last and not name.endswith(f":{contract.KEPT}")]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "keep": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    removed: list[str] = []
    lock = None if module.check_mode else wait_for_others()  # noqa: F841 (open as long as this runs)
    try:
        if shutil.which("docker"):
            removed = superfluous(f"{module.params['project']}/", set(module.params["keep"]))
        if not module.check_mode:
            removed = [image for image in removed if remove_image(image)]
    except ImageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(removed), removed=removed)


if __name__ == "__main__":
    main()
