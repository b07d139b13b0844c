"""Files that are replaced whole, and crypt(3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import atomic, crypt

ME = {"owner": os.getuid(), "group": os.getgid()}
# openssl passwd -6 -salt saltstring 'Hello world!'
SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"


def test_a_file_gets_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.replace_file(path, "ä\n", mode=0o640, **ME)
    assert path.read_text(encoding="utf-8") == "ä\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_reader_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        atomic.replace_file(path, "new", mode=0o644, **ME)
        assert reader.read() == "old"


def test_what_a_kill_left_beside_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_text("half")
    atomic.replace_file(tmp_path / "file", "whole", mode=0o644, **ME)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_content_is_never_readable_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    monkeypatch.setattr(os, "fchown", lambda descriptor, *_: modes.append(os.fstat(descriptor).st_mode & 0o7777))
    previous = os.umask(0)
    try:
        atomic.replace_file(tmp_path / "file", "secret", mode=0o400, **ME)
    finally:
        os.umask(previous)
    assert modes == [0o600]


def test_a_folder_and_a_link_in_the_place_go(tmp_path: Path) -> None:
    (tmp_path / "folder/inner").mkdir(parents=True)
    atomic.replace_file(tmp_path / "folder", "text", mode=0o644, **ME)
    assert (tmp_path / "folder").read_text() == "text"
    (tmp_path / "target").write_text("stays")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    atomic.replace_file(tmp_path / "link", "text", mode=0o644, **ME)
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "stays"


def test_present_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert atomic.present_text(path, mode=0o644, **ME) == (None, False)
    path.write_bytes(b"\xff\n")
    path.chmod(0o644)
    assert atomic.present_text(path, mode=0o644, **ME) == ("\ufffd\n", True)
    assert atomic.present_text(path, mode=0o600, **ME) == ("\ufffd\n", False)
    assert atomic.present_text(path, mode=0o644, owner=os.getuid() + 1, group=os.getgid())[1] is False
    (tmp_path / "link").symlink_to(path)
    assert atomic.present_text(tmp_path / "link", mode=0o644, **ME) == (None, False)
    assert atomic.present_text(tmp_path, mode=0o644, **ME) == (None, False)


@pytest.mark.parametrize("password", ["correct horse", "ü€ \\ ' {{", "x" * 511])
def test_a_hash_verifies_its_password_only(password: str) -> None:
    hashed = crypt.hash_password(password)
    assert hashed.startswith("$y$") and password not in hashed
    assert crypt.verifies(password, hashed)
    assert not crypt.verifies(password[:-1], hashed)
    assert crypt.hash_password(password) != hashed


def test_a_letter_with_an_accent_is_hashed_as_keyboards_send_it() -> None:
    decomposed, composed = "gru\u0308n", "gr\u00fcn"
    assert crypt.verifies(composed, crypt.hash_password(decomposed))
    assert crypt.verifies(decomposed, crypt.hash_password(composed))  # so that no hash is made anew for it


def test_other_methods_verify() -> None:
    assert crypt.verifies("Hello world!", SHA512)
    assert not crypt.verifies("wrong", SHA512)


@pytest.mark.parametrize("hashed", ["", "!", "*", "x", f"!{SHA512}", "$y$", "$6$", "$nonsense$", SHA512[:-1]])
def test_no_hash_verifies_nothing(hashed: str) -> None:
    assert not crypt.verifies("Hello world!", hashed)
    assert not crypt.verifies("", hashed)


def test_a_password_that_crypt_refuses() -> None:
    with pytest.raises(ValueError, match="could not hash"):
        crypt.hash_password("x" * 600)
