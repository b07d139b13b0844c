"""Anything else: JupyterHub's own configuration, and what a run prints of it."""

from __future__ import annotations

import re

from rows import Row, in_server
from world import World


def shows_secrets(world: World) -> bool:
    """Whether the run printed the hub's settings, which differ at every step."""
    return "announcement" in world.output


def announcement(world: World) -> str:
    """What the login page announces."""
    page = world.client("alice").get("/hub/login").text
    found = re.search(r'class="[^"]*announcement[^"]*">\s*([^<]*?)\s*<', page)
    return found[1] if found else ""


def with_the_socket(world: World) -> list[str]:
    """The services that have the engine's socket."""
    has = "docker inspect --format '{{{{range .Mounts}}}}{{{{println .Source}}}}{{{{end}}}}' {}-{}"
    services = ("guard", "hub", "proxy")
    return [name for name in services if "docker.sock" in world.host.check_output(has.format(world.project, name))]


ROWS = [
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
    Row(
        "jupyterhub_home_guard",
        with_the_socket,
        first=(True, ["guard"]),
        then=(False, ["guard", "hub"]),
        default=["guard"],
    ),
    Row("jupyterhub_home_secure_logging", shows_secrets, first=(True, False), then=(False, True), default=False),
]
