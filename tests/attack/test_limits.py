"""Attacks that want the machine, the hub or its database filled up, so that nobody else can work."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from client import HubClient, wait_until
from conftest import ClientFactory
from machine import loop_devices, playbook
from testinfra.host import Host

MIB = 2**20
HUB, PROXY, ALICE = "jupyterhub-home-hub", "jupyterhub-home-proxy", "jupyterhub-home-user-alice"
LONG = "x" * 15_000  # Node.js takes no longer URL
# The files of each container's limits, and what takes these away.
NO_SHORT_RECORDS = {"short_records.py": "s/^MESSAGE_MAX = .*/MESSAGE_MAX = 10**9/"}
LIMITS = {
    HUB: {"limits.py": "/^def bound() -> None:/a\\    return", **NO_SHORT_RECORDS},
    PROXY: {"entry.js": 's/^const LOG_MAX = .*/const LOG_MAX = 1e9;/; s/event === "proxyReqWs"/false/'},
    ALICE: NO_SHORT_RECORDS,
}


@pytest.fixture(scope="module")
def bob(login: ClientFactory) -> HubClient:
    """A user without a server."""
    client = login("bob")
    client.stop()
    return client


def inspect(host: Host, container: str) -> Any:
    return json.loads(host.check_output(f"docker inspect {container}"))[0]


@pytest.fixture
def log_of(host: Host) -> Callable[[str], int]:
    """log_of(container): the size of what Docker keeps of its log, in bytes."""

    def size(container: str) -> int:
        return int(host.check_output(f"cat {inspect(host, container)['LogPath']}* | wc -c"))

    return size


def change(host: Host, container: str, *, back: bool) -> None:
    """Take its limits away from a container that the engine alone can write to, or give them back; it starts again."""
    merged = inspect(host, container)["GraphDriver"]["Data"]["MergedDir"]
    for name, edit in LIMITS[container].items():
        file = host.check_output(f"find {merged} -xdev -name {name} -not -path '*/node_modules/*'")
        # A container that was made anew in between has them.
        give_back = f"test ! -e {file}.kept || mv {file}.kept {file}"
        host.check_output(give_back if back else f"cp -p {file} {file}.kept && sed -i '{edit}' {file}")
    host.check_output(f"docker restart {container}")


@pytest.fixture(scope="module", params=[True, False], ids=["limited", "without limits"])
def limited(request: pytest.FixtureRequest, host: Host, url: str) -> Iterator[bool]:
    """Whether hub and proxy have their limits; in the end they have."""

    def restart(*, back: bool) -> None:
        for container in (HUB, PROXY):
            change(host, container, back=back)
        wait_until(lambda: requests.get(f"{url}/hub/health", timeout=5).ok, "the hub", timeout=120)

    if not request.param:
        restart(back=False)
    yield request.param
    if not request.param:
        restart(back=True)


# --- To fill the hub's database, to slow every listing, to have it fail ---
class Attack(NamedTuple):
    """What an ordinary user sends; what it is refused with; the status without the limit."""

    id: str
    path: str
    body: dict[str, Any]
    refusal: str
    otherwise: tuple[int, ...] = (201,)


STARTED = (201, 202)
ATTACKS = [
    Attack("megabytes of options", "server", {"user_options": {"a": "x" * MIB}}, "bytes of a request", STARTED),
    Attack("options", "server", {"user_options": {"a": "x" * 20_000}}, "characters of user options", STARTED),
    Attack("options in another place", "server", {"a": "x" * 20_000}, "characters of user options", STARTED),
    Attack("a note of megabytes", "tokens", {"note": "x" * MIB}, "bytes of a request"),
    Attack("a long note", "tokens", {"note": "x" * 2_000}, "note: no more than 1,023"),
    Attack("an expiry that is no date", "tokens", {"expires_in": 10**12}, "expires_in", (500,)),
    # Of 2 MB of them it looked at each for 11 s, and did nothing else.
    Attack(
        "thousands of scopes", "tokens", {"scopes": [f"access:servers!server=bob/{n}" for n in range(4_000)]},
        "bytes of a request", (201, 403),
    ),
]  # fmt: skip


@pytest.mark.parametrize("attack", [pytest.param(one, id=one.id) for one in ATTACKS])
def test_to_fill_the_hub(bob: HubClient, limited: bool, attack: Attack) -> None:
    answer = bob.hub("POST", f"/users/bob/{attack.path}", json=attack.body)
    try:
        if limited:
            assert answer.status_code == 400, answer.text[:300]
            assert attack.refusal in answer.json()["message"]
            assert bob.server() is None, "a server was started nevertheless"
        else:
            assert answer.status_code in attack.otherwise, answer.text[:300]
    finally:
        if attack.path == "server":
            bob.stop()
        elif answer.status_code == 201:
            bob.hub("DELETE", f"/users/bob/tokens/{answer.json()['id']}").raise_for_status()


def test_to_make_tokens_without_end(bob: HubClient, limited: bool) -> None:
    made: list[str] = []
    try:
        while len(made) < 210 and (answer := bob.hub("POST", "/users/bob/tokens", json={})).status_code == 201:
            made.append(answer.json()["id"])
        if limited:
            assert len(made) <= 200 and "tokens of one user" in answer.json()["message"]
            bob.spawn()  # a server gets its own token all the same
        else:
            assert len(made) == 210
    finally:
        bob.stop()
        for one in made:
            bob.hub("DELETE", f"/users/bob/tokens/{one}").raise_for_status()


# --- To have a log rotated away, with what it says of the attack ----------
def short(before: int, after: int, requested: int) -> bool:
    """Whether a log has grown by messages that are shorter than the addresses in so many requests."""
    assert before < after, "nothing was logged"
    return after < before + requested * 5_000


def test_to_rotate_the_hubs_log_away_by_long_urls(url: str, limited: bool, log_of: Callable[[str], int]) -> None:
    """Without a login. Each is logged when it is answered, and some lead to another page."""
    before = log_of(HUB)
    for _ in range(10):
        requests.get(f"{url}/hub/{LONG}", timeout=30)
        requests.get(f"{url}/user/alice/{LONG}", allow_redirects=False, timeout=30)
    assert short(before, log_of(HUB), 20) is limited


def test_to_rotate_the_proxys_log_away(
    serve: ClientFactory, host: Host, url: str, limited: bool, log_of: Callable[[str], int]
) -> None:
    """It logs what it cannot forward, such as what is for a server that has just ended by itself."""
    alice = serve("alice")
    host.check_output(f"docker kill {ALICE}")
    before = log_of(PROXY)
    answers = [requests.get(f"{url}/user/alice/{LONG}", timeout=30) for _ in range(10)]
    assert {answer.status_code for answer in answers} <= {503, 404}
    assert short(before, log_of(PROXY), 10) is limited
    alice.stop()


def test_to_rotate_a_servers_log_away(serve: ClientFactory, host: Host, url: str, log_of: Callable[[str], int]) -> None:
    for limits in (True, False):
        if not limits:
            change(host, ALICE, back=False)
        wait_until(lambda: serve("alice").api("GET", "/status").ok, "alice's server")
        before = log_of(ALICE)
        for _ in range(10):
            requests.get(f"{url}/user/alice/{LONG}", allow_redirects=False, timeout=30)
        assert short(before, log_of(ALICE), 10) is limits
    serve("alice").stop()  # the next one has limits


# --- To take processors and memory from hub and proxy ---------------------
# In a user's container, in the place of the server that its user has taken over; notes how much it has sent.
ENDLESS = """
import socket, threading
sent = 0
def answer(client):
    global sent
    client.recv(65536)
    client.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')
    while True:
        sent += client.send(bytes(65536))
        open('/tmp/sent', 'w').write(str(sent))
