"""A docker for unit tests: a program that keeps containers, networks, volumes and images in a file of JSON."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

# Beside engine.json; volumes are the folders in `volumes` there, and a file `fails` names a command that fails.
DOCKER = r"""
import json, re, shutil, sys
from pathlib import Path
here = Path(__file__).parent
file = here / "engine.json"
state = json.loads(file.read_text())
COMPOSE = {"project": "home", "network": "users"}
containers, networks, volumes, images = (state[kind] for kind in ("containers", "networks", "volumes", "images"))
(here / "volumes").mkdir(exist_ok=True)
folders = {folder.name for folder in (here / "volumes").iterdir()}
for name in folders - volumes.keys(): volumes[name] = {"labels": {}}
for name in volumes.keys() - folders: del volumes[name]
words = sys.argv[1:]
def option(name):
    return [w.removeprefix(name + "=") for w in words if w.startswith(name + "=")]
def following(name):
    return [words[i + 1] for i, w in enumerate(words) if w == name]
def fits(labels, held=(), name=""):
    for key, _, value in (f.partition("=") for f in following("--filter")):
        wanted, equals, text = value.partition("=")
        if key == "label" and not (wanted in labels and (not equals or labels[wanted] == text)): return False
        if key == "volume" and not set(v.partition("=")[2] for v in following("--filter")) & set(held): return False
        if key == "name" and not re.search(value, "/" + name): return False
    return True
def told(fields, labels, ident=""):
    form = (following("--format") or [None])[0]
    if form is None:
        print(ident)
        return
    form = re.sub(r'\{\{\.Label "([^"]+)"\}\}', lambda m: labels.get(m[1], ""), form)
    print(re.sub(r"\{\{\.(\w+)\}\}", lambda m: fields[m[1]], form))
def shown(name):
    c = containers[name]
    joined = {n: {"NetworkID": networks[n]["Id"] if n in networks else "old", "Aliases": a} for n, a in c["in"].items()}
    return {"Name": "/" + name, "Id": "id-" + name, "Config": {"Labels": c["labels"]},
            "State": {"Status": c["status"]} | c.get("state", {}),
            "Mounts": c.get("mounts", []),
            "HostConfig": {"NetworkMode": c["mode"]}, "NetworkSettings": {"Networks": joined}}
def network(name):
    members = {"id-" + c: {"Name": c} for c, v in containers.items() if name in v["in"]}
    return {**networks[name], "Name": name, "Containers": members}
def volume(name):
    return {"Name": name, "Driver": "local", "Options": volumes[name].get("options"),
            "Labels": volumes[name]["labels"], "Mountpoint": str(here / "volumes" / name / "_data"),
            **volumes[name].get("inspected", {})}
def remove_volume(name):
    if any(name in c["volumes"] for c in containers.values()): die("volume is in use")
    del volumes[name]
    data = here / "volumes" / name / "_data"
    if data.exists():
        shutil.rmtree(data)
    shutil.rmtree(data.parent)
def die(text):
    print(text, file=sys.stderr); sys.exit(1)
if (here / "fails").exists() and words[0] == (here / "fails").read_text() and words[1] != "ls": die("in use")
match words:
    case ["ps", *_]:
        for name, c in containers.items():
            if ("--all" in words or c["status"] in ("running", "paused")) and fits(c["labels"], c["volumes"], name):
                ident = c.get("id", "id-" + name)
                shown_of = {"ID": ident, "Names": name, "Image": c.get("image", ""), "State": c["status"]}
                told(shown_of, c["labels"], ident)
    case ["inspect", "--format", _, name]:
        if name not in containers: die("Error: No such container: " + name)
        print(containers[name]["status"], 0)
    case ["logs", *_]: print("last words of the hub")
    case ["inspect", *names]:
        names = [n.removeprefix("id-") for n in names]
        found = [shown(n) for n in names if n in containers] + [network(n) for n in names if n in networks]
        print(json.dumps(found))
    case ["rm", "--force", "--volumes", *names]: [containers.pop(name, None) for name in names]
    case ["rm", "--volumes", ident]:
        del containers[next(n for n, c in containers.items() if c.get("id", "id-" + n) == ident)]
    case ["rm", "--force", *names]:
        for name in names: del containers[name]
    case ["rename", old, new]: containers[new] = containers.pop(old)
    case ["unpause", name]: containers[name]["status"] = "running"
    case ["network", "ls", *_]:
        for name, n in networks.items():
            if fits(n["Labels"]): told({"Name": name}, n["Labels"])
    case ["network", "disconnect", "--force", net, name]: del containers[name]["in"][net]
    case ["network", "rm", ident]:
        name = next(n for n, v in networks.items() if ident in (n, v["Id"]))
        if network(name)["Containers"]: die("has active endpoints")
        del networks[name]
    case ["network", "connect", *_, net, name]: containers[name]["in"][net] = option("--alias")
    case ["compose", "version", *_]: print("2.26.1-4")
    case ["compose", "--file", _, "create", *_]:
        made = state["composed"]
        labels = {f"com.docker.compose.{k}": v for k, v in COMPOSE.items()} | made.get("Labels", {})
        networks["home"] = {"Id": "new", **made, "Labels": labels}
    case ["image", "ls", *_]:
        for name in images: told(dict(zip(("Repository", "Tag"), name.rsplit(":", 1))), {})
    case ["image", "rm", "--force", *names]:
        for name in names: images.remove(name)
    case ["volume", "ls", *_]:
        for name, v in volumes.items():
            used = any(name in c["volumes"] for c in containers.values())
            if fits(v["labels"]) and not ("dangling=true" in words and used): told({"Name": name}, v["labels"], name)
    case ["volume", "inspect", *names]:
        for n in names:
            if n not in volumes: die("no such volume: " + n)
        print(json.dumps([volume(n) for n in names]))
    case ["volume", "create", *_, name]:
        volumes.setdefault(name, {"labels": dict(l.split("=") for l in option("--label"))})
        (here / "volumes" / name / "_data").mkdir(parents=True, exist_ok=True)
        print(name)
    case ["volume", "rm", *names]:
        for name in names: remove_volume(name)
    case _: die("unknown: " + " ".join(words))
