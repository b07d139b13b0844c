"""jupyterhub.home.images with `renew`, before an engine that is a file of images, their packages and their layers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.jupyterhub.home.plugins.module_utils import building, renewing
from ansible_collections.jupyterhub.home.plugins.modules import images
from conftest import Program, RunModule

# What a build or a pull gives stands in `coming`: by target or name the packages, or null where it fails.
ENGINE = """
import json, sys
from pathlib import Path
file = Path(__file__).with_name("engine.json")
state = json.loads(file.read_text())
tags, made, words = state["tags"], state["images"], sys.argv[1:]
def new(name, layers):
    if state["coming"].get(name) is None: print("no way to", name); sys.exit(1)
    ident = f"sha256:{len(made):012d}{name}"
    made[ident] = {"packages": state["coming"][name], "layers": [*layers, ident]}
    return ident
match words:
    case ["image", "inspect", *form, name]:
        if name not in tags: sys.exit(1)
        print(json.dumps(made[tags[name]]["layers"]) if "Layers" in str(form) else tags[name])
    case ["build", "--target", target, *more]:
        assert "--no-cache" in more
        base = next(word for word in more if word.startswith("BASE=")).removeprefix("BASE=")
        tags[more[more.index("--tag") + 1]] = new(target, made[tags[base]]["layers"])
    case ["pull", "--quiet", name]: tags[name] = new(name, [])
    case ["tag", old, name]: tags[name] = tags.get(old, old)
    case ["import", *_]: print("sha256:empty")
    case ["ps", "--quiet", *_]: print("1 2 3")
    case ["inspect", *_]:
        print("bob sha256:older", "alice sha256:oldest", f"kim {tags['elsewhere/lab:5']}", sep="\\n")
    case ["image", "rm", name]: tags.pop(name, None)
    case ["run", *_, "/no"]: print("no such file: /no", file=sys.stderr); sys.exit(127)
    case ["run", *options, name, "-c", _]:
        print(*(f"{package} {version}" for package, version in made[tags[name]]["packages"].items()), sep="\\n")
    case _: sys.exit(f"unexpected: {words}")
