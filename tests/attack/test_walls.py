"""A user wants to get from their notebook to others' servers, the machine and the home; a device there, to containers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from client import wait_until
from conftest import ClientFactory
from machine import address
from testinfra.host import Host

PROJECT = "jupyterhub-home"
UNIT, TABLE = f"{PROJECT}-walls", f"jhh-{PROJECT}"
OWN_PORT, SERVICE_PORT = 9999, 2222  # of bob's in his server; of a service on the machine, as SSH is
# On the other machine, which plays a device, a router and a cloud: addresses of every kind that is not the internet.
ELSEWHERE = ("10.99.0.9", "192.168.77.9", "100.64.0.9", "169.254.169.254")
NEIGHBOUR = "198.51.100.9"  # a public one of the machine's own network

CONNECT = """
import socket
try:
    socket.create_connection(({host!r}, {port}), timeout={seconds}).close()
    print('reached')
except ConnectionRefusedError:
    print('reached')  # whoever refuses has been reached
except OSError as error:
    print('stopped by', error)
"""
ASK = """
import socket
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.settimeout({seconds})
try:
    asking.sendto(b'you', ({host!r}, {port}))
    print('reached', asking.recv(9))
except OSError as error:
    print('stopped by', error)
"""
LISTEN = """
import socketserver, threading
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        if isinstance(self.request, tuple):
            self.request[1].sendto(b'me', self.client_address)
for port in {ports}:
    for kind in (socketserver.ThreadingTCPServer, socketserver.ThreadingUDPServer):
        kind.allow_reuse_address = True
        threading.Thread(target=kind(('0.0.0.0', port), Answer).serve_forever{daemon}).start()