file.write_text(json.dumps(state))
"""


ONE_AT_A_TIME = threading.RLock()


class Engine:
    """The engine of that program, whose file is written by save(); calls: what the program was called with."""

    def __init__(self, calls: Path) -> None:
        self.calls, self.here = calls, calls.parent
        (self.here / "docker.py").write_text(DOCKER)
        self.state: dict[str, Any] = {"containers": {}, "networks": {}, "volumes": {}, "images": []}
        self.state["composed"] = {}  # what compose.yml gives the network
        self.save()

    def run(
        self, command: Sequence[str], *, check: bool = False, stderr: int | None = None, text: bool = False, **_: object
    ) -> subprocess.CompletedProcess[Any]:
        """As subprocess.run, without a process, of which a file of tests would start a thousand."""
        printed, said, status = io.StringIO(), io.StringIO(), 0
        into = printed if stderr == subprocess.STDOUT else said
        with (
            ONE_AT_A_TIME,
            mock.patch.object(sys, "argv", list(command)),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(into),
        ):
            with self.calls.open("a") as calls:
                calls.write(" ".join(command[1:]) + "\n")
            try:
                runpy.run_path(str(self.here / "docker.py"))
            except SystemExit as end:
                status = int(end.code or 0)
            except Exception:  # whatever it is, as Python ends a program with it: a traceback, and status 1
                status = 1
                traceback.print_exc()
        if check and status:
            raise subprocess.CalledProcessError(status, list(command), printed.getvalue(), said.getvalue())
        outputs = printed.getvalue(), said.getvalue()
        done = outputs if text else tuple(one.encode() for one in outputs)
        return subprocess.CompletedProcess(list(command), status, *done)

    def container(
        self,
        labels: dict[str, str],
        *networks: str,
        volumes: tuple[str, ...] = (),
        aliases: list[str] | None = None,
        image: str = "",
    ) -> dict[str, Any]:
        """One that runs."""
        return {
            "labels": labels, "status": "running", "mode": "home", "volumes": volumes, "image": image,
            "in": {network: aliases or [] for network in networks},
        }  # fmt: skip

    def service(self, name: str, *volumes: str) -> dict[str, Any]:
        """The container of a service of the project `home`."""
        labels = {"com.docker.compose.project": "home", "com.docker.compose.service": name}
        return self.container(labels, "home", volumes=volumes, aliases=[name])

    def volume(self, name: str, labels: dict[str, str], *files: str, gone: bool = False) -> None:
        """A volume with these files; gone: without its folder."""
        self.state["volumes"][name] = {"labels": labels}
        folder = self.here / "volumes" / name
        folder.mkdir(parents=True)
        if not gone:
            (folder / "_data").mkdir()
        for file in files:
            (folder / "_data" / file).write_text(file)

    def files(self) -> dict[str, list[str]]:
        """Of every volume."""
        return {
            f.name: sorted(path.name for path in (f / "_data").iterdir())
            for f in sorted((self.here / "volumes").iterdir())
        }

    def save(self) -> None:
        (self.here / "engine.json").write_text(json.dumps(self.state))

    def load(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.here / "engine.json").read_text())
        return state
