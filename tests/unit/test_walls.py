"""plugin_utils/walls, module_utils/walls_facts and the program `walls`: rules, what is opened, what is in the way."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import contract, walls_facts
from ansible_collections.jupyterhub.home.plugins.module_utils.network import addresses
from ansible_collections.jupyterhub.home.plugins.plugin_utils import walls
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import Report
from conftest import ROLE, Program

SETTINGS: dict[str, Any] = {"project": "home", "directory": "/opt/home", "allow": [], "subnet": ""}
LABEL = "br-jhh-00000000 chosen 10.77.0.0/20"
PROJECT = {"network": "none", "bridge": "br-0123"}
ROUTES = [{"to": "192.168.1.0/24", "by": "eth0"}, {"to": "10.77.0.0/16", "by": "wg0"}]


@pytest.mark.parametrize(
    ("text", "network", "port"),
    [
        ("192.168.1.5", "192.168.1.5/32", None),
        ("192.168.1.5:445", "192.168.1.5/32", 445),
        ("192.168.1.0/24", "192.168.1.0/24", None),
        ("192.168.1.0/24:22", "192.168.1.0/24", 22),
        ("fd00::5", "fd00::5/128", None),
        ("[fd00::5]", "fd00::5/128", None),
        ("[fd00::5]:443", "fd00::5/128", 443),
        ("[fd00::/64]:443", "fd00::/64", 443),
        ("0.0.0.0/0", "0.0.0.0/0", None),
    ],
)
def test_what_can_be_opened(text: str, network: str, port: int | None) -> None:
    opening = walls.opening_of(text)
    assert opening and (str(opening.network), opening.port) == (network, port)


@pytest.mark.parametrize(
    "text",
    ["", "nas", "nas:445", "192.168.1.5:", "192.168.1.5:0", "192.168.1.5:65536", "192.168.1.5/24", "192.168.1", "lan",
     "[192.168.1.5", "fd00::5/64", "192.168.1.5 ", "192.168.1.5\n", "http://192.168.1.5", "192.168.1.5:445/tcp",
     "192.168.1.5; flush ruleset", "[fd00::5]:x"],
)  # fmt: skip
def test_what_cannot(text: str) -> None:
    assert walls.opening_of(text) is None
    good, report = {**SETTINGS, "allow": [text]}, Report()
    walls.check_walls(good, report)
    assert len(report.mistakes) == 1 and good["allow"] == []


def test_a_network_opens_other_machines_and_an_address_this_one_too() -> None:
    assert walls.openings(["192.168.1.5", "192.168.1.0/24:22", "[fd00::5]:443"]) == [
        "ct original ip daddr 192.168.1.5 accept",
        "fib daddr type != local ip daddr 192.168.1.0/24 meta l4proto { tcp, udp } ct original proto-dst 22 accept",
        "meta l4proto { tcp, udp } ct original proto-dst 443 ct original ip6 daddr fd00::5 accept",
    ]


def test_the_rules_know_the_interface_and_the_services() -> None:
    text = walls.rules({**SETTINGS, "allow": ["192.168.1.5:445"]}, LABEL)
    bridge = contract.bridge("home")
    assert len(bridge) <= 15 and bridge != contract.bridge("lab")
    for line in (f'iifname "{bridge}" oifname "{bridge}" goto between', f'iifname "{bridge}" goto out',
                 f'oifname "{bridge}" goto in', f'iifname "{bridge}" goto host'):  # fmt: skip
        assert text.count(f"        {line}\n") == 1
    assert "ip saddr { 10.77.0.2, 10.77.0.3, 10.77.0.10 } accept" in text
    assert "ip daddr { 10.77.0.2, 10.77.0.10 } tcp dport 8081 accept" in text
    assert "ct original ip daddr 192.168.1.5 accept" in text
    assert walls.rules(SETTINGS, LABEL).count("445") == 0
    # All of it in one transaction: there is no moment without.
    assert text.index("delete table inet jhh-home\n") < text.index("table inet jhh-home {")


@pytest.mark.parametrize(
    ("subnet", "problem"),
    [
        ("10.77.0.0/24", ""),
        ("172.20.0.0/16", ""),
        ("192.168.9.0/26", ""),
        ("192.168.9.0/27", "has too few addresses for hub, proxy and servers: fewer than 64"),
        ("10.77.0.1/24", "is no IPv4 network such as 10.77.0.0/24, with zeros after its bits"),
        ("fd00::/64", "is no IPv4 network such as 10.77.0.0/24, with zeros after its bits"),
        ("100.64.0.0/24", "is no private network, one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"),
        ("192.0.0.0/2", "is no private network, one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"),
    ],
)
def test_a_subnet(subnet: str, problem: str) -> None:
    assert walls.subnet_problem(subnet) == problem


def test_a_subnet_that_overlaps_a_network_of_the_machine() -> None:
    report = Report()
    walls.check_overlap({**SETTINGS, "subnet": "10.77.5.0/24"}, {"routes": ROUTES, "project": PROJECT}, report)
    assert "10.77.5.0/24 overlaps 10.77.0.0/16 on wg0, a network of this machine." in report.text()
    assert "Write: jupyterhub_home_subnet: 10.78.0.0/20" in report.text()
    report, asked = Report(), [*ROUTES, {"to": "10.78.0.53", "by": ""}]
    walls.check_overlap({**SETTINGS, "subnet": "10.78.0.0/24"}, {"routes": asked, "project": PROJECT}, report)
    assert "10.78.0.0/24 overlaps 10.78.0.53, which this machine asks for names." in report.text()
    assert "Write: jupyterhub_home_subnet: 10.79.0.0/20" in report.text()
    for fine in ("", "10.78.0.0/24"):
        report = Report()
        walls.check_overlap({**SETTINGS, "subnet": fine}, {"routes": ROUTES, "project": PROJECT}, report)
        assert not report.mistakes


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({}, []),
        ({"systemd": False}, ["Without systemd"]),
        (
            {"project": {"network": "x chosen 192.168.0.0/20", "bridge": "x"}},
            ["overlaps 192.168.1.0/24 on eth0", "Write jupyterhub_home_subnet: 10.78.0.0/20"],
        ),
        ({"project": {"network": "x given 192.168.0.0/20", "bridge": "x"}}, []),
    ],
)
def test_what_is_told_at_the_end_of_a_run(machine: dict[str, Any], said: list[str]) -> None:
    whole = {"systemd": True, "project": PROJECT, "routes": ROUTES} | machine
    notes = walls.notes_about_walls(SETTINGS, whole)
    assert bool(notes) == bool(said) and all(part in notes[0] for part in said)


@pytest.mark.parametrize(
    ("subnet", "network", "label"),
    [
        ("", "none", "chosen 10.78.0.0/20"),
        ("", "", "chosen 10.78.0.0/20"),
        ("", "x chosen 172.20.0.0/16", "chosen 172.20.0.0/16"),
        ("", "x given 10.99.0.0/24", "chosen 10.78.0.0/20"),
        ("10.99.0.0/24", "x chosen 172.20.0.0/16", "given 10.99.0.0/24"),
    ],
)
def test_a_subnet_that_was_chosen_stays(subnet: str, network: str, label: str) -> None:
    machine = {"routes": ROUTES, "project": {"network": network, "bridge": ""}}
    assert walls.network_label({**SETTINGS, "subnet": subnet}, machine) == f"{contract.bridge('home')} {label}"


@pytest.mark.parametrize("subnet", ["10.77.0.0/26", "10.77.0.0/20", "172.20.0.0/16"])
def test_no_server_gets_the_address_of_a_service(subnet: str) -> None:
    known = addresses(subnet)
    fixed = {known.gateway, known.trial, *known.services.values()}
    assert len(fixed) == 2 + sum(service.place > 0 for service in contract.SERVICES)
    servers = ipaddress.IPv4Network(known.servers)
    assert all(ipaddress.ip_address(one) not in servers for one in fixed)
    assert servers.subnet_of(ipaddress.IPv4Network(subnet)) and servers.num_addresses >= 32


def test_docker_starts_after_the_walls() -> None:
    unit = walls.walls_unit(SETTINGS).splitlines()
    program = "/bin/bash /opt/home/walls/walls"
    behind = f"/opt/home/walls/rules.nft jhh-home {contract.bridge('home')}"
    assert {"Before=docker.service", f"ExecStartPre={program} set {behind}", f"ExecStart={program} keep {behind}"} <= {
        *unit
    }
    assert not [line for line in unit if line.startswith(("ExecStop", "PartOf"))], "rules stay when it stops"


# --- On the machine -----------------------------------------------------------
def test_a_kernel_that_takes_the_rules(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walls_facts, "BRIDGES", tmp_path)
    program("nft", "cat >/dev/null")
    assert walls_facts.firewall_problem() == ""
    program("nft", "echo 'stdin:3:1-2: Error: Could not process rule: Operation not supported' >&2; exit 1")
    assert "Operation not supported" in walls_facts.firewall_problem()
    program("nft", "cat >/dev/null")
    program("modprobe", "exit 1")
    monkeypatch.setattr(walls_facts, "BRIDGES", tmp_path / "none")
    assert walls_facts.firewall_problem() == "it has no br_netfilter"


def test_the_sample_has_every_kind_of_match_that_the_rules_have() -> None:
    for kind in ("ip saddr", "ct direction", "ct state", "ct status", "fib daddr type", "ct original", "priority"):
        assert kind in walls_facts.SAMPLE and kind in walls.rules({**SETTINGS, "allow": ["10.0.0.0/8:1"]}, LABEL)


def test_the_machines_own_networks(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"},
        {"dst": "192.168.1.0/24", "dev": "eth0"},
        {"dst": "172.20.0.0/16", "dev": contract.bridge("home")},
        {"type": "local", "dst": "192.168.1.20", "dev": "eth0"},
        {"type": "broadcast", "dst": "192.168.1.255", "dev": "eth0"},
        {"dst": "10.77.0.0/16", "dev": "wg0"},
    ]
    program("ip", f"echo '{json.dumps(found)}'")
    asked = tmp_path / "resolv.conf"
    monkeypatch.setattr(walls_facts, "RESOLVERS", (asked, tmp_path / "none"))
    assert walls_facts.routes("home") == ROUTES
    asked.write_text(
        "search home\nnameserver 127.0.0.53\nnameserver 10.9.0.53\nnameserver fd00::1\n#nameserver 1.2.3.4\n"
        "nameserver 10.9.0.300\nnameserver\n"
    )
    assert walls_facts.routes("home") == [*ROUTES, {"to": "10.9.0.53", "by": ""}]


class Machine:
    """A machine whose nft keeps one table in a file."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.table = folder / "table"
        program(
            "nft",
            f"""case $* in
                *list*) cat {self.table} 2>/dev/null ;;
                *--file*) [ ! -e {folder}/refuses ] && cat >{self.table} ;;
            esac""",
        )
        self.links = program("ip", "case $* in *link*) ;; *) cat " + str(folder / "routes") + " ;; esac")
        program("modprobe", "true")
        self.folder, self.state = folder, folder / "state"
        (folder / "routes").write_text("default via 192.0.2.1 dev eth0\n198.51.100.0/24 dev eth0 scope link\n")
        (folder / "rules.nft").write_text("table inet jhh-home\n")
        text = (ROLE / "files/walls/walls").read_text()
        for real, ours in (("/run/$table.", f"{folder}/$table."), ("/etc/resolv.conf", f"{folder}/resolv.conf"),
                           ("/etc/docker/", f"{folder}/"), ("/sys/class/net/$bridge", f"{folder}/bridge"),
                           ("/proc/sys/net/bridge", f"{folder}/all")):  # fmt: skip
            assert real in text
            text = text.replace(real, ours)
        (folder / "walls").write_text(text)
        for key in ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables"):
            (folder / "all").mkdir(exist_ok=True)
            (folder / "all" / key).write_text("1\n")
        self.resolvers("192.0.2.53")

    def resolvers(self, *addresses: str) -> None:
        (self.folder / "resolv.conf").write_text("".join(f"nameserver {address}\n" for address in addresses))

    def walls(self, action: str) -> subprocess.CompletedProcess[str]:
        command = ["/bin/bash", str(self.folder / "walls"), action, str(self.folder / "rules.nft"), "jhh-home", "br"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def check(self) -> str:
        return self.walls("check").stdout.strip()


@pytest.fixture
def machine(program: Program, tmp_path: Path) -> Machine:
    return Machine(program, tmp_path)


def test_they_are_set_once(machine: Machine) -> None:
    assert machine.check() == "gone"
    assert machine.walls("set").stdout == "walls set: they were gone\n"
    assert machine.check() == "" and machine.walls("set").stdout == ""
    table = machine.table.read_text()
    assert (
        "resolvers ct original ip daddr 192.0.2.53 meta l4proto { tcp, udp } ct original proto-dst 53 accept" in table
    )
    assert "neighbours ip daddr 198.51.100.0/24 drop" in table and "192.0.2.1" not in table


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda machine: machine.table.unlink(), "gone"),
        (lambda machine: machine.table.write_text("add rule accept"), "edited"),
        (lambda machine: (machine.folder / "all/bridge-nf-call-iptables").write_text("0\n"), "edited"),
        (lambda machine: machine.resolvers("192.0.2.54"), "older"),
        (lambda machine: (machine.folder / "rules.nft").write_text("table inet jhh-home # other\n"), "older"),
        (lambda machine: (machine.folder / "routes").write_text("10.0.0.0/8 dev eth1\n"), "older"),
        (lambda machine: (machine.folder / "jhh-home.walls").unlink(), "older"),
    ],
)
def test_what_differs_is_said_and_set(machine: Machine, change: Any, found: str) -> None:
    machine.walls("set")
    change(machine)
    assert machine.check() == found
    assert machine.walls("set").stdout == f"walls set: they were {found}\n"
    assert machine.check() == ""


