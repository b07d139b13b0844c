"""make upgrade: a clone takes what is newer where it is from, or says why it does not, and then renews."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import hub
import pytest

PROGRAM = "import os, sys\nprint(sys.argv[1], os.environ.get('ARGS'), 'VERSION')\nsys.exit(3)\n"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=kim", "-c", "user.email=kim@example.org"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a clone is from that scripts/hub.py takes for its own; the program there tells its version."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "origin"
    (folder / "scripts").mkdir(parents=True)
    (folder / "group_vars").mkdir()
    (folder / "group_vars/main.yml").write_text("---\n")
    git(folder, "init", "--quiet")
    newer(folder, "one")
    git(tmp_path, "clone", "--quiet", str(folder), "clone")
    monkeypatch.setattr(hub, "ROOT", tmp_path / "clone")
    monkeypatch.delenv("ONLY", raising=False)
    monkeypatch.setenv("ARGS", "--diff")
    return folder


def newer(origin: Path, version: str) -> None:
    (origin / "scripts/hub.py").write_text(PROGRAM.replace("VERSION", version))
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", version)


def test_the_new_version_renews(origin: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Over variables that the owner has changed."""
    newer(origin, "two")
    own = hub.ROOT / "group_vars/main.yml"
    own.write_text("---\njupyterhub_home_port: 80\n")
    before = git(hub.ROOT, "rev-parse", "HEAD")[:12]
    assert hub.upgrade(["--diff"]) == 3
    said = capfd.readouterr().out
    assert f"by 1 commits: see CHANGELOG.md. Back: git reset --keep {before}." in said
    assert said.endswith("renew --diff two\n") and "port" in own.read_text()
    assert hub.upgrade(["--diff"]) == 3
    assert capfd.readouterr().out == "There is no newer version of this project.\nrenew --diff two\n"


@pytest.mark.parametrize(("only", "job"), [("pins", "converge --diff two"), ("packages", "renew --diff one")])
def test_one_of_both(
    origin: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], only: str, job: str
) -> None:
    newer(origin, "two")
    monkeypatch.setenv("ONLY", only)
    hub.upgrade([])
    assert capfd.readouterr().out.splitlines()[-1] == job


def test_check_mode_takes_nothing(origin: Path, capfd: pytest.CaptureFixture[str]) -> None:
    newer(origin, "two")
    hub.upgrade(["--check"])
    said = capfd.readouterr().out
    assert "It would be taken, and is not tried here." in said and said.endswith(" one\n")


def test_a_word_that_is_neither(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONLY", "pin")
    with pytest.raises(SystemExit, match="Write: make upgrade ONLY=pins, or ONLY=packages"):
        hub.upgrade([])


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no clone", "is no clone of git's."),
        ("no remote", "git branch --set-upstream-to"),
        ("changed", " M scripts/hub.py"),
        ("in the way", "group_vars/main.yml"),
        ("own commits", "Not possible to fast-forward"),
        ("out of reach", "does not appear to be a git repository"),
    ],
)
def test_what_stands_in_the_way_is_said(origin: Path, tmp_path: Path, what: str, said: str) -> None:
    newer(origin, "two")
    clone = hub.ROOT
    match what:
        case "no clone":
            (clone / ".git").rename(tmp_path / "elsewhere")
        case "no remote":
            git(clone, "remote", "remove", "origin")
        case "changed":
            (clone / "scripts/hub.py").write_text("mine\n")
        case "in the way":
            (origin / "group_vars/main.yml").write_text("theirs\n")
            newer(origin, "three")
            (clone / "group_vars/main.yml").write_text("mine\n")
        case "own commits":
            (clone / "own").touch()
            newer(clone, "own")
        case "out of reach":
            origin.rename(tmp_path / "elsewhere")
    with pytest.raises(SystemExit) as end:
        hub.upgrade([])
    text = str(end.value)
    assert said in text and "Nothing was changed." in text and "ONLY=packages" in text, text