server = socket.create_server(('', 7777))
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""
ROUTE = """
fetch("http://127.0.0.1:8001/api/routes/endless", {
  method: "POST", body: JSON.stringify({target: "http://%s:7777"}),
  headers: {Authorization: "token " + require("fs").readFileSync("/run/secrets/proxy-token", "utf8").trim()},
}).then((answer) => process.exit(answer.ok ? 0 : 1))
"""
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"


def test_to_fill_the_proxys_memory(serve: ClientFactory, host: Host, url: str, limited: bool) -> None:
    """By an answer without an end to who asks for a websocket, needs no login and takes nothing."""
    serve("alice")
    host.check_output("docker exec --detach %s python3 -c %s", ALICE, ENDLESS)
    host.check_output("docker exec %s node -e %s", PROXY, ROUTE % ALICE)
    started = inspect(host, PROXY)["State"]["StartedAt"]
    where = urlsplit(url)
    clients = [socket.create_connection((where.hostname, where.port)) for _ in range(3)]
    seen: list[str] = []

    def came_to_an_end() -> bool:
        """The proxy has ended, or the server can send no more."""
        seen.append(host.run(f"docker exec {ALICE} cat /tmp/sent").stdout)
        ended = inspect(host, PROXY)["State"]["StartedAt"] != started
        return ended or (seen[-1] != "" and seen[-4:] == [seen[-1]] * 4)

    for client in clients:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n" + UPGRADE + b"\r\n")
    wait_until(came_to_an_end, "an end of it", timeout=180, pause=3)
    assert (inspect(host, PROXY)["State"]["StartedAt"] == started) is limited
    for client in clients:
        client.close()
    wait_until(lambda: requests.get(f"{url}/hub/health", timeout=5).ok, "the hub", timeout=120)
    serve("alice").stop()