"""


class Attack(NamedTuple):
    """What the attacker wants: what runs, from where (alice's notebook or the other machine), against what."""

    id: str
    target: Callable[[Home], tuple[str, int]]
    code: str = CONNECT
    from_lan: bool = False


class Home:
    """The machine, two users with servers, and another machine of the same network."""

    def __init__(self, host: Host, serve: ClientFactory) -> None:
        self.host, self.lan = host, f"{host.backend.name}-lan"
        self.alice, self.bob = serve("alice"), serve("bob")

    def on_lan(self, *command: str) -> str:
        """What a command prints on the other machine."""
        done = subprocess.run(("docker", "exec", self.lan, *command), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def lan_address(self) -> str:
        return self.on_lan("hostname", "-I").split()[0]

    def container(self, name: str) -> dict[str, Any]:
        """What Docker knows of a container's one network."""
        form = "{{json .NetworkSettings.Networks}}"
        networks = json.loads(self.host.check_output(f"docker inspect --format '{form}' {name}"))
        found: dict[str, Any] = next(iter(networks.values()))
        return found

    def of(self, service: str) -> str:
        """The address of a container of the project."""
        return str(self.container(f"{PROJECT}-{service}")["IPAddress"])

    @property
    def gateway(self) -> str:
        return str(self.container(f"{PROJECT}-hub")["Gateway"])

    def tries(self, attack: Attack, seconds: float = 3) -> str:
        """What comes of an attack."""
        where, port = attack.target(self)
        code = attack.code.format(host=where, port=port, seconds=seconds)
        return self.on_lan("python3", "-c", code) if attack.from_lan else self.alice.run(code)

    def reaches(self, where: str, port: int, seconds: float = 3) -> bool:
        """Whether alice's notebook reaches a port."""
        return "reached" in self.alice.run(CONNECT.format(host=where, port=port, seconds=seconds))


ATTACKS = [
    # --- From a notebook: other users, and the hub's own parts --------------------------------------------------
    Attack("the Jupyter of another user", lambda home: (f"{PROJECT}-user-bob", 8888)),
    Attack("the Jupyter of another user, by address", lambda home: (home.of("user-bob"), 8888)),
    Attack("what another user serves for themselves", lambda home: (home.of("user-bob"), OWN_PORT)),
    Attack("what another user serves by UDP", lambda home: (home.of("user-bob"), OWN_PORT), code=ASK),
    Attack("the routes of the proxy", lambda home: ("proxy", 8001)),
    Attack("the proxy past the published port", lambda home: ("proxy", 8000)),
    Attack("another port of the hub's container", lambda home: ("hub", SERVICE_PORT)),
    # --- From a notebook: the machine ---------------------------------------------------------------------------
    Attack("a service of the machine through the gateway", lambda home: (home.gateway, SERVICE_PORT)),
    Attack("a service of the machine by its address at home", lambda home: (address(home.host), SERVICE_PORT)),
    Attack("a service of the machine by another of its addresses", lambda home: (docker0(home), SERVICE_PORT)),
    Attack("a service of the machine by UDP", lambda home: (home.gateway, SERVICE_PORT), code=ASK),
    Attack("the hub's published port from within", lambda home: (address(home.host), 8000)),
    Attack("the published port of another container", lambda home: (address(home.host), 5432)),
    Attack("another container by its own address", lambda home: (str(home.container("household")["IPAddress"]), 80)),
    # --- From a notebook: the home ------------------------------------------------------------------------------
    Attack("a device at home", lambda home: (home.lan_address, 445)),
    Attack("a device at home by UDP", lambda home: (home.lan_address, 445), code=ASK),
    Attack("the router", lambda home: (home.host.check_output("ip route show default").split()[2], 9)),
    *(
        Attack(f"{what} ({where})", lambda home, where=where: (where, 445))  # type: ignore[misc]
        for what, where in zip(("a work network behind a VPN", "another home network", "the provider's network",
                                "the metadata of a cloud"), ELSEWHERE, strict=True)
    ),
    Attack("a neighbour with a public address", lambda home: (NEIGHBOUR, 445)),
    # --- From another device, past the published port -------------------------------------------------------------
    Attack("the hub's API from the home network", lambda home: (home.of("hub"), 8081), from_lan=True),
    Attack("the routes of the proxy from the home network", lambda home: (home.of("proxy"), 8001), from_lan=True),
    Attack("the proxy's own port from the home network", lambda home: (home.of("proxy"), 8000), from_lan=True),
    Attack("a user's Jupyter from the home network", lambda home: (home.of("user-bob"), 8888), from_lan=True),
    Attack("what a user serves from the home network", lambda home: (home.of("user-bob"), OWN_PORT), from_lan=True),
]  # fmt: skip


def docker0(home: Home) -> str:
    return home.host.check_output("docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}'")


@pytest.fixture(scope="module")
def home(host: Host, serve: ClientFactory) -> Iterator[Home]:
    """Everything that is attacked listens; and the machine forwards what nobody forbids, as routers do."""
    home = Home(host, serve)
    image = subprocess.check_output(("docker", "inspect", "--format", "{{.Image}}", host.backend.name), text=True)
    subprocess.run(("docker", "rm", "--force", home.lan), capture_output=True, check=False)
    listens = LISTEN.format(ports=(53, 445), daemon="")
    subprocess.run(
        ("docker", "run", "--detach", f"--name={home.lan}", "--cap-add=NET_ADMIN", "--entrypoint=python3",
         image.strip(), "-c", listens), check=True, capture_output=True,
    )  # fmt: skip
    bobs = home.bob.kernel()
    bobs.execute(LISTEN.format(ports=(OWN_PORT,), daemon=", daemon=True"))
    hub = host.check_output(f"docker inspect --format '{{{{.Image}}}}' {PROJECT}-hub")
    own = home.of("hub").rsplit(".", 2)[0] + ".0.0/16"
    for command in (
        f'systemd-run --quiet --unit=household python3 -c "{LISTEN.format(ports=(SERVICE_PORT,), daemon="")}"',
        "docker rm --force household >/dev/null 2>&1 || true",
        f"docker run --detach --name household --publish 5432:80 {hub} python3 -m http.server 80 --directory /tmp",
        "iptables -P FORWARD ACCEPT",
        "ip address replace 198.51.100.1/24 dev eth0",
        *(f"ip route replace {there} via {home.lan_address}" for there in ELSEWHERE),
        f"systemctl restart {UNIT}",
    ):
        host.check_output(command)
    for one in (*ELSEWHERE, f"{NEIGHBOUR}/24"):
        home.on_lan("ip", "address", "replace", one, "dev", "eth0")
    home.on_lan("ip", "route", "replace", own, "via", address(host))
    yield home
    bobs.close()
    for command in (
        "systemctl stop household", "docker rm --force household", "iptables -P FORWARD DROP",
        "ip address delete 198.51.100.1/24 dev eth0", *(f"ip route delete {there}" for there in ELSEWHERE),
    ):  # fmt: skip
        host.run(command)
    subprocess.run(("docker", "rm", "--force", home.lan), capture_output=True, check=False)


def walls_there(host: Host) -> bool:
    return bool(host.run(f"nft list table inet {TABLE}").succeeded)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_is_stopped(home: Home, attack: Attack) -> None:
    assert "stopped by timed out" in home.tries(attack)


class TestWithoutWalls:
    """The same attacks, with the walls taken away: each gets through."""

    @pytest.fixture(scope="class", autouse=True)
    def no_walls(self, home: Home) -> Iterator[None]:
        """They are away, and nothing puts them back."""
        home.host.check_output(f"systemctl stop {UNIT} && nft delete table inet {TABLE}")
        yield
        home.host.check_output(f"systemctl start {UNIT}")
        assert walls_there(home.host)

    @pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
    def test_gets_through(self, home: Home, attack: Attack) -> None:
        assert "reached" in home.tries(attack, seconds=20)

    def test_a_flushed_firewall_stays_so(self, home: Home) -> None:
        """What puts walls back after a flush is their unit, and nothing else."""
        home.host.check_output("nft add table inet other; nft delete table inet other")
        assert not walls_there(home.host)


class TestInReach:
    """What a notebook needs."""

    def test_the_hub(self, home: Home) -> None:
        assert home.reaches("hub", 8081, 20)

    def test_names_and_the_internet(self, home: Home) -> None:
        where = home.host.check_output("apt-get indextargets --format '$(REPO_URI)' | head -n 1")
        assert home.alice.run(f"import urllib.request as u; u.urlopen('{where}dists/', timeout=30).status") == "200"

    def test_the_published_port_from_the_home_network(self, home: Home) -> None:
        code = CONNECT.format(host=address(home.host), port=8000, seconds=20)
        assert "reached" in home.on_lan("python3", "-c", code)


def test_only_names_are_asked_of_a_resolver_at_home(home: Home) -> None:
    """A router that answers for names is asked for them, and is closed otherwise."""
    resolvers = home.host.check_output("cat /etc/resolv.conf")
    home.host.check_output(f"echo nameserver {home.lan_address} >/etc/resolv.conf")
    try:
        home.host.check_output(f"systemctl restart {UNIT}")
        assert home.reaches(home.lan_address, 53, 20)
        assert "reached" in home.alice.run(ASK.format(host=home.lan_address, port=53, seconds=20))
        assert not home.reaches(home.lan_address, 445)
    finally:
        home.host.check_output("printf '%%s\\n' %s >/etc/resolv.conf", resolvers)
        home.host.check_output(f"systemctl restart {UNIT}")
    assert not home.reaches(home.lan_address, 53)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("nft flush ruleset", id="all rules flushed"),
        pytest.param("systemctl restart nftables", id="nftables restarted"),  # with Debian's own /etc/nftables.conf
        pytest.param("systemctl stop nftables", id="nftables stopped"),
        pytest.param(f"nft flush table inet {TABLE}", id="the walls flushed"),
        pytest.param(f"nft insert rule inet {TABLE} out accept", id="a hole made"),
        pytest.param(f"systemctl kill --signal KILL {UNIT}; nft delete table inet {TABLE}", id="their keeper killed"),
        pytest.param("iptables -F; iptables -t nat -F", id="Docker's rules flushed"),
        pytest.param("systemctl restart docker", id="Docker restarted"),
    ],
)
def test_a_moment_without_walls_ends(home: Home, moment: str) -> None:
    attack = next(one for one in ATTACKS if one.id == "a device at home")
    right = home.host.check_output(f"nft --stateless list table inet {TABLE}")
    home.host.check_output(f"systemctl reset-failed docker {UNIT}; {moment}")
    wait_until(lambda: home.host.run(f"nft --stateless list table inet {TABLE}").stdout.strip() == right, "the walls")
    if "docker" in moment or "flush ruleset" in moment or "iptables" in moment or "nftables" in moment:
        home.host.check_output("systemctl reset-failed docker; systemctl restart docker")  # its own rules, to get out
        wait_until(lambda: home.alice.get("/hub/health").ok, "the hub")
    if home.alice.server() is None:
        home.alice.spawn()
    home.alice.enter()
    assert "stopped by timed out" in home.tries(attack)
