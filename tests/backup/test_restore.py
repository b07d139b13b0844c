"""playbooks/restore.yml: what was saved is back, byte for byte, and what was there is kept; others go on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import testinfra
import yaml
from client import wait_until
from conftest import DIRECTORY, VOLUMES, Machine
from machine import ROOT, address, containers
from requests.cookies import RequestsCookieJar

WORK = f"{VOLUMES}/jupyterhub-home-user-alice/_data"
BOBS = f"{VOLUMES}/jupyterhub-home-user-bob/_data"
DATA = f"{VOLUMES}/jupyterhub-home-data/_data"
TREE = Path(__file__).with_name("tree.py")
COUNT = """
import itertools, time
for n in itertools.count():
    with open("/home/jovyan/work/count", "w") as count:
        count.write(str(n))
    time.sleep(0.01)
"""
# The version of a database, and another one in its place.
LOOK = """
import sqlite3, sys
print(*sqlite3.connect(sys.argv[1]).execute("SELECT version_num FROM alembic_version").fetchone())
"""
CHANGE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute("UPDATE alembic_version SET version_num = ?", sys.argv[2:])
"""


@pytest.fixture(scope="module")
def tree(machine: Machine) -> list[str]:
    """What is to be found again of alice's odd files, which are in a snapshot."""
    alice = machine.serve("alice")
    alice.save("kept.txt", "by alice")
    alice.stop()
    subprocess.run(["docker", "cp", str(TREE), f"{machine.host.backend.name}:/srv/tree.py"], check=True)
    machine.do(f"mkdir {WORK}/odd", f"python3 /srv/tree.py make {WORK}/odd 20000 1000 100")
    machine.backup()
    return shown(machine)


def shown(machine: Machine) -> list[str]:
    """Of alice's odd files."""
    return machine.do(f"python3 /srv/tree.py show {WORK}/odd").splitlines()


def restore(machine: Machine, *options: str, **variables: str) -> str:
    """What a restore says, which must not fail, on one line."""
    done = machine.play("restore", *options, **variables)
    assert done.returncode == 0, done.stdout[-4000:]
    return " ".join(done.stdout.split())


def test_one_user(machine: Machine, tree: list[str]) -> None:
    """restore_user: the other users' kernels go on, and what the user had since is kept."""
    assert len(tree) > 20000
    mia = machine.serve("mia")
    kernel = mia.kernel()
    kernel.send(COUNT)
    alice = machine.serve("alice")
    alice.save("since.txt", "since then")
    machine.do(f"rm -r {WORK}/odd/many {WORK}/kept.txt", f"echo x >'{WORK}/odd/hard 1'", f"touch {WORK}/odd")
    assert shown(machine) != tree
    before = containers(machine.host)

    said = restore(machine, restore_user="alice")
    assert re.search(r"Restored the files of alice of 20\S+ \S+ \(snapshot \w{8}\)", said), said
    assert "Stopped, to be started again by alice: jupyterhub-home-user-alice" in said
    assert shown(machine) == tree
    (kept,) = set(re.findall(r"jupyterhub-home-kept-[0-9-]+-user-alice\b(?!-)", said))
    assert machine.do(f"cat {VOLUMES}/{kept}/_data/since.txt") == "since then"
    after = containers(machine.host)
    assert {name for name in before if before[name] != after.get(name)} == {"user-alice"}
    machine.going_on("mia")
    mia.stop()

    wait_until(lambda: alice.server() is None, "the hub notices", timeout=60)
    alice = machine.serve("alice")
    assert alice.load("kept.txt") == "by alice"
    alice.save("after.txt", "writable")
    alice.stop()
    assert machine.do("ls -d /var/lib/docker/*restoring* 2>/dev/null | wc -l").strip() == "0"


