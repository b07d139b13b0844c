"""scripts/hub.py: the vault on first use, and what it asks Ansible for."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hub
import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.module_utils import crypt
from conftest import ROOT, Program

PASSWORD = r"[a-z2-9]{4}(-[a-z2-9]{4}){3}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone without a vault."""
    clone = tmp_path / "clone"
    (clone / "group_vars/jupyterhub").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    shutil.copy(ROOT / "ansible.cfg", clone)
    monkeypatch.setattr(hub, "set_up", lambda password=None: None)
    monkeypatch.delenv("ARGS", raising=False)
    monkeypatch.setattr(hub, "ROOT", clone)
    monkeypatch.setattr(hub, "VAULT", clone / "group_vars/jupyterhub/vault.yml")
    monkeypatch.setattr(hub, "VAULT_PASSWORD", clone / ".vault-password")
    monkeypatch.setenv("SUDO_USER", "kim")
    monkeypatch.setenv("ANSIBLE_LOCAL_TEMP", str(tmp_path / "temporary"))
    return clone


@pytest.mark.parametrize(
    ("sudo", "own", "wanted"),
    [
        ("kim", "root", "kim"),
        (None, "lee", "lee"),
        (None, "root", "admin"),
        ("root", "root", "admin"),
        ("Kim Lee", "root", "admin"),
        (None, "DOMAIN\\kim", "admin"),
        (None, "x" * 33, "admin"),
        (None, "www-data", "admin"),
    ],
)
def test_first_admin(monkeypatch: pytest.MonkeyPatch, sudo: str | None, own: str, wanted: str) -> None:
    account = pwd.struct_passwd((own, "x", os.getuid(), os.getgid(), "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: account)
    if sudo is None:
        monkeypatch.delenv("SUDO_USER", raising=False)
    else:
        monkeypatch.setenv("SUDO_USER", sudo)
    assert hub.first_admin() == wanted


def test_a_vault_is_made_encrypted(project: Path) -> None:
    said = hub.make_vault()
    assert said is not None
    match = re.fullmatch(rf"user kim, password ({PASSWORD})", said)
    assert match
    vault, key = hub.VAULT, hub.VAULT_PASSWORD
    assert vault.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert {path.stat().st_mode & 0o777 for path in (vault, key)} == {0o600}
    assert len(key.read_text().strip()) == 64
    assert not [path for path in project.rglob("*") if path.is_file() and match[1] in path.read_text(errors="replace")]
    shown = subprocess.run(["ansible-vault", "view", str(vault)], cwd=project, text=True, stdout=-1, check=True).stdout
    assert yaml.safe_load(shown) == {"jupyterhub_home_users": [{"name": "kim", "password": match[1], "admin": True}]}


def test_the_vault_is_never_plain_on_disk(project: Path, program: Program, tmp_path: Path) -> None:
    """A program in place of ansible-vault looks for the password in every file, and in its own arguments."""
    look = tmp_path / "look.py"
    look.write_text(
        "import pathlib, re, sys\n"
        f"text = sys.stdin.read(); secret = re.search(r'{PASSWORD}', text)[0]\n"
        f"files = [p for p in pathlib.Path({str(tmp_path)!r}).rglob('*') if p.is_file()]\n"
        "assert len(files) > 3 and not [p for p in files if secret in p.read_text(errors='replace')]\n"
        "assert secret not in ' '.join(sys.argv)\n"
        "print('$ANSIBLE_VAULT;1.1;AES256')\n"
    )
    calls = program("ansible-vault", f'exec {sys.executable} {look} "$@"')
    assert hub.make_vault()
    assert calls.read_text() == "encrypt --output - -\n"


def test_a_vault_that_is_there_stays(project: Path) -> None:
    hub.VAULT.write_text("mine")
    assert hub.make_vault() is None
    assert hub.VAULT.read_text() == "mine"
    assert not hub.VAULT_PASSWORD.exists()


def test_a_vault_password_that_is_there_is_used(project: Path) -> None:
    hub.VAULT_PASSWORD.write_text("chosen\n")
    hub.make_vault()
    assert hub.VAULT_PASSWORD.read_text() == "chosen\n"
    other = project / "other"
    other.write_text("chosen\n")
    command = ["ansible-vault", "view", "--vault-password-file", str(other), str(hub.VAULT)]
    assert subprocess.run(command, cwd=project, stdout=-1, check=True).stdout


def test_a_failed_encryption_leaves_no_vault(project: Path, program: Program) -> None:
    program("ansible-vault", "cat; exit 1")
    with pytest.raises(subprocess.CalledProcessError):
        hub.make_vault()
    assert [path.name for path in hub.VAULT.parent.iterdir()] == []


def test_what_a_kill_left_is_replaced(project: Path, program: Program) -> None:
    program("ansible-vault", "cat >/dev/null; echo '$ANSIBLE_VAULT;1.1;AES256'")
    (hub.VAULT.parent / "vault.yml.new").write_text("half")
    assert hub.make_vault()
    assert [path.name for path in hub.VAULT.parent.iterdir()] == ["vault.yml"]


def test_files_belong_to_the_owner_of_the_checkout(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((Path(path).name, uid, gid)))
    hub.make_vault()
    owner = project.stat()
    assert given == [(name, owner.st_uid, owner.st_gid) for name in (".vault-password", "vault.yml")]


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
    """sudo(answers...): kim at a terminal, where these are typed; gives the calls of sudo."""

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
    for job in (hub.converge, hub.uninstall):
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


def test_uninstall_makes_no_vault(ansible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_vault_is_edited(project: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.VAULT.write_text("$ANSIBLE_VAULT;1.1;AES256\n")
    calls = program("ansible-vault", 'echo "$EDITOR" >>"$here/editor"; exit 3')
    monkeypatch.setenv("EDITOR", "ed")
    assert hub.edit_vault() == 3
    assert calls.read_text() == f"edit {hub.VAULT}\n"
    assert (calls.parent / "editor").read_text() == "ed\n"


def test_a_vault_that_is_no_yaml_is_said(
    project: Path, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program("my-editor", "printf 'a:\\n  - name: kim\\n   password: x\\n' >\"$1\"")
    monkeypatch.setenv("EDITOR", "my-editor")
    assert hub.edit_vault() == 1
    assert "Line 3 is not YAML:" in (said := capsys.readouterr().err) and "make vault" in said


def test_a_machine_without_an_editor(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"no editor on this machine\. Write: sudo apt-get install nano"):
        hub.edit_vault()
    assert not hub.VAULT.exists()


def test_variables_that_are_no_yaml_are_named(project: Path, program: Program) -> None:
    calls = program("ansible-playbook", "true")
    (project / "group_vars/jupyterhub/main.yml").write_text("jupyterhub_home_port: 8000\n foo: [\n")
    with pytest.raises(
        SystemExit, match=r"group_vars/jupyterhub/main.yml: Line 2 is not YAML: .* Nothing was changed."
    ):
        hub.play("site.yml", [], None)
    assert calls.read_text() == ""


def type_in(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    given = iter(answers)
    monkeypatch.setattr(getpass, "getpass", lambda _: next(given))


def test_a_password_that_a_comment_cuts_is_said(
    project: Path, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program("my-editor", "printf 'a:\\n  - name: kim\\n    password: battery #1 staple\\n' >\"$1\"")
    monkeypatch.setenv("EDITOR", "my-editor")
    assert hub.edit_vault() == 0
    printed = capsys.readouterr().out
    assert "Line 3: what comes after # is a comment." in printed and "staple" not in printed


def test_passwords_that_no_comment_cuts() -> None:
    fine = ['password: "battery #1"', "password: 'a #1'", "password: a#1", "# password: a #1", 'password: "a" # hers']
    assert hub.cut_passwords("\n".join(fine)) == []
    assert hub.cut_passwords("  - {name: kim, password: battery #1 staple}") == [1]


def test_a_typed_password_becomes_a_hash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    type_in(monkeypatch, "correct hörse", "correct hörse")
    assert hub.print_hash() == 0
    line = capsys.readouterr().out
    assert crypt.verifies("correct hörse", yaml.safe_load(line)["password_hash"])


@pytest.mark.parametrize("answers", [("",), ("x" * 501,), ("a\tb",), ("one", "other")])
def test_a_password_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...]) -> None:
    type_in(monkeypatch, *answers)
    with pytest.raises(SystemExit, match="Nothing was made"):
        hub.print_hash()


def test_make_password_needs_no_ansible() -> None:
    """make password runs before anything is installed, with the system's own Python."""
    crypt_module = "ansible_collections.jupyterhub.home.plugins.module_utils.crypt"
    code = f"import hub; import {crypt_module} as c; print(c.hash_password('x'))"
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); {code}"],
        env={"PATH": os.defpath}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout[:3]) == (0, "$y$"), done.stderr
