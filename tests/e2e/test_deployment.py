"""How hub, proxy and guard are run, and what they give away."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import PASSWORDS, ClientFactory
from testinfra.host import Host

DIRECTORY = "/opt/jupyterhub-home"
SERVICES = ["jupyterhub-home-hub", "jupyterhub-home-proxy", "jupyterhub-home-guard"]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, host: Host) -> dict[str, Any]:
    """What Docker knows of one service's container."""
    record: dict[str, Any] = json.loads(host.check_output(f"docker inspect {request.param}"))[0]
    return record


def test_no_process_is_root(host: Host, service: dict[str, Any]) -> None:
    processes = host.check_output(f"docker top {service['Id']} -eo pid,uid,args").splitlines()[1:]
    assert processes
    for process in processes:
        _, uid, arguments = process.split(maxsplit=2)
        assert int(uid) in (58081, 58082, 58083), arguments


def test_gives_up_privileges(service: dict[str, Any]) -> None:
    assert service["HostConfig"]["CapDrop"] == ["ALL"]
    assert not service["HostConfig"]["CapAdd"]
    assert not service["HostConfig"]["Privileged"]
    assert "no-new-privileges:true" in service["HostConfig"]["SecurityOpt"]


def test_neither_starves_nor_fills_the_machine(host: Host, service: dict[str, Any], serve: ClientFactory) -> None:
    config = service["HostConfig"]
    assert config["Memory"] == config["MemorySwap"] == 2 * 2**30
    assert config["PidsLimit"] == 1024
    serve("bob")
    server = json.loads(host.check_output("docker inspect jupyterhub-home-user-bob"))[0]["HostConfig"]
    assert config["CpuShares"] == 16 * (server["CpuShares"] or 1024)


def test_looks_after_itself(service: dict[str, Any]) -> None:
    assert service["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert service["State"]["Health"]["Status"] in ("starting", "healthy")
    assert service["HostConfig"]["LogConfig"]["Config"]["max-size"]
    assert service["HostConfig"]["LogConfig"]["Config"]["max-file"]


def test_health_check_passes(host: Host, service: dict[str, Any]) -> None:
    kind, *command = service["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    quoted = " ".join("'" + part.replace("'", "'\\''") + "'" for part in command)
    assert host.run(f"docker exec {service['Id']} {quoted}").rc == 0


def test_hub_logs_no_traceback(host: Host) -> None:
    log = host.run("docker logs jupyterhub-home-hub")
    assert "Traceback" not in log.stdout + log.stderr


@pytest.fixture
def secrets(host: Host, login: ClientFactory) -> list[str]:
    """Everything that must not show; after somebody logged in and has a server's record."""
    login("mia")
    shadow = host.file(f"{DIRECTORY}/users/shadow").content_string.splitlines()
    hashes = [line.split(":")[1] for line in shadow]
    token = host.file(f"{DIRECTORY}/secrets/proxy-token").content_string.strip()
    found = [*PASSWORDS.values(), *hashes, token]
    return [secret for secret in found if len(secret) > 8]


def shown(secrets: list[str], text: str) -> list[str]:
    """The secrets in a text, so short that the report itself gives none away."""
    return [secret[:4] + "..." for secret in secrets if secret in text]


def test_docker_inspect_shows_no_secret(host: Host, serve: ClientFactory, secrets: list[str]) -> None:
    serve("bob")
    for kind in ("container", "image", "volume", "network"):
        listing = "ls --all" if kind in ("container", "image") else "ls"
        names = host.check_output(f"docker {kind} {listing} --quiet").split()
        assert names
        assert not shown(secrets, host.check_output(f"docker {kind} inspect {' '.join(names)}"))


def test_image_layers_show_no_secret(host: Host, secrets: list[str]) -> None:
    for image in host.check_output("docker image ls --quiet").split():
        history = host.check_output(f"docker history --no-trunc {image}")
        assert not shown(secrets, history)


def test_images_keep_nothing_of_the_builds_secrets(host: Host) -> None:
    """The household's bundle reached the builds as a secret; an image has its own, or none."""
    assert "# household" in host.file("/srv/household.pem").content_string
    images = host.check_output("docker image ls --filter 'reference=jupyterhub-home/*' --quiet").split()
    assert len(images) >= 4
    for image in images:
        files = "/etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/npmrc"
        kept = host.run(f"docker run --rm --name jhh-bundle --entrypoint tail {image} --lines 1 {files}")
        assert "# household" not in kept.stdout
        assert "pip.conf" not in kept.stdout and "npmrc" not in kept.stdout


def test_no_program_of_an_image_runs_as_somebody_else(host: Host) -> None:
    """None is setuid or setgid; `env` shows that something was looked at."""
    listing = host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' 'jupyterhub-home/*'").split()
    images = [image for image in listing if not image.startswith("jupyterhub-home/base:")]
    assert len(images) >= 3
    for image in images:
        find = "find / -xdev -type f -perm /6000 -o -path /usr/bin/env"
        found = host.run(f"docker run --rm --name jhh-setuid --user 0 --entrypoint sh {image} -c '{find}'")
        assert found.stdout.split() == ["/usr/bin/env"], image


def test_process_list_shows_no_secret(host: Host, secrets: list[str]) -> None:
    assert not shown(secrets, host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '"))


def test_logs_show_no_secret(host: Host, secrets: list[str]) -> None:
    for name in host.check_output("docker ps --all --format '{{.Names}}'").split():
        log = host.run(f"docker logs {name}")
        assert not shown(secrets, log.stdout + log.stderr)
    assert not shown(secrets, host.check_output("journalctl --no-pager --quiet"))


def test_nobody_else_on_the_machine_reads_a_secret(host: Host, secrets: list[str]) -> None:
    """Search as an ordinary account of the machine, in every file that it can read."""
    patterns = "/run/secrets-to-find"
    listed = "\n".join(secrets).replace("'", "'\\''")
    try:
        host.check_output(f"umask 077; printf '%s\\n' '{listed}' >{patterns}; chown kim {patterns}")
        search = host.run(
            f"su kim -c 'LC_ALL=C grep --recursive --files-with-matches --no-messages "
            f"--binary-files=text --fixed-strings --file={patterns} --exclude-dir=proc "
            f"--exclude-dir=sys --exclude-dir=dev --exclude={patterns.rsplit('/', 1)[1]} /'"
        )
        assert search.stdout == ""
    finally:
        host.check_output(f"rm {patterns}")
    assert host.run(f"su kim -c 'cat {DIRECTORY}/users/shadow'").rc != 0
    assert host.run(f"su kim -c 'cat {DIRECTORY}/secrets/proxy-token'").rc != 0


def test_servers_leave_no_container_behind(host: Host, serve: ClientFactory) -> None:
    bob = serve("bob")
    bob.stop()
    names = host.check_output("docker ps --all --format '{{.Names}}'").split()
    assert "jupyterhub-home-user-bob" not in names
