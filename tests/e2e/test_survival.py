"""What goes on when parts of the hub go away."""

from __future__ import annotations

import pytest
from client import wait_until
from conftest import ClientFactory
from testinfra.host import Host

PROJECT = "cd /opt/jupyterhub-home && docker compose"
# Runs until it sees a file, which the test writes when the hub is back: order, not time.
CELL = """
import pathlib, time
print('begun', flush=True)
while not pathlib.Path('go').exists():
    time.sleep(0.1)
print('done')
"""


@pytest.mark.parametrize(
    "interrupt",
    [
        pytest.param("docker restart --time 5 jupyterhub-home-hub", id="restart"),
        pytest.param("docker kill jupyterhub-home-hub; docker start jupyterhub-home-hub", id="kill"),
        pytest.param(f"{PROJECT} up --detach --force-recreate --no-deps hub", id="recreate"),
    ],
)
def test_websocket_survives_the_hub(serve: ClientFactory, host: Host, interrupt: str) -> None:
    alice = serve("alice.smith")
    started = alice.server()
    kernel = alice.kernel()
    cell = kernel.send(CELL)
    kernel.result(cell, until="begun")
    before = host.check_output("docker inspect --format '{{.State.StartedAt}}' jupyterhub-home-hub")

    host.check_output(interrupt)
    after = host.check_output("docker inspect --format '{{.State.StartedAt}}' jupyterhub-home-hub")
    assert after != before
    wait_until(lambda: alice.get("/hub/health").ok, "hub back")
    alice.save("go", "")
    assert kernel.result(cell).endswith("done\n")
    assert kernel.execute("5 * 4") == "20", "on the same websocket"
    kernel.close()
    alice.api("DELETE", "/contents/go").raise_for_status()

    server = alice.server()  # with the same session: still logged in
    assert server is not None and started is not None
    assert server["started"] == started["started"], "another server than before"


def test_accounts_and_sessions_survive_a_new_hub(login: ClientFactory, host: Host) -> None:
    bob = login("bob")
    host.check_output(f"{PROJECT} rm --stop --force hub && {PROJECT} up --detach")
    wait_until(lambda: bob.get("/hub/health").ok, "hub back")
    assert bob.model()["name"] == "bob"
    assert login("zoe").model()["name"] == "zoe"


def test_routes_come_back_after_a_proxy_restart(
    serve: ClientFactory, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proxy forgets its routes; the hub by itself would bring them back after minutes."""
    alice = serve("alice.smith")
    host.check_output("docker restart --time 5 jupyterhub-home-proxy")
    # Far below the 300 s after which the hub looks by itself.
    seconds = wait_until(lambda: alice.api("GET", "/status").ok, "user's route back", timeout=30)
    with capsys.disabled():
        print(f"\nroute to a user's server back {seconds:.1f} s after the proxy restart")
    assert alice.run("5 * 4") == "20"


def test_routes_come_back_after_a_proxy_crash(serve: ClientFactory, host: Host) -> None:
    alice = serve("alice.smith")
    pid = host.check_output("docker inspect --format '{{.State.Pid}}' jupyterhub-home-proxy")
    host.check_output(f"kill -KILL {pid}")
    wait_until(lambda: alice.api("GET", "/status").ok, "user's route back", timeout=30)


def test_hub_comes_back_after_a_crash(login: ClientFactory, host: Host) -> None:
    zoe = login("zoe")
    pid = host.check_output("docker inspect --format '{{.State.Pid}}' jupyterhub-home-hub")
    host.check_output(f"kill -KILL {pid}")
    wait_until(lambda: zoe.model()["name"] == "zoe", "hub back", timeout=30)
