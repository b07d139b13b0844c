#!/usr/bin/env python3
"""What `make outdated` and `make audit` do: ask what is newer than the locks, and what is known to be wrong with them.

Run by the environment of requirements/audit.txt, with NPM the folder of the environment that the proxy's npm is in.
Whom they ask is what this machine's own pip and npm have as their sources. An answer that did not come is no good news:
it is said, and the exit status is UNKNOWN.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FILES = Path("roles/jupyterhub_home/files")
PROXY = FILES / "images/proxy"
LOCKS = (
    *(Path("requirements") / f"{name}.txt" for name in ("ansible", "test", "fuzz", "audit")),
    *(FILES / "images" / image / "requirements.txt" for image in ("hub", "user", "proxy")),
    FILES / "compose/requirements.txt",
)
# Exit statuses: make calls each of them its own error 2, and names them beside it.
GOOD, FOUND, UNKNOWN = 0, 1, 3
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


class Pin(NamedTuple):
    """A package with its version, as locks have it."""

    name: str
    version: str


def is_for_linux(line: Requirement) -> bool:
    """Whether a line of a lock is for Linux, with any of the Pythons that locks are made for."""
    linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    pythons = [f"3.{minor}" for minor in range(11, 20)]
    marker = line.marker
    return marker is None or any(
        marker.evaluate({**linux, "python_version": python, "python_full_version": f"{python}.0"}) for python in pythons
    )


def pins(lock: Path) -> set[Pin]:
    """The packages of a lock."""
    found = re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+)", lock.read_text(encoding="utf-8"), re.M)
    lines = [line for line in map(Requirement, found) if is_for_linux(line)]
    return {Pin(canonicalize_name(line.name), str(line.specifier).removeprefix("==")) for line in lines}


def declared(lock: Path) -> set[str]:
    """The packages that the file which a lock is made from names itself."""
    text = lock.with_suffix(".in").read_text(encoding="utf-8")
    return {canonicalize_name(name) for name in re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", text, re.M)}


def where() -> dict[Pin, list[str]]:
    """Every package of the Python locks, with the locks that have it."""
    found: dict[Pin, list[str]] = {}
    for lock in LOCKS:
        for pin in pins(ROOT / lock):
            found.setdefault(pin, []).append(str(lock))
    return found


def trouble_of(done: subprocess.CompletedProcess[str]) -> str:
    """What a program says is wrong, in a line: npm in JSON, others in their last line."""
    try:
        said = str(json.loads(done.stdout)["message"])
    except (ValueError, KeyError, TypeError):
        said = ([line for line in done.stderr.splitlines() if line.strip()] or ["nothing was said"])[-1]
    return f"{said.strip()[:200]} (exit status {done.returncode})"


# --- What is newer ------------------------------------------------------------------------------------------------
def newest_python(names: Iterable[str]) -> dict[str, str]:
    """The newest release of each package that pip's sources have, for this Python; what they do not tell is left out.

    pip is shown an environment with version 0 of everything. What it then does not call outdated, it could not find: of
    the real versions it would not tell that from being up to date.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            info = Path(folder) / f"{name.replace('-', '_')}-0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n", encoding="utf-8")
        listed = [sys.executable, "-m", "pip", "list", "--outdated", "--format=json", f"--path={folder}"]
        done = subprocess.run([*listed, "--disable-pip-version-check"], text=True, capture_output=True, check=False)
    answers = json.loads(done.stdout or "[]") if done.returncode == 0 else []
    return {canonicalize_name(answer["name"]): answer["latest_version"] for answer in answers}


