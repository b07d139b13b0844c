"""scripts/hub.py: the vault on first use and in an editor, and passwords that become hashes."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hub
import pytest
import yaml
from ansible_collections.jupyterhub.home.plugins.module_utils import crypt
from clones import PASSWORD, type_in
from conftest import ROOT, Program


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


def test_a_vault_that_is_not_encrypted(project: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("my-editor", "true")
    monkeypatch.setenv("EDITOR", "my-editor")
    hub.VAULT.write_text("jupyterhub_home_users: []\n")
    with pytest.raises(SystemExit, match=r"vault.yml is not encrypted. Edit it as it is, or encrypt it: .venv/bin/ans"):
        hub.edit_vault()
    assert hub.VAULT.read_text() == "jupyterhub_home_users: []\n" and len(hub.VAULT_PASSWORD.read_text()) == 65


def test_an_editor_that_is_not_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "/nowhere/my-editor --wait")
    hub.make_vault()
    with pytest.raises(SystemExit, match=r"no editor /nowhere/my-editor --wait\. Write, for example: EDITOR="):
        hub.edit_vault()


def test_a_machine_without_an_editor(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match=r"no editor on this machine\. Write: sudo apt-get install nano"):
        hub.edit_vault()
    assert not hub.VAULT.exists()


def test_a_password_that_a_comment_cuts_is_said(
    project: Path, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program("my-editor", "printf 'a:\\n  - name: kim\\n    password: battery #1 staple\\n' >\"$1\"")
    monkeypatch.setenv("EDITOR", "my-editor")
    assert hub.edit_vault() == 0
    printed = capsys.readouterr().out
    assert "Line 3: what comes after # is a comment." in printed and "staple" not in printed


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