def test_one_file(machine: Machine) -> None:
    """restore_file and restore_snapshot."""
    machine.serve("bob").save("report.txt", "first")
    machine.do(f"mkdir -p '{BOBS}/a [b]/c'", f"echo deep >'{BOBS}/a [b]/c/*x'")
    machine.backup()
    first = machine.state()["succeeded"]["snapshot"]
    machine.do(f"printf second >{BOBS}/report.txt", f"rm -r '{BOBS}/a [b]'")
    machine.backup()
    said = restore(machine, restore_user="bob", restore_file="work/report.txt", restore_snapshot=first[:8])
    (kept,) = set(re.findall(r"report\.txt\.before-[0-9-]+\d", said))
    assert machine.do(f"cat {BOBS}/report.txt {BOBS}/{kept}") == "firstsecond"
    restore(machine, restore_user="bob", restore_file="work/a [b]/c/*x", restore_snapshot=first[:8])
    assert machine.do(f"cat '{BOBS}/a [b]/c/*x'").strip() == "deep"
    # A folder that is made on the way is like the one above it.
    like = machine.do(f"stat -c '%u %a' {BOBS}")
    assert machine.do(f"stat -c '%u %a' '{BOBS}/a [b]/c'") == like


def test_what_is_refused(machine: Machine) -> None:
    """Before anything is changed: nobody's server stops."""
    bob = machine.serve("bob")
    before = containers(machine.host)
    cases = [
        ({"restore_user": "nobody"}, "nobody has no files in the snapshot"),
        ({"restore_user": "bob", "restore_file": "../alice/x"}, "'../alice/x' is no path in the user's home"),
        ({"restore_user": "bob", "restore_file": "work/never"}, "work/never is not among the files of bob"),
        ({"restore_snapshot": "01234567"}, "01234567 is not one snapshot; the newest are"),
        ({"backup_repository": "/srv/none"}, "there is no repository at /srv/none"),
        ({"backup_password": "not that one"}, "the password is not that of the repository"),
    ]
    for variables, part in cases:
        said = machine.refused("restore", **variables)
        assert part in said, said
    assert containers(machine.host) == before
    bob.stop()


def test_no_link_leads_out(machine: Machine) -> None:
    machine.do(f"mkdir {BOBS}/out", f"echo inside >{BOBS}/out/x")
    machine.backup()
    machine.do(f"rm -r {BOBS}/out", f"ln -s /srv {BOBS}/out")
    said = machine.refused("restore", restore_user="bob", restore_file="work/out/x")
    assert "out in the user's home is no folder by now, or a link" in said
    assert not machine.host.file("/srv/x").exists
    machine.do(f"rm {BOBS}/out")


def test_killed(machine: Machine, tree: list[str]) -> None:
    """At its beginning and at its end, then repeated."""
    machine.do(f"head -c 300000000 /dev/urandom >{WORK}/large", f"sha256sum {WORK}/large >/srv/sum")
    machine.backup()
    machine.do(f"rm -r {WORK}/large {WORK}/odd")
    for seen in ("pgrep -x restic && ls -d /var/lib/docker/jupyterhub-home-restoring/var", f"[ ! -d {WORK} ]"):
        wait = f"until {seen}; do sleep 0.02; done; kill -9 $(pgrep -x restic) $(cat /run/jhh-jupyterhub-home.backup)"
        killer = subprocess.Popen(
            ["docker", "exec", machine.host.backend.name, "timeout", "100", "sh", "-c", wait], stdout=subprocess.DEVNULL
        )
        done = machine.play("restore", restore_user="alice")
        if done.returncode == 0:  # between two renames there are microseconds
            killer.kill()
    restore(machine, restore_user="alice")
    machine.do("sha256sum --check /srv/sum")
    assert shown(machine) == tree
    assert machine.do("ls -d /var/lib/docker/*restoring* 2>/dev/null | wc -l").strip() == "0"
    machine.do(f"rm {WORK}/large")


def test_a_database_that_is_too_new(machine: Machine) -> None:
    database = f"{DATA}/jupyterhub.sqlite"
    own = machine.host.check_output("python3 -c %s %s", LOOK, database).strip()
    machine.host.check_output("python3 -c %s %s %s", CHANGE, database, "f" * 12)
    machine.backup()
    machine.host.check_output("python3 -c %s %s %s", CHANGE, database, own)
    before = containers(machine.host)
    said = machine.refused("restore")
    assert "(version ffffffffffff) is of a newer JupyterHub than this hub's. Update the checkout" in said
    assert containers(machine.host) == before
    machine.backup()


