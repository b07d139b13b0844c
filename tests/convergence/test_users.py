"""The list of users is the truth: what is in it holds, what is taken out is gone, and nobody else notices."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from client import HubClient, wait_until
from machine import ROOT
from notes import foretold
from story import DATABASE, Story, gone
from testinfra.host import Host

MIA = {"name": "mia", "password": "mia-test-secret", "admin": True}
ALICE = {"name": "alice", "password": "alice-test-secret"}
BOB = {"name": "bob", "password": "bob-test-secret", "groups": ["family", "children"]}
ANNE = {"name": "anne.o", "password": "anne.o-test-secret", "admin": True, "groups": ["family"]}
USERS: list[dict[str, Any]] = [MIA, ALICE, BOB, ANNE]
USERS_PAGE = ROOT / "docs/users.md"
# What the hub takes without a restart must not even touch these.
USERS_TASK = "jupyterhub_home : users | Make accounts, the hub and home volumes match the list"


@pytest.fixture(autouse=True)
def _everybody_back(story: Story) -> Iterator[None]:
    """Each test begins and ends with the same users."""
    yield
    done = story.run({"jupyterhub_home_users": USERS})
    assert done.returncode == 0, done.stdout[-4000:]


def shadow(host: Host) -> dict[str, str]:
    """The hash of each user on the machine."""
    lines = host.check_output("cat /opt/jupyterhub-home/users/shadow").splitlines()
    return {line.split(":")[0]: line.split(":")[1] for line in lines}


def token_of(client: HubClient) -> str:
    """An API token, as the page /hub/token makes it."""
    answer = client.hub("POST", f"/users/{client.user}/tokens", json={"note": "by hand"})
    answer.raise_for_status()
    return str(answer.json()["token"])


def accepted(story: Story, token: str) -> bool:
    """Whether the hub takes an API token."""
    with HubClient(story.url, "", "").http as http:
        return http.get(f"{story.url}/hub/api/user", headers={"Authorization": f"token {token}"}, timeout=30).ok


def test_everybody_is_known_before_the_first_login(story: Story) -> None:
    assert story.rows() == {
        u["name"]: {"admin": u.get("admin", False), "groups": set(u.get("groups", []))} for u in USERS
    }


@pytest.mark.parametrize("without", [[MIA, ALICE, ANNE], [MIA, ALICE, {"name": "bob", "state": "absent"}, ANNE]])
def test_a_user_taken_out_is_gone_and_the_files_stay(story: Story, host: Host, without: list[dict[str, Any]]) -> None:
    bob = story.serve("bob")
    bob.save("kept.txt", "of bob\n")
    bob.run("open('/home/jovyan/thesis.txt', 'w').write('of bob')")
    token = token_of(bob)
    assert accepted(story, token) and not gone(bob)
    hashes = shadow(host)

    change = story.change(users=without)
    assert change.tasks == [USERS_TASK]
    for note in (
        "Removed from the hub, with sessions and tokens: bob",
        "Their servers were running, and are stopped: bob",
    ):
        assert note in change.output and note not in change.tried and foretold(note) in change.tried
    for text in (change.tried, change.output):
        assert "Their files are kept, in the volumes jupyterhub-home-user-bob-home, jupyterhub-home-user-bob" in text
    assert story.refuses("bob")
    assert gone(bob) and not accepted(story, token)
    assert bob.http.get(f"{story.url}/user/bob/api/contents", timeout=30, allow_redirects=False).status_code != 200
    assert "jupyterhub-home-user-bob" not in host.check_output("docker ps --all --format '{{.Names}}'").split()
    assert "bob" not in story.rows()
    assert story.client("mia").hub("GET", "/users/bob").status_code == 404
    assert "children" not in [g["name"] for g in story.client("mia").hub("GET", "/groups").json()]
    assert {n: h for n, h in hashes.items() if n != "bob"} == shadow(host), "somebody else's hash changed"

    # Back again: the files are there, the old sessions and tokens are not.
    story.change(users=USERS)
    assert gone(bob) and not accepted(story, token)
    bob = story.serve("bob")
    assert bob.load("kept.txt") == "of bob\n"
    assert bob.run("open('/home/jovyan/thesis.txt').read()") == "'of bob'"
    bob.stop()


def test_a_demoted_admin_has_no_rights_from_the_next_request_on(story: Story) -> None:
    anne = story.client("anne.o")
    assert anne.get("/hub/admin").ok
    assert anne.enter("alice").ok
    change = story.change(users=[MIA, ALICE, BOB, {**ANNE, "admin": False}])
    assert change.tasks == [USERS_TASK]
    assert foretold("No admin any more: anne.o") in change.tried
    assert anne.http.get(f"{story.url}/hub/admin", timeout=30).status_code == 403 or gone(anne)
    assert not anne.http.get(f"{story.url}/hub/api/users", timeout=30).ok
    # The other's server remembers for five seconds whom it has let in.
    api = f"{story.url}/user/alice/api/contents"
    wait_until(lambda: not anne.http.get(api, timeout=30, allow_redirects=False).ok, "shut out of alice's server")
    assert story.rows()["anne.o"]["admin"] is False
    again = story.client("anne.o")
    assert again.get("/hub/admin").status_code == 403
    assert not again.enter("alice").ok


def test_groups_follow(story: Story) -> None:
    change = story.change(
        users=[MIA, {**ALICE, "groups": ["children"]}, {**BOB, "groups": []}, {**ANNE, "groups": ["lab"]}]
    )
    assert change.tasks == [USERS_TASK]
    assert foretold("Other groups: alice, anne.o, bob") in change.tried
    assert foretold("Groups removed: family") in change.tried
    groups = story.client("mia").hub("GET", "/groups").json()
    assert {group["name"]: set(group["users"]) for group in groups} == {"children": {"alice"}, "lab": {"anne.o"}}
    story.settled()


def test_another_password(story: Story, host: Host) -> None:
    bob = story.serve("bob")
    kernel = bob.kernel()
    kernel.execute("answer = 42")
    token = token_of(bob)
    other = story.client("bob")
    hashes = shadow(host)
    change = story.change(users=[MIA, ALICE, {**BOB, "password": "bob-another-secret"}, ANNE])
    assert change.tasks == [USERS_TASK]
    assert "+bob, in children, in family, another password" in change.tried
    assert gone(bob) and gone(other), "a session outlived its password"
    assert story.refuses("bob")
    api = f"{story.url}/user/bob/api/contents"
    wait_until(lambda: not bob.http.get(api, timeout=30, allow_redirects=False).ok, "session in the server ended")
    assert accepted(story, token), "an API token that bob made for himself"
    after = shadow(host)
    story.settled()
    assert after.pop("bob") != hashes.pop("bob")
    assert after == hashes
    # The server and its kernel went on.
    bob = story.serve("bob", "bob-another-secret")
    assert kernel.execute("answer") == "42"
    kernel.close()
    bob.stop()


def test_every_kind_of_hash(story: Story) -> None:
    """Of the password `correct horse`, made by the machine's own crypt(3)."""
    script = (
        "import ctypes; lib = ctypes.CDLL('libcrypt.so.1'); "
        "lib.crypt.restype = lib.crypt_gensalt.restype = ctypes.c_char_p; "
        "print(lib.crypt(b'correct horse', lib.crypt_gensalt(b'{}', 0, None, 0)).decode())"
    )
    made = {
        name: story.host.check_output(f'python3 -c "{script.format(prefix)}"').strip()
        for name, prefix in {"yes": r"\$y\$", "six": r"\$6\$", "five": r"\$5\$", "bee": r"\$2b\$"}.items()
    }
    assert [text[:3] for text in made.values()] == ["$y$", "$6$", "$5$", "$2b"]
    change = story.change(users=[*USERS, *({"name": name, "password_hash": text} for name, text in made.items())])
    assert change.tasks == [USERS_TASK]
    for name in made:
        story.client(name, "correct horse")
        assert story.refuses(name, "wrong horse")
    story.settled()


