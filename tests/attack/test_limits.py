"""Attacks that want the machine, the hub or its database filled up, so that nobody else can work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from client import HubClient
from conftest import ClientFactory
from testinfra.host import Host

MIB = 2**20
HUB, PROXY, ALICE = "jupyterhub-home-hub", "jupyterhub-home-proxy", "jupyterhub-home-user-alice"
LONG = "x" * 15_000  # Node.js takes no longer URL


@pytest.fixture(scope="module")
def bob(login: ClientFactory) -> HubClient:
    """A user without a server."""
    client = login("bob")
    client.stop()
    return client


def refused(client: HubClient, method: str, path: str, **body: Any) -> str:
    """The message that a request is refused with; the hub has answered, and not failed."""
    answer = client.hub(method, path, json=body)
    assert answer.status_code == 400, answer.text[:300]
    return str(answer.json()["message"])


def inspect(host: Host, container: str) -> Any:
    return json.loads(host.check_output(f"docker inspect {container}"))[0]


@pytest.fixture
def log_of(host: Host) -> Callable[[str], int]:
    """log_of(container): the size of what Docker keeps of its log, in bytes."""

    def size(container: str) -> int:
        return int(host.check_output(f"cat {inspect(host, container)['LogPath']}* | wc -c"))

    return size


# --- To fill the hub's database, and to slow every listing ----------------
def test_to_have_options_of_megabytes_kept(bob: HubClient) -> None:
    assert "bytes of a request" in refused(bob, "POST", "/users/bob/server", user_options={"a": "x" * MIB})
    assert "user options" in refused(bob, "POST", "/users/bob/server", user_options={"a": "x" * 20_000})
    assert "user options" in refused(bob, "POST", "/users/bob/server", a="x" * 20_000)
    assert bob.server() is None, "a server was started nevertheless"


def test_to_have_a_note_of_megabytes_kept(bob: HubClient) -> None:
    assert "bytes of a request" in refused(bob, "POST", "/users/bob/tokens", note="x" * MIB)
    assert "note: no more than 1,023" in refused(bob, "POST", "/users/bob/tokens", note="x" * 2_000)


def test_to_make_the_hub_fail_with_an_expiry(bob: HubClient) -> None:
    assert "expires_in" in refused(bob, "POST", "/users/bob/tokens", expires_in=10**12)


def test_to_make_the_hub_fail_with_what_is_no_text(bob: HubClient) -> None:
    assert "note is no text" in refused(bob, "POST", "/users/bob/tokens", note="\ud800")


def test_to_have_the_hub_look_at_scopes_for_seconds(bob: HubClient) -> None:
    """Of those in 2 MB it did nothing else for 11 s."""
    scopes = [f"access:servers!server=bob/{number}" for number in range(40_000)]
    assert "bytes of a request" in refused(bob, "POST", "/users/bob/tokens", scopes=scopes)


def test_to_make_tokens_without_end(bob: HubClient) -> None:
    """The last of them opens the hub; without these limits the loop would not end before 300."""
    made: list[str] = []
    try:
        while len(made) < 300 and (answer := bob.hub("POST", "/users/bob/tokens", json={})).status_code == 201:
            made.append(answer.json()["id"])
        assert len(made) <= 200 and "tokens of one user" in answer.json()["message"]
        bob.spawn()  # a server gets its own token all the same
    finally:
        bob.stop()
        for one in made:
            bob.hub("DELETE", f"/users/bob/tokens/{one}").raise_for_status()


# --- To have a log rotated away, with what it says of the attack ----------
def test_to_rotate_the_hubs_log_away_by_long_urls(url: str, log_of: Callable[[str], int]) -> None:
    """Without a login. Each is logged when it is answered, and some lead to another page."""
    before = log_of(HUB)
    for _ in range(10):
        requests.get(f"{url}/hub/{LONG}", timeout=30)
        requests.get(f"{url}/user/alice/{LONG}", allow_redirects=False, timeout=30)
    assert before < log_of(HUB) < before + 20 * 5_000


def test_to_rotate_a_servers_log_away(serve: ClientFactory, url: str, log_of: Callable[[str], int]) -> None:
    serve("alice")
    before = log_of(ALICE)
    for _ in range(10):
        requests.get(f"{url}/user/alice/{LONG}", allow_redirects=False, timeout=30)
    assert before < log_of(ALICE) < before + 10 * 5_000


def test_to_rotate_the_proxys_log_away(
    serve: ClientFactory, host: Host, url: str, log_of: Callable[[str], int]
) -> None:
    """It logs what it cannot forward, such as what is for a server that has just ended by itself."""
    alice = serve("alice")
    host.check_output(f"docker kill {ALICE}")
    before = log_of(PROXY)
    answers = [requests.get(f"{url}/user/alice/{LONG}", timeout=30) for _ in range(10)]
    assert {answer.status_code for answer in answers} <= {503, 404}
    assert before < log_of(PROXY) < before + 10 * 5_000
    alice.stop()


# --- To take processors and memory from hub and proxy ---------------------
@pytest.mark.parametrize("container", [HUB, PROXY])
def test_to_starve_the_hub(serve: ClientFactory, host: Host, container: str) -> None:
    serve("alice")
    ours, theirs = inspect(host, container)["HostConfig"], inspect(host, ALICE)["HostConfig"]
    assert ours["CpuShares"] >= 16 * (theirs["CpuShares"] or 1024)
    assert ours["Memory"] == ours["MemorySwap"] == 2048 * MIB and ours["PidsLimit"] == 1024
    assert theirs["Memory"] == theirs["MemorySwap"] > 0 and theirs["PidsLimit"] > 0


# --- To fill the disk, and stop the machine ------------------------------
def test_to_write_outside_of_what_is_the_users(serve: ClientFactory) -> None:
    """Into the container's own layer root writes for its user, and may take what the disk keeps for root."""
    look = "import subprocess; print(subprocess.run(['sh', '-c', {!r}], capture_output=True, text=True).stdout)"
    places = "find / -path /proc -prune -o -path /dev -prune -o -type d -writable -print 2>/dev/null"
    found = serve("alice").run(look.format(f"({places}) | xargs -d '\\n' stat -f -c '%T'")).split()
    assert found and "overlayfs" not in found
    assert serve("alice").run(look.format("df --output=fstype / | tail -n 1")).strip() == "overlay"


