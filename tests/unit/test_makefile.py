"""The Makefile: what was meant for Ansible reaches it or stops with the line to write; nothing becomes a real run."""

from __future__ import annotations

import os
import subprocess

import pytest
from conftest import ROOT, Program


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """make as a terminal runs it, and not as a make above these tests."""
    kept = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARGS")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env={**kept, **environment}, text=True, capture_output=True, check=False
    )


# A python3 that notes its arguments, ARGS and the locale.
PYTHON = r'printf "%s|%s|%s\n" "$*" "$ARGS" "$LC_ALL" >>"$here/noted"'


@pytest.mark.parametrize(
    ("arguments", "write"),
    [
        (["hub", "--check"], "make check"),
        (["--check", "hub"], "make check"),
        (["uninstall", "--check"], "make uninstall ARGS=--check"),
        (["renew", "--check"], "make renew ARGS=--check"),
        (["upgrade", "--check"], "make upgrade ARGS=--check"),
        (["hub", "ONLY=pins"], "make upgrade ONLY=pins"),
        (["upgrade", "only=pins"], "make upgrade ONLY=pins"),
        (["restore", "user=alice"], "make restore USER=alice"),
        (["restore", "Snapshot=1f"], "make restore SNAPSHOT=1f"),
        (["restore", "USR=alice"], "make restore USER=... FILE=... SNAPSHOT=..."),
        (["hub", "USER=alice"], "make restore USER=alice"),
        (["restore", "alice"], "make restore USER=alice"),
        (["backup", "now"], "make backup"),
        (["uninstall", "delete_data=true"], 'make uninstall ARGS="-e jupyterhub_home_delete_data=true"'),
        (["hub", "PORT=80"], 'make hub ARGS="-e jupyterhub_home_port=80"'),
        (["restore", "USER="], "a value, or leave USER= out"),
        (["restore", "USER=alice", "FILE= "], "a value, or leave FILE= out"),
        (["hub", "upgrade"], "make upgrade"),
        (["hub", "check"], "make check"),
        (["hub", "renew"], "make renew"),
        (["hub", "uninstall"], "make uninstall"),
        (["hub", "-t", "users"], 'make hub ARGS="-t users"'),
        (["hub", "-t"], 'make hub ARGS="-t users"'),
        (["hub", "-k"], "make hub ARGS=-k"),
        (["hub", "-i", "inventory/other"], 'make hub ARGS="-i inventory/other"'),
        (["hub", "-e", "jupyterhub_home_port=80"], 'make hub ARGS="-e NAME=VALUE"'),
        (["hub", "users"], 'make hub ARGS="--tags users", or if it is an option make hub ARGS="--users"'),
        (["check", "diff"], 'make check ARGS="--tags diff", or if it is an option make check ARGS="--diff"'),
        (["hub", "args=--check"], 'make hub ARGS="--check"'),
        (["hub", "ARG=--check --diff"], 'make hub ARGS="--check --diff"'),
        (["hub", "TAGS=users"], 'make hub ARGS="--tags users"'),
        (["hub", "limit=livingroom"], 'make hub ARGS="--limit livingroom"'),
    ],
)
def test_what_was_meant_for_ansible_stops(program: Program, arguments: list[str], write: str) -> None:
    calls = program("python3", PYTHON)
    done = make(*arguments)
    assert (
        done.returncode != 0 and write in done.stderr and "Write" in done.stderr and "Nothing was done" in done.stderr
    ), done.stderr
    assert calls.read_text() == ""


@pytest.mark.parametrize("option", ["--diff", "--tags=users", "-K", "-C"])
def test_what_make_does_not_know_stops_too(program: Program, option: str) -> None:
    calls = program("python3", PYTHON)
    assert make("hub", option).returncode != 0
    assert calls.read_text() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        "", "--check --diff", "-e '{a: b}'", '-e "{a: b}" --tags users', "-e 'x=$HOME $(pwd) `id` $$'", "-e 'x=#1; id'",
        'it\'s "half', "\\", "-e '{\"port\": 80}'",
    ],
)  # fmt: skip
def test_args_arrive_as_they_are(program: Program, arguments: str) -> None:
    calls = program("python3", PYTHON)
    assert make("hub", f"ARGS={arguments}", LC_ALL="C.UTF-8").returncode == 0
    assert make("check", ARGS=arguments, LC_ALL="C.UTF-8").returncode == 0
    assert (calls.parent / "noted").read_text().splitlines() == [
        f"scripts/hub.py converge|{arguments}|C.UTF-8", f"scripts/hub.py check|{arguments}|C.UTF-8"
    ]  # fmt: skip


def test_a_target_that_is_not_there(program: Program) -> None:
    calls = program("python3", PYTHON)
    done = make("chek")
    assert done.returncode != 0 and "make has no target chek. make help lists" in done.stderr
    assert calls.read_text() == ""


def test_one_half_of_an_upgrade(program: Program) -> None:
    calls = program("python3", 'echo "$1 $2 ONLY=$ONLY" >>"$here/noted"')
    assert make("upgrade").returncode == 0 and make("upgrade", "ONLY=pins").returncode == 0
    noted = (calls.parent / "noted").read_text().splitlines()
    assert noted == ["scripts/hub.py upgrade ONLY=", "scripts/hub.py upgrade ONLY=pins"]


def test_what_is_to_be_restored(program: Program) -> None:
    """A USER of the environment is whoever types, and none to be restored."""
    calls = program(
        "python3", 'printf "%s|%s|%s\\n" "$RESTORE_USER" "$RESTORE_FILE" "$RESTORE_SNAPSHOT" >>"$here/noted"'
    )
    assert make("restore", USER="root", FILE="x").returncode == 0
    assert make("restore", "USER=alice", "FILE=work/it's $(pwd) `id`", "SNAPSHOT=1f").returncode == 0
    assert (calls.parent / "noted").read_text() == "||\nalice|work/it's $(pwd) `id`|1f\n"


def test_what_make_means_stays(program: Program) -> None:
    calls = program("python3", PYTHON)
    assert "scripts/hub.py converge" in make("-n", "hub").stdout and calls.read_text() == ""
    assert make("vault", "hub", "-j4", "--no-print-directory").returncode == 0
    assert sorted(calls.read_text().split()[1::2]) == ["converge", "vault"]
    assert make("test-venv-path", "-k").returncode == 0


# The last two are not there on a Debian where nobody has made them; C.UTF-8 is on every one.
@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "C"}, {"LC_ALL": "de_DE.ISO-8859-1"}, {"LANG": "xx_YY.UTF-8"}],
)
def test_the_locale_is_one_that_ansible_takes(
    program: Program, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name in [*(name for name in os.environ if name.startswith("LC_")), "LANG"]:
        monkeypatch.delenv(name, raising=False)
    calls = program("python3", PYTHON)
    for goal in ("hub", "check", "uninstall", "vault", "password"):
        assert make(goal, **environment).returncode == 0
    locales = {line.rpartition("|")[2] for line in (calls.parent / "noted").read_text().splitlines()}
    assert locales == {"C.UTF-8"}


def test_a_locale_that_is_fine_stays(program: Program) -> None:
    calls = program("python3", PYTHON)
    program("locale", "echo UTF-8")
    assert make("hub", LC_ALL="de_DE.UTF-8").returncode == 0
    assert (calls.parent / "noted").read_text() == "scripts/hub.py converge||de_DE.UTF-8\n"
