"""What a hub has on a machine: units, containers, network, firewall rules, images, volumes, and the role's folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.archive import archives
from ansible_collections.jupyterhub.home.plugins.module_utils.base_image import SCRATCH
from ansible_collections.jupyterhub.home.plugins.module_utils.building import LOCK
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import docker
from ansible_collections.jupyterhub.home.plugins.module_utils.machine import output
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record
from ansible_collections.jupyterhub.home.plugins.module_utils.ways import mount_points

# Where systemd has a link to each unit that lies in the role's folder.
UNITS = Path("/etc/systemd/system")
# Left by builds, of whatever project.
LEFT = (LOCK, SCRATCH)


def owner_of(folder: Path) -> str:
    """The project whose compose.yml is in a folder; '' without one that names its project."""
    compose = folder / contract.COMPOSE_FILE
    text = compose.read_text(encoding="utf-8", errors="replace") if compose.is_file() else ""
    named = re.search(r"^name: (\S+)$", text, re.M)
    return named[1] if named else ""


def own_entries(folder: Path) -> set[str]:
    """The names of what is the role's in a folder: all that it writes there, and by the folder's own record all that
    any version of it has written there, which may know more folders than this one."""
    own = {*contract.folders(), contract.COMPOSE_FILE, contract.RECORD, *Record(folder).entries()}
    own |= {f".{name}.new" for name in own}  # see replace_file, of a run that was killed
    return {entry.name for entry in folder.iterdir() if entry.name in own}


def foreign_entries(folder: Path) -> list[str]:
    """What is in a folder and not the role's, by name."""
    return sorted({entry.name for entry in folder.iterdir()} - own_entries(folder))


def directory_problem(path: Path, project: str) -> str:
    """Why a folder cannot become the role's own, which removes what it did not write; '' when it can."""
    if not path.exists():
        return ""
    if not path.is_dir():
        return "is a file"
    if foreign := foreign_entries(path):
        return f"holds what is not the role's ({', '.join(foreign[:3])})"
    owner = owner_of(path)
    return f"belongs to the project {owner}" if owner not in ("", project) else ""


def is_of(folder: Path, project: str) -> bool:
    """Whether a folder is a project's: by its compose.yml, or by what a killed first run has written of it."""
    if not folder.is_dir():
        return False
    owner = owner_of(folder)
    return owner == project or (
        not owner and not foreign_entries(folder) and any((folder / name).is_dir() for name in own_entries(folder))
    )


def listed(*arguments: str) -> list[list[str]]:
    """The lines that a docker command prints, as their columns."""
    return [line.split("|") for line in docker(*arguments).splitlines()]


def containers() -> list[dict[str, str]]:
    """Every container: its name, image, Compose project with folder, and the project of ours that its labels name."""
    columns = {
        "name": ".Names", "image": ".Image", "compose": f'.Label "{contract.COMPOSE_PROJECT}"',
        "server_of": f'.Label "{contract.PROJECT_LABEL}"', "folder": f'.Label "{contract.COMPOSE_FOLDER}"',
        "tokens": f'.Label "{contract.TOKENS_LABEL}"',
    }  # fmt: skip
    form = "|".join(f"{{{{{column}}}}}" for column in columns.values())
    return [dict(zip(columns, line, strict=True)) for line in listed("ps", "--all", "--format", form)]


def project_of(container: dict[str, str]) -> str:
    """The project of ours that a container belongs to; '' for all others, those of other Compose projects too."""
    compose = container["compose"]
    ours = container["tokens"] or container["image"].partition(":")[0] in contract.images(compose)
    return container["server_of"] or (compose if compose and ours else "")


def volumes(hubs: Collection[str] = ()) -> list[tuple[str, str]]:
    """Every volume of ours and the project that it belongs to: the homes, and the hub's own.

    hubs: projects that are there, whose own volume counts also where somebody has taken its labels away.
    """
    form = f'{{{{.Name}}}}|{{{{.Label "{contract.PROJECT_LABEL}"}}}}|{{{{.Label "{contract.COMPOSE_PROJECT}"}}}}'
    found = []
    for name, ours, compose in listed("volume", "ls", "--format", form):
        by_name = contract.project_of_data(name)
        if ours or (by_name and (compose == by_name or (not compose and by_name in hubs))):
            found.append((name, ours or by_name))
    return found


