"""scripts/supply.py with a pip, a pip-audit and an npm that are scripts: no answer is never a good one."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import supply
from conftest import ROLE, ROOT, Program

LOCK = """\
numpy==2.0 \\
    --hash=sha256:aa
pandas==3.0 ; python_version >= '3.12' \\
    --hash=sha256:bb
pandas==2.9 ; python_version < '3.12' \\
    --hash=sha256:cc
pywin32==1 ; sys_platform == 'win32' \\
    --hash=sha256:dd
"""
PIP = """
case "$*" in
    *' list '*) for path; do :; done; echo "$PIP_SAYS" ;;
    *pip_audit*)
        for word; do
            case $word in
                --vulnerability-service=*) service=${word#*=} ;;
                --output=*) output=${word#*=} ;;
                --requirement=*) cp "${word#*=}" "$here/asked-$service" ;;
            esac
        done
        [ -e "$here/$service" ] || { echo "no way to $service" >&2; exit 1; }
        cat "$here/$service" >"$output"; exit 1 ;;
esac
"""
NPM = """
case $1 in
    ci) : ;;
    outdated) echo "$NPM_OUTDATED"; [ "$NPM_OUTDATED" = "{}" ] ;;
    audit) echo "$NPM_AUDIT"; exit 1 ;;
