"""scripts/vault-password: the vault's password, or which file is wrong and what to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "group_vars/jupyterhub").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/vault-password", tmp_path / "scripts")
    return tmp_path


def ask(clone: Path) -> tuple[int, str, str]:
    """Exit status, output and errors."""
    done = subprocess.run([str(clone / "scripts/vault-password")], cwd="/", text=True, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def make_vault(clone: Path, password: str) -> Path:
    vault = clone / "group_vars/jupyterhub/vault.yml"
    vault.write_text("a: b\n")
    (clone / "key").write_text(password)
    subprocess.run(
        ["ansible-vault", "encrypt", "--vault-password-file", "key", str(vault)],
        cwd=clone,
        check=True,
        capture_output=True,
    )
    (clone / "key").unlink()
    return vault


def test_a_fresh_clone(clone: Path) -> None:
    assert ask(clone) == (0, "there-is-no-vault-yet\n", "")


def test_a_password_before_the_vault(clone: Path) -> None:
    (clone / ".vault-password").write_text("secret\n")
    assert ask(clone) == (0, "secret\n", "")


def test_the_right_password(clone: Path) -> None:
    make_vault(clone, "sécret word")
    (clone / ".vault-password").write_text("sécret word\n")
    assert ask(clone) == (0, "sécret word\n", "")


@pytest.mark.parametrize("name", ["C", "POSIX", "de_DE.ISO-8859-1", "xx_YY.UTF-8"])
def test_in_any_locale(clone: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    make_vault(clone, "sécret word")
    (clone / ".vault-password").write_text("sécret word\n")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")  # as where such a locale was made
    monkeypatch.setenv("LC_ALL", name)
    assert ask(clone) == (0, "sécret word\n", "")


def test_no_password(clone: Path) -> None:
    make_vault(clone, "secret")
    for _ in ("missing", "empty"):
        status, output, errors = ask(clone)
        assert (status, output) == (1, "")
        assert "vault.yml is there, but its password is not. Put the right one into" in errors
        assert str(clone / ".vault-password") in errors
        (clone / ".vault-password").write_text("\n")


def test_another_password_and_a_damaged_vault(clone: Path) -> None:
    vault = make_vault(clone, "asdfgh")
    whole = vault.read_text()
    key = clone / ".vault-password"
    for password, text in [
        ("qwertz", whole),
        ("asdfgh", whole[:-20]),
        ("asdfgh", whole.splitlines()[0]),
        ("asdfgh", whole + "zz"),
    ]:
        key.write_text(password)
        vault.write_text(text)
        status, output, errors = ask(clone)
        # Ansible stops by itself where it needs the vault.
        assert (status, output) == (0, f"{password}\n")
        assert f"What {key} holds is not the password of group_vars/jupyterhub/vault.yml. Put the right one" in errors
        assert password not in errors


def test_a_vault_that_is_not_encrypted(clone: Path) -> None:
    (clone / "group_vars/jupyterhub/vault.yml").write_text("a: b\n")
    (clone / ".vault-password").write_text("secret\n")
    assert ask(clone) == (0, "secret\n", "")