def projects() -> dict[str, str]:
    """The projects of ours on the machine, each with the folder that its hub was started from, '' if none was."""
    if not shutil.which("docker"):
        return {}
    found = {project: "" for _, project in volumes()}
    for container in containers():
        if project := project_of(container):
            found[project] = container["folder"] or found.get(project, "")
    return dict(sorted(found.items()))


def belongings(project: str, directory: Path) -> dict[str, list[str]]:
    """Names of all that a project has, by kind. Of folders, the given one and those that its hub was started from.

    Raises EngineError when the engine does not answer; a machine without Docker has no more than a folder.
    """
    folders = {str(directory)}
    kinds = ("units", "containers", "networks", "walls", "images", "sockets", "disks", "volumes")
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    found["units"] = [
        unit
        for unit, file in contract.units(project).items()
        if (UNITS / unit).is_symlink() and (UNITS / unit).readlink().parent.name == Path(file).parent.name
    ]
    tables = output("nft", "list", "tables", "inet") or ""
    found["walls"] = [name for name in [contract.table(project)] if f"table inet {name}" in tables.splitlines()]
    if shutil.which("docker"):
        own = [container for container in containers() if project_of(container) == project]
        folders |= {container["folder"] for container in own if container["compose"] == project} - {""}
        found["containers"] = sorted(container["name"] for container in own)
        networks = docker(
            "network", "ls", "--filter", f"label={contract.COMPOSE_PROJECT}={project}", "--format", "{{.Name}}"
        )
        found["networks"] = [name for name in networks.split() if name == contract.network(project)]
        images = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        # By name: the same image may have another one, of a second hub's or the owner's.
        found["images"] = sorted(name for name in images if name.partition(":")[0] in contract.images(project))
        here = docker("volume", "ls", "--quiet", "--filter", f"label={contract.COMPOSE_PROJECT}={project}").split()
        found["sockets"] = [name for name in here if name == contract.sockets_volume(project)]
        found["volumes"] = sorted(name for name, owner in volumes([project] if own else []) if owner == project)
    place = re.compile(rf"/{re.escape(project)}-user-[^/]+/(_data|{contract.DISK_PLACE})$")
    found["disks"] = sorted(path for path in mount_points() if place.search(path))
    found["folders"] = sorted(folder for folder in folders if is_of(Path(folder), project))
    found["archives"] = [str(file) for file in archives(project)]
    return found


def of_the_machine() -> list[str]:
    """What runs of all projects leave together, and no other one needs once there is no project."""
    hashes = Path(contract.compose_hashes("*"))
    known = (*LEFT, *hashes.parent.glob(hashes.name))
    return [str(path) for path in known if path.exists()]


def schedule(project: str) -> dict[str, dict[str, bool]]:
    """Of each job with a timer: whether systemd has it, in part at least, and whether its last run failed."""
    found = {}
    for job in contract.TIMERS:
        service = contract.timer_service(project, job)
        linked = any((UNITS / unit).is_symlink() for unit in (contract.timer(project, job), service))
        failed = linked and (output("systemctl", "is-failed", service) or "").strip() == "failed"
        found[job] = {"linked": linked, "failed": failed}
    return found


def present(project: str, directory: Path, docker: dict[str, Any]) -> dict[str, Any]:
    """What is there to uninstall: all that the project has, by kind, the projects on the machine, each with its
    folder, and the project that the given folder belongs to. Nothing while an engine does not answer."""
    if docker["installed"] and not docker["version"]:
        return {}
    hubs = projects() if docker["version"] else {}
    using = next((hub for hub, its_folder in hubs.items() if its_folder == str(directory)), "")
    owner = owner_of(directory) or using
    return {"belongings": belongings(project, directory), "projects": hubs, "owner": owner}
