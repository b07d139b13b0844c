"""Every public variable: what it is set to, what it is changed to, and what the running hub shows then.

A row is converged together with all others: every `first` value in one run, every `then` in the next, and in the third
none of them, when `default` must show. Variables that cannot go together have a test of their own, which
ELSEWHERE names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from world import OTHER, OWN, PROJECT, World, answers, password

STEPS = ("set", "changed", "removed")
MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One variable, or one key of the entries of a list of dictionaries: NAME[].KEY."""

    variable: str
    see: Callable[[World], Any]
    first: tuple[Any, Any]  # a value, and what is seen with it
    then: tuple[Any, Any]
    default: Any  # what is seen without one
    entry: dict[str, Any] | None = None  # of a key: the rest of the entry that it stands in
    entry_stays: bool = True  # without its key; false where an entry must have that key
    before: Callable[[World], None] | None = None  # puts something there before each run

    def value(self, step: str) -> Any:
        return {"set": self.first[0], "changed": self.then[0], "removed": None}[step]

    def expected(self, step: str) -> Any:
        return {"set": self.first[1], "changed": self.then[1], "removed": self.default}[step]


def user(name: str, **more: Any) -> dict[str, Any]:
    """An entry of jupyterhub_home_users."""
    return {"name": name, "password": password(name), **more}


# They are there all the time: an admin, and two with servers to look at.
USERS = [user("mia", admin=True), user("alice"), user("bob")]


def compose(rows: Iterable[Row], step: str) -> dict[str, Any]:
    """The variables of one run."""
    values: dict[str, Any] = {"jupyterhub_home_users": list(USERS)}
    for row in rows:
        name, _, key = row.variable.partition("[].")
        if key and (step != "removed" or row.entry_stays):
            entry = dict(row.entry or {})
            if step != "removed":
                entry[key] = row.value(step)
            values.setdefault(name, []).append(entry)
        elif not key and step != "removed":
            value = row.value(step)
            values[name] = [*values.get(name, []), *value] if isinstance(value, list) else value
    return values


# --- What is looked at ----------------------------------------------------
def lets_in(*names: str) -> Callable[[World], list[str]]:
    """Which of these users can log in."""
    return lambda world: [name for name in names if world.lets_in(name)]


def names_of(*names: str) -> Callable[[World], list[str]]:
    """Which of these names the password of the first one opens."""
    return lambda world: [name for name in names if world.lets_in(name, password(names[0]))]


def passwords_of(name: str, *secrets: str) -> Callable[[World], list[str]]:
    """With which of these passwords a user can log in."""
    return lambda world: [secret for secret in secrets if world.lets_in(name, secret)]


def is_admin(name: str) -> Callable[[World], bool]:
    """Whether the hub's admin page opens for a user."""
    return lambda world: world.session(name).get("/hub/admin").status_code == 200


def groups_of(name: str) -> Callable[[World], list[str]]:
    return lambda world: sorted(world.session(name).model()["groups"])


def admin_enters(world: World) -> int:
    """The status of another user's server for an admin."""
    world.server("alice")
    return world.session("mia").enter("alice").status_code


def open_addresses(world: World) -> list[str]:
    """Those of the machine's addresses on which the hub answers."""
    port = world.variables.get("port", 8000)
    path = f":{port}{world.variables.get('base_url', '/')}hub/health"
    found = [mark for mark, there in world.addresses.items() if answers(f"http://{there}{path}")]
    code = f"import urllib.request as u; u.urlopen('http://127.0.0.1{path}', timeout=10)"
    return found + ["loopback"] * (world.host.run(f'python3 -c "{code}"').rc == 0)


def open_ports(world: World) -> list[int]:
    bound = world.root_url.rpartition(":")[0]
    path = f"{world.variables.get('base_url', '/')}hub/health"
    return [port for port in (8000, 8123, 8124) if answers(f"{bound}:{port}{path}")]


def hub_paths(world: World) -> list[str]:
    """Below which of these paths a hub answers."""
    return [path for path in ("/", "/first/", "/then/deeper/") if answers(f"{world.root_url}{path}hub/health")]


def first_page(world: World) -> str:
    """The page of one's own server that the server's address opens."""
    page = world.server("alice").get("/user/alice/")
    page.raise_for_status()
    return re.sub(r".*/user/alice", "", page.url)


