"""What a run of the job costs: with nothing to do, with many users, over ssh; and the hub's start with many users."""

from __future__ import annotations

import json
import sys
import urllib.request

from place import ROOT, Figures, inside, timed

sys.path.append(str(ROOT / "tests/support"))
from client import wait_until

JOB = "ansible-playbook site.yml -i inventory/home"
EMPTY = "ansible-playbook bench/empty.yml -i inventory/home"
COUNTS = (1, 10, 100, 1000)
PLAIN = 100  # users of the list with passwords in plain text
LISTS = "/root/users"  # in the machine: the lists of users, as JSON
# The same machine by another way: as a user with sudo, with a connection of its own a run, as somebody's first run has.
SSH = (
    "-e ansible_connection=ssh -e ansible_host=127.0.0.1 -e ansible_user=kim "
    "-e ansible_ssh_private_key_file=/root/kim "
    "-e '{ansible_ssh_common_args: -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR}'"
)
# What a run writes about users: the role's files, and the hub's database.
STATE = "state='/opt/jupyterhub-home/users /var/lib/docker/volumes/jupyterhub-home-data/_data'"
SSHD = """
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends openssh-server openssh-client
useradd --create-home --shell /bin/bash kim
echo 'kim ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/kim
ssh-keygen -q -t ed25519 -N '' -f /root/kim
install -D --owner kim --mode 0600 /root/kim.pub /home/kim/.ssh/authorized_keys
chown kim /home/kim/.ssh
systemctl start ssh
"""


def prepare() -> None:
    """Put the lists of users, and a way in over ssh, into the machine."""
    inside(f"set -e; {SSHD}")
    hashed = inside("openssl passwd -6 -salt saltsalt bench").splitlines()[-1]
    for count in (*COUNTS, max(COUNTS) + 1):
        put_list(str(count), [user(number, password_hash=hashed) for number in range(count)])
    put_list("plain", [user(number, password=f"bench-{number}") for number in range(PLAIN)])
    inside(f"{JOB} {declaring(1)}; docker stop jupyterhub-home-hub; mkdir /root/one; {STATE}; cp -a $state /root/one")


def forget(url: str) -> None:
    """Make it as if there had never been more than one user: the hub takes a minute to remove a thousand."""
    put_back = "for one in $state; do rm -r $one; cp -a /root/one/${one##*/} $one; done"
    inside(f"docker stop jupyterhub-home-hub; {STATE}; {put_back}; docker restart jupyterhub-home-guard")
    start(url)


def user(number: int, **secret: str) -> dict[str, object]:
    """An entry of the list; the first one is the admin."""
    return {"name": f"user{number}", "admin": number == 0, "groups": ["family"], **secret}


def put_list(name: str, users: list[dict[str, object]]) -> None:
    """Put a list of users into the machine, for `declaring`."""
    variables = {"jupyterhub_home_users": users, "jupyterhub_home_allow_mass_removal": True}
    inside(f"mkdir -p -m 0700 {LISTS} && cat >{LISTS}/{name}.json", json.dumps(variables))


def declaring(name: object) -> str:
    """The option that declares the users of a list."""
    return f"-e @{LISTS}/{name}.json"


def converge(options: str = "") -> None:
    """The main job, as `make hub` runs it; it must change nothing."""
    output = inside(f"export ANSIBLE_SSH_CONTROL_PATH_DIR=$(mktemp -d); {JOB} {options}")
    if "changed=0" not in output:
        sys.exit(f"bench: the converge changed something:\n{output}")


def healthy(url: str) -> None:
    """Wait until the hub answers through the proxy; HubError after two minutes."""

    def answers() -> bool:
        urllib.request.urlopen(f"{url}/hub/health", timeout=5).close()
        return True

    wait_until(answers, "the hub healthy", timeout=120, pause=0.02)  # what a start is measured to the nearest of


def start(url: str) -> None:
    """Start the hub's container and wait until it answers."""
    inside("docker start jupyterhub-home-hub")
    healthy(url)


def take(name: str, url: str, figures: Figures) -> None:
    """The figures with one list of users."""
    inside(f"{JOB} --tags users {declaring(name)}")
    figures[f"users {name}"].append(timed(lambda: converge(declaring(name))))
    if name == "1000":  # while the hub has been running for a while
        figures["empty 1000"].append(timed(lambda: inside(f"{EMPTY} {declaring(1000)}")))
        figures["add one"].append(timed(lambda: inside(f"{JOB} --tags users {declaring(1001)}")))
        inside(f"{JOB} --tags users {declaring(1000)}")
    if name in ("1", "1000"):
        inside("docker stop jupyterhub-home-hub")
        figures[f"start {name}"].append(timed(lambda: start(url)))


def measure(url: str, figures: Figures) -> None:
    """Take every figure once; times in seconds, but for a password in milliseconds."""
    forget(url)
    figures["empty"].append(timed(lambda: inside(EMPTY)))
    figures["floor"].append(timed(lambda: inside(f"{EMPTY} && cd /opt/jupyterhub-home && docker compose up -d")))
    for name in ("1", "10", "100", "plain", "1000"):
        take(name, url, figures)
        if name == "1":
            figures["ssh"].append(timed(lambda: converge(f"{declaring(1)} {SSH}")))
    figures["a password"].append(max(0.0, figures["users plain"][-1] - figures["users 1"][-1]) / PLAIN * 1000)
