"""What all parts must agree on: a hub's services, folders, files, names and labels. Each stands here and nowhere else.

Whoever adds a service or a folder adds it here. Functions where a name has the project in it, and for what follows from
the lists.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

# --- Files and folders below the project's directory -----------------------
COMPOSE_FILE = "compose.yml"
RECORD = "written.json"  # fingerprints of all that the role wrote
HUB_SETTINGS, EXTRA_CONFIG, SPAWNER_SETTINGS = "hub/hub.json", "hub/extra.py", "hub/spawner.json"
USERS_TOKEN, PROXY_TOKEN = "hub/users-token", "secrets/proxy-token"
GENERATION = "hub/generation"  # changes when the hub must be made anew for a reason that no setting tells
TRIED = "hub/tried"  # a digest of the settings that a trial has found to work
USERS = "users"
IMAGES = "images"  # what they are built from
WATCH = "watch"
WATCH_PROGRAM = f"{WATCH}/watch"
DISKS = "disks"  # what mounts users' disks
DISKS_PROGRAM = f"{DISKS}/disks"
WALLS = "walls"  # firewall rules around users' servers
WALLS_PROGRAM, WALLS_RULES = f"{WALLS}/walls", f"{WALLS}/rules.nft"
RENEW = "renew"
USERS_LIST, UNDECLARED, HOMES_DELETED = "users.json", "undeclared.json", "homes-deleted"  # in the folder USERS


class Folder(NamedTuple):
    """One below the project's directory; exact: the role removes from it what it did not write."""

    name: str
    exact: bool


FOLDERS = (
    Folder(DISKS, exact=True),
    Folder("hub", exact=True),
    Folder(IMAGES, exact=True),
    Folder(RENEW, exact=True),
    Folder("secrets", exact=True),
    Folder(USERS, exact=False),
    Folder(WALLS, exact=True),
    Folder(WATCH, exact=True),
)


def folders() -> list[str]:
    """The names of all."""
    return [folder.name for folder in FOLDERS]


def exact_folders() -> list[str]:
    """The names of those that hold nothing but what the role wrote."""
    return [folder.name for folder in FOLDERS if folder.exact]


# --- Services and images ---------------------------------------------------
class Service(NamedTuple):
    """A container that Compose keeps. Its numeric user and group, the files whose digests its label has, so that it is
    made anew with them, its place among the network's addresses, by which firewall rules know it (0: it is in none),
    and the service whose image it has if not its own."""

    name: str
    user: int
    group: int
    tokens: tuple[str, ...]
    place: int = 0
    image_of: str = ""

    @property
    def image(self) -> str:
        """The name of its image."""
        return self.image_of or self.name


# Above every ordinary and system user, so that no user of the machine owns the hub's files.
HUB = Service("hub", 58081, 58081, (PROXY_TOKEN, USERS_TOKEN, GENERATION), 2)
PROXY = Service("proxy", 58082, HUB.group, (PROXY_TOKEN,), 3)
GUARD = Service("guard", 58083, HUB.group, (GENERATION,), image_of=HUB.name)
SERVICES = (HUB, PROXY, GUARD)
BASE_IMAGE, USER_IMAGE = "base", "user"


def services() -> list[str]:
    """The names of all."""
    return [service.name for service in SERVICES]


def service_named(name: str) -> Service | None:
    """The service of this name; None if there is none."""
    return next((service for service in SERVICES if service.name == name), None)


def service_images() -> list[str]:
    """The names of their images."""
    return [service.name for service in SERVICES if service.image == service.name]


def build_arguments() -> dict[str, str]:
    """What the Dockerfile must know of the services."""
    return {f"{service.name.upper()}_ID": str(service.user) for service in SERVICES if service.image == service.name}


def images(project: str) -> tuple[str, ...]:
    """The names, without a tag, of all images that the role builds."""
    return tuple(f"{project}/{name}" for name in (BASE_IMAGE, *service_images(), USER_IMAGE))


BRIDGE_NAME = "com.docker.network.bridge.name"  # an option of networks

# --- Names in the engine and in systemd ------------------------------------
# What compose.yml calls them.
NETWORK, DATA, SOCKETS = "users", "data", "sockets"


def container(project: str, service: str) -> str:
    """The container of a service."""
    return f"{project}-{service}"


def containers(project: str) -> dict[str, str]:
    """The containers by their services."""
    return {service: container(project, service) for service in services()}


def project_of_hub(name: str) -> str:
    """The project of the hub's container of this name."""
    return name.removesuffix(f"-{HUB.name}")


def network(project: str) -> str:
    """The network of a project's services and servers."""
    return project


def bridge(project: str) -> str:
    """The network's interface on the machine, of which a name has 15 signs at most. `br-` is what others know it by."""
    return f"br-jhh-{hashlib.sha256(project.encode()).hexdigest()[:8]}"


def table(project: str) -> str:
    """The project's own table of nftables."""
    return f"jhh-{project}"


def walls_notes(project: str) -> tuple[str, str]:
    """Files, until the next boot, in which the program `walls` notes what it has set, and that it could not and has
    shut the network."""
    return f"/run/{table(project)}.walls", f"/run/{table(project)}.closed"


