"""A user wants from their notebook to others' servers, the machine and the home; a device at home, to containers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from client import wait_until
from conftest import ClientFactory
from machine import address, playbook
from programs import LISTEN, LOOPBACK, TRY
from testinfra.host import Host

PROJECT = "jupyterhub-home"
# Whether the stage shares the variables of molecule/shared.
SHARED = False
UNIT, TABLE = f"{PROJECT}-walls", f"jhh-{PROJECT}"
OWN_PORT, SERVICE_PORT = 9999, 2222  # of bob's in his server; of a service on the machine, as SSH is
# On the other machine, which plays a device, a router and a cloud: addresses of every kind that is not the internet.
ELSEWHERE = ("10.99.0.9", "192.168.77.9", "100.64.0.9", "169.254.169.254")
NEIGHBOUR = "198.51.100.9"  # a public one of the machine's own network


class Attack(NamedTuple):
    """What the attacker wants: from where (alice's notebook or the other machine), against what."""

    id: str
    target: Callable[[Home], tuple[str, int]]
    kind: str = "tcp"
    from_lan: bool = False


class Home:
    """The machine, two users with servers, and another machine of the same network."""

    def __init__(self, host: Host, serve: ClientFactory) -> None:
        self.host, self.lan = host, f"{host.backend.name}-lan"
        self.alice, self.bob = serve("alice"), serve("bob")

    def come_back(self) -> None:
        """Docker has its own rules again, and alice a server."""
        self.host.check_output("systemctl reset-failed docker; systemctl restart docker")
        wait_until(lambda: self.alice.get("/hub/health").ok, "the hub")
        if self.alice.server() is None:
            self.alice.spawn()
        self.alice.enter().raise_for_status()

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

    def come_to(self, targets: list[tuple[str, str, int]], seconds: float = 4, *, from_lan: bool = False) -> list[str]:
        """What attempts at (kind, address, port) come to, from alice's notebook or the other machine."""
        code = TRY.format(targets=[list(one) for one in targets], seconds=seconds)
        found: list[str] = json.loads(self.on_lan("python3", "-c", code) if from_lan else self.alice.run(code))
        return found

    def reaches(self, where: str, port: int, seconds: float = 4, *, kind: str = "tcp") -> bool:
        """Whether alice's notebook reaches a port."""
        return self.come_to([(kind, where, port)], seconds) == ["reached"]

    def attacked(self, seconds: float = 4) -> dict[str, str]:
        """What each attack comes to, all of them at once."""
        found: dict[str, str] = {}
        for from_lan in (False, True):
            attacks = [one for one in ATTACKS if one.from_lan is from_lan]
            targets = [(one.kind, *one.target(self)) for one in attacks]
            outcomes = self.come_to(targets, seconds, from_lan=from_lan)
            found |= {one.id: outcome for one, outcome in zip(attacks, outcomes, strict=True)}
        return found


ATTACKS = [
    # --- From a notebook: other users, and the hub's own parts --------------------------------------------------
    Attack("the Jupyter of another user", lambda home: (f"{PROJECT}-user-bob", 8888)),
    Attack("the Jupyter of another user, by address", lambda home: (home.of("user-bob"), 8888)),
    Attack("what another user serves for themselves", lambda home: (home.of("user-bob"), OWN_PORT)),
    Attack("what another user serves by UDP", lambda home: (home.of("user-bob"), OWN_PORT), kind="udp"),
    Attack("the routes of the proxy", lambda home: ("proxy", 8001)),
    Attack("the proxy past the published port", lambda home: ("proxy", 8000)),
    Attack("another port of the hub's container", lambda home: ("hub", SERVICE_PORT)),
    # --- From a notebook: the machine ---------------------------------------------------------------------------
    Attack("a service of the machine through the gateway", lambda home: (home.gateway, SERVICE_PORT)),
    Attack("a service of the machine by its address at home", lambda home: (address(home.host), SERVICE_PORT)),
    Attack("a service of the machine by another of its addresses", lambda home: (docker0(home), SERVICE_PORT)),
    Attack("a service of the machine by UDP", lambda home: (home.gateway, SERVICE_PORT), kind="udp"),
    Attack("the hub's published port from within", lambda home: (address(home.host), 8000)),
    Attack("the published port of another container", lambda home: (address(home.host), 5432)),
    # --- From a notebook: the home ------------------------------------------------------------------------------
    Attack("a device at home", lambda home: (home.lan_address, 445)),
    Attack("a device at home by UDP", lambda home: (home.lan_address, 445), kind="udp"),
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
    return str(home.host.check_output("docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}'"))


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


@pytest.fixture(scope="class")
def no_walls(home: Home) -> Iterator[None]:
    """They are away, and nothing puts them back."""
    home.host.check_output(f"systemctl stop {UNIT} && nft delete table inet {TABLE}")
    yield
    home.host.check_output(f"systemctl start {UNIT}")
    assert walls_there(home.host)


@pytest.fixture(scope="class")
def outcomes(home: Home) -> dict[str, str]:
    return home.attacked()


@pytest.fixture(scope="class")
def outcomes_without(home: Home, no_walls: None) -> dict[str, str]:
    return home.attacked(seconds=20)


class TestWithWalls:
    """Every attack is stopped: nothing comes back, neither an answer nor a refusal."""

    @pytest.mark.parametrize("attack", [one.id for one in ATTACKS])
    def test_is_stopped(self, outcomes: dict[str, str], attack: str) -> None:
        assert outcomes[attack] == "stopped: timed out"


@pytest.mark.usefixtures("no_walls")
class TestWithoutWalls:
    """The same attacks, with the walls taken away: each gets through."""

    @pytest.mark.parametrize("attack", [one.id for one in ATTACKS])
    def test_gets_through(self, outcomes_without: dict[str, str], attack: str) -> None:
        assert outcomes_without[attack] == "reached"

    def test_a_flushed_firewall_stays_so(self, home: Home) -> None:
        """What puts walls back after a flush is their unit, and nothing else."""
        home.host.check_output("nft add table inet other; nft delete table inet other")
        assert not walls_there(home.host)


class TestInReach:
    """What a notebook needs."""

    def test_the_hub(self, home: Home) -> None:
        assert home.reaches("hub", 8081, 20)

    def test_names_and_the_internet(self, home: Home) -> None:
        form = "$(REPO_URI)dists/$(RELEASE)/Release"
        where = home.host.check_output(f"apt-get indextargets --format '{form}' | head -n 1")
        assert home.alice.run(f"import urllib.request as u; u.urlopen('{where}', timeout=30).status") == "200"

    def test_the_published_port_from_the_home_network(self, home: Home) -> None:
        assert home.come_to([("tcp", address(home.host), 8000)], 20, from_lan=True) == ["reached"]


def test_only_names_are_asked_of_a_resolver_at_home(home: Home) -> None:
    """A router that answers for names is asked for them, and is closed otherwise."""
    resolvers = home.host.check_output("cat /etc/resolv.conf")
    home.host.check_output(f"echo nameserver {home.lan_address} >/etc/resolv.conf")
    try:
        home.host.check_output(f"systemctl restart {UNIT}")
        assert home.reaches(home.lan_address, 53, 20)
        assert home.reaches(home.lan_address, 53, 20, kind="udp")
        assert not home.reaches(home.lan_address, 445)
    finally:
        home.host.check_output("printf '%%s\\n' %s >/etc/resolv.conf", resolvers)
        home.host.check_output(f"systemctl restart {UNIT}")
    assert not home.reaches(home.lan_address, 53)


def test_a_neighbour_wants_what_the_machine_serves_to_itself(home: Home) -> None:
    """Docker takes a frame to 127.0.0.1 for one to a published port, whoever sent it."""
    done = playbook(home.host, {"jupyterhub_home_bind_address": "127.0.0.1"}, shared=SHARED)
    assert done.returncode == 0, done.stdout[-3000:]
    mac = home.host.file("/sys/class/net/eth0/address").content_string.strip()
    known = {"own": home.lan_address, "address": address(home.host), "mac": mac}
    knock = ("python3", "-c", LOOPBACK.format(**known, port=8000, seconds=6))
    assert home.on_lan(*knock) == "stopped\n"
    home.host.check_output(f"systemctl stop {UNIT} && nft delete table inet {TABLE}")
    try:
        assert home.on_lan(*knock) == "reached\n"
    finally:
        home.host.check_output(f"systemctl start {UNIT}")
        done = playbook(home.host, {}, shared=SHARED)
    assert done.returncode == 0, done.stdout[-3000:]


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
    right = home.host.check_output(f"nft --stateless list table inet {TABLE}")
    home.host.check_output(f"systemctl reset-failed docker {UNIT}; {moment}")
    wait_until(lambda: home.host.run(f"nft --stateless list table inet {TABLE}").stdout.strip() == right, "the walls")
    home.come_back()
    assert not home.reaches(home.lan_address, 445)
    assert home.reaches("hub", 8081, 20)


def as_before(home: Home, right: str) -> None:
    """Beside another firewall: the same rules, nothing at home in reach, the hub in reach from both sides."""
    assert home.host.check_output(f"nft --stateless list table inet {TABLE}") == right
    assert not home.reaches(home.lan_address, 445)
    assert home.reaches("hub", 8081, 20)
    assert home.come_to([("tcp", address(home.host), 8000)], 20, from_lan=True) == ["reached"]


def test_beside_ufw(home: Home) -> None:
    """Another firewall of Debian's that begins, and takes up its rules again."""
    right = home.host.check_output(f"nft --stateless list table inet {TABLE}")
    install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends"
    home.host.check_output(f"apt-get -qq update && {install} ufw")
    try:
        for change in ("ufw allow 8000/tcp && ufw --force enable", "ufw reload"):
            home.host.check_output(change)
            as_before(home, right)
    finally:
        home.host.check_output("ufw --force disable; apt-get -qq purge ufw")
    home.come_back()
    assert not home.reaches(home.lan_address, 445)


def test_beside_firewalld(home: Home) -> None:
    """One that brings chains and a policy of its own. Docker looks for it only when Docker starts."""
    right = home.host.check_output(f"nft --stateless list table inet {TABLE}")
    install = "DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends"
    home.host.check_output(f"apt-get -qq update && {install} firewalld")
    try:
        home.host.check_output("systemctl restart firewalld")
        home.come_back()
        for change in ("true", "firewall-cmd --reload", "firewall-cmd --complete-reload"):
            home.host.check_output(change)
            wait_until(lambda: home.alice.get("/hub/health").ok, "the hub")
            as_before(home, right)
    finally:
        home.host.check_output("systemctl stop firewalld; apt-get -qq purge firewalld")
        home.come_back()
    assert not home.reaches(home.lan_address, 445)


def test_walls_that_cannot_be_set_leave_nothing_open(home: Home) -> None:
    """Without nft: the network of all servers is down until it is there again."""
    container, device = f"{PROJECT}-user-alice", home.lan_address

    def attempt() -> str:
        code = TRY.format(targets=[["tcp", device, 445]], seconds=4)
        return str(home.host.check_output("docker exec %s python3 -c %s", container, code))

    home.host.check_output(f"systemctl stop {UNIT}; nft delete table inet {TABLE}")
    assert "reached" in attempt(), "as it would be without them"
    home.host.check_output(f"mv /usr/sbin/nft /usr/sbin/nft-away; systemctl start --no-block {UNIT}")
    try:
        wait_until(lambda: "reached" not in attempt(), "the network cut off")
    finally:
        home.host.check_output(f"mv /usr/sbin/nft-away /usr/sbin/nft; systemctl restart {UNIT}")
    home.come_back()
    assert not home.reaches(device, 445) and home.reaches("hub", 8081, 20)


def test_what_an_owner_opens_is_open_and_nothing_else(home: Home) -> None:
    """A NAS by its address and port; everything at home but the machine itself."""
    device = home.lan_address
    network = f"{device.rsplit('.', 2)[0]}.0.0/16"
    for allow, opened in (
        ([f"{device}:445"], [True, False, False]),
        ([network], [True, True, False]),
        ([], [False] * 3),
    ):
        done = playbook(home.host, {"jupyterhub_home_allow": allow}, shared=SHARED)
        assert done.returncode == 0, done.stdout[-3000:]
        found = home.come_to([("tcp", device, 445), ("tcp", device, 53), ("tcp", address(home.host), SERVICE_PORT)])
        assert [one == "reached" for one in found] == opened, allow


def test_a_run_says_what_somebody_did_to_the_walls(home: Home) -> None:
    home.host.check_output(f"systemctl stop {UNIT}; nft insert rule inet {TABLE} out accept")
    assert home.reaches(home.lan_address, 445, 20)
    done = playbook(home.host, {}, shared=SHARED)
    assert f"the firewall rules around servers of {PROJECT} were edited." in done.stdout
    assert not home.reaches(home.lan_address, 445)
    again = playbook(home.host, {}, shared=SHARED)
    assert re.search(r"\bchanged=0\b.*\bfailed=0\b", again.stdout), again.stdout[-3000:]
