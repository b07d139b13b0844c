"""Who uses the hub: what is set for users, and who they are then."""

from __future__ import annotations

from collections.abc import Callable

from rows import Row, in_server, user
from world import PROJECT, World, password


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


HOMES, ARCHIVED = ("leftfirst", "leftthen"), ("tarfirst", "tarthen")


def leave_homes(world: World) -> None:
    """The volumes of users who are gone."""
    for name in (*HOMES, *ARCHIVED):
        labels = f"--label jupyterhub-home.project={PROJECT} --label jupyterhub-home.user={name}"
        for volume in (f"{PROJECT}-user-{name}", f"{PROJECT}-user-{name}-home"):
            world.host.check_output(f"docker volume create {labels} {volume}")


def homes_of(names: tuple[str, ...]) -> Callable[[World], list[str]]:
    """Those of the names of whom something is still there."""

    def homes(world: World) -> list[str]:
        volumes = world.host.check_output("docker volume ls --quiet")
        return [name for name in names if f"{PROJECT}-user-{name}" in volumes]

    return homes


# Prints a server's uid, and which files in home and work folder are another's. From the second time on there are some.
UID = """
import os, subprocess
for path in ('/home/jovyan/kept', '/home/jovyan/work/kept'):
    open(path, 'a').close()
    os.chmod(path, 0o600)
others = 'find /home/jovyan /home/jovyan/work -xdev -type f ! -user $(id -u)'
print(os.getuid(), *subprocess.getoutput(others).split())
"""
# Of the passwords hash-first and hash-then.
HASHES = (
    "$6$jhhfirst$2AE30izpbKGxzNorqBcrazxuR3xqAiHe38SBkOTHqyAauFh/s1H/mGMvqyEjuYfdoUPS7D6DM0WHskgqA5qKg.",
    "$6$jhhthen$CjTMRMdbmQGBgOiUQycHLzUHQ.zWGMzXcuaoqXqm1Y0N08GDGOl6ZO6WzyhjhoKm6HUzDa3XFyTeBkHqSXUx3/",
)
ROWS = [
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
        first=(False, False),
        then=(True, True),
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
        "jupyterhub_home_users[].uid",
        in_server(UID, "numbered"),
        entry=user("numbered"),
        first=(1501, "1501"),
        then=(60000, "60000"),
        default="1000",
    ),
    Row(
        "jupyterhub_home_users[].state",
        lets_in("stayer"),
        entry=user("stayer"),
        first=("present", ["stayer"]),
        then=("absent", []),
        default=["stayer"],
    ),
    Row(
        "jupyterhub_home_undeclared_users",
        strangers,
        before=add_stranger,
        first=("remove", []),
        then=("keep", ["stranger"]),
        default=[],
    ),
    Row(
        "jupyterhub_home_delete_homes",
        homes_of(HOMES),
        before=leave_homes,
        first=([HOMES[0]], [HOMES[1]]),
        then=([HOMES[1]], [HOMES[0]]),
        default=list(HOMES),
    ),
    Row(
        "jupyterhub_home_archive_homes",
        homes_of(ARCHIVED),
        first=([ARCHIVED[0]], [ARCHIVED[1]]),
        then=([ARCHIVED[1]], [ARCHIVED[0]]),
        default=list(ARCHIVED),
    ),
    Row("jupyterhub_home_admin_access", admin_enters, first=(True, 200), then=(False, 403), default=200),
]