def test_a_renamed_user_has_the_files(story: Story, host: Host) -> None:
    anne = story.serve("anne.o")
    anne.save("mine.txt", "of anne\n")
    anne.run("open('/home/jovyan/thesis.txt', 'w').write('of anne')")
    anna = {"name": "anna", "password": "anna-test-secret", "renamed_from": "anne.o"}
    change = story.change(users=[MIA, ALICE, BOB, anna])
    assert change.tasks == [USERS_TASK]
    note = "Home of anne.o carried over to anna"
    assert note in change.output and foretold(note) in change.tried
    assert story.refuses("anne.o") and gone(anne)
    client = story.serve("anna")
    assert client.load("mine.txt") == "of anne\n"
    assert client.run("open('/home/jovyan/thesis.txt').read()") == "'of anne'"
    client.save("more.txt", "of anna\n")
    volumes = host.check_output("docker volume ls --quiet").split()
    assert not {"jupyterhub-home-user-anne-2eo", "jupyterhub-home-user-anne-2eo-home"} & set(volumes)
    for name in ("jupyterhub-home-user-anna", "jupyterhub-home-user-anna-home"):
        labels = host.check_output(f"docker volume inspect --format '{{{{json .Labels}}}}' {name}")
        assert '"jupyterhub-home.user":"anna"' in labels

    # The old name comes back with files of its own: neither's are touched.
    story.change(users=[MIA, ALICE, BOB, {"name": "anna", "password": "anna-test-secret"}, ANNE])
    anne = story.serve("anne.o")
    anne.save("new.txt", "of another anne\n")
    anne.stop()
    client.stop()
    said = story.fails(users=[MIA, ALICE, BOB, anna])
    assert "Both anne.o and anna have files" in said
    kept = "docker run --rm --volume {}:/w $(docker inspect --format '{{{{.Image}}}}' jupyterhub-home-hub) ls /w"
    assert host.check_output(kept.format("jupyterhub-home-user-anna")).split() == ["mine.txt", "more.txt"]
    assert host.check_output(kept.format("jupyterhub-home-user-anne-2eo")).split() == ["new.txt"]

    change = story.change(users=[MIA, ALICE, BOB], delete_homes=["anna", "anne.o"])
    note = "Home of anna deleted: jupyterhub-home-user-anna-home, jupyterhub-home-user-anna"
    assert note in change.output and foretold(note) in change.tried
    assert "anna" not in host.check_output("docker volume ls --quiet")
    story.settled()


