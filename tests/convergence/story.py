"""A hub that changes while somebody works: each change tried out first, made, and made again."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from client import HubClient, Kernel, LoginRefused, wait_until
from machine import address, containers
from testinfra.host import Host

Run = Callable[..., subprocess.CompletedProcess[str]]
DATABASE = "/var/lib/docker/volumes/jupyterhub-home-data/_data/jupyterhub.sqlite"
COUNTER = """
import threading, time
count = 0
def tick():
    global count
    while True:
        count += 1
        time.sleep(0.05)
threading.Thread(target=tick, daemon=True).start()
"""


def changed_tasks(output: str) -> list[str]:
    """The names of the tasks that a playbook's output reports as changed, in order."""
    tasks = re.split(r"^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$", output, flags=re.M)
    return [name for name, text in zip(tasks[1::2], tasks[2::2], strict=True) if re.search(r"^changed: ", text, re.M)]


@dataclass
class Change:
    """What a change said and did."""

    tried: str
    output: str
    tasks: list[str]
    recreated: set[str]  # containers, by name without the project's


class Story:
    """The machine, its hub, and a bystander whose kernel counts all the time."""

    def __init__(self, host: Host, run: Run, users: list[dict[str, Any]]) -> None:
        self.host, self.run, self.users = host, run, users
        self.url = f"http://{address(host)}:8000"
        self.secrets = {str(user["password"]) for user in users if "password" in user}
        self.last: dict[str, Any] = {}  # the variables of the last change
        self.bystander: HubClient | None = None
        self.kernel: Kernel | None = None
        self.count = 0

    def client(self, name: str, password: str = "") -> HubClient:
        """A new session of a user, by default with the password NAME-test-secret."""
        client = HubClient(self.url, name, password or f"{name}-test-secret")
        client.login()
        return client

    def refuses(self, name: str, password: str = "") -> bool:
        """Whether a login is refused."""
        try:
            self.client(name, password)
        except LoginRefused:
            return True
        return False

    def serve(self, name: str, password: str = "") -> HubClient:
        """A new session of a user, with the server running and entered."""
        client = self.client(name, password)
        if client.server() is None:
            client.spawn()
        client.enter().raise_for_status()
        return client

    def start_counting(self, name: str) -> None:
        """Have a kernel of a bystander count."""
        self.bystander = self.serve(name)
        self.kernel = self.bystander.kernel()
        self.kernel.execute(COUNTER)

    def reconnect(self, port: int = 8000) -> None:
        """A new websocket to the same kernel, as a browser makes it by itself when the proxy or network is another."""
        assert self.bystander and self.kernel
        client, kernel = self.bystander, self.kernel.id
        client.url = self.url = f"http://{address(self.host)}:{port}"
        self.kernel.close()

        def connected() -> bool:
            self.kernel = Kernel(client, client.user, kernel)
            return True

        wait_until(connected, "the bystander's kernel reached")

    def still_counting(self) -> None:
        """The bystander's websocket and kernel are the same, and the counter has gone on."""
        assert self.kernel
        now = int(self.kernel.execute("count"))
        assert now > self.count, "the bystander's counter stopped"
        self.count = now

    def state(self) -> dict[str, str]:
        """Everything that a try must leave alone: files, containers, volumes, and the hub's rows of users."""
        return {
            "files": self.host.check_output("find /opt/jupyterhub-home -type f -exec sha256sum {} + | sort"),
            "containers": "\n".join(sorted(containers(self.host).values())),
            "volumes": self.host.check_output("docker volume ls --quiet"),
            "rows": str(self.rows()),
        }

    def rows(self) -> dict[str, dict[str, Any]]:
        """The hub's own database: {user: {admin, groups}}."""
        query = (
            "select u.name, u.admin, group_concat(g.name) from users u left join user_group_map m on m.user_id = u.id "
            "left join groups g on g.id = m.group_id group by u.id"
        )
        rows = f"sqlite3.connect('{DATABASE}').execute('{query}').fetchall()"
        found = json.loads(self.host.check_output(f'python3 -c "import sqlite3, json; print(json.dumps({rows}))"'))
        return {
            name: {"admin": bool(admin), "groups": set((groups or "").split(",")) - {""}}
            for name, admin, groups in found
        }

    def change(self, *options: str, restarts: set[str] | None = None, cuts: bool = False, **variables: Any) -> Change:
        """Try a change out, and make it; the variables without prefix.

        Asserts that the try changes nothing and names the same tasks, that no secret is shown, that no container but
        `restarts` is another, and that the bystander's kernel goes on, with `cuts` over another websocket. What a
        change leaves to be done, the next one would do, whose tasks are known; of the last one, see `settled`.
        """
        given = {f"jupyterhub_home_{name}": value for name, value in ({"users": self.users} | variables).items()}
        for user in given["jupyterhub_home_users"]:
            if "password" in user:
                self.secrets.add(user["password"])
        before = containers(self.host)
        untouched = self.state()
        tried = self.run(given, "site.yml", "--check", "--diff", *options)
        assert tried.returncode == 0, tried.stdout[-4000:]
        assert self.state() == untouched, "the try changed something"
        done = self.run(given, "site.yml", "--diff", *options)
        assert done.returncode == 0, done.stdout[-4000:]
        tasks = changed_tasks(done.stdout)
        assert changed_tasks(tried.stdout) == tasks, f"the try said otherwise:\n{tried.stdout[-6000:]}"
        self.last = given
        for secret in self.secrets:
            assert not any(secret in run.stdout for run in (tried, done)), "a password was shown"
        hashes = self.host.check_output("cut -d: -f2 /opt/jupyterhub-home/users/shadow").split()
        assert not any(h in run.stdout for run in (tried, done) for h in hashes if len(h) > 3), "a hash was shown"
        after = containers(self.host)
        recreated = {name for name in before.keys() & after.keys() if before[name] != after[name]}
        assert recreated == (restarts or set()), f"other containers: {recreated}; {changed_tasks(done.stdout)}"
        if cuts:
            self.reconnect(given.get("jupyterhub_home_port", 8000))
        self.still_counting()
        return Change(tried.stdout, done.stdout, tasks, recreated)

    def settled(self) -> None:
        """A run finds nothing to do after the last change."""
        again = self.run(self.last, "site.yml", "--diff")
        assert again.returncode == 0 and changed_tasks(again.stdout) == [], again.stdout[-4000:]

    def fails(self, *options: str, **variables: Any) -> str:
        """The output of a run that must fail."""
        given = {f"jupyterhub_home_{name}": value for name, value in ({"users": self.users} | variables).items()}
        done = self.run(given, "site.yml", *options)
        assert done.returncode != 0, done.stdout[-4000:]
        self.still_counting()
        return done.stdout


def gone(client: HubClient, path: str = "") -> bool:
    """Whether a session that was good is good no more."""
    return not client.http.get(f"{client.url}/hub/api/user{path}", timeout=30).ok


__all__ = ["Change", "Story", "changed_tasks", "gone", "wait_until"]
