"""jupyterhub.home.files: a folder that holds exactly these files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import findings, record
from ansible_collections.jupyterhub.home.plugins.modules import files
from conftest import RunModule

ME = {"owner": os.getuid(), "group": os.getgid()}


def declared(content: str, mode: str = "0644") -> dict[str, Any]:
    return {"content": content, "mode": mode, **ME}


def state(root: Path) -> dict[str, str]:
    """What is there but the record: files' text, and 'folder'."""
    return {
        str(path.relative_to(root)): "folder" if path.is_dir() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.name != "written.json"
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "hub"


def test_four_steps(root: Path, run_module: RunModule) -> None:
    """Check, real, real again, check again: the same answer, then nothing to do."""
    arguments = {
        "root": str(root),
        "files": {"compose.yml": declared("a\n"), "images/hub/x": declared("b\n", "0755")},
    }
    tried = run_module(files, arguments, check=True)
    assert tried["changed"] and not root.exists()
    done = run_module(files, arguments)
    assert (done["changed"], done["paths"], done["diff"]) == (True, tried["paths"], tried["diff"])
    assert state(root) == {"compose.yml": "a\n", "images": "folder", "images/hub": "folder", "images/hub/x": "b\n"}
    assert (root / "images/hub/x").stat().st_mode & 0o7777 == 0o755
    assert root.stat().st_mode & 0o7777 == 0o755
    for check in (False, True):
        again = run_module(files, arguments, check=check)
        assert (again["changed"], again["paths"], again["diff"]) == (False, [], [])


def test_only_what_differs_is_written(root: Path, run_module: RunModule) -> None:
    run_module(files, {"root": str(root), "files": {"a": declared("a"), "b": declared("b")}})
    untouched = (root / "a").stat().st_ino
    done = run_module(files, {"root": str(root), "files": {"a": declared("a"), "b": declared("c")}})
    assert done["paths"] == [str(root / "b")]
    assert (done["diff"][0]["before"], done["diff"][0]["after"]) == ("b", "c")
    assert (root / "a").stat().st_ino == untouched


def test_a_changed_mode_is_put_right(root: Path, run_module: RunModule) -> None:
    arguments = {"root": str(root), "files": {"token": declared("a", "0640")}}
    run_module(files, arguments)
    (root / "token").chmod(0o644)
    assert run_module(files, arguments, check=True)["changed"]
    assert (root / "token").stat().st_mode & 0o7777 == 0o644
    assert run_module(files, arguments)["changed"]
    assert (root / "token").stat().st_mode & 0o7777 == 0o640


def test_exact_folders_lose_what_is_not_named(root: Path, run_module: RunModule) -> None:
    arguments = {"root": str(root), "files": {"images/a": declared("a"), "hub/b": declared("b")}, "exact": ["images"]}
    run_module(files, arguments)
    (root / "images/old").mkdir()
    (root / "images/old/x").write_text("x")
    (root / "images/dangling").symlink_to("nowhere")
    (root / "hub/mine").write_text("mine")
    tried = run_module(files, arguments, check=True)
    assert sorted(tried["paths"]) == [str(root / "images/dangling"), str(root / "images/old/x")]
    assert (root / "images/old/x").exists()
    done = run_module(files, arguments)
    assert done["paths"] == tried["paths"]
    assert not (root / "images/old").exists() and not (root / "images/dangling").is_symlink()
    assert (root / "images").is_dir() and (root / "hub/mine").exists()
    assert not run_module(files, arguments)["changed"]


def test_a_generated_secret_is_made_once_and_never_shown(root: Path, run_module: RunModule) -> None:
    arguments = {"root": str(root), "files": {"secrets/token": {"generate": 32, "mode": "0640", **ME}}}
    assert run_module(files, arguments, check=True)["changed"]
    made = run_module(files, arguments)
    token = (root / "secrets/token").read_text()
    assert len(token) == 65 and int(token, 16) > 0
    assert token.strip() not in made["output"]
    assert [diff["after"] for diff in made["diff"]] == ["(not shown)\n"]
    assert not run_module(files, arguments)["changed"]
    (root / "secrets/token").chmod(0o600)
    again = run_module(files, arguments)
    assert again["changed"] and token.strip() not in again["output"]
    assert (root / "secrets/token").read_text() == token


def digest(root: Path, path: str) -> str:
    return hashlib.sha256((root / path).read_bytes()).hexdigest()[:16]


def test_who_uses_a_generated_secret_sees_another_one(root: Path, run_module: RunModule) -> None:
    """Four steps, though the text that has the digest comes first by name; then a new secret, and a new text."""
    wanted = {
        "compose.yml": declared(
            "tokens: <sha256 of secrets/token> <sha256 of secrets/other>, <sha256 of nothing> <sha256>\n"
        ),
        "secrets/token": {"generate": 32, **ME},
        "secrets/other": {"generate": 32, **ME},
    }
    arguments = {"root": str(root), "files": wanted}
    assert run_module(files, arguments, check=True)["changed"] and not root.exists()
    done = run_module(files, arguments)
    text = (root / "compose.yml").read_text()
    tokens = digest(root, "secrets/token"), digest(root, "secrets/other")
    assert text == f"tokens: {tokens[0]} {tokens[1]}, <sha256 of nothing> <sha256>\n"
    assert len(set(tokens)) == 2
    assert all((root / path).read_text().strip() not in done["output"] for path in ("secrets/token", "secrets/other"))
    for check in (False, True):
        assert run_module(files, arguments, check=check)["paths"] == []
    (root / "secrets/token").unlink()
    assert run_module(files, arguments)["paths"] == [str(root / "secrets/token"), str(root / "compose.yml")]
    assert digest(root, "secrets/token") in (root / "compose.yml").read_text() != text


SECRET = "hunter2-in-a-config"


@pytest.mark.parametrize("show", [False, True])
def test_secrets_are_files_that_no_output_shows(root: Path, run_module: RunModule, show: bool) -> None:
    secrets = {"hub/hub.json": declared(f"{{'a': '{SECRET}'}}\n", "0640"), "hub/extra.py": declared("")}
    arguments = {
        "root": str(root), "files": {"hub/b": declared("b\n")}, "secrets": json.dumps(secrets), "show_secrets": show,
        "exact": ["hub"],
    }  # fmt: skip
    for content in (SECRET, f"{SECRET}-2"):
        secrets["hub/hub.json"]["content"] = f"{content}\n"
        arguments["secrets"] = json.dumps(secrets)
        tried = run_module(files, arguments, check=True)
        done = run_module(files, arguments)
        assert tried["changed"] and done["paths"] == tried["paths"]
        for answer in (tried, done):
            assert any(content in diff["after"] for diff in answer["diff"]) is show
            assert (SECRET in answer["output"]) is show
        for check in (False, True):
            again = run_module(files, arguments, check=check)
            assert (again["changed"], again["diff"], SECRET in again["output"]) == (False, [], False)
    assert (root / "hub/hub.json").read_text() == f"{SECRET}-2\n"
    assert (root / "hub/hub.json").stat().st_mode & 0o7777 == 0o640
    assert (root / "hub/extra.py").read_text() == ""


def test_an_empty_secret_is_made_anew(root: Path, run_module: RunModule) -> None:
    arguments = {"root": str(root), "files": {"token": {"generate": 32, **ME}}}
    root.mkdir()
    (root / "token").write_text("\n")
    run_module(files, arguments)
    assert len((root / "token").read_text()) == 65


def test_a_long_file_is_not_shown_whole() -> None:
    text = files.shown("x\n" * 301)
    assert text.startswith("(301 lines, sha256 ") and len(text) < 60
    assert files.shown("x\n" * 300) == "x\n" * 300


def test_bare_text_belongs_to_root() -> None:
    plain = {"content": "a", "generate": 0, "renew_with": [], "mode": 0o644, "owner": 0, "group": 0}
    assert files.specification("a") == plain


def drift(root: Path) -> dict[str, Any]:
    """What a run is given, for a role's folder that somebody changes then."""
    return {
        "root": str(root),
        "files": {
            "compose.yml": declared("compose <sha256 of hub/generation>\n"),
            "hub/hub.json": declared("{}\n", "0640"),
            "hub/generation": {"generate": 8, "renew_with": ["hub/hub.json"], **ME},
            "images/a": declared("a\n"),
        },
        "exact": ["hub", "images"],
    }


def test_what_somebody_changed_is_found_and_repaired(root: Path, run_module: RunModule) -> None:
    arguments = drift(root)
    assert run_module(files, arguments, check=True)["found"] == []
    assert run_module(files, arguments)["found"] == []
    assert (root / "written.json").stat().st_mode & 0o7777 == 0o600
    (root / "compose.yml").write_text("by hand\n")
    (root / "images/a").unlink()
    (root / "hub/hub.json").chmod(0o666)
    (root / "hub").chmod(0o777)
    (root / "hub/stray").write_text("x")
    before = state(root), (root / "written.json").read_text()
    tried = run_module(files, arguments, check=True)
    assert (state(root), (root / "written.json").read_text()) == before
    assert tried["found"] == [
        "hub/hub and hub/hub.json were given another owner or mode.",
        "compose.yml was edited.",
        "images/a was gone.",
        "hub/stray was put there by somebody else.",
    ]
    done = run_module(files, arguments)
    assert (done["found"], done["paths"]) == (tried["found"], tried["paths"])
    assert sorted(state(root)) == ["compose.yml", "hub", "hub/generation", "hub/hub.json", "images", "images/a"]
    assert (root / "hub").stat().st_mode & 0o7777 == 0o755
    for check in (False, True):
        again = run_module(files, arguments, check=check)
        assert (again["changed"], again["found"]) == (False, [])


def test_another_wish_is_not_somebody_elses_change(root: Path, run_module: RunModule) -> None:
    """Nor is a file that is declared no more."""
    arguments = drift(root)
    run_module(files, arguments)
    arguments["files"]["images/b"] = declared("b\n")
    del arguments["files"]["images/a"]
    arguments["files"]["hub/hub.json"] = declared("{1}\n", "0644")
    for check in (True, False):
        answer = run_module(files, arguments, check=check)
        assert answer["changed"] and (answer["found"], answer["restored"]) == ([], [])
    assert not run_module(files, arguments)["changed"]


def test_what_only_goes_back_is_told_apart(root: Path, run_module: RunModule) -> None:
    arguments = drift(root)
    run_module(files, arguments)
    (root / "compose.yml").write_text("by hand\n")
    (root / "images/a").write_text("by hand\n")
    arguments["files"]["images/a"] = declared("new\n")
    assert run_module(files, arguments, check=True)["restored"] == [str(root / "compose.yml")]
    assert run_module(files, arguments)["restored"] == [str(root / "compose.yml")]


def test_edited_settings_renew_what_goes_with_them(root: Path, run_module: RunModule) -> None:
    """So that whoever started with the edits is started anew; a change of ours has its own ways."""
    arguments = drift(root)
    run_module(files, arguments)
    first = (root / "compose.yml").read_text()
    arguments["files"]["hub/hub.json"] = declared("{1}\n")
    run_module(files, arguments)
    assert (root / "compose.yml").read_text() == first
    (root / "hub/hub.json").write_text("{by hand}\n")
    tried = run_module(files, arguments, check=True)
    assert str(root / "compose.yml") in tried["paths"] and tried["restored"] == [str(root / "hub/hub.json")]
    run_module(files, arguments)
    assert (root / "compose.yml").read_text() != first
    assert not run_module(files, arguments)["changed"]


@pytest.mark.parametrize("token", ["easy\n", "0123\n", "x" * 64, ""])
def test_a_secret_that_is_none_of_ours_is_made_anew(root: Path, run_module: RunModule, token: str) -> None:
    arguments = {"root": str(root), "files": {"token": {"generate": 32, **ME}}}
    run_module(files, arguments)
    (root / "token").write_text(token)
    assert run_module(files, arguments)["found"] == ["token was edited."]
    assert len((root / "token").read_text()) == 65
    # One of the right form may be meant, and holds; it is said once.
    (root / "token").write_text("ab" * 32 + "\n")
    assert run_module(files, arguments)["found"] == ["token was edited."]
    assert (root / "token").read_text() == "ab" * 32 + "\n"
    assert run_module(files, arguments)["found"] == []


def test_a_killed_run_is_nobody_elses_change(
    root: Path, run_module: RunModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = drift(root)
    run_module(files, arguments)
    arguments["files"]["images/a"] = declared("new\n")
    arguments["files"]["images/b"] = declared("b\n")
    arguments["digest"] = "second"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def killed(path: Path, *_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(files, "replace_file", killed)
        run_module(files, arguments)
    assert intact(root) == ""
    done = run_module(files, arguments)
    assert (done["changed"], done["found"]) == (True, [])
    (root / "images/b").unlink()
    assert run_module(files, arguments)["found"] == ["images/b was gone."]


def intact(root: Path) -> str:
    """What the probe tells of the folder."""
    return record.Record(root).intact(["hub", "images"])


EDITS: dict[str, Callable[[Path], object]] = {
    "edited": lambda root: (root / "images/a").write_text("by hand\n"),
    "token": lambda root: (root / "hub/generation").write_text("0" * 16 + "\n"),
    "gone": lambda root: (root / "hub/hub.json").unlink(),
    "mode": lambda root: (root / "hub/hub.json").chmod(0o666),
    "folder": lambda root: (root / "hub").chmod(0o777),
    "stray": lambda root: (root / "hub/stray").write_text(""),
    "link": lambda root: (root / "images/b").symlink_to("nowhere"),
    "record": lambda root: (root / "written.json").unlink(),
    "all": lambda root: shutil.rmtree(root),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_wish_is_known_while_everything_is_as_it_was_left(
    root: Path, run_module: RunModule, edit: Callable[[Path], object]
) -> None:
    arguments = drift(root) | {"digest": "first"}
    run_module(files, arguments, check=True)
    assert intact(root) == ""
    run_module(files, arguments)
    assert intact(root) == "first"
    edit(root)
    assert intact(root) == ""
    run_module(files, arguments)
    assert intact(root) == "first"


def test_another_wish_takes_the_place_of_the_first(root: Path, run_module: RunModule) -> None:
    arguments = drift(root) | {"digest": "first"}
    run_module(files, arguments)
    run_module(files, arguments | {"digest": "second"})
    assert intact(root) == "second", "even where it comes to the same files"
    # The images' contexts alone are written before the rest.
    contexts: dict[str, Any] = {"root": str(root), "files": {"images/a": declared("a\n")}, "exact": ["images"]}
    run_module(files, contexts)
    assert intact(root) == "second"
    contexts["files"]["images/a"] = declared("new\n")
    run_module(files, contexts)
    assert intact(root) == "", "a run that is killed here has not written the rest"


def test_accounts_are_no_part_of_the_wish(root: Path, run_module: RunModule) -> None:
    run_module(files, drift(root) | {"digest": "first"})
    (root / "users").mkdir(mode=0o755)
    (root / "users/shadow").write_text("x")
    kept = record.Record(root)
    fingerprints = {"users/shadow": record.fingerprint_of(root / "users/shadow")}
    kept.begin(fingerprints)
    kept.end(fingerprints)
    assert intact(root) == "first"


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"digest": "", "files": {"compose.yml": 1}}'])
def test_without_its_record_nothing_is_found_and_all_repaired(root: Path, run_module: RunModule, text: str) -> None:
    arguments = drift(root)
    run_module(files, arguments)
    (root / "written.json").write_text(text)
    (root / "images/a").write_text("by hand\n")
    done = run_module(files, arguments)
    assert done["found"] == [] and done["paths"] == [str(root / "images/a")]
    (root / "images/a").write_text("by hand\n")
    assert run_module(files, arguments)["found"] == ["images/a was edited."]


def test_many_names_are_counted() -> None:
    assert findings.listed(["a"]) == "a" and findings.listed(["a", "b"]) == "a and b"
    assert findings.listed(list("abcde")) == "a, b, c, d and e"
    assert findings.listed(list("abcdefg")) == "a, b, c, d and 3 more files"


def test_a_link_or_folder_in_the_place_is_an_edit(root: Path, run_module: RunModule) -> None:
    arguments = drift(root)
    run_module(files, arguments)
    (root / "images/a").unlink()
    (root / "images/a").symlink_to("nowhere")
    (root / "compose.yml").unlink()
    (root / "compose.yml").mkdir()
    assert run_module(files, arguments)["found"] == ["compose.yml and images/a were edited."]
    assert (root / "images/a").read_text() == "a\n"


def test_a_file_in_the_place_of_a_folder(root: Path, run_module: RunModule) -> None:
    arguments = drift(root)
    run_module(files, arguments)
    (root / "images/a").unlink()
    (root / "images").rmdir()
    (root / "images").write_text("x")
    run_module(files, arguments)
    assert (root / "images/a").read_text() == "a\n"
