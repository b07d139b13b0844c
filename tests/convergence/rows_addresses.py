"""Where the hub answers."""

from __future__ import annotations

from rows import Row
from world import OTHER, OWN, World, answers


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


# Where nobody listens: what gets through is refused, and what does not is heard of no more.
TRY = """
import socket
found = []
for port in (9, 7):
    try:
        socket.create_connection(({address!r}, port), timeout=3)
    except ConnectionRefusedError:
        found.append(port)
    except OSError:
        pass
found
"""


def open_to_servers(world: World) -> str:
    """Which of two ports of the machine itself a server reaches."""
    return world.compute("alice", TRY.format(address=world.addresses[OWN]))


def subnet(world: World) -> str:
    """Of the network in which the hub is."""
    form = "{{(index .IPAM.Config 0).Subnet}}"
    found: str = world.host.check_output(f"docker network inspect --format '{form}' {world.project}")
    return found


ROWS = [
    Row("jupyterhub_home_allow", open_to_servers, first=([f"{OWN}:9"], "[9]"), then=([OWN], "[9, 7]"), default="[]"),
    Row(
        "jupyterhub_home_subnet",
        subnet,
        first=("10.88.0.0/24", "10.88.0.0/24"),
        then=("10.89.0.0/16", "10.89.0.0/16"),
        default="10.77.0.0/20",
    ),
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
]