def data_volume(project: str) -> str:
    """The hub's own volume, with its database."""
    return f"{project}-{DATA}"


def aside_volume(project: str) -> str:
    """Where the content of that is while its volume gets other labels."""
    return f"{data_volume(project)}-aside"


def sockets_volume(project: str) -> str:
    """Where the guard's socket is, in memory."""
    return f"{project}-{SOCKETS}"


def project_of_data(name: str) -> str:
    """The project that a volume of this name is the hub's own of; '' for any other name."""
    return name.removesuffix(f"-{DATA}") if name.endswith(f"-{DATA}") else ""


def trial_containers(project: str) -> tuple[str, str, str]:
    """In which settings are tried: the hub's, a user's server, and what readies its home."""
    return f"{project}-trial", f"{project}-trial-server", f"{project}-trial-server-home"


# What the name of a home volume ends in; no user's name is escaped so that it does.
HOME = "-home"


def user_volumes(project: str, user: str) -> tuple[str, str]:
    """The volumes that a user's servers mount, as home and as work folder.

    DockerSpawner escapes everything in a name but a-z and 0-9.
    """
    work = f"{project}-user-" + re.sub(r"[^a-z0-9]", lambda sign: f"-{ord(sign[0]):02x}", user)
    return work + HOME, work


# A user's disk, in the folder of their home volume: the file, one that is not ready, the size in bytes that it has been
# given, where it is mounted, what was in a volume before; and who has one that is being made.
DISK, DISK_NEW, DISK_SIZE, DISK_PLACE = "disk.img", "disk.new", "disk.size", "disk"
BEFORE_DISK, MOVING = "_data.old", "moving"


def user_of_volume(project: str, name: str) -> str:
    """The user whose volume has this name; '' for any other name."""
    found = re.fullmatch(rf"{re.escape(project)}-user-((?:[a-z0-9]|-[0-9a-f]{{2}})+?)(?:{HOME})?", name)
    return re.sub(r"-([0-9a-f]{2})", lambda sign: chr(int(sign[1], 16)), found[1]) if found else ""


def watch_unit(project: str) -> str:
    """The unit of what starts hub and proxy where Docker gives up."""
    return f"{project}-watch.service"


def watch_file(project: str) -> str:
    """Where that unit is, below the project's directory."""
    return f"{WATCH}/{watch_unit(project)}"


def walls_unit(project: str) -> str:
    """The unit of what keeps the firewall rules around users' servers in place."""
    return f"{project}-walls.service"


def walls_file(project: str) -> str:
    """Where that unit is, below the project's directory."""
    return f"{WALLS}/{walls_unit(project)}"


def disks_unit(project: str) -> str:
    """The unit that mounts users' disks before Docker starts."""
    return f"{project}-disks.service"


def disks_file(project: str) -> str:
    """Where that unit is, below the project's directory."""
    return f"{DISKS}/{disks_unit(project)}"


def renew_timer(project: str) -> str:
    """The unit that says when images are renewed."""
    return f"{project}-renew.timer"


def renew_service(project: str) -> str:
    """The unit that renews them, which the timer starts."""
    return f"{project}-renew.service"


def renew_file(unit: str) -> str:
    """Where one of these two is, below the project's directory."""
    return f"{RENEW}/{unit}"


def units(project: str) -> dict[str, str]:
    """The units, each with the place of its file below the project's directory."""
    renewing = (renew_timer(project), renew_service(project))
    return {
        watch_unit(project): watch_file(project),
        walls_unit(project): walls_file(project),
        disks_unit(project): disks_file(project),
        **{unit: renew_file(unit) for unit in renewing},
    }


# --- Keys of labels --------------------------------------------------------
LABEL = "jupyterhub-home"
PROJECT_LABEL, USER_LABEL, TRIAL_LABEL = f"{LABEL}.project", f"{LABEL}.user", f"{LABEL}.trial"
NETWORK_LABEL = f"{LABEL}.network"
# Of digests: another one, and Compose makes the container anew.
SETTINGS_LABEL, TOKENS_LABEL = f"{LABEL}.settings", f"{LABEL}.tokens"
COMPOSE = "com.docker.compose"
COMPOSE_PROJECT, COMPOSE_SERVICE = f"{COMPOSE}.project", f"{COMPOSE}.service"
COMPOSE_FOLDER, COMPOSE_HASH = f"{COMPOSE_PROJECT}.working_dir", f"{COMPOSE}.config-hash"
COMPOSE_VERSION = f"{COMPOSE}.version"

# --- Paths in the containers -----------------------------------------------
HUB_HOME, HUB_SETTINGS_FOLDER, SECRETS_FOLDER = "/srv/jupyterhub", "/etc/jupyterhub-home", "/run/secrets"
EXTRAUSERS, PROGRAMS, SOCKET = "/var/lib/extrausers", "/usr/local/lib/jupyterhub-home", "/var/run/docker.sock"
GUARD_FOLDER = "/run/guard"
# What is mounted on the machine, as its first process sees it; where whoever makes servers reads it.
MACHINE_MOUNTS, MOUNTS_READ = "/proc/1/mountinfo", "/run/mountinfo"
GUARD_SOCKET = f"{GUARD_FOLDER}/docker.sock"