file.write_text(json.dumps(state))
"""
HUB = {"name": "hub", "tag": "home/hub:1", "context": "/srv/images", "packages": []}
USER = {"name": "user", "tag": "home/user:1", "context": "/srv/images", "packages": ["numpy"]}
OWN = {"tag": "home/base:1", "suite": "trixie", "packages": ["ca-certificates"], "dpkg": ""}
THEIRS = {"tag": "debian:13"}
OLD = {"openssl": "3.5.1-1", "tini": "0.19"}
FIXED = {"openssl": "3.5.1-1+deb13u1", "tini": "0.19"}


class Engine:
    """The file of that engine."""

    def __init__(self, program: Program) -> None:
        calls = program("docker", f'exec {sys.executable} -I -S "$here/engine.py" "$@"')
        self.calls, self.file = calls, calls.with_name("engine.json")
        calls.with_name("engine.py").write_text(ENGINE)
        names = ("home/base:1", "debian:13", "home/hub:1", "home/user:1", "elsewhere/lab:5")
        made = {f"sha256:old-{name}": {"packages": OLD, "layers": ["old-base", name]} for name in names}
        made["sha256:old-debian:13"]["layers"] = ["old-base"]
        self.state: dict[str, Any] = {"tags": {name: f"sha256:old-{name}" for name in names}, "images": made}
        self.before = dict(self.state["tags"])

    def coming(self, **packages: dict[str, str] | None) -> None:
        """What the next builds and pulls give; without a word, the packages of before."""
        names = dict.fromkeys(("base", "hub", "user", "debian:13", "elsewhere/lab:5"), OLD)
        self.file.write_text(json.dumps({**self.state, "coming": {**names, **packages}}))

    def tags(self) -> dict[str, str]:
        tags: dict[str, str] = json.loads(self.file.read_text())["tags"]
        return tags


@pytest.fixture
def engine(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(building, "LOCK", tmp_path / "lock")
    engine = Engine(program)

    def make_base(tag: str, suite: str, packages: list[str], dpkg: str) -> None:
        state = json.loads(engine.file.read_text())
        state["images"]["sha256:base"] = {"packages": state["coming"]["base"], "layers": ["new-base"]}
        engine.file.write_text(json.dumps({**state, "tags": {**state["tags"], tag: "sha256:base"}}))

    monkeypatch.setattr(renewing, "make_base", make_base)
    return engine


def asked(base: dict[str, Any] = OWN, **more: Any) -> dict[str, Any]:
    return {"base": base, "builds": [HUB, USER], **more}


def test_nothing_differs(engine: Engine, run_module: RunModule) -> None:
    """New images of the same packages go; the old ones, and what runs on them, stay."""
    engine.coming()
    answer = run_module(images, asked(renew=True))
    assert (answer["changed"], answer["made"], answer["staged"]) == (False, [], {})
    assert answer["notes"] == [renewing.NOTHING]
    assert engine.tags() == engine.before


def test_what_differs_waits_until_it_is_taken(engine: Engine, run_module: RunModule) -> None:
    engine.coming(base=FIXED, hub={**FIXED, "curl": "8.14"}, user=OLD)
    answer = run_module(images, asked(renew=True))
    assert answer["changed"] and answer["staged"] == {
        "home/base:1": "home/base:1-renewed", "home/hub:1": "home/hub:1-renewed"
    }  # fmt: skip
    assert answer["notes"] == [
        "Renewed home/hub:1: curl none -> 8.14, openssl 3.5.1-1 -> 3.5.1-1+deb13u1",
        renewing.AT_NEXT_START,
    ]
    assert {name: engine.tags()[name] for name in engine.before} == engine.before
    assert "home/user:1-renewed" not in engine.tags()
    run_module(images, asked(take=answer["staged"]))
    after = engine.tags()
    assert after["home/hub:1"].endswith("hub") and after["home/base:1"] == "sha256:base"
    assert after["home/user:1"] == engine.before["home/user:1"]
    # Whoever looks for what nothing uses finds the old ones by a name.
    assert after["home/hub:old-home/hub"] == "sha256:old-home/hub:1" and not [tag for tag in after if "renewed" in tag]


def test_a_package_more_and_an_image_that_was_not_there(engine: Engine, run_module: RunModule) -> None:
    del engine.state["tags"]["home/user:1"]
    engine.coming(hub={**OLD, "curl": "8.14"})
    answer = run_module(images, asked(renew=True))
    assert list(answer["staged"]) == ["home/hub:1", "home/user:1"]
    assert answer["notes"][:2] == ["Renewed home/hub:1: curl none -> 8.14", "Renewed home/user:1: another image"]


@pytest.mark.parametrize("broken", ["hub", "user", "debian:13", "elsewhere/lab:5"])
def test_one_that_cannot_be_had_leaves_all_as_it_was(engine: Engine, run_module: RunModule, broken: str) -> None:
    engine.coming(**{"hub": FIXED, broken: None})
    answer = run_module(images, asked(THEIRS, pulls=["elsewhere/lab:5"], renew=True))
    assert answer["failed"] and f"no way to {broken}" in answer["msg"]
    after = engine.tags()
    assert after | {"debian:13": ""} == engine.before | {"debian:13": ""}


def test_images_of_a_registry(engine: Engine, run_module: RunModule) -> None:
    """A base with other layers is reason enough; a user image goes by its identity."""
    engine.coming()
    answer = run_module(images, asked(THEIRS, pulls=["elsewhere/lab:5"], renew=True))
    assert list(answer["staged"]) == ["elsewhere/lab:5", "home/hub:1", "home/user:1"]
    assert "Renewed elsewhere/lab:5: another image" in answer["notes"]
    assert engine.tags()["elsewhere/lab:5"] == engine.before["elsewhere/lab:5"]
    answer = run_module(images, asked(THEIRS, pulls=["elsewhere/lab:5"], take=answer["staged"]))
    assert answer["notes"] == [renewing.STILL_OLD.format("alice, bob")]
    assert engine.tags()["elsewhere/lab:5"].endswith("elsewhere/lab:5")
    assert engine.tags()["home/user:old-elsewher"] == "sha256:old-elsewhere/lab:5"


def test_check_mode_makes_nothing(engine: Engine, run_module: RunModule) -> None:
    engine.coming(hub=FIXED)
    answer = run_module(images, asked(renew=True), check=True)
    assert answer["changed"] and answer["notes"] == [images.WOULD_RENEW] and engine.calls.read_text() == ""