def test_everybody_who_is_gone_is_archived(story: Story, host: Host) -> None:
    """And the files come back from the archive as docs/users.md says."""
    bob = story.serve("bob")
    bob.save("kept.txt", "of bob\n")
    bob.run(
        "import os; os.chdir('/home/jovyan'); open('thesis.txt', 'w').write('of bob'); os.chmod('thesis.txt', 0o640); "
        "os.link('thesis.txt', 'other'); os.symlink('kept.txt', 'work/link')"
    )
    change = story.change(users=[MIA, ALICE, ANNE], archive_homes=["*"])
    assert change.tasks == [USERS_TASK]
    where, both = "/var/backups/jupyterhub-home/archives", "jupyterhub-home-user-bob-home, jupyterhub-home-user-bob"
    assert f"Home of bob would be archived in {where} and deleted: {both}" in change.tried
    made = re.search(
        rf"Home of bob archived in ({where}/bob_\S+\.tar) \(\d+ files .*\) and deleted: {both}", change.output
    )
    assert made, change.output[-4000:]
    assert "jupyterhub-home-user-bob" not in host.check_output("docker volume ls --quiet")
    assert host.check_output(f"stat -c %a:%U {where} {made[1]}").split() == ["700:root", "600:root"]
    assert "jovyan" not in host.check_output(f"tar -tvf {made[1]}") and "home/thesis.txt" in host.check_output(
        f"tar -tf {made[1]}"
    )

    story.change(users=USERS)
    bob = story.serve("bob")
    assert bob.run("import os; os.listdir('/home/jovyan/work')") == "[]"
    bob.stop()
    (commands,) = re.findall(
        r"^```sh\n(cd /var/lib/docker/volumes\n.*?)^```", USERS_PAGE.read_text("utf-8"), re.M | re.S
    )
    host.check_output("bash -ec %s", re.sub(r"(?m)^archive=.*$", f"archive={made[1]}", commands))
    bob = story.serve("bob")
    assert bob.load("kept.txt") == "of bob\n"
    assert bob.run("open('/home/jovyan/work/link').read()") == "'of bob\\n'"
    same = "import os; a, b = (os.stat('/home/jovyan/' + n) for n in ('thesis.txt', 'other'))"
    assert (
        bob.run(f"{same}; a.st_ino == b.st_ino, oct(a.st_mode), a.st_uid == os.getuid()") == "(True, '0o100640', True)"
    )
    bob.stop()


