#!/usr/bin/python
"""Wait until the hub answers through the proxy, or fail with the hub's own last log lines."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import guard
from ansible_collections.jupyterhub.home.plugins.module_utils.hub import HubError, request, wait_for

DOCUMENTATION = r"""
module: health
short_description: Wait until a JupyterHub answers
description:
  - Asks the health address again and again. Stops early when the hub's container keeps crashing.
  - Then asks the guard, without which nobody gets a server.
options:
  url: {type: str, required: true, description: Health address through the proxy.}
  container: {type: str, required: true, description: The hub's container.}
  guard: {type: str, default: "", description: The guard's container; empty to ask none.}
  timeout: {type: int, default: 120, description: Seconds to wait for the hub at most.}
attributes:
  check_mode: {support: full, details: Does nothing there.}
"""
EXAMPLES = r"""
- name: Wait for the hub's health through the proxy
  jupyterhub.home.health:
    url: http://127.0.0.1/hub/health
    container: jupyterhub-home-hub
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "guard": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    url = module.params["url"]
    try:
        wait_for(lambda: request(url), module.params["container"], module.params["timeout"])
    except HubError as error:
        module.fail_json(msg=f"{url}: {error}")
    name = module.params["guard"]
    if name and (why := guard.problem_of(name)):
        module.fail_json(msg=f"The container {name} was made, and is not at work, so nobody gets a server: {why}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
