"""playbooks/renew.yml: images of today's packages take the place of older ones, and nobody's notebook is disturbed."""

from __future__ import annotations

from machine import containers
from rows import USERS
from story import Run, Story, changed_tasks
from test_drift import START, flat, on
from testinfra.host import Host

VARIABLES = {"jupyterhub_home_users": USERS}
ROLE = "jupyterhub_home : "
BUILD = f"{ROLE}images | Build or pull what is missing (minutes on the first run)"
TAKE = f"{ROLE}renew | Put the new images in the place of the old"
FILES = f"{ROLE}files | Write the compose project, the hub's settings and secrets"
PRUNE = f"{ROLE}Remove our older images that nothing uses"
IDENTITIES = "docker image ls --no-trunc --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}' '{P}/*' | sort"
# An image of before a package was there, in the place of today's: mirrors have no older one.
OLDER = "printf 'FROM {image}\\nUSER root\\nRUN dpkg --purge {package}\\nUSER {user}\\n' | docker build -qt {image} -"
NO_INDEX = "[global]\\nindex-url = http://127.0.0.1:9/simple\\nretries = 0\\n"


def has_nano(host: Host, container: str) -> bool:
    return bool(host.run(f"docker exec {container} sh -c 'command -v nano'").rc == 0)


def renew(run: Run, *options: str) -> str:
    """What the playbook prints, which must not fail."""
    done = run(VARIABLES, "playbooks/renew.yml", *options)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_renew(story: Story, host: Host, run: Run) -> None:
    images = dict(line.split() for line in on(host, IDENTITIES).splitlines())
    user = next(name for name in images if "/user:" in name)
    hub = next(name for name in images if "/hub:" in name)
    host.check_output(OLDER.format(image=user, package="nano", user="1000:100"))
    host.check_output(OLDER.format(image=hub, package="python3-venv", user="58081:58081"))
    assert run(VARIABLES).returncode == 0  # the hub runs on the older one
    bob = story.serve("bob")
    older, before = on(host, IDENTITIES), containers(host)
    assert not has_nano(host, "jupyterhub-home-user-bob")

    # One that cannot be built leaves everything as it is.
    host.check_output(f"test ! -e /etc/pip.conf && printf '{NO_INDEX}' >/etc/pip.conf")
    done = run(VARIABLES, "playbooks/renew.yml")
    host.check_output("rm /etc/pip.conf")
    assert done.returncode != 0 and f"Building {hub}-renewed failed" in done.stdout, done.stdout[-3000:]
    assert on(host, IDENTITIES) == older and containers(host) == before

    tried = renew(run, "--check")
    assert changed_tasks(tried) == [BUILD] and "A run would make all images anew" in flat(tried)
    assert on(host, IDENTITIES) == older and containers(host) == before

    output = renew(run)
    assert changed_tasks(output) == [BUILD, TAKE, START, PRUNE], output[-3000:]
    assert f"Renewed {user}: nano none -> " in flat(output) and f"Renewed {hub}: python3-venv none -> " in flat(output)
    assert "proxy:" not in output and "Running servers take their new image at their next start." in flat(output)
    assert "(in the hub: Home, Stop My Server), the servers of: alice, bob" in flat(output)
    after = containers(host)
    assert {name for name in before if before[name] != after[name]} == {"hub", "guard"}  # of one image

    # A run finds nothing to do about them; a server takes the new image when it is started again.
    done = run(VARIABLES)
    assert done.returncode == 0 and changed_tasks(done.stdout) == [], done.stdout[-3000:]
    bob.stop()
    bob.spawn()
    assert has_nano(host, "jupyterhub-home-user-bob")
    bob.stop()
    story.still_counting()

    # The older image goes with the next change after the last server on it.
    assert story.bystander
    story.bystander.stop()
    done = run(VARIABLES | {"jupyterhub_home_idle_timeout": 40000})
    assert done.returncode == 0 and changed_tasks(done.stdout) == [FILES, PRUNE], done.stdout[-3000:]
