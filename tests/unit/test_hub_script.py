"""scripts/hub.py: what it asks Ansible and sudo for, and what it says of a run."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hub
import pytest
from clones import PASSWORD, type_in
from conftest import ROOT, Program


@pytest.fixture
def ansible(project: Path, program: Program) -> Path:
    """An ansible-playbook that only notes how it was called."""
    hub.VAULT.write_text("$ANSIBLE_VAULT;1.1;AES256\n")
    inventory(project, "# other ansible_connection=ssh", "localhost ansible_connection=local")
    return program("ansible-playbook", "exit 4")


def inventory(project: Path, *lines: str) -> None:
    (project / "inventory").mkdir(exist_ok=True)
    (project / "inventory/home").write_text("\n".join(lines))


def test_converge_as_root(ansible: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert hub.converge(["--check", "--diff"]) == 4
    assert ansible.read_text() == "site.yml -i inventory/home --check --diff\n"
    assert "Log in as" not in capsys.readouterr().out


def account(monkeypatch: pytest.MonkeyPatch, name: str, uid: int) -> None:
    """Be this user."""
    record = pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: record)
    monkeypatch.setattr(os, "getuid", lambda: uid)


# A sudo that takes one password, and in place of it says something else where it would at the first look.
SUDO = """
case "$*" in
*-n*) echo "sudo: {said}" >&2; exit 1 ;;
*) read -r given; echo "$given" >>"$here/given"; [ "$given" = 0000 ] || {{ echo "{refusal}" >&2; exit 1; }} ;;
esac
"""
ANSIBLE = 'cat >"$here/became"; exit 4'


@pytest.fixture
def sudo(ansible: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """sudo(answers...): kim at a terminal, where these are typed; returns the calls of sudo."""

    def put(*answers: str, said: str = "a password is required", refusal: str = "Sorry, try again.") -> Path:
        account(monkeypatch, "kim", 1000)
        type_in(monkeypatch, *answers)
        program("ansible-playbook", ANSIBLE)
        return program("sudo", SUDO.format(said=said, refusal=refusal))

    return put


def test_converge_with_sudo_that_asks_nothing(ansible: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = program("sudo", "true")
    account(monkeypatch, "kim", 1000)
    assert hub.converge([]) == 4
    assert ansible.read_text() == "site.yml -i inventory/home\n"
    assert asked.read_text() == "-k -n true\n"  # what sudo remembers for the terminal is of no use to Ansible


def test_the_password_of_sudo_reaches_ansible_by_a_pipe(ansible: Path, sudo: Callable[..., Path]) -> None:
    """After a wrong and an empty one; zeros are one like any other."""
    asked = sudo("wrong", "", "0000")
    assert hub.converge([]) == 4
    assert ansible.read_text() == "site.yml -i inventory/home --become-password-file -\n"
    assert (ansible.parent / "became").read_text() == "0000\n"
    assert asked.read_text() == "-k -n true\n" + "-k -S -p  true\n" * 3
    assert (ansible.parent / "given").read_text() == "wrong\n\n0000\n"


@pytest.mark.parametrize(
    ("options", "answers", "said"),
    [
        ({}, ["wrong", "", "other"], "sudo says: Sorry, try again.\nNothing was changed."),
        (
            {"refusal": "kim is not in the sudoers file."},
            ["right"],
            "kim may not use sudo for this: kim is not in the sudoers file.\nAs root: usermod -aG sudo kim",
        ),
        ({"said": "sorry, you must have a tty to run sudo"}, [], "Write with visudo: Defaults:kim !requiretty"),
    ],
)
def test_sudo_is_tried_before_anything_is_made(
    ansible: Path, sudo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str], answers: list[str], said: str,
) -> None:  # fmt: skip
    sudo(*answers, **options)
    made: list[object] = []
    monkeypatch.setattr(hub, "set_up", made.append)
    hub.VAULT.unlink()
    for job in (hub.converge, partial(hub.other_job, "playbooks/uninstall.yml")):
        type_in(monkeypatch, *answers)
        with pytest.raises(SystemExit) as ended:
            job([])
        assert said in str(ended.value)
    assert made == [] and not hub.VAULT.exists() and ansible.read_text() == ""


def test_the_environment_is_made_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With sudo's password for the packages that it may need; in a clone that everybody may write to, from an archive
    without modes."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts/venv").write_text('echo "$SUDO|$(cat)|$*" >made; mkdir -p .venv/lib/python3.0/site-packages\n')
    for script in (tmp_path / "scripts").iterdir():
        script.chmod(0o644)
    tmp_path.chmod(0o777)
    monkeypatch.setattr(hub, "ROOT", tmp_path)
    monkeypatch.setenv("ANSIBLE_CONFIG", "other")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    hub.set_up("0000")
    assert (tmp_path / "made").read_text() == "sudo -S -p ''|0000|.venv requirements/ansible.txt\n"
    assert os.environ["PATH"].startswith(f"{tmp_path}/.venv/bin:")
    assert f"{tmp_path}/.venv/lib/python3.0/site-packages" in sys.path
    assert os.environ["ANSIBLE_CONFIG"] == f"{tmp_path}/ansible.cfg"
    assert os.access(tmp_path / "scripts/vault-password", os.X_OK)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # on a file system that lets no program run
    with pytest.raises(SystemExit, match=r"vault-password cannot be run. Do: chmod \+x .*/scripts/vault-password"):
        hub.set_up("0000")


def test_an_environment_that_cannot_be_made_is_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/venv").write_text("exit 7")
    monkeypatch.setattr(hub, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as ended:
        hub.set_up()
    assert ended.value.code == 7


@pytest.mark.parametrize(
    ("arguments", "split"),
    [("", []), ("-e '{a: b}' --tags users", ["-e", "{a: b}", "--tags", "users"]), ('-e "a=$(id)"', ["-e", "a=$(id)"])],
)
def test_args_are_split_as_a_shell_would(monkeypatch: pytest.MonkeyPatch, arguments: str, split: list[str]) -> None:
    monkeypatch.setenv("ARGS", arguments)
    assert hub.ansible_options() == split


def test_args_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGS", "-e 'x")
    with pytest.raises(SystemExit, match="ARGS cannot be read: No closing quotation"):
        hub.ansible_options()


def test_check_is_a_run_in_check_mode(ansible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["hub.py", "check"])
    monkeypatch.setenv("ARGS", "--tags users")
    assert hub.main() == 4
    assert ansible.read_text() == "site.yml -i inventory/home --check --diff --tags users\n"


def test_converge_other_machines(ansible: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory(project, "#localhost ansible_connection=local", "livingroom ansible_host=192.0.2.20")
    monkeypatch.setattr(shutil, "which", lambda name: None)  # no sudo here, and none needed
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert hub.converge(["-K"]) == 4
    assert ansible.read_text() == "site.yml -i inventory/home -K\n"


def test_a_playbook_is_run_by_its_name_and_makes_no_vault(
    ansible: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "playbooks").mkdir()
    (project / "playbooks/uninstall.yml").touch()
    hub.VAULT.unlink()
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["hub.py", "uninstall"])
    monkeypatch.setenv("ARGS", "--check")
    assert hub.main() == 4
    assert ansible.read_text() == "playbooks/uninstall.yml -i inventory/home --check\n"
    assert not hub.VAULT.exists()


def test_converge_without_sudo(ansible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(ansible.parent))
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(SystemExit, match="install sudo, or run make hub as root"):
        hub.converge([])
    assert ansible.read_text() == ""


def test_the_first_password_is_shown_once(
    project: Path, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = program("ansible-playbook", "")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert hub.converge([]) == 0
    match = re.search(rf"Log in as user kim, password ({PASSWORD})\n", capsys.readouterr().out)
    assert match and match[1] not in calls.read_text()
    hub.converge([])
    assert "Log in as" not in capsys.readouterr().out


# The checks alone come first, with a new vault.
@pytest.mark.parametrize(
    ("ends", "arguments"), [("case $* in *new_vault*) ;; *) exit 4 ;; esac", []), ("exit 0", ["--check"])]
)
def test_the_first_password_is_not_lost(
    project: Path, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ends: str, arguments: list[str],
) -> None:  # fmt: skip
    program("ansible-playbook", ends)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    hub.converge(arguments)
    assert re.search(rf"Once a run has passed, log in as user kim, password {PASSWORD}\n", capsys.readouterr().out)


@pytest.mark.parametrize("own_key", [True, False])
def test_a_new_vault_is_taken_away_when_the_checks_refuse_it(
    project: Path, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_key: bool
) -> None:
    """Otherwise the next run would find a vault, and take everybody off the hub."""
    calls = program("ansible-playbook", "echo the vault was made just now; exit 2")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    inventory(project, "localhost ansible_connection=local")
    if own_key:
        hub.VAULT_PASSWORD.write_text("chosen\n")
    for _ in range(2):
        assert hub.converge(["--limit", "home"]) == 2
        shown = capsys.readouterr().out
        assert "the vault was made just now" in shown and "is taken away again" in shown and "Log in" not in shown
        assert not hub.VAULT.exists() and hub.VAULT_PASSWORD.exists() == own_key
    alone = "--check --tags always --extra-vars __jupyterhub_home_new_vault=true"
    assert calls.read_text() == f"site.yml -i inventory/home --limit home {alone}\n" * 2


def test_a_new_vault_is_taken_away_when_the_checks_are_interrupted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)

    def interrupted(*_: object, **options: object) -> None:
        assert hub.VAULT.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub.converge([])
    assert not hub.VAULT.exists() and not hub.VAULT_PASSWORD.exists()


def test_the_first_password_is_shown_after_an_interrupt(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "make_vault", lambda: "user kim, password x")
    monkeypatch.setattr(os, "getuid", lambda: 0)

    def interrupted(book: str, arguments: list[str], *_: object, **options: object) -> object:
        if "always" in arguments:
            return subprocess.CompletedProcess([], 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "play", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub.converge([])
    assert "Once a run has passed, log in as user kim" in capsys.readouterr().out


def test_variables_that_are_no_yaml_are_named(project: Path, program: Program) -> None:
    calls = program("ansible-playbook", "true")
    (project / "group_vars/jupyterhub/main.yml").write_text("jupyterhub_home_port: 8000\n foo: [\n")
    with pytest.raises(
        SystemExit, match=r"group_vars/jupyterhub/main.yml: Line 2 is not YAML: .* Nothing was changed."
    ):
        hub.play("site.yml", [], None)
    assert calls.read_text() == ""
