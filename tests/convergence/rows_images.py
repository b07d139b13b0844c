"""What the images have: packages, their base, the bundle of certificates."""

from __future__ import annotations

from rows import Row, in_server
from world import PROJECT, World

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


ROWS = [
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
]