def test_everything(machine: Machine, tree: list[str]) -> None:
    """A hub with a damaged database, another password and a user's volumes gone; all is as it was."""
    machine.backup()
    users = [{"name": "mia", "password": "another secret", "admin": True}, {"name": "alice", "password": "alice-2"}]
    done = machine.play("site", users=users, allow_mass_removal=True)
    assert done.returncode == 0, done.stdout[-4000:]
    machine.do("docker volume rm jupyterhub-home-user-bob jupyterhub-home-user-bob-home", f"rm -r {WORK}/odd")
    machine.do("docker stop jupyterhub-home-hub", f"head -c 50000 /dev/urandom >{DATA}/jupyterhub.sqlite")

    said = restore(machine)
    assert re.search(
        r"Restored everything of 20\S+ \S+ \(snapshot \w{8}\)\. Users and their passwords are those of", said
    )
    assert f"The accounts that were there are kept in {DIRECTORY}/state/users.before-" in said
    assert shown(machine) == tree
    assert machine.serve("bob").load("report.txt") == "first"
    machine.client("mia")
    machine.client("alice")
    assert machine.do(f"find {DATA} -name 'jupyterhub.sqlite.before-*' -size +40k") != ""
    done = machine.play("site")
    assert done.returncode == 0 and " changed=0 " in done.stdout and "Found: " not in done.stdout, done.stdout[-4000:]


def test_over_another_hub(machine: Machine, tree: list[str]) -> None:
    """restore_over."""
    machine.do(
        f"cp {DATA}/jupyterhub_cookie_secret /srv/cookie", f"openssl rand -hex 32 >{DATA}/jupyterhub_cookie_secret"
    )
    before = containers(machine.host)
    said = machine.refused("restore")
    assert "This machine has another hub than the one that was saved, with files of alice, bob, mia" in said
    assert containers(machine.host) == before
    restore(machine, restore_over=True)  # type: ignore[arg-type]
    machine.do(f"cmp /srv/cookie {DATA}/jupyterhub_cookie_secret")
    assert shown(machine) == tree
    machine.client("bob")


def test_another_machine(machine: Machine, tree: list[str], tmp_path: Path) -> None:
    """Saved while a kernel writes; then the machine is gone, and another one has no more than the repository.

    The hub is made first. Whoever is logged in stays so.
    """
    bob = machine.serve("bob")
    bob.kernel().send(COUNT)
    bob.save("last.txt", "of the old machine")
    machine.going_on("bob")
    machine.backup(backup_repository="/srv/moving")
    old, new = machine.host.backend.name, "jhh-backup-new"
    subprocess.run(["docker", "cp", f"{old}:/srv/moving", str(tmp_path)], check=True, capture_output=True)
    script = ROOT / "tests/machine/machine.sh"
    inventory = tmp_path / "hosts.yml"  # another line in it
    hosts = yaml.safe_load((ROOT / "molecule/backup/inventory/hosts.yml").read_text("utf-8"))
    settings = hosts["jupyterhub"]["hosts"][old]
    hosts["jupyterhub"]["hosts"] = {new: settings}
    inventory.write_text(yaml.safe_dump(hosts), "utf-8")
    options = (f"--inventory={inventory}", f"--limit={new}")
    try:
        subprocess.run(["docker", "kill", old], check=True, capture_output=True)
        subprocess.run([script, "boot", new, "trixie", settings["machine_store"]], check=True)  # with images
        subprocess.run(["docker", "cp", str(tmp_path / "moving"), f"{new}:/srv"], check=True, capture_output=True)
        subprocess.run(["docker", "cp", str(TREE), f"{new}:/srv/tree.py"], check=True, capture_output=True)
        other = Machine(testinfra.get_host(f"docker://{new}"))
        assert "Restored everything" in restore(other, *options, backup_repository="/srv/moving")
        assert shown(other) == tree
        assert other.do(f"cat {BOBS}/count").isdigit()
        cookies, bob.http.cookies = bob.http.cookies, RequestsCookieJar()
        for cookie in cookies:  # a name for the machine would have them follow it
            cookie.domain = address(other.host)
            bob.http.cookies.set_cookie(cookie)
        bob.url = f"http://{address(other.host)}:8000"
        assert bob.model()["name"] == "bob"
        other.client("alice")
        assert other.serve("bob").load("last.txt") == "of the old machine"
        done = other.play("site", *options)
        assert done.returncode == 0 and " changed=0 " in done.stdout, done.stdout[-4000:]
    finally:
        subprocess.run([script, "remove", new], check=True)
