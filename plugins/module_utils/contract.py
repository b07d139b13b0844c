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
BEFORE = "before"  # the hub as it was, until one that is made anew is known to work
# Jobs that a timer starts, each by the name of its variable, its folder, and its units' end.
RENEW, BACKUP = "renew", "backup"
TIMERS = (RENEW, BACKUP)
BACKUP_SETTINGS = f"{BACKUP}/settings.json"
STATE = "state"  # what the role's programs keep for the next time
SAVED = f"{STATE}/backup"  # what a backup makes to be saved: a copy of the database, and what is where
BACKUP_STATE = f"{STATE}/backup.json"  # how the last ones went
# An owner's own in the checkout, which a clone does not bring.
OWNERS = ("group_vars", "inventory", ".vault-password")
USERS_LIST, UNDECLARED, HOMES_DELETED = "users.json", "undeclared.json", "homes-deleted"  # in the folder USERS


# Of the machine, whatever projects are on it: packages and files that were not there before a run installed them.
INSTALLED = "/var/lib/jupyterhub-home/installed"


class Folder(NamedTuple):
    """One below the project's directory; exact: the role removes from it what it did not write."""

    name: str
    exact: bool


FOLDERS = (
    Folder(BEFORE, exact=False),
    Folder(BACKUP, exact=True),
    Folder(DISKS, exact=True),
    Folder("hub", exact=True),
    Folder(IMAGES, exact=True),
    Folder(RENEW, exact=True),
    Folder("secrets", exact=True),
    Folder(STATE, exact=False),
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
KEPT = "kept"  # the tag of images that a hub may go back to
DATABASE = "jupyterhub.sqlite"  # in the hub's own volume


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


# In commands of the Dockerfile: BuildKit keeps them with what it keeps of a build, which so is known as ours.
BUILD_MARK = ": built for jupyterhub-home;"

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


def notes(project: str) -> tuple[str, ...]:
    """What runs and programs of a project note until the next boot, or longer where /run is not in memory."""
    return (*walls_notes(project), compose_hashes(project), backup_lock(project))


def compose_hashes(project: str) -> str:
    """The file in which a run notes what Compose said of a compose.yml."""
    return f"/run/{LABEL}-{project}.hashes"


def data_volume(project: str) -> str:
    """The hub's own volume, with its database."""
    return f"{project}-{DATA}"


def aside_volume(project: str) -> str:
    """Where the content of that is while its volume gets other labels."""
    return f"{data_volume(project)}-aside"


def backups(project: str) -> str:
    """The folder of a project's backups: their repository, unless it is elsewhere, and a password that was made."""
    return f"/var/backups/{project}"


def kept_volume(project: str, volume: str, when: str) -> str:
    """Where the files of a user's volume are kept, in whose place others were put; no volume of a user's."""
    return f"{project}-kept-{when}-{volume.removeprefix(f'{project}-')}"


def backup_lock(project: str) -> str:
    """The file that a backup or a restore locks while it is at work."""
    return f"/run/{table(project)}.backup"


def archives(project: str) -> str:
    """The folder of the archives of homes whose users are gone. It stays where everything else is removed."""
    return f"{backups(project)}/archives"


def sockets_volume(project: str) -> str:
    """Where the guard's socket is, in memory."""
    return f"{project}-{SOCKETS}"


def project_of_data(name: str) -> str:
    """The project that a volume of this name is the hub's own of; '' for any other name."""
    return name.removesuffix(f"-{DATA}") if name.endswith(f"-{DATA}") else ""


def trial_containers(project: str) -> tuple[str, str, str]:
    """In which settings are tried: the hub's, a user's server, and what readies its home."""
    return f"{project}-trial", f"{project}-trial-server", f"{project}-trial-server-home"


# In the list of homes to archive: of everybody who is gone. No user can have this name.
EVERYBODY = "*"
# What the name of a home volume ends in; no user's name is escaped so that it does.
HOME = "-home"


def plain_name(user: str) -> str:
    """A user's name as Docker and file systems can have it: everything in it but a-z and 0-9 as DockerSpawner does."""
    return re.sub(r"[^a-z0-9]", lambda sign: f"-{ord(sign[0]):02x}", user)


def user_volumes(project: str, user: str) -> tuple[str, str]:
    """The volumes that a user's servers mount, as home and as work folder."""
    work = f"{project}-user-{plain_name(user)}"
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


def timer(project: str, job: str) -> str:
    """The unit that says when a job of TIMERS is done."""
    return f"{project}-{job}.timer"


def timer_service(project: str, job: str) -> str:
    """The unit that does it, which the timer starts."""
    return f"{project}-{job}.service"


def timer_files(project: str, job: str) -> tuple[str, str]:
    """Where these two are, below the project's directory."""
    return f"{job}/{timer(project, job)}", f"{job}/{timer_service(project, job)}"


def program_file(name: str) -> str:
    """Where a file of module_utils is, below the project's directory, for what the timer of backups starts: the folder
    BACKUP is one that Python imports from."""
    return f"{BACKUP}/ansible_collections/jupyterhub/home/plugins/module_utils/{name}.py"


def units(project: str) -> dict[str, str]:
    """The units, each with the place of its file below the project's directory."""
    timed = [file for job in TIMERS for file in timer_files(project, job)]
    return {
        watch_unit(project): watch_file(project),
        walls_unit(project): walls_file(project),
        disks_unit(project): disks_file(project),
        **{file.rpartition("/")[2]: file for file in timed},
    }


# --- Keys of labels --------------------------------------------------------
LABEL = "jupyterhub-home"
DIRECTORY_LABEL = f"{LABEL}.directory"  # of snapshots
PROJECT_LABEL, USER_LABEL, TRIAL_LABEL = f"{LABEL}.project", f"{LABEL}.user", f"{LABEL}.trial"
NETWORK_LABEL = f"{LABEL}.network"
# Of digests: another one, and Compose makes the container anew.
SETTINGS_LABEL, TOKENS_LABEL = f"{LABEL}.settings", f"{LABEL}.tokens"
COMPOSE = "com.docker.compose"
COMPOSE_PROJECT, COMPOSE_SERVICE = f"{COMPOSE}.project", f"{COMPOSE}.service"
COMPOSE_FOLDER, COMPOSE_HASH = f"{COMPOSE_PROJECT}.working_dir", f"{COMPOSE}.config-hash"
COMPOSE_VERSION = f"{COMPOSE}.version"

# --- Paths in the containers -----------------------------------------------
DATABASE, COOKIE_SECRET, RESERVE = "jupyterhub.sqlite", "jupyterhub_cookie_secret", "reserve"  # in HUB_HOME
HUB_HOME, HUB_SETTINGS_FOLDER, SECRETS_FOLDER = "/srv/jupyterhub", "/etc/jupyterhub-home", "/run/secrets"
EXTRAUSERS, PROGRAMS, SOCKET = "/var/lib/extrausers", "/usr/local/lib/jupyterhub-home", "/var/run/docker.sock"
GUARD_FOLDER = "/run/guard"
# What is mounted on the machine, as its first process sees it; where whoever makes servers reads it.
MACHINE_MOUNTS, MOUNTS_READ = "/proc/1/mountinfo", "/run/mountinfo"
GUARD_SOCKET = f"{GUARD_FOLDER}/docker.sock"
