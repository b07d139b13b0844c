"""playbooks/backup.yml and backups.yml: all that cannot be made again is in a snapshot, and nobody is disturbed."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from client import wait_until
from conftest import BACKUPS, DIRECTORY, PASSWORD, VOLUMES, Machine, flat

WORK = f"{VOLUMES}/jupyterhub-home-user-bob/_data"
WRITING = """
import itertools, time
for n in itertools.count():
    for name in (f'n{n % 50}', 'count'):
        with open(f'/home/jovyan/work/{name}', 'w') as file:
            file.write(str(n))
    time.sleep(0.01)
"""
USERS = "import sqlite3; print(sqlite3.connect('/tmp/copy.sqlite').execute('SELECT name FROM users').fetchall())"
# Notes the head of a request, and refuses it.
LISTENER = (
    "import http.server as h\\n"
    "class H(h.BaseHTTPRequestHandler):\\n"
    "    def do_HEAD(self): open('/tmp/asked', 'a').write(str(self.headers)); self.send_error(403)\\n"
    "    do_GET = do_PUT = do_HEAD\\n"
    "h.HTTPServer(('127.0.0.1', 9099), H).serve_forever()\\n"
)


def test_what_is_saved_while_a_kernel_writes(machine: Machine) -> None:
    alice, bob = machine.serve("alice"), machine.serve("bob")
    bob.save("kept.txt", "by bob")
    kernel = alice.kernel()
    kernel.send(WRITING)

    said = machine.backup()
    found = re.search(r"Saved (\d+) files, (\S+), of which (\d+) were new or changed, in \d+ s: snapshot (\w{8})", said)
    assert found and int(found[1]) == int(found[3]) > 100, said
    assert "Not in it: the vault and .vault-password" in said, "make runs on another machine"
    assert PASSWORD not in said and "was made" not in said
    server = alice.server()
    assert server and server["ready"]
    machine.going_on("alice")

    paths = machine.restic("ls latest").splitlines()
    for path in (
        f"{WORK}/kept.txt", f"{VOLUMES}/jupyterhub-home-user-alice/_data", f"{DIRECTORY}/users/shadow",
        f"{DIRECTORY}/secrets/proxy-token", f"{DIRECTORY}/state/backup/jupyterhub.sqlite",
        f"{VOLUMES}/jupyterhub-home-data/_data/jupyterhub_cookie_secret",
    ):  # fmt: skip
        assert path in paths
    assert not [path for path in paths if path.endswith(("_data/jupyterhub.sqlite", "/reserve/1"))]
    machine.do(f"RESTIC_PASSWORD='{PASSWORD}' restic -r {BACKUPS}/repository dump latest "
               f"{DIRECTORY}/state/backup/jupyterhub.sqlite >/tmp/copy.sqlite")  # fmt: skip
    users = machine.do(f'python3 -c "{USERS}"')
    assert "bob" in users and "mia" in users
    assert machine.do(f"stat -c '%a %U' {BACKUPS}") == "700 root"
    alice.stop()
    bob.stop()


def test_while_a_server_starts(machine: Machine) -> None:
    """Whose volumes it then has."""
    mia = machine.client("mia")
    machine.do(f"head -c 200000000 /dev/urandom >{WORK}/large")
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(machine.backup)
        wait_until(lambda: machine.host.run("pgrep -x restic").succeeded or saving.done(), "restic at work")
        mia.spawn()
        assert "Saved " in saving.result()
    mia.enter().raise_for_status()
    mia.save("first.txt", "by mia")
    mia.stop()
    machine.do(f"rm {WORK}/large")
    machine.backup()
    assert f"{VOLUMES}/jupyterhub-home-user-mia/_data/first.txt" in machine.restic("ls latest").splitlines()


def test_a_second_backup_reads_nothing_again(machine: Machine) -> None:
    machine.backup()
    before = machine.state()["succeeded"]
    machine.do(f"echo more >{WORK}/more.txt")
    said = machine.backup()
    assert f"Saved {before['files'] + 1} files" in said
    assert machine.state()["succeeded"]["changed"] <= 2  # that one, and the hub's database if it has noted something
    assert "read back and found right: part 5 of 50" in said.lower()


def test_the_list(machine: Machine) -> None:
    done = machine.play("backups")
    snapshots = json.loads(machine.restic("snapshots --json"))
    assert done.returncode == 0 and snapshots, done.stdout[-3000:]
    for snapshot in snapshots:
        assert snapshot["short_id"] in done.stdout


def test_keep(machine: Machine) -> None:
    machine.backup(backup_keep={})
    machine.backup(backup_keep={})
    assert len(json.loads(machine.restic("snapshots --json"))) > 2
    machine.backup(backup_keep={"last": 1})
    assert len(json.loads(machine.restic("snapshots --json"))) == 1


def test_repository(machine: Machine) -> None:
    """Another folder; one in the hub's own folder is refused; a disk that is full, and one that is not mounted."""
    assert "is in the folder of the hub" in machine.refused("backup", backup_repository=f"{DIRECTORY}/backups")
    machine.do("mkdir -p /mnt/disk", "mount -t tmpfs -o size=1m tmpfs /mnt/disk")
    machine.do(f"head -c 3000000 /dev/urandom >{WORK}/large")
    said = machine.refused("backup", backup_repository="/mnt/disk/hub")
    assert "the disk of /mnt/disk/hub is full" in said and "no space left on device" in said
    assert "is full" in machine.state()["failed"]["why"]
    machine.do("mount -o remount,size=60m /mnt/disk")
    machine.backup(backup_repository="/mnt/disk/hub")
    assert "failed" not in machine.state()
    assert f"{WORK}/large" in machine.restic("ls latest", "/mnt/disk/hub")
    machine.do("umount /mnt/disk")
    said = machine.refused("backup", backup_repository="/mnt/disk/hub")
    assert "The repository /mnt/disk/hub is gone, into which the last backup went. Is its disk mounted?" in said
    assert machine.do("ls -A /mnt/disk") == ""
    machine.do(f"rm {WORK}/large")


