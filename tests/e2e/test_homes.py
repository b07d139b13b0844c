"""What a user keeps, and ways out when it gets in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from client import HubClient
from conftest import INVENTORY, ClientFactory
from machine import playbook
from testinfra.host import Host

MOUNTS: list[dict[str, Any]] = INVENTORY["jupyterhub"]["vars"]["jupyterhub_home_mounts"]
THEME = "/settings/@jupyterlab/apputils-extension:themes"
# A notebook that nobody has trusted yet.
NOTEBOOK = (
    '{"cells": [{"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "source": "", '
    '"outputs": [{"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>1</b>"}}]}], '
    '"metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
)
# What can stop a Jupyter server, where a user can put it.
BREAK = r"""
import json, os, pathlib, site
home, packages = pathlib.Path.home(), pathlib.Path(site.getusersitepackages())
broken = {packages / name / "__init__.py": "raise RuntimeError('not this one')"
          for name in ("ipykernel", "jupyter_server", "jupyterhub", "tornado", "traitlets", "zmq")}
broken |= {packages / name: "raise SystemExit(3)" for name in ("sitecustomize.py", "usercustomize.py")}
broken[packages / "stop.pth"] = "import os; os._exit(9)"
for folder in (home / ".jupyter", home / ".local/etc/jupyter"):
    broken |= {folder / f"{name}.py": "raise SystemExit(4)"
               for name in ("jupyter_config", "jupyter_lab_config", "jupyter_server_config")}
    broken[folder / "jupyter_server_config.json"] = json.dumps({"ServerApp": {"port": "none"}})
    broken[folder / "jupyter_server_config.d/x.json"] = "{not json"
settings = home / ".jupyter/lab/user-settings/@jupyterlab/apputils-extension"
broken |= {settings / "themes.jupyterlab-settings": "{not json",
           home / ".local/share/jupyter/labextensions/x/package.json": "{not json",
           home / ".local/share/jupyter/kernels/x/kernel.json": "{not json",
           home / ".bashrc": "exit", home / "work/tornado.py": "raise RuntimeError"}
for path, text in broken.items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
home.chmod(0)
"""


def shell(client: HubClient, command: str) -> str:
    """What a command prints that is run from a notebook, without the space around it."""
    done = client.run(f"import subprocess\nprint(subprocess.getoutput({command!r}))", timeout=180)
    return done.strip()


def restart(client: HubClient, **chosen: str) -> None:
    """Stop the user's server and start it again, with what the hub's page lets a user choose."""
    client.stop()
    client.spawn(chosen or None)


def trusted(client: HubClient, path: str) -> bool:
    """Whether the server shows a notebook's own HTML."""
    answer = client.api("GET", f"/contents/{path}?content=1")
    answer.raise_for_status()
    return bool(answer.json()["content"]["cells"][0]["metadata"].get("trusted"))


def test_a_home_survives_stop_and_spawn(serve: ClientFactory, host: Host) -> None:
    bob = serve("bob")
    bob.save("kept.txt", "still here\n")
    bob.save("trusted.ipynb", NOTEBOOK)
    bob.save("strange.ipynb", NOTEBOOK.replace("<b>1", "<b>2"))
    bob.lab("PUT", THEME, json={"raw": '{"theme": "JupyterLab Dark"}'}).raise_for_status()
    with bob.terminal() as terminal:
        terminal.run("echo draft >~/thesis.txt")
        terminal.run("mkdir -p ~/.ssh && printf 'Host github.com\\n  User git\\n' >~/.ssh/config")
        terminal.run("git config --global user.name Bob")
        terminal.run("jupyter trust trusted.ipynb")
    assert (trusted(bob, "trusted.ipynb"), trusted(bob, "strange.ipynb")) == (True, False)
    kernel = bob.kernel()
    kernel.execute("remembered = 5 * 4", store_history=True)
    kernel.close()
    assert shell(bob, "pip install --quiet --no-deps iniconfig") == ""
    assert shell(bob, "pip install --quiet --user --no-deps toolz") == ""

    restart(bob)
    bob.enter().raise_for_status()
    assert bob.load("kept.txt") == "still here\n"
    assert (trusted(bob, "trusted.ipynb"), trusted(bob, "strange.ipynb")) == (True, False)
    assert "JupyterLab Dark" in bob.lab("GET", THEME).json()["raw"]
    assert shell(bob, "cat ~/thesis.txt; git config user.name") == "draft\nBob"
    assert "thesis.txt" in shell(bob, "cat ~/.bash_history")
    assert "remembered = 5 * 4" in shell(bob, "ipython -c '%history -g remembered'")
    for name in ("iniconfig", "toolz"):
        assert "/home/jovyan/.local/lib/" in bob.run(f"import {name}; {name}.__file__")
    assert "user git" in shell(bob, "ssh -G github.com").splitlines()
    volumes = host.check_output("docker volume ls --quiet").split()
    assert {"jupyterhub-home-user-bob", "jupyterhub-home-user-bob-home"} <= set(volumes)


