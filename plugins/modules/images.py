#!/usr/bin/python
"""Make sure that images exist, pulling or building only those that do not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, TextIO

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker, has_image

DOCUMENTATION = r"""
module: images
short_description: Build or pull the images that are missing
description:
  - A tag carries a hash of its inputs, so an image that exists is the right one and nothing is built again.
  - A build that is killed leaves no tag, so the next run makes it.
  - Before it makes anything, it tries whether the engine can start a container.
options:
  base:
    type: dict
    required: true
    description:
      - The image that the builds stand on. With a suite it is made from Debian's packages, with the mirrors that the
        machine's own apt uses; otherwise it is pulled.
    suboptions:
      tag: {type: str, required: true, description: Its name.}
      suite: {type: str, description: Debian's suite.}
      packages: {type: list, elements: str, default: [], description: Debian's packages in it.}
      dpkg: {type: str, default: "", description: The text of its dpkg.cfg(5).}
  builds:
    type: list
    elements: dict
    required: true
    description: The images that are built.
    suboptions:
      name: {type: str, required: true, description: Its target in the Dockerfile.}
      tag: {type: str, required: true, description: Its name.}
      context: {type: path, required: true, description: Folder on the machine with the Dockerfile.}
      packages: {type: list, elements: str, default: [], description: What pip installs besides.}
  pulls: {type: list, elements: str, default: [], description: Images used as they are.}
  secrets:
    type: dict
    default: {}
    description: Files that builds read and images do not keep; missing ones are left out.
    suboptions:
      ca: {type: path, description: A bundle of certificates.}
      pip: {type: path, description: Configuration of pip.}
      npm: {type: path, description: Configuration of npm.}
  keep_only:
    type: str
    description: Makes nothing, but removes the images whose name begins so, except those named above and those in use.
attributes:
  check_mode: {support: full}
"""
EXAMPLES = r"""
- name: Build the hub's image if its tag is not there
  jupyterhub.home.images:
    base: {tag: "debian:13"}
    builds:
      - {name: hub, tag: "jupyterhub-home/hub:0123456789ab", context: /opt/jupyterhub-home/images}
    secrets: {pip: /etc/pip.conf}

- name: Remove the old images
  jupyterhub.home.images:
    base: {tag: "debian:13"}
    builds:
      - {name: hub, tag: "jupyterhub-home/hub:0123456789ab", context: /opt/jupyterhub-home/images}
    keep_only: jupyterhub-home/
"""
RETURN = r"""
made: {description: Images built or pulled., type: list, elements: str, returned: always}
removed: {description: Old images that went., type: list, elements: str, returned: always}
"""


# Not below /tmp, which may be memory, as on Debian 13.
SCRATCH = Path("/var/tmp/jupyterhub-home-base")
INIT_ENVIRONMENT = Path("/proc/1/environ")
LOCK = Path("/run/jupyterhub-home-images.lock")


NESTING = (
    "This machine is itself a container ({}), and must be allowed to hold others. On Proxmox: pct set NUMBER "
    "--features nesting=1,keyctl=1; with Incus or LXD: incus config set NAME security.nesting=true. Then start it anew."
)


class ImageError(Exception):
    """An image could not be had; the text says which and why."""


def failed(what: str, status: int | None, printed: str) -> ImageError:
    """The error of a command, with the last lines of what it printed."""
    return ImageError(f"{what} failed (exit status {status}). Its last lines:\n{tail(printed)}")


def tail(printed: str) -> str:
    """The last lines of what a command printed."""
    return "\n".join(printed.strip().splitlines()[-30:])


def run(command: list[str], what: str) -> str:
    """What a command prints, on either stream; raises ImageError when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        raise failed(what, done.returncode, done.stdout)
    return done.stdout


def run_docker(what: str, *arguments: str) -> str:
    """What a docker command prints, on either stream; raises ImageError when it fails."""
    try:
        return docker(*arguments, merged=True, environment={"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"})
    except EngineError as error:
        raise failed(what, error.status, error.why) from error


def try_engine() -> None:
    """Raise ImageError where the engine cannot start a container, before minutes go into images.

    The trial's image is empty: when the engine misses its command (exit status 127), all else of a start has worked.
    """
    try:
        image = docker("import", "-", text="\0" * 1024)
        try:
            docker("run", "--rm", "--memory=64m", "--pids-limit=64", "--security-opt=no-new-privileges", image, "/no")
        finally:
            remove(image)
        why = "a container of an empty image ends well"
    except EngineError as error:
        if error.status == 127:
            return
        why = error.why
    first = INIT_ENVIRONMENT.read_text(encoding="utf-8", errors="replace").split("\0")
    kinds = [pair.partition("=")[2] for pair in first if pair.startswith("container=")]
    remedy = (
        NESTING.format(kinds[0]) if kinds else "Look at journalctl -u docker, or without systemd /var/log/docker.log."
    )
    raise ImageError(f"The Docker engine cannot start a container: {why}\n{remedy}")


def mirrors(suite: str) -> list[str]:
    """sources.list(5) lines for a Debian suite, from the mirrors that this machine's apt has for its own suite.

    apt itself reads its configuration (apt-get indextargets), so every form of it counts. Raises ImageError
    when apt knows no Debian mirror.
    """
    own = ""
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        if line.startswith("VERSION_CODENAME="):
            own = line.partition("=")[2].strip('"')
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    options = f"[signed-by={keyring}] " if keyring.exists() else ""
    lines = []
    listing = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)"]
    for target in sorted(set(run([*listing, "Created-By: Packages"], "Asking apt for its mirrors").splitlines())):
        uri, codename, origin, component = [*target.split(" "), "", "", ""][:4]
        pocket = codename.removeprefix(own)
        if origin == "Debian" and component == "main" and pocket in ("", "-updates", "-security"):
            lines.append(f"deb {options}{uri} {suite}{pocket} main")
    if not any(f" {suite} main" in line for line in lines):
        raise ImageError(f"apt on this machine has no mirror of Debian's {own} (looked with apt-get indextargets)")
    return lines


def wait_for_others() -> TextIO:
    """Wait for what a killed run goes on building here; gives the lock, which the end of this process opens."""
    lock = LOCK.open("w", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def clear_scratch() -> None:
    """Remove what making a base left, also after a kill; never what another file system holds."""
    run(["rm", "-rf", "--one-file-system", "--", str(SCRATCH)], f"Clearing {SCRATCH}")


def bootstrap_and_import(suite: str, packages: list[str], dpkg: str) -> str:
    """Make a minimal Debian file system and hand it to Docker; gives the untagged image's identity."""
    sources, options, log = SCRATCH / "mirrors.list", SCRATCH / "dpkg.cfg", SCRATCH / "log"
    sources.write_text("\n".join(mirrors(suite)) + "\n", encoding="utf-8")
    options.write_text(dpkg, encoding="utf-8")
    with log.open("wb") as stream:
        bootstrap = subprocess.Popen(
            # In a mount namespace of its own, what it mounts is gone with it, even when it is killed.
            ["unshare", "--mount", "mmdebstrap", "--variant=minbase", "--mode=root", f"--include={','.join(packages)}",
             f"--dpkgopt={options}", suite, "-", str(sources)],
            env={**os.environ, "TMPDIR": str(SCRATCH)}, stdout=subprocess.PIPE, stderr=stream,
        )  # fmt: skip
    assert bootstrap.stdout is not None
    importing: EngineError | None = None
    try:
        imported = docker("import", "--change", "ENV LANG=C.UTF-8", "-", stream=bootstrap.stdout, merged=True)
    except EngineError as error:
        importing, imported = error, error.why
    bootstrap.stdout.close()  # so that it ends where nobody reads it any more
    if bootstrap.wait() != 0:
        said = tail(log.read_text(encoding="utf-8", errors="replace"))
        raise ImageError(f"mmdebstrap could not make the base image. Its last lines:\n{said}\n{imported}")
    if importing:
        raise ImageError(f"docker import of the base image failed: {imported}") from importing
    return imported.splitlines()[-1]


def make_base(tag: str, suite: str, packages: list[str], dpkg: str) -> None:
    """Make a minimal Debian image and tag it only when it is whole; dpkg is the text of its dpkg.cfg(5)."""
    clear_scratch()
    SCRATCH.mkdir(mode=0o755)
    try:
        identity = bootstrap_and_import(suite, packages, dpkg)
    finally:
        clear_scratch()
    run_docker(f"Tagging {tag}", "tag", identity, tag)


def build(base: str, image: dict[str, Any], secrets: dict[str, str]) -> None:
    """Build one image on the base."""
    arguments = {"BASE": base, "PACKAGES": " ".join(image["packages"]), **contract.build_arguments()}
    command = ["build", "--target", image["name"]]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    for identifier, path in sorted(secrets.items()):
        command += ["--secret", f"id={identifier},src={path}"]
    run_docker(f"Building {image['tag']}", *command, "--tag", image["tag"], image["context"])


def superfluous(prefix: str, keep: set[str]) -> list[str]:
    """The images of ours that are not to be kept and that no user's server runs on."""
    named = ["--format", "{{.Repository}}:{{.Tag}}"]
    images = run_docker("Listing images", "image", "ls", "--filter", f"reference={prefix}*", *named).split()
    servers = ["ps", "--all", "--filter", f"label={contract.PROJECT_LABEL}", "--format", "{{.Image}}"]
    in_use = set(run_docker("Listing servers", *servers).split())
    return [image for image in images if image not in keep | in_use]


def remove(image: str) -> bool:
    """Whether an image could be removed; Docker keeps one that any container uses."""
    try:
        docker("image", "rm", image)
    except EngineError:
        return False
    return True


def arguments() -> dict[str, Any]:
    """The module's options."""
    packages = {"type": "list", "elements": "str", "default": []}
    return {
        "base": {
            "type": "dict",
            "required": True,
            "options": {
                "tag": {"type": "str", "required": True},
                "suite": {"type": "str"},
                "packages": packages,
                "dpkg": {"type": "str", "default": ""},
            },
        },
        "builds": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "name": {"type": "str", "required": True},
                "tag": {"type": "str", "required": True},
                "context": {"type": "path", "required": True},
                "packages": packages,
            },
        },
        "pulls": {"type": "list", "elements": "str", "default": []},
        "secrets": {
            "type": "dict",
            "default": {},
            "no_log": False,
            "options": {name: {"type": "path"} for name in ("ca", "pip", "npm")},
        },
        "keep_only": {"type": "str"},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    base = module.params["base"]
    secrets = {key: path for key, path in module.params["secrets"].items() if path and os.path.isfile(path)}
    made: list[str] = []
    removed: list[str] = []
    lock = None if module.check_mode else wait_for_others()  # noqa: F841 (open as long as this runs)
    try:
        if module.params["keep_only"]:
            if shutil.which("docker"):
                keep = {base["tag"], *(image["tag"] for image in module.params["builds"])}
                removed = superfluous(module.params["keep_only"], keep)
            if not module.check_mode:
                removed = [image for image in removed if remove(image)]
            module.exit_json(changed=bool(removed), made=made, removed=removed)
        wanted = [*module.params["pulls"], *(image["tag"] for image in module.params["builds"])]
        if not module.check_mode and not all(map(has_image, wanted)):
            try_engine()
        for image in module.params["pulls"]:
            if not has_image(image):
                made.append(image)
                if not module.check_mode:
                    run_docker(f"Pulling {image}", "pull", "--quiet", image)
        for image in module.params["builds"]:
            if has_image(image["tag"]):
                continue
            if not has_image(base["tag"]) and base["tag"] not in made:
                made.append(base["tag"])
                if module.check_mode:
                    pass
                elif base["suite"]:
                    make_base(base["tag"], base["suite"], base["packages"], base["dpkg"])
                else:
                    run_docker(f"Pulling the base image {base['tag']}", "pull", "--quiet", base["tag"])
            made.append(image["tag"])
            if not module.check_mode:
                build(base["tag"], image, secrets)
    except ImageError as error:
        module.fail_json(msg=str(error), made=made)
    module.exit_json(changed=bool(made), made=made, removed=removed)


if __name__ == "__main__":
    main()