def test_users_that_an_admin_added(story: Story) -> None:
    mia = story.client("mia")
    assert mia.hub("POST", "/users/guest").status_code == 201
    token = str(mia.hub("POST", "/users/guest/tokens", json={"note": "by an admin"}).json()["token"])
    assert not accepted(story, token)
    change = story.change(undeclared_users="keep")
    assert change.tasks == [USERS_TASK] and "guest" in story.rows()
    story.settled()
    assert accepted(story, token) and story.refuses("guest")
    # Somebody who was declared once goes also then.
    story.change(users=[MIA, ALICE, ANNE], undeclared_users="keep")
    assert "guest" in story.rows() and "bob" not in story.rows()
    change = story.change()
    assert foretold("Removed from the hub, with sessions and tokens: guest") in change.tried
    assert "guest" not in story.rows() and not accepted(story, token)


def test_another_login_that_is_taken_away_again(story: Story, host: Host) -> None:
    """Whom it let in is gone with the first run."""
    anybody = {"JupyterHub": {"authenticator_class": "dummy"}, "Authenticator": {"allow_all": True}}
    story.change(restarts={"hub", "guard"}, config=anybody)
    stranger = story.serve("stranger", "anything")
    token = token_of(stranger)
    assert accepted(story, token)
    change = story.change(restarts={"hub", "guard"})
    for note in (
        "Removed from the hub, with sessions and tokens: stranger",
        "Their servers were running, and are stopped: stranger",
    ):
        assert note in change.output and foretold(note) in change.tried
    assert gone(stranger) and not accepted(story, token)
    assert "stranger" not in story.rows()
    assert "jupyterhub-home-user-stranger" not in host.check_output("docker ps --all --format '{{.Names}}'").split()


def test_the_last_admin(story: Story) -> None:
    change = story.change(users=[{**MIA, "admin": False}, ALICE, BOB, {**ANNE, "admin": False}])
    for text in (change.tried, change.output):
        assert "Nobody is an admin of the hub any more" in text and "jupyterhub_home_users" in text


def test_nobody_left_by_mistake(story: Story, host: Host) -> None:
    before = story.state()
    said = story.fails(users=[])
    assert "there are no users, so nobody could log in" in said and "jupyterhub_home_allow_no_users: true" in said
    assert story.state() == before


def test_a_hub_that_does_not_answer(story: Story, host: Host) -> None:
    host.check_output("docker stop jupyterhub-home-hub")
    said = story.fails("--tags", "users", users=[MIA, ALICE, ANNE])
    assert "the hub does not answer" in said and "The users' files are written" in said
    assert set(shadow(host)) == {"mia", "alice", "anne.o"}
    host.check_output("docker start jupyterhub-home-hub")
    wait_until(lambda: story.client("mia"), "hub back")
    assert "bob" in story.rows()
    change = story.change("--tags", "users", users=[MIA, ALICE, ANNE])
    assert change.tasks == [USERS_TASK] and "bob" not in story.rows()


def test_a_database_that_is_locked(story: Story, host: Host) -> None:
    script = (
        f"import sqlite3; c = sqlite3.connect('{DATABASE}'); c.execute('begin exclusive'); "
        "print('locked', flush=True); input()"
    )
    command = ["docker", "exec", "--interactive", host.backend.name, "python3", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locker:
        assert locker.stdout and locker.stdout.readline() == "locked\n"
        said = story.fails("--tags", "users", users=[MIA, ALICE, ANNE])
        locker.communicate("\n")
    assert "database is locked" in said and "Nothing of it was deleted" in said
    story.change("--tags", "users", users=[MIA, ALICE, ANNE])
    assert "bob" not in story.rows()


def test_a_database_that_is_damaged(story: Story, host: Host) -> None:
    host.check_output("docker stop jupyterhub-home-hub")
    host.check_output(f"cp --archive {DATABASE} /root/copy.sqlite")
    host.check_output(f"head -c 5000 /dev/urandom >{DATABASE}")
    try:
        damaged = host.check_output(f"sha256sum {DATABASE}")
        said = story.fails()
        assert "keeps crashing" in said and "damaged" in said and "Nothing of it was deleted" in said
        assert host.check_output(f"sha256sum {DATABASE}") == damaged
    finally:
        host.check_output(f"docker stop jupyterhub-home-hub && cp --archive /root/copy.sqlite {DATABASE}")
    done = story.run({"jupyterhub_home_users": USERS})
    assert done.returncode == 0 and "jupyterhub-home-hub was exited" in done.stdout, done.stdout[-3000:]
    story.client("bob")
