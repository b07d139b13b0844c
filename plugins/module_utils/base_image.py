"""The base image: a minimal Debian, from the package mirrors that the machine's own apt uses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils.building import ImageError, run, run_docker, tail
from ansible_collections.jupyterhub.home.plugins.module_utils.engine import EngineError, docker

# Not below /tmp, which may be memory, as on Debian 13.
SCRATCH = Path("/var/tmp/jupyterhub-home-base")


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


def clear_scratch() -> None:
    """Remove what making a base left, also after a kill; never what another file system holds."""
    run(["rm", "-rf", "--one-file-system", "--", str(SCRATCH)], f"Clearing {SCRATCH}")


def bootstrap_and_import(suite: str, packages: list[str], dpkg: str) -> str:
    """Make a minimal Debian file system and hand it to Docker; returns the untagged image's identity."""
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