def test_environment(machine: Machine) -> None:
    """Credentials reach the backend, and no message."""
    machine.do(f'printf "{LISTENER}" >/tmp/listener.py', "systemd-run --unit=listener python3 /tmp/listener.py")
    given = {"AWS_ACCESS_KEY_ID": "family-key", "AWS_SECRET_ACCESS_KEY": "family-secret"}
    said = machine.refused("backup", backup_repository="s3:http://127.0.0.1:9099/hub", backup_environment=given)
    assert "the repository failed: " in said and "family-" not in said, said
    assert "Credential=family-key" in machine.do("cat /tmp/asked")
    machine.do("systemctl stop listener")


def test_password(machine: Machine) -> None:
    """Without one in the variables, one is made; another one than the repository's is refused."""
    said = machine.refused("backup", backup_password="not that one")
    assert f"the password is not that of the repository {BACKUPS}/repository" in said
    said = machine.backup(backup_password="", backup_repository="/srv/another")
    (made,) = re.findall(r"shown this once: ([a-z0-9-]{29})\b", said)
    assert machine.do(f"cat {BACKUPS}/password", f"stat -c %a {BACKUPS}/password") == f"{made}600"
    assert made not in machine.backup(backup_password="", backup_repository="/srv/another")
    assert made not in machine.do("journalctl --output=cat")
    machine.do(f"rm -r {BACKUPS}/password /srv/another")


def test_killed(machine: Machine) -> None:
    """It leaves a lock, and the next one mends it."""
    machine.backup()
    machine.do(f"head -c 300000000 /dev/urandom >{WORK}/large")
    wait = f"until pgrep -f '[r]estic --quiet backup' && ls {BACKUPS}/repository/locks | grep -q .; do sleep 0.02; done"
    kill = "kill -9 $(pgrep -x restic) $(cat /run/jhh-jupyterhub-home.backup)"
    inside = ["docker", "exec", machine.host.backend.name, "sh", "-c", f"{wait}; {kill}"]
    running = subprocess.Popen(inside, stdout=subprocess.DEVNULL)
    machine.refused("backup")
    assert running.wait() == 0
    assert machine.do(f"ls {BACKUPS}/repository/locks") != ""
    machine.backup()
    assert machine.do(f"ls {BACKUPS}/repository/locks") == ""
    assert f"{WORK}/large" in machine.restic("ls latest")
    machine.do(f"rm {WORK}/large")


