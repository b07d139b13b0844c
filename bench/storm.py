"""What the guard costs, beside a hub that has the engine's socket: a call of the engine, a start, a storm of starts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from client import HubClient
from place import Figures, inside, timed
from runs import JOB, declaring, healthy, put_list, user

LIST, PASSWORD = "storm", "bench"
STORM = 20  # users who start their servers at once
# By what the hub makes servers: the options of a run, and the socket that it asks.
WAYS = {
    "guarded": ("", "/run/guard/docker.sock"),
    "socket": ("-e '{jupyterhub_home_guard: false}'", "/var/run/docker.sock"),
}
HUB = "jupyterhub-home-hub"
CALLS = 100
# In the hub's container, as DockerSpawner asks: a look at a server's container; the median in milliseconds.
CALL = """
import statistics, time, docker
client, times = docker.APIClient(base_url="unix://{socket}", version="auto"), []
for _ in range({calls} + 1):
    begin = time.monotonic()
    client.inspect_container("{container}")
    times.append(time.monotonic() - begin)
print(statistics.median(times[1:]) * 1000)
"""


def prepare() -> None:
    """Put the list of users into the machine."""
    hashed = inside(f"openssl passwd -6 -salt saltsalt {PASSWORD}").splitlines()[-1]
    put_list(LIST, [user(number, password_hash=hashed) for number in range(STORM)])


def call(container: str, socket: str) -> float:
    """Milliseconds of a call."""
    return float(inside(f"docker exec -i {HUB} python -", CALL.format(calls=CALLS, container=container, socket=socket)))


def at_once(job: Callable[[HubClient], object], clients: list[HubClient]) -> None:
    """Do something with all clients at the same time; the first error of one is raised."""
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(job, clients))


def measure(url: str, figures: Figures) -> None:
    """Take every figure once by each way; times in seconds, but for a call in milliseconds."""
    for way, (option, socket) in WAYS.items():
        inside(f"{JOB} {declaring(LIST)} {option}")
        healthy(url)
        clients = [HubClient(url, f"user{number}", PASSWORD) for number in range(STORM)]
        for client in clients:
            client.login()
        figures[f"spawn {way}"].append(timed(clients[0].spawn))
        figures[f"call {way}"].append(call("jupyterhub-home-user-user0", socket))
        clients[0].stop()
        figures[f"storm {way}"].append(timed(partial(at_once, HubClient.spawn, clients)))
        at_once(HubClient.stop, clients)
    figures["a call"].append(figures["call guarded"][-1] - figures["call socket"][-1])
