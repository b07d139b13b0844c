"""What the documentation says of the repository: links, paths, commands, lists of files, the version."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

PAGES = [path for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))) if path.is_file()]
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text())
# Of the repository, and not of a machine or of a container.
PATH = re.compile(r"(?<=`)(?:[\w.-]+/)+[\w.-]*(?=`)|(?<=`)[\w-]+\.(?:yml|md|py|sh|cfg|toml)(?=`)")
ELSEWHERE = re.compile(r"~|users/|hub/|secrets/|compose\.yml$|hub\.json$|spawner\.json$|jupyter/")


def files(*where: str) -> list[str]:
    """The repository's files, new ones included, of these paths or patterns of git's."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def packaged(path: Path) -> bool:
    """Whether the collection's archive has it."""
    top = path.relative_to(ROOT).parts[0]
    return not any(fnmatch(top, pattern) for pattern in GALAXY["build_ignore"])


def links(page: Path) -> list[tuple[Path, str]]:
    """The files that a page links to, each with an anchor or ''."""
    targets = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text())
    return [((page.parent / target).resolve() if target else page, anchor) for target, anchor in targets]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    """In the checkout and in the collection."""
    assert packaged(page)
    for target, anchor in links(page):
        assert target.exists() and packaged(target), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


def test_the_readme_leads_to_every_page() -> None:
    assert set(PAGES) <= {ROOT / "README.md", *(target for target, _ in links(ROOT / "README.md"))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_that_are_named_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":  # which also tells of what was
        return
    named = [name for name in PATH.findall(page.read_text()) if not ELSEWHERE.match(name)]
    ignored = (ROOT / ".gitignore").read_text()
    gone = [name for name in named if not (ROOT / name).exists() and name not in ignored]
    assert not [name for name in gone if "/" in name or not files(f"**/{name}")]


def test_goals_of_make_that_are_named_exist() -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    stages = {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")} | {"lint", "unit", "input"}
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*\d*)(?![\w-])", text, re.M))
    assert {"hub", "vault", "test-fast", "test-default"} <= named
    assert named <= goals | {f"test-{stage}" for stage in stages}


def test_the_newest_entry_is_of_this_version() -> None:
    newest = re.search(r"^## (\S+) - (unreleased|\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest and newest[1] == GALAXY["version"]


# Headings of CONTRIBUTING.md, by what their example stands out in the code, and where.
CODE = ("*", ":!tests", ":!*.md")
LISTS = {
    # Compose calls the services' own limit by the same word.
    "A variable": (r"pids_limit", ("*", ":!CHANGELOG.md", ":!*/compose.py")),
    "A service: a container beside the proxy": (
        r"""^PROXY\b|contract\.PROXY(?:\.name|_TOKEN)?:|"proxy"|\.proxy\b|-proxy"|AS proxy$""",
        ("plugins", "roles", ":!roles/*/images/proxy/*"),
    ),
    "A playbook": (r"(?<!pip )uninstall", (*CODE, ":!*Dockerfile")),
    "Another release of Debian": (r"bookworm|[Dd]ebian ?12|\"12\"", ("*", ":!CHANGELOG.md", ":!bench")),
}


@pytest.mark.parametrize("heading", LISTS)
def test_a_list_of_files_is_that_of_its_example(heading: str) -> None:
    pattern, where = LISTS[heading]
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)
    items = "\n".join(re.findall(r"^- (.*?):", section, re.M))
    there = {name for name in files(*where) if name not in ("CONTRIBUTING.md", "tests/unit/test_docs.py")}
    listed = set(re.findall(r"`([^`]+)`", items))
    assert listed == {name for name in there if re.search(pattern, (ROOT / name).read_text(errors="ignore"), re.M)}


def test_a_commit_is_checked_as_test_fast_checks() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    stages = re.search(r"^test-fast:.*\n\t@tests/run\.sh (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert stages
    assert [hook["entry"] for hook in local["hooks"]] == [f"tests/run.sh {stage}" for stage in stages[1].split()]