def test_newer_packages_of_ones_own_go_first(serve: ClientFactory) -> None:
    """And venvs are everybody's own affair."""
    alice = serve("alice.smith")
    assert "ERROR" not in shell(alice, "pip install --quiet --no-deps traitlets==5.14.3")
    assert alice.run("import traitlets; traitlets.__version__") == "'5.14.3'"
    own = "python -m venv ~/own && ~/own/bin/pip install --quiet --no-deps iniconfig && ~/own/bin/python -m iniconfig"
    assert "is a package and cannot be directly executed" in shell(alice, own)
    restart(alice)
    alice.enter().raise_for_status()
    assert alice.run("import traitlets; traitlets.__version__") == "'5.14.3'"
    assert shell(alice, "pip uninstall --yes --quiet traitlets") == ""


def test_nothing_in_a_home_stops_the_server(login: ClientFactory) -> None:
    zoe = login("zoe")
    restart(zoe)
    zoe.enter().raise_for_status()
    zoe.save("kept.txt", "still here\n")
    zoe.run(BREAK)
    restart(zoe)
    zoe.enter()
    assert zoe.load("kept.txt") == "still here\n"

    # The way out that the hub's page offers, for this start alone.
    restart(zoe, without_packages="on", fresh_settings="on")
    page = zoe.enter()
    assert page.ok and page.url.endswith("/lab")
    assert zoe.run("5 * 4") == "20"
    kept = shell(zoe, "ls -d ~/old-settings-*")
    assert shell(zoe, "cat $(ls -d ~/old-settings-* | tail -n 1)/.bashrc") == "exit"
    assert zoe.lab("GET", THEME).ok
    # A terminal still has the packages, to put them right.
    with zoe.terminal() as terminal:
        terminal.run("rm -r ~/.local/lib")
    restart(zoe)
    zoe.enter().raise_for_status()
    assert zoe.run("5 * 4") == "20"
    assert shell(zoe, "ls -d ~/old-settings-*; echo $PYTHONNOUSERSITE") == kept
    zoe.stop()


def test_the_hubs_pages_offer_the_ways_out(login: ClientFactory) -> None:
    zoe = login("zoe")
    zoe.stop()
    page = zoe.get("/hub/home").text
    action = re.search(r'action="(/hub/spawn/zoe\?_xsrf=[^"]+)"', page)
    assert action and 'name="fresh_settings"' in page
    answer = zoe.http.post(zoe.url + action[1], data={"without_packages": "on"}, timeout=60)
    assert answer.ok
    zoe.wait_ready()
    zoe.enter().raise_for_status()
    assert shell(zoe, "echo $PYTHONNOUSERSITE") == "1"
    assert 'name="fresh_settings"' not in zoe.get("/hub/home").text
    restart(zoe)
    zoe.enter().raise_for_status()
    assert shell(zoe, "echo $PYTHONNOUSERSITE") == ""
    zoe.stop()


@pytest.fixture
def _mounts_as_declared(host: Host) -> Iterator[None]:
    yield
    done = playbook(host, {})
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.usefixtures("_mounts_as_declared")
def test_a_home_follows_its_user_to_another_identity(login: ClientFactory, host: Host) -> None:
    """kim's server runs as the owner of the work folder, without that folder as the image's own user, and back."""

    def started() -> HubClient:
        kim = login("kim")
        restart(kim)
        kim.enter().raise_for_status()
        return kim

    def usable(kim: HubClient, uid: str) -> None:
        assert kim.run("import os; os.getuid()") == uid
        assert shell(kim, "find ~ -xdev ! -user $(id -u) ! -path '*/photos'") == ""
        assert "user git" in shell(kim, "ssh -G github.com").splitlines()
        assert shell(kim, f"cat ~/.ssh/key && echo {uid} >>~/.ssh/seen; stat -c %a ~/.ssh/key") == "secret\n600"
        assert "JupyterLab Dark" in kim.lab("GET", THEME).json()["raw"]
        kim.lab("PUT", THEME, json={"raw": '{"theme": "JupyterLab Dark"}'}).raise_for_status()

    kim = started()
    with kim.terminal() as terminal:
        terminal.run("mkdir -p ~/.ssh && printf 'Host github.com\\n  User git\\n' >~/.ssh/config")
        terminal.run("(umask 077; echo secret >~/.ssh/key)")
    kim.lab("PUT", THEME, json={"raw": '{"theme": "JupyterLab Dark"}'}).raise_for_status()
    usable(kim, "1234")
    photos = [mount for mount in MOUNTS if mount["target"] != "/home/jovyan/work"]
    done = playbook(host, {"jupyterhub_home_mounts": photos})
    assert done.returncode == 0 and "kim" in done.stdout, done.stdout[-4000:]
    usable(started(), "1000")
    assert playbook(host, {}).returncode == 0
    kim = started()
    usable(kim, "1234")
    assert shell(kim, "cat ~/.ssh/seen").split() == ["1234", "1000", "1234"]
    kim.stop()