@pytest.mark.parametrize("container", [HUB, PROXY])
def test_to_starve_the_hub(serve: ClientFactory, host: Host, container: str) -> None:
    serve("alice")
    ours, theirs = inspect(host, container)["HostConfig"], inspect(host, ALICE)["HostConfig"]
    assert ours["CpuShares"] >= 16 * (theirs["CpuShares"] or 1024)
    assert ours["Memory"] == ours["MemorySwap"] == 2048 * MIB and ours["PidsLimit"] == 1024
    assert theirs["Memory"] == theirs["MemorySwap"] > 0 and theirs["PidsLimit"] > 0


# --- To fill the disk, and stop the machine ------------------------------
@pytest.fixture(params=[True, False], ids=["read-only", "writable"])
def read_only(request: pytest.FixtureRequest, host: Host, login: ClientFactory) -> Iterator[bool]:
    """Whether the root of servers is read-only, as it is in the end; alice has no server."""
    login("alice").stop()
    if not request.param:
        writable = {"DockerSpawner": {"extra_host_config": {"read_only": False}}}
        assert playbook(host, {"jupyterhub_home_config": writable}, shared=False).returncode == 0
    yield request.param
    login("alice").stop()
    if not request.param:
        assert playbook(host, {}, shared=False).returncode == 0


def test_to_write_outside_of_what_is_the_users(serve: ClientFactory, read_only: bool) -> None:
    """Into the container's own layer root writes for its user, and may take what the disk keeps for root."""
    look = "import subprocess; print(subprocess.run(['sh', '-c', {!r}], capture_output=True, text=True).stdout)"
    places = "find / -path /proc -prune -o -path /dev -prune -o -type d -writable -print 2>/dev/null"
    found = serve("alice").run(look.format(f"({places}) | xargs -d '\\n' stat -f -c '%T'")).split()
    assert found and ("overlayfs" not in found) is read_only
    assert serve("alice").run(look.format("df --output=fstype / | tail -n 1")).strip() == "overlay"


@pytest.fixture(params=[10, 0], ids=["a tenth is kept", "nothing is kept"])
def small_work(request: pytest.FixtureRequest, host: Host, login: ClientFactory) -> Iterator[tuple[str, int]]:
    """The work folder of alice, who has no server, on an ext4 of its own, and how much of it is kept for root."""
    login("alice").stop()
    folder = host.check_output(f"docker volume inspect --format '{{{{.Mountpoint}}}}' {ALICE}")
    host.check_output("command -v mkfs.ext4 || (apt-get -qq update && apt-get -qq install e2fsprogs)")
    loop_devices(host)
    host.check_output(f"truncate --size 64M /root/small.ext4 && mkfs.ext4 -q -m {request.param} /root/small.ext4")
    host.check_output(f"mount -o loop /root/small.ext4 {folder} && chown 1000:100 {folder}")
    yield folder, request.param
    login("alice").stop()
    host.check_output(f"umount {folder} && rm /root/small.ext4")


def test_to_fill_what_the_disk_keeps_for_root(serve: ClientFactory, host: Host, small_work: tuple[str, int]) -> None:
    """The engine, the log and whoever repairs the machine go on: to them the disk is not full."""
    said = serve("alice").run(
        "try:\n"
        "    with open('big', 'wb', buffering=0) as file:\n"
        "        while True:\n"
        "            file.write(bytes(65536))\n"
        "except OSError as error:\n"
        "    print(error.strerror)"
    )
    assert said.strip() == "No space left on device"
    folder, kept = small_work
    assert int(host.check_output(f"stat -f -c %a {folder}")) * 4096 < MIB
    assert host.run(f"head -c {4 * MIB} /dev/zero >{folder}/of-root").succeeded is (kept > 0)


# --- To learn something without a login -----------------------------------
def test_to_learn_who_has_an_account(bob: HubClient, url: str) -> None:
    """While nothing of theirs runs, bob and nobody are one to a stranger."""
    assert bob.server() is None
    pages = ("/user/{}/api", "/user/{}/lab", "/hub/user/{}/", "/hub/spawn/{}", "/hub/api/users/{}")

    def answers(name: str) -> list[tuple[int, str, str]]:
        found = [requests.get(url + page.format(name), allow_redirects=False, timeout=30) for page in pages]
        return [(one.status_code, one.headers.get("Location", "").replace(name, "X"), one.text) for one in found]

    assert answers("bob") == answers("nobody")
    bob.spawn()
    assert answers("bob") != answers("nobody"), "this could not tell one from the other"
    bob.stop()
