#!/usr/bin/python
"""Have the Docker engine make its firewall rules anew, while its containers go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import Finding, What, sentences

DOCUMENTATION = r"""
module: firewall
short_description: Have the Docker engine make its firewall rules anew
description:
  - Only the engine knows its rules, and makes them when it starts; so it is restarted.
  - Containers go on meanwhile, because the engine is told so before (C(live-restore)). Its configuration is then again
    what it was.
options: {}
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Have the engine make its firewall rules anew
  jupyterhub.home.firewall:
"""
RETURN = r"""
done: {description: "What was, or would be, done, in words.", type: list, elements: str, returned: always}
found: {description: "What had happened, in words.", type: list, elements: str, returned: always}
"""

CONFIG = Path("/etc/docker/daemon.json")
PID = Path("/run/docker.pid")
SYSTEMD = Path("/run/systemd/system")
LOG = "/var/log/docker.log"
TIMEOUT = 60  # seconds


def wait_until(fine: Callable[[], bool], what: str) -> None:
    """Ask until the answer is true; EngineError after TIMEOUT."""
    end = time.monotonic() + TIMEOUT
    while not fine():
        if time.monotonic() > end:
            raise EngineError(what)
        time.sleep(0.2)


def keeps_containers() -> bool:
    """Whether the engine lets containers go on while it is down; false while it does not answer."""
    try:
        answer: str = docker("info", "--format", "{{.LiveRestoreEnabled}}")
    except EngineError:
        return False
    return answer == "true"


def would_end() -> list[str]:
    """Names of the containers that would not go on: an engine before 23 removes those of `docker run --rm`."""
    if int(docker("version", "--format", "{{.Server.Version}}").partition(".")[0]) >= 23:
        return []
    running = docker("ps", "--quiet").split()
    form = "{{if .HostConfig.AutoRemove}}{{.Name}}{{end}}"
    return [name.lstrip("/") for name in docker("inspect", "--format", form, *running).split()] if running else []


def started_with() -> list[str]:
    """The arguments of the engine's process."""
    pid = int(PID.read_text(encoding="utf-8"))
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")


@contextlib.contextmanager
def containers_kept() -> Iterator[None]:
    """The engine lets containers go on, until the block is left; EngineError if it would not."""
    before = CONFIG.read_text(encoding="utf-8") if CONFIG.exists() else None
    # One that only has it in memory, from an earlier run, would start without.
    configured = json.loads(before or "{}").get("live-restore") is True or "--live-restore" in started_with()
    if configured and keeps_containers():
        yield
        return
    stat = CONFIG.stat() if before is not None else None
    mode, owner, group = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) if stat else (0o644, 0, 0)

    def write(text: str) -> None:
        replace_file(CONFIG, text, mode=mode, owner=owner, group=group)

    CONFIG.parent.mkdir(mode=0o755, exist_ok=True)
    try:
        write(json.dumps(json.loads(before or "{}") | {"live-restore": True}))
        os.kill(int(PID.read_text(encoding="utf-8")), signal.SIGHUP)
        wait_until(keeps_containers, "the engine does not take live-restore")
        yield
    finally:
        if before is None:
            CONFIG.unlink()
        else:
            write(before)


def restart() -> None:
    """End the engine and start it again as it was started."""
    if SYSTEMD.is_dir():
        subprocess.run(("systemctl", "restart", "docker"), check=True, capture_output=True)
        return
    pid = int(PID.read_text(encoding="utf-8"))
    program, *arguments = started_with()
    program = str(Path(f"/proc/{pid}/exe").readlink()) if not program.startswith("/") else program
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the engine does not end")
    # As the init script starts it, whose own call may want limits that a container has not.
    command = ["start-stop-daemon", "--start", "--background", "--oknodo", "--make-pidfile"]
    command += ["--pidfile=/run/docker-ssd.pid", f"--output={LOG}", f"--exec={program}", "--", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    done = ["Made anew: the firewall rules of Docker"]
    try:
        if ended := would_end():
            raise EngineError(f"that would remove what was started by `docker run --rm`: {', '.join(ended)}")
        if not module.check_mode:
            with containers_kept():
                restart()
                wait_until(keeps_containers, "the engine does not answer after its restart")
    except (EngineError, OSError, ValueError, subprocess.CalledProcessError) as error:
        module.fail_json(
            msg="Docker's firewall rules are gone, so that containers have no way out. The engine makes them when it "
            f"starts, and could not be restarted while containers go on: {error}. Restart it yourself "
            "(systemctl restart docker), when nobody's notebook is busy, then run again."
        )
    diff = {"before_header": "Docker", "after_header": "Docker", "before": "", "after": f"{done[0]}\n"}
    found = sentences([Finding(What.FIREWALL, "Docker", "gone", "there")])
    module.exit_json(changed=True, done=done, found=found, diff=diff)


if __name__ == "__main__":
    main()