esac
"""
CLEAN = json.dumps({"vulnerabilities": {}})
NPM_FOUND = {"chp": {"severity": "high", "range": "<6", "via": [{"url": "advisory-7"}]}}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Program) -> Path:
    """The folder of the fake programs, before a lock of two packages and a proxy without any news."""
    (tmp_path / "lock.in").write_text("numpy  # by name\n")
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "package.json").write_text('{"dependencies": {"chp": "5.0.0"}}')
    (tmp_path / "package-lock.json").write_text("{}")
    monkeypatch.setattr(supply, "ROOT", tmp_path)
    monkeypatch.setattr(supply, "PROXY", Path())
    monkeypatch.setattr(supply, "LOCKS", (Path("lock.txt"),))
    folder = program("npm", NPM).parent
    program("python-of-supply", PIP)
    monkeypatch.setattr(sys, "executable", str(folder / "python-of-supply"))
    monkeypatch.setenv("NPM", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("NPM_AUDIT", CLEAN)
    monkeypatch.setenv("NPM_OUTDATED", "{}")
    newest = [{"name": "numpy", "latest_version": "2.0"}, {"name": "Pandas", "latest_version": "3.0"}]
    monkeypatch.setenv("PIP_SAYS", json.dumps(newest))
    return folder


def knows(folder: Path, service: str, **vulnerable: str) -> None:
    """A service knows numpy and both versions of pandas, and these of them as vulnerable: the identifier by name."""
    known = [("numpy", "2.0"), ("pandas", "3.0"), ("pandas", "2.9")]
    dependencies = [
        {"name": name, "version": version, "vulns": [{"id": vulnerable[name], "fix_versions": ["9"], "aliases": []}]
         if name in vulnerable else []}
        for name, version in known
    ]  # fmt: skip
    (folder / service).write_text(json.dumps({"dependencies": dependencies}))


def test_nothing_newer(programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_SAYS", json.dumps([
        {"name": "numpy", "latest_version": "2.0"}, {"name": "pandas", "latest_version": "2.9"}
    ]))  # fmt: skip
    assert supply.outdated() == supply.GOOD
    said = capsys.readouterr().out
    assert "->" not in said and said.count("  none") == 2


def test_what_is_newer_is_told_by_who_names_it(
    programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_SAYS", json.dumps([
        {"name": "numpy", "latest_version": "2.10"}, {"name": "pandas", "latest_version": "3.0"}
    ]))  # fmt: skip
    monkeypatch.setenv("NPM_OUTDATED", json.dumps({"chp": {"current": "5.0.0", "latest": "6.0.0"}}))
    assert supply.outdated() == supply.GOOD
    first, second = capsys.readouterr().out.split("Newer releases of what comes with it")
    assert "numpy 2.0 -> 2.10 (lock.txt)" in first and "chp 5.0.0 -> 6.0.0" in first
    assert "pandas 2.9 -> 3.0" in second and "pandas 3.0 ->" not in second


def test_what_sources_do_not_tell_is_not_up_to_date(
    programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_SAYS", "[]")
    monkeypatch.setenv("NPM_OUTDATED", json.dumps({"error": {}, "message": "registry says no"}))
    assert supply.outdated() == supply.UNKNOWN
    said = capsys.readouterr().out
    assert "pip's sources tell nothing of numpy, pandas." in said and "registry says no" in said
    assert "pywin32" not in said  # which is for Windows


def test_an_audit_without_findings(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    knows(programs, "pypi")
    assert supply.audit() == supply.GOOD
    assert "No vulnerability is known of 3 Python packages" in capsys.readouterr().out
    assert not (programs / "asked-osv").exists()


def test_both_versions_of_a_package_are_asked_about(programs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"name": "pandas", "version": "2.9", "vulns": [{"id": "OLD-1", "fix_versions": [], "aliases": ["CVE-1"]}]}
    (programs / "osv").write_text(json.dumps({"dependencies": [one]}))
    knows(programs, "pypi")
    (programs / "pypi").write_text((programs / "pypi").read_text().replace("2.9", "0"))
    assert supply.audit() == supply.FOUND
    assert (programs / "asked-osv").read_text() == "pandas==2.9\n"
    assert "  pandas 2.9: OLD-1, CVE-1; fixed in no release yet (lock.txt)" in capsys.readouterr().out


def test_findings_fail(programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    knows(programs, "pypi", numpy="PYSEC-1")
    assert supply.audit() == supply.FOUND
    assert "  numpy 2.0: PYSEC-1; fixed in 9 (lock.txt)" in capsys.readouterr().out
    knows(programs, "pypi")
    monkeypatch.setenv("NPM_AUDIT", json.dumps({"vulnerabilities": NPM_FOUND}))
    assert supply.audit() == supply.FOUND
    assert "  chp <6 (high): advisory-7" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [None, {"dependencies": [{"name": "numpy", "skip_reason": "not found"}]}])
def test_an_audit_that_learns_nothing_is_no_success(
    programs: Path, capsys: pytest.CaptureFixture[str], answer: object
) -> None:
    """pip-audit itself calls it a success when its source knows none of the packages."""
    if answer:
        (programs / "pypi").write_text(json.dumps(answer))
    assert supply.audit() == supply.UNKNOWN
    said = capsys.readouterr().out
    assert "NOT KNOWN" in said and "3 of 3 Python packages could not be checked" in said and "no way to osv" in said


def test_an_npm_registry_without_advisories(
    programs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    knows(programs, "pypi")
    monkeypatch.setenv("NPM_AUDIT", json.dumps({"message": "405 Method Not Allowed", "error": {}}))
    assert supply.audit() == supply.UNKNOWN
    assert "The proxy's npm packages could not be checked: 405 Method Not Allowed" in capsys.readouterr().out


# --- What runs is pinned with hashes ------------------------------------------------------------------------------
def test_every_lock_is_looked_at() -> None:
    inputs = {path.relative_to(ROOT).with_suffix(".txt") for top in (ROOT / "requirements", ROLE / "files")
              for path in top.rglob("*.in")}  # fmt: skip
    assert set(supply.LOCKS) == inputs
    assert set(re.findall(r"^lock (?:\"\$images/)?(\S+?)\.in", (ROOT / "requirements/lock.sh").read_text(), re.M)) == {
        str(lock.with_suffix("")).removeprefix(f"{supply.FILES}/images/") for lock in supply.LOCKS
    }


@pytest.mark.parametrize("lock", supply.LOCKS, ids=str)
def test_every_package_of_a_lock_has_a_hash(lock: Path) -> None:
    packages = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert packages and all("==" in package and "--hash=sha256:" in package for package in packages)


def test_every_package_of_the_proxy_has_a_hash() -> None:
    lock = json.loads((ROOT / supply.PROXY / "package-lock.json").read_text())["packages"]
    assert len(lock) > 1 and all("integrity" in package for name, package in lock.items() if name)


def test_everything_is_installed_with_hashes() -> None:
    """Each install by pip, but for an owner's own packages, and by npm: from a lock alone."""
    places = [ROLE / "files/images/Dockerfile", *sorted((ROLE / "tasks").glob("*.yml")), ROOT / "scripts/venv"]
    texts = [path.read_text().replace("\\\n", " ") for path in places]
    lines = [line for text in texts for line in re.findall(r"(?:pip\"?|npm) (?:install|ci) [^;\n]*", text)]
    pinned = [line for line in lines if "--require-hashes" in line or line.startswith("npm ci ")]
    own = [line for line in lines if "$PACKAGES" in line]
    assert len(pinned) == 5 and len(own) == 2 and sorted(lines) == sorted(pinned + own), lines
    listed = (ROLE / "tasks/compose.yml").read_text()
    assert "--require-hashes" in listed and "--no-deps" in listed