def memory(world: World) -> tuple[int, int]:
    """Memory without and with swap, in MiB."""
    limits = world.server_container("alice")["HostConfig"]
    return limits["Memory"] // MIB, limits["MemorySwap"] // MIB


def processors(world: World) -> float:
    limits = world.server_container("alice")["HostConfig"]
    if limits["NanoCpus"]:
        return float(limits["NanoCpus"] / 1e9)
    return float(limits["CpuQuota"] / limits["CpuPeriod"]) if limits["CpuPeriod"] else 0.0


def processes(world: World) -> int:
    return int(world.server_container("alice")["HostConfig"]["PidsLimit"] or 0)


def culler_timeout(world: World) -> int:
    """The seconds that the running idle culler reads at its next look."""
    settings = world.host.check_output(f"docker exec {world.project}-hub cat /etc/jupyterhub-home/spawner.json")
    return int(json.loads(settings)["idle_timeout"])


def in_server(code: str, name: str = "alice") -> Callable[[World], str]:
    """What a cell prints in a user's server."""
    return lambda world: world.compute(name, code)


# In the home, where a folder was mounted an empty one stays.
MOUNTED = "import os; mounted = {line.split()[4] for line in open('/proc/self/mountinfo')}; "


def content(folder: str) -> str:
    """A cell that prints what is in a folder that is mounted in the server."""
    return f"{MOUNTED}print(*os.listdir('{folder}') if '{folder}' in mounted else ['no folder'])"


def who_has(folder: str) -> Callable[[World], list[str]]:
    """The users in whose servers there is such a folder."""
    return lambda world: [name for name in ("alice", "bob") if world.compute(name, content(folder)) != "no folder"]


WRITE_PROBE = """
try:
    open('/home/jovyan/probe/written', 'w').close()
    print('writable')
except OSError as error:
    print(error.strerror)
"""
TRUST = """
import os
bundle = os.environ.get('PIP_CERT')
last = open(bundle).read().splitlines()[-1] if bundle else 'of the image'
print(last if last.startswith(('#', 'of')) else 'of the machine')
"""


def bases(world: World) -> list[str]:
    """The mark of the base below each running container's image."""
    containers = [world.inspect("hub"), world.inspect("proxy"), world.server_container("alice")]
    return [container["Config"]["Labels"].get("base", "") for container in containers]


def shows_secrets(world: World) -> bool:
    """Whether the run printed the hub's settings, which differ at every step."""
    return "announcement" in world.output


def announcement(world: World) -> str:
    """What the login page announces."""
    page = world.client("alice").get("/hub/login").text
    found = re.search(r'class="[^"]*announcement[^"]*">\s*([^<]*?)\s*<', page)
    return found[1] if found else ""


# --- What has to be there before a run ------------------------------------
BASES = ("household/debian:first", "household/debian:then")


def make_bases(world: World) -> None:
    """Two images that differ from the role's own base by a mark alone, so that layers on it are found built.

    And the own base, which the role has removed while another took its place: making it takes half a minute.
    """
    kept = "household/base:kept"
    if not world.host.file("/srv/own-base").exists:
        own = world.host.check_output(
            f"docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' {PROJECT}/base"
        ).split()[0]
        world.host.check_output(f"docker tag {own} {kept} && echo {own} >/srv/own-base")
        for base in BASES:
            dockerfile = f"FROM {kept}\\nLABEL base={base}\\n"
            world.host.check_output(f"printf '{dockerfile}' | docker build --quiet --tag {base} -")
    world.host.check_output(f"docker tag {kept} $(cat /srv/own-base)")


def add_stranger(world: World) -> None:
    """A user whom an admin adds in the hub itself; one who is still there stays."""
    if not strangers(world):
        answer = world.session("mia").hub("POST", "/users/stranger")
        assert answer.status_code == 201, answer.text


def strangers(world: World) -> list[str]:
    """The hub's users who are not declared, of those that rows add."""
    answer = world.session("mia").hub("GET", "/users")
    answer.raise_for_status()
    return [record["name"] for record in answer.json() if record["name"] == "stranger"]


HOMES = ("leftfirst", "leftthen")


def leave_homes(world: World) -> None:
    """The volumes of two users who are gone."""
    for name in HOMES:
        labels = f"--label jupyterhub-home.project={PROJECT} --label jupyterhub-home.user={name}"
        for volume in (f"{PROJECT}-user-{name}", f"{PROJECT}-user-{name}-home"):
            world.host.check_output(f"docker volume create {labels} {volume}")


