"""A run: who it is, whether another one has ended, and which tags it was asked for."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import platform
import time
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import THIS_MACHINE, Report

# Seconds for which a run counts whose controller is another one: whether it has ended cannot be seen from here.
LEASE = 1800


def text_of(path: str) -> str:
    """A small file's text, stripped; '' where there is none, as on a controller without /proc."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """When a process started, in the kernel's ticks (proc_pid_stat(5)); 'ended' for a zombie, '' if it is not seen."""
    state, *fields = text_of(f"/proc/{pid}/stat").rpartition(")")[2].split() or [""]
    return "ended" if state in ("Z", "X") else "".join(fields[18:19])


def this_run() -> dict[str, Any]:
    """This run as the next one needs to know it: who, where, and how to see whether its process has ended."""
    # Actions run in forked workers. Unlike getppid(), this stays the same when ansible-playbook is killed.
    parent = multiprocessing.parent_process()
    pid = (parent and parent.pid) or os.getpid()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    numbers = Path("/proc/self/ns/pid")  # a container has its own process numbers
    run: dict[str, Any] = {
        "pid": pid,
        "started": process_start(pid),
        "machine": f"{platform.node()} {text_of('/etc/machine-id')}",
        "boot": text_of("/proc/sys/kernel/random/boot_id"),
        "numbers": str(numbers.readlink()) if numbers.is_symlink() else "",
    }
    return {**run, "id": " ".join(map(str, run.values())), "by": f"{user}@{platform.node()}"}


def has_ended(run: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether a run that holds the lease has ended, or is thought so. here: the present run."""
    if run["machine"] == here["machine"]:
        if run["boot"] != here["boot"]:
            return True
        if run["numbers"] == here["numbers"]:
            try:
                os.kill(run["pid"], 0)
            except ProcessLookupError:
                return True
            except PermissionError:
                pass  # another user's
            return process_start(run["pid"]) not in ("", run["started"])
    return not 0 <= run["age"] < LEASE


def report_run(run: dict[str, Any], report: Report) -> None:
    """Say that another run is under way."""
    since = time.strftime("%H:%M", time.localtime(time.time() - run["age"]))
    report.add(
        THIS_MACHINE,
        f"another run on it, by {run['by']} since {since} (process {run['pid']}), has not ended.",
        f"wait until it has. If it is surely gone: rm {run['path']} on this machine",
        label="Do",
    )


def runs(tag: str, task_vars: dict[str, Any]) -> bool:
    """Whether the tasks of a tag are among those that this run was asked for. The checks alone are for all of them."""
    wanted, skipped = set(task_vars.get("ansible_run_tags", ["all"])), set(task_vars.get("ansible_skip_tags", []))
    return bool(wanted & {"all", "tagged", tag} or wanted == {"always"}) and not skipped & {"all", "tagged", tag}
