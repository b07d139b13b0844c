#!/usr/bin/python
"""Wait until the hub answers through the proxy, or fail with the hub's own last log lines."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: jupyterhub_home_health
short_description: Wait until a JupyterHub answers
description:
  - Asks the health address again and again. Stops early when the hub's container keeps crashing.
options:
  url: {type: str, required: true, description: Health address through the proxy.}
  container: {type: str, required: true, description: The hub's container.}
  timeout: {type: int, default: 120, description: Seconds to wait at most.}
attributes:
  check_mode: {support: full, details: Does nothing there.}
"""

# A hub that fails on its configuration is restarted by Docker at once; a start that is merely slow is not.
CRASHES = 3


def answer(url: str) -> str:
    """'' when the address answers 200, else what is wrong, in a few words."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return "" if response.status == 200 else f"status {response.status}"
    except (OSError, urllib.error.URLError) as error:
        return str(error)


def docker(*arguments: str) -> str:
    """What a docker command prints on either stream, stripped; a failing one's message too."""
    done = subprocess.run(
        ("docker", *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.strip()


def crashes(container: str) -> int:
    """How often Docker has restarted the container; 0 when it is not there."""
    count = docker("inspect", "--format", "{{.RestartCount}}", container)
    return int(count) if count.isdigit() else 0


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    url, container = module.params["url"], module.params["container"]
    end = time.monotonic() + module.params["timeout"]
    before = crashes(container)
    wrong = answer(url)
    while wrong:
        crashing = crashes(container) - before >= CRASHES
        if crashing or time.monotonic() > end:
            logs = docker("logs", "--tail", "30", container)
            why = f"the container {container} keeps crashing" if crashing else wrong
            module.fail_json(msg=f"{url} does not answer: {why}.\nLast lines of the hub's log:\n{logs}")
        time.sleep(0.25)
        wrong = answer(url)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