@pytest.fixture
def small_work(host: Host, login: ClientFactory) -> Iterator[str]:
    """The work folder of alice, who has no server, on an ext4 of its own that keeps a tenth for root."""
    login("alice").stop()
    folder = host.check_output(f"docker volume inspect --format '{{{{.Mountpoint}}}}' {ALICE}")
    host.check_output("command -v mkfs.ext4 || (apt-get -qq update && apt-get -qq install e2fsprogs)")
    host.check_output("test -e /dev/loop-control || mknod /dev/loop-control c 10 237")
    device = host.check_output("losetup --find").split()[0]  # it may say that the node is not there
    host.check_output(f"test -e {device} || mknod {device} b 7 {device.removeprefix('/dev/loop')}")
    host.check_output("truncate --size 64M /root/small.ext4 && mkfs.ext4 -q -m 10 /root/small.ext4")
    host.check_output(f"mount -o loop={device} /root/small.ext4 {folder} && chown 1000:100 {folder}")
    yield folder
    login("alice").stop()
    host.check_output(f"umount {folder} && rm /root/small.ext4")


def test_to_fill_what_the_disk_keeps_for_root(serve: ClientFactory, host: Host, small_work: str) -> None:
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
    free, left = map(int, host.check_output(f"stat -f -c '%f %a' {small_work}").split())
    assert free * 4096 > 5 * MIB and left * 4096 < MIB
    host.check_output(f"head -c {4 * MIB} /dev/zero >{small_work}/of-root")


# --- To learn something without a login -----------------------------------
def test_to_learn_who_has_an_account(bob: HubClient, url: str) -> None:
    """While nothing of theirs runs, bob and nobody are one to a stranger."""
    assert bob.server() is None
    pages = ("/user/{}/api", "/user/{}/lab", "/hub/user/{}/", "/hub/spawn/{}", "/hub/api/users/{}")

    def answers(name: str) -> list[tuple[int, str, str]]:
        found = [requests.get(url + page.format(name), allow_redirects=False, timeout=30) for page in pages]
        return [(one.status_code, one.headers.get("Location", "").replace(name, "X"), one.text) for one in found]

    assert answers("bob") == answers("nobody")