def test_without_their_file_those_that_are_there_stay(machine: Machine) -> None:
    """As where somebody has removed the role's folder: what is open and shut is what it was."""
    machine.walls("set")
    (machine.folder / "rules.nft").unlink()
    assert machine.check() == "" and machine.walls("set").returncode == 0
    assert not (machine.folder / "jhh-home.closed").exists()
    machine.table.unlink()
    assert machine.walls("set").returncode == 1 and (machine.folder / "jhh-home.closed").exists()


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.53", "::1"], ["fe80::1%eth0"], ["nonsense;drop"]])
def test_what_no_container_can_ask_is_not_opened(machine: Machine, addresses: list[str]) -> None:
    machine.resolvers(*addresses)
    machine.walls("set")
    assert "resolvers" not in machine.table.read_text()


def test_dockers_own_resolvers_go_before_the_machines(machine: Machine) -> None:
    (machine.folder / "daemon.json").write_text('{\n "dns": ["192.0.2.99",\n "fd00::53"], "debug": true}')
    machine.walls("set")
    table = machine.table.read_text()
    assert "ip daddr 192.0.2.99 " in table and "ip6 daddr fd00::53 " in table and "192.0.2.53" not in table


def test_what_cannot_be_set_cuts_the_network_off(machine: Machine) -> None:
    machine.walls("set")
    machine.table.unlink()
    (machine.folder / "refuses").touch()
    failed = machine.walls("set")
    assert failed.returncode == 1 and "network br is down" in failed.stderr
    assert machine.links.read_text().splitlines()[-1] == "link set dev br down"
    (machine.folder / "refuses").unlink()
    (machine.folder / "bridge").mkdir()
    assert machine.walls("set").returncode == 0
    assert "link set dev br up" in machine.links.read_text().splitlines()
    assert not (machine.folder / "jhh-home.closed").exists()