def npm(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the npm that the proxy's image is built with."""
    path = f"{os.environ['NPM']}/bin:{os.environ['PATH']}"
    more = {"NODE_EXTRA_CA_CERTS": BUNDLE} if os.path.isfile(BUNDLE) else {}
    command = ["npm", *arguments, "--no-fund", "--no-update-notifier"]
    return subprocess.run(
        command, cwd=folder, env={**more, **os.environ, "PATH": path}, text=True, capture_output=True, check=False
    )


def in_copy(work: Callable[[Path], Any]) -> Any:
    """What comes of work on a copy of the proxy's lock: npm writes beside it."""
    with tempfile.TemporaryDirectory() as name:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(ROOT / PROXY / file, name)
        return work(Path(name))


def newest_npm(folder: Path) -> dict[str, dict[str, str]] | str:
    """What npm calls outdated, by name: `current` and `latest`; or what npm says is wrong."""
    installed = npm("ci", "--omit=dev", "--ignore-scripts", "--no-audit", folder=folder)
    if installed.returncode != 0:
        return trouble_of(installed)
    done = npm("outdated", "--all", "--json", folder=folder)
    try:
        answer = json.loads(done.stdout or "{}")
    except ValueError:
        return trouble_of(done)
    if "error" in answer or (done.returncode != 0 and not answer):
        return trouble_of(done)
    return {name: entry[0] if isinstance(entry, list) else entry for name, entry in answer.items()}


def outdated() -> int:
    """Print what has newer releases; first what the project names itself, then what comes with it."""
    known = where()
    newest = newest_python(sorted({pin.name for pin in known}))
    named = {name for lock in LOCKS for name in declared(ROOT / lock)}
    lines: dict[bool, list[str]] = {True: [], False: []}
    for pin, locks in sorted(known.items()):
        if pin.name in newest and Version(newest[pin.name]) > Version(pin.version):
            line = f"  {pin.name} {pin.version} -> {newest[pin.name]} ({', '.join(locks)})"
            lines[pin.name in named].append(line)
    answer = in_copy(newest_npm)
    direct = json.loads((ROOT / PROXY / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for name, entry in sorted(answer.items() if isinstance(answer, dict) else ()):
        if entry.get("current") and entry["current"] != entry["latest"]:
            line = f"  {name} {entry['current']} -> {entry['latest']} ({PROXY}/package-lock.json)"
            lines[name in direct].append(line)
    print("Newer releases of what this project names:", *(lines[True] or ["  none"]), sep="\n")
    print("Newer releases of what comes with it (its own limits may forbid them):", sep="\n")
    print(*(lines[False] or ["  none"]), sep="\n")
    print("make lock raises what may be raised; what is pinned with == in an .in file or package.json is raised there.")
    unasked = sorted({pin.name for pin in known} - newest.keys())
    return not_known(
        [
            *([f"pip's sources tell nothing of {listed(unasked)}."] if unasked else []),
            *([f"npm's registry tells nothing of the proxy's packages: {answer}"] if isinstance(answer, str) else []),
        ]
    )


# --- What is known to be wrong ------------------------------------------------------------------------------------
def ask_about(lines: list[str], service: str) -> tuple[dict[Pin, list[dict[str, Any]]], str]:
    """What a service of pip-audit's knows of these lines of a lock, by package, without those that it skips.

    The second is what pip-audit says is wrong where it ends without an answer.
    """
    with tempfile.TemporaryDirectory() as name:
        lock, answer = Path(name) / "lock.txt", Path(name) / "answer.json"
        lock.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner=off"]
        done = subprocess.run(
            [*command, f"--vulnerability-service={service}", f"--requirement={lock}", "--format=json",
             f"--output={answer}"],
            env={**({"REQUESTS_CA_BUNDLE": BUNDLE} if os.path.isfile(BUNDLE) else {}), **os.environ},
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        try:
            told = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
        except (OSError, ValueError, KeyError):
            return {}, trouble_of(done)
    return {
        Pin(canonicalize_name(one["name"]), one["version"]): one["vulns"] for one in told if "skip_reason" not in one
    }, ""


def audit_python(known: dict[Pin, list[str]]) -> tuple[list[str], list[str]]:
    """What is wrong with the Python locks, a line each, and what could not be learned."""
    vulnerable: dict[Pin, list[dict[str, Any]]] = {}
    left, why = set(known), []
    for service in ("pypi", "osv"):  # the second is asked what the first does not tell
        # A lock of one version each: where two locks differ, the second version is asked about in a next round.
        trouble = ""
        while left:
            now = {pin.name: pin for pin in sorted(left)}
            answer, trouble = ask_about([f"{pin.name}=={pin.version}" for pin in now.values()], service)
            vulnerable |= answer
            if not answer.keys() & left:
                break
            left -= answer.keys()
        why.append(f"{service}: {trouble or 'it does not know them'}")
    found = [
        f"  {pin.name} {pin.version}: {', '.join([one['id'], *one.get('aliases', [])])}; fixed in "
        f"{', '.join(one['fix_versions']) or 'no release yet'} ({', '.join(known[pin])})"
        for pin, vulns in sorted(vulnerable.items()) if pin in known
        for one in vulns
    ]  # fmt: skip
    names = listed(sorted({f"{pin.name} {pin.version}" for pin in left}))
    unknown = f"{len(left)} of {len(known)} Python packages could not be checked ({'; '.join(why)}): {names}"
    return found, [unknown] if left else []


def audit_npm(folder: Path) -> tuple[list[str], list[str]]:
    """The same for the proxy's lock."""
    done = npm("audit", "--json", "--package-lock-only", "--omit=dev", folder=folder)
    try:
        answer = json.loads(done.stdout)
        vulnerable = answer["vulnerabilities"]
    except (ValueError, KeyError):
        return [], [f"The proxy's npm packages could not be checked: {trouble_of(done)}"]
    found = []
    for name, one in sorted(vulnerable.items()):
        causes = [cause if isinstance(cause, str) else cause.get("url", cause.get("title", "")) for cause in one["via"]]
        found.append(f"  {name} {one['range']} ({one['severity']}): {', '.join(causes)} ({PROXY}/package-lock.json)")
    return found, []


def audit() -> int:
    """Print what is known to be wrong with what the locks have."""
    known = where()
    found, unknown = audit_python(known)
    more_found, more_unknown = in_copy(audit_npm)
    if found + more_found:
        print("Known vulnerabilities:", *found, *more_found, sep="\n")
        print("make lock raises what may be raised; then make hub.")
    status = not_known(unknown + more_unknown)
    if found + more_found:
        return FOUND
    if status == GOOD:
        print(f"No vulnerability is known of {len(known)} Python packages and the proxy's npm packages.")
    return status


def listed(names: list[str], most: int = 8) -> str:
    """Names in one line, of many the first ones."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def not_known(lines: list[str]) -> int:
    """Say what could not be learned; the exit status that follows from that alone."""
    if lines:
        print("NOT KNOWN, so this is no all-clear:", *(f"  {line}" for line in lines), sep="\n")
        print("  Try again where this machine's pip and npm reach sources that tell it.")
    return UNKNOWN if lines else GOOD


if __name__ == "__main__":
    sys.exit({"outdated": outdated, "audit": audit}[sys.argv[1]]())