def homes(world: World) -> list[str]:
    """Those of the two of whom something is still there."""
    volumes = world.host.check_output("docker volume ls --quiet")
    return [name for name in HOMES if f"{PROJECT}-user-{name}" in volumes]


# Of the passwords hash-first and hash-then.
HASHES = (
    "$6$jhhfirst$2AE30izpbKGxzNorqBcrazxuR3xqAiHe38SBkOTHqyAauFh/s1H/mGMvqyEjuYfdoUPS7D6DM0WHskgqA5qKg.",
    "$6$jhhthen$CjTMRMdbmQGBgOiUQycHLzUHQ.zWGMzXcuaoqXqm1Y0N08GDGOl6ZO6WzyhjhoKm6HUzDa3XFyTeBkHqSXUx3/",
)

ROWS = [
    # --- Who
    Row(
        "jupyterhub_home_users",
        lets_in("newcomer", "latecomer"),
        first=([user("newcomer")], ["newcomer"]),
        then=([user("latecomer")], ["latecomer"]),
        default=[],
    ),
    Row(
        "jupyterhub_home_users[].name",
        names_of("anna", "anna.b"),
        entry={"password": password("anna")},
        entry_stays=False,
        first=("anna", ["anna"]),
        then=("anna.b", ["anna.b"]),
        default=[],
    ),
    Row(
        "jupyterhub_home_users[].password",
        passwords_of("paul", "pass-first", "pass-then"),
        entry={"name": "paul"},
        entry_stays=False,
        first=("pass-first", ["pass-first"]),
        then=("pass-then", ["pass-then"]),
        default=[],
    ),
    Row(
        "jupyterhub_home_users[].password_hash",
        passwords_of("hanna", "hash-first", "hash-then"),
        entry={"name": "hanna"},
        entry_stays=False,
        first=(HASHES[0], ["hash-first"]),
        then=(HASHES[1], ["hash-then"]),
        default=[],
    ),
    Row(
        "jupyterhub_home_users[].admin",
        is_admin("chief"),
        entry=user("chief"),
        first=(True, True),
        then=(False, False),
        default=False,
    ),
    Row(
        "jupyterhub_home_users[].groups",
        groups_of("member"),
        entry=user("member"),
        first=(["family"], ["family"]),
        then=(["children", "guests"], ["children", "guests"]),
        default=[],
    ),
    Row(
        "jupyterhub_home_users[].state",
        lets_in("stayer"),
        entry=user("stayer"),
        first=("absent", []),
        then=("present", ["stayer"]),
        default=["stayer"],
    ),
    Row(
        "jupyterhub_home_undeclared_users",
        strangers,
        before=add_stranger,
        first=("keep", ["stranger"]),
        then=("remove", []),
        default=[],
    ),
    Row(
        "jupyterhub_home_delete_homes",
        homes,
        before=leave_homes,
        first=([HOMES[0]], [HOMES[1]]),
        then=([HOMES[1]], [HOMES[0]]),
        default=list(HOMES),
    ),
    Row("jupyterhub_home_admin_access", admin_enters, first=(False, 403), then=(True, 200), default=200),
    # --- Where
    Row("jupyterhub_home_port", open_ports, first=(8123, [8123]), then=(8124, [8124]), default=[8000]),
    Row(
        "jupyterhub_home_bind_address",
        open_addresses,
        first=(OWN, [OWN]),
        then=(OTHER, [OTHER]),
        default=[OWN, OTHER, "loopback"],
    ),
    Row(
        "jupyterhub_home_base_url",
        hub_paths,
        first=("/first/", ["/first/"]),
        then=("/then/deeper/", ["/then/deeper/"]),
        default=["/"],
    ),
    # --- Servers
    Row(
        "jupyterhub_home_default_url",
        first_page,
        first=("/tree", "/tree"),
        then=("/lab/tree", "/lab/tree"),
        default="/lab",
    ),
    Row("jupyterhub_home_memory_limit", memory, first=("600M", (600, 600)), then=("", (0, 0)), default=(2048, 2048)),
    Row("jupyterhub_home_cpu_limit", processors, first=(1.5, 1.5), then=(0.5, 0.5), default=0.0),
    Row("jupyterhub_home_pids_limit", processes, first=(300, 300), then=(0, 0), default=2048),
    Row("jupyterhub_home_idle_timeout", culler_timeout, first=(3600, 3600), then=(0, 0), default=42000),
    Row(
        "jupyterhub_home_mounts",
        in_server(content("/home/jovyan/whole")),
        first=([{"source": "/srv/first", "target": "/home/jovyan/whole"}], "first.txt"),
        then=(
            [{"source": "/srv/of-{username}", "target": "/home/jovyan/whole", "users": ["alice", "bob"]}],
            "alice.txt",
        ),
        default="no folder",
    ),
    Row(
        "jupyterhub_home_mounts[].source",
        in_server(content("/home/jovyan/source")),
        entry={"target": "/home/jovyan/source"},
        entry_stays=False,
        first=("/srv/first", "first.txt"),
        then=("/srv/then", "then.txt"),
        default="no folder",
    ),
    Row(
        "jupyterhub_home_mounts[].target",
        in_server(f"{MOUNTED}print(*[name for name in ('targeted', 'aimed') if '/home/jovyan/' + name in mounted])"),
        entry={"source": "/srv/first"},
        entry_stays=False,
        first=("/home/jovyan/targeted", "targeted"),
        then=("/home/jovyan/aimed", "aimed"),
        default="",
    ),
    Row(
        "jupyterhub_home_mounts[].users",
        who_has("/home/jovyan/some"),
        entry={"source": "/srv/first", "target": "/home/jovyan/some"},
        first=(["alice"], ["alice"]),
        then=(["bob"], ["bob"]),
        default=["alice", "bob"],
    ),
    Row(
        "jupyterhub_home_mounts[].read_only",
        in_server(WRITE_PROBE),
        entry={"source": "/srv/probe", "target": "/home/jovyan/probe"},
        first=(True, "Read-only file system"),
        then=(False, "writable"),
        default="writable",
    ),
    # --- Images
    Row(
        "jupyterhub_home_user_packages",
        lambda world: world.installed_in_server("alice", "iniconfig"),
        first=(["iniconfig==2.0.0"], "2.0.0"),
        then=(["iniconfig==2.1.0"], "2.1.0"),
        default="",
    ),
    Row(
        "jupyterhub_home_hub_packages",
        lambda world: world.installed("hub", "/opt/hub/bin/python", "iniconfig"),
        first=(["iniconfig==2.1.0"], "2.1.0"),
        then=(["iniconfig==2.0.0"], "2.0.0"),
        default="",
    ),
    Row(
        "jupyterhub_home_base_image",
        bases,
        before=make_bases,
        first=(BASES[0], [BASES[0]] * 3),
        then=(BASES[1], [BASES[1]] * 3),
        default=[""] * 3,
    ),
    Row(
        "jupyterhub_home_ca_bundle",
        in_server(TRUST),
        first=("/etc/ssl/first.pem", "# first"),
        then=("/etc/ssl/then.pem", "# then"),
        default="of the machine",
    ),
    # --- Anything else
    Row(
        "jupyterhub_home_config",
        announcement,
        first=({"JupyterHub": {"template_vars": {"announcement": "Cake at four"}}}, "Cake at four"),
        then=({"JupyterHub": {"template_vars": {"announcement": "Tea at five"}}}, "Tea at five"),
        default="",
    ),
    Row(
        "jupyterhub_home_extra_config",
        in_server("import os; print(os.environ.get('HOUSE'))"),
        first=("c.Spawner.environment = {'HOUSE': 'first'}", "first"),
        then=("c.Spawner.environment = {'HOUSE': 'then'}", "then"),
        default="None",
    ),
    Row("jupyterhub_home_secure_logging", shows_secrets, first=(False, True), then=(True, False), default=False),
]

# Variables that cannot be set together with the others, and the function in test_variables.py that tests each.
ELSEWHERE = {
    "jupyterhub_home_users[].renamed_from": "test_a_renamed_user_finds_the_old_files",
    "jupyterhub_home_allow_no_users": "test_no_users",
    "jupyterhub_home_allow_mass_removal": "test_many_users_at_once",
    "jupyterhub_home_project": "test_a_second_hub",
    "jupyterhub_home_directory": "test_a_second_hub",
    "jupyterhub_home_user_image": "test_a_second_hub",
    "jupyterhub_home_delete_data": "test_removing_the_second_hub",
    "jupyterhub_home_docker_source": "test_docker_source",
    "jupyterhub_home_free_disk_min": "test_free_disk",
    "jupyterhub_home_trial": "test_trial",
}
