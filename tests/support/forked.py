"""ansible-playbook, loaded once and forked for each run.

A run with nothing to do takes half of its time to load Ansible and to pack modules. Those lie in a folder of the
process that has loaded it, for all later runs.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["__main__", "ansible.cli.playbook"])


def main(command: list[str], folder: Path, environment: dict[str, str], output: str) -> None:
    """What the fork does in place of the program; ends with its status."""
    from ansible.cli.playbook import main as program  # it reads the environment when it is imported

    os.chdir(folder)
    os.environ.update(environment)
    with Path(output).open("wb") as stream:
        for standard in (1, 2):
            os.dup2(stream.fileno(), standard)
    program(command)


def ansible_playbook(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` would give of the command, its errors among its output."""
    os.environ.update(environment)  # of the server, which is started by the first run
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        run = SERVER.Process(target=main, args=(command, folder, environment, output.name))
        run.start()
        run.join()
        return subprocess.CompletedProcess(command, run.exitcode or 0, output.read())
