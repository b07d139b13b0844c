"""The playbook run again with other variables, while somebody works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from client import HubClient, LoginRefused, wait_until
from conftest import DECLARED, ClientFactory
from machine import containers, playbook
from test_survival import CELL
from testinfra.host import Host

Converge = Callable[..., str]


@pytest.fixture
def converge(host: Host, login: ClientFactory) -> Iterator[Converge]:
    """Run site.yml with other values for some variables; at the end it runs with the scenario's own again."""

    def run(**variables: Any) -> str:
        done = playbook(host, variables)
        assert done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    yield run
    run()
    wait_until(lambda: login("zoe").get("/hub/health").ok, "hub as before")


def test_a_change_disturbs_nobody(serve: ClientFactory, converge: Converge, host: Host, url: str) -> None:
    alice = serve("alice.smith")
    kernel = alice.kernel()
    cell = kernel.send(CELL)
    kernel.result(cell, until="begun")
    before = containers(host)

    # What needs no restart: another password, a user more and one less, other limits.
    users = [user for user in DECLARED if user["name"] not in ("bob", "lou")]
    users += [{"name": "bob", "password": "another-secret"}, {"name": "newcomer", "password": "first-secret"}]
    converge(jupyterhub_home_users=users, jupyterhub_home_memory_limit="600M")
    assert containers(host) == before
    HubClient(url, "newcomer", "first-secret").login()
    HubClient(url, "bob", "another-secret").login()
    for name, password in (("bob", "bob-test-secret"), ("lou", "")):
        with pytest.raises(LoginRefused):
            HubClient(url, name, password).login()

    # What needs another hub, and nothing else.
    converge(jupyterhub_home_users=users, jupyterhub_home_memory_limit="600M", jupyterhub_home_admin_access=False)
    after = containers(host)
    for service in ("hub", "guard"):
        assert after.pop(service) != before.pop(service)
    assert after == before

    alice.save("go", "")
    assert kernel.result(cell).endswith("done\n")
    assert kernel.execute("5 * 4") == "20"
    kernel.close()
    alice.api("DELETE", "/contents/go").raise_for_status()

    # The new limit is in the next server.
    bob = HubClient(url, "bob", "another-secret")
    bob.login()
    bob.spawn()
    memory = host.check_output("docker inspect --format '{{.HostConfig.Memory}}' jupyterhub-home-user-bob")
    assert int(memory) == 600 * 1024**2
    bob.stop()


def test_a_mistake_leaves_the_hub_as_it_is(serve: ClientFactory, host: Host) -> None:
    """A package that does not exist is found when the image is built; servers start as before."""
    bob = serve("bob")
    bob.stop()
    done = playbook(host, {"jupyterhub_home_user_packages": ["no-such-package-0"]})
    assert done.returncode != 0
    assert "no-such-package-0" in done.stdout
    bob.spawn()
    assert bob.get("/hub/health").ok


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"config": {"Spawner": {"start_timeout": "soon"}}}, "config: Spawner.start_timeout is text, not an int."),
        ({"extra_config": "\nimport nosuchmodule\n"}, "extra_config: line 2: ModuleNotFoundError: No module named"),
        ({"config": {"JupyterHub": {"authenticator_class": "githubb"}}}, "config: JupyterHub.authenticator_class is"),
        (
            {"mounts": [{"source": "/srv", "target": "/usr/local/bin", "read_only": True}]},
            "mounts: with /srv at /usr/local/bin, a server",
        ),
        ({"default_url": "/nowhere"}, "default_url: '/nowhere' is a page that servers do not have (404)."),
    ],
    ids=["trait", "import", "class", "mount", "page"],
)
def test_what_cannot_work_replaces_nothing(
    serve: ClientFactory, host: Host, variables: dict[str, Any], said: str
) -> None:
    """It is tried first, and nothing of the trial stays."""
    alice = serve("alice.smith")
    before = containers(host)
    volumes = host.check_output("docker volume ls --quiet")
    done = playbook(host, {f"jupyterhub_home_{name}": value for name, value in variables.items()})
    assert done.returncode != 0
    assert f"jupyterhub_home_{said}" in " ".join(done.stdout.split()), done.stdout[-3000:]
    assert containers(host) == before
    assert host.check_output("docker volume ls --quiet") == volumes
    assert "-trial" not in host.check_output("docker ps --all --format '{{.Names}}'")
    alice.stop()
    alice.spawn()