def test_beside_another(machine: Machine) -> None:
    lock = "/run/jhh-jupyterhub-home.backup"
    machine.do(f"systemd-run --unit=other flock {lock} sleep infinity")
    wait_until(lambda: machine.host.run(f"flock --nonblock {lock} true").failed, "the lock")
    assert "Another backup or restore of jupyterhub-home is at work" in machine.refused("backup")
    machine.do("systemctl stop other")
    machine.backup()


def test_damaged(machine: Machine) -> None:
    machine.backup(backup_repository="/srv/damaged")
    machine.do("find /srv/damaged/data -type f -size +1k | head -n 1 | xargs truncate --size=100")
    said = machine.refused("backup", backup_repository="/srv/damaged")
    assert "The repository /srv/damaged is damaged" in said.replace("the repository", "The repository"), said
    machine.do("rm /srv/damaged/config")
    said = machine.refused("backup", backup_repository="/srv/damaged")
    assert "/srv/damaged is gone" in said or "is no whole repository" in said
    machine.do("rm -r /srv/damaged")


def test_timer(machine: Machine) -> None:
    """It does the same on the machine alone, by a schedule that can be taken away."""
    unit = "jupyterhub-home-backup"
    done = machine.play("site", backup="Sun 03:30")
    assert done.returncode == 0 and "A run would" not in done.stdout, done.stdout[-4000:]
    following = machine.do(f"systemctl show --property=NextElapseUSecRealtime --value {unit}.timer")
    assert re.match(r"Sun \S+ (03:[3-5]|04:0)", following), following
    assert machine.do(f"stat -c %a {DIRECTORY}/backup/settings.json") == "600"
    machine.backup()
    before = machine.state()["succeeded"]
    machine.do(f"echo still more >{WORK}/more.txt", f"systemctl start {unit}")
    after = machine.state()["succeeded"]
    assert after["snapshot"] != before["snapshot"] and after["changed"] <= 3
    log = machine.do(f"journalctl --unit {unit} --output cat")
    assert f"snapshot {after['snapshot'][:8]}" in log and PASSWORD not in log
    done = machine.play("site", backup="Sun 03:30")
    assert " changed=0 " in done.stdout and "The last backup" not in done.stdout, done.stdout[-4000:]

    machine.do(f"mv {BACKUPS}/repository {BACKUPS}/moved")
    assert machine.host.run(f"systemctl start {unit}").failed
    assert machine.do(f"systemctl is-failed {unit}").strip() == "failed"
    done = machine.play("site", backup="Sun 03:30")
    assert " changed=0 " in done.stdout and "The last backup failed: The repository" in flat(done)
    machine.do(f"mv {BACKUPS}/moved {BACKUPS}/repository", f"systemctl start {unit}")

    done = machine.play("site")
    assert done.returncode == 0, done.stdout[-4000:]
    assert machine.do(f"find /etc/systemd {DIRECTORY} -name '{unit}*'", f"ls {DIRECTORY}/backup") == ""


def test_notify(machine: Machine) -> None:
    """By the machine itself, to a server on it."""
    server = LISTENER.replace("do_GET = do_PUT", "do_POST")
    machine.do(f'printf "{server}" >/tmp/listener.py', "systemd-run --unit=listener python3 /tmp/listener.py")
    machine.refused("backup", backup_password="not that one", backup_notify="echo $BACKUP_RESULT >/tmp/told")
    assert machine.do("cat /tmp/told") == "failed"
    said = machine.refused("backup", backup_password="not that one", backup_notify="http://127.0.0.1:9099/x")
    assert "(jupyterhub_home_backup_notify): HTTP Error 403" in said, "what the listener answers"
    assert "Content-Type: application/json" in machine.do("cat /tmp/asked")
    machine.backup(backup_notify="echo $BACKUP_RESULT >/tmp/told")
    assert machine.do("cat /tmp/told", "systemctl stop listener") == "succeeded"


def test_a_run_finds_nothing_to_do_about_it(machine: Machine) -> None:
    done = machine.play("site")
    assert done.returncode == 0 and " changed=0 " in done.stdout, done.stdout[-4000:]
