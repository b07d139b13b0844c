"""What the role wrote, kept beside it, so that a later run can tell what somebody else changed since."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import make_folder, present_text, replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import (
    EDITED,
    FOREIGN,
    GONE,
    MODE,
    Finding,
    What,
)

ABSENT = "absent"


def fingerprint(content: str, mode: int, owner: int, group: int) -> str:
    """A file's content, owner and mode in a few letters; of the content only a digest."""
    return f"{hashlib.sha256(content.encode()).hexdigest()[:16]} {owner}:{group} {mode:04o}"


def fingerprint_of(path: Path) -> str:
    """The fingerprint of what is there now."""
    text, _ = present_text(path, mode=0, owner=0, group=0)
    if text is None:
        return "other" if path.is_symlink() or path.exists() else ABSENT
    stat = path.stat()
    return fingerprint(text, stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)


def needed_folders(root: Path, paths: list[str]) -> list[Path]:
    """The root and every folder between it and a path, outermost first."""
    inner = {parent for path in paths for parent in Path(path).parents if parent != Path()}
    return [root, *(root / folder for folder in sorted(inner, key=lambda p: len(p.parts)))]


def make_needed(root: Path, folder: Path, *, pretend: bool) -> bool:
    """make_folder for one of needed_folders: the root may be a link, an owner's to a larger disk, and none below it."""
    return make_folder(folder, pretend=pretend, follow=folder == root)


def strays(root: Path, exact: list[str], named: set[Path]) -> list[Path]:
    """Files below the exact folders that nobody asked for; what a link in a folder's place leads to is not ours."""
    return [
        path
        for folder in exact
        if not (root / folder).is_symlink()
        for path in sorted((root / folder).rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and path not in named
    ]


class Record:
    """Fingerprints of the files below a folder as the role wrote them, in a file there; empty before the first run.

    While files are written, each has two: what it was and what it becomes. A killed run leaves either. The digest is
    of all that was asked for when they were written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fingerprints: dict[str, list[str]] = {}
        self.digest = ""
        try:
            kept = json.loads((root / contract.RECORD).read_text(encoding="utf-8"))
            self.fingerprints = {str(path): [str(one) for one in both] for path, both in kept["files"].items()}
            self.digest = str(kept.get("digest", ""))
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            pass  # nobody can tell any more who changed what, and every file is looked at all the same
        self.before = {path: list(both) for path, both in self.fingerprints.items()}

    def entries(self) -> set[str]:
        """The names in the root of all that was written: files there, and folders with files in them."""
        return {path.partition("/")[0] for path in self.before}

    def intact(self, exact: list[str]) -> str:
        """The digest, if every file and folder is as it was left then and the exact folders hold no other; else ''."""
        folders = needed_folders(self.root, list(self.before))
        whole = (
            all(fingerprints == [fingerprint_of(self.root / path)] for path, fingerprints in self.before.items())
            and not any(make_needed(self.root, path, pretend=True) for path in folders)
            and not strays(self.root, exact, {self.root / path for path in self.before})
        )
        return self.digest if whole else ""

    def how_strange(self, path: str) -> str:
        """How a file below the root differs from what the role left there: GONE, EDITED, MODE; '' if it does not."""
        known = self.before.get(path)
        now = fingerprint_of(self.root / path)
        if not known or now in known:
            return ""
        if now == ABSENT:
            return GONE
        if now.split()[0] in {one.split()[0] for one in known}:
            return MODE
        return EDITED

    def found(
        self, paths: list[str], strays: list[str] | None = None, folders: list[str] | None = None
    ) -> list[Finding]:
        """What somebody else did to files.

        strays: files that nobody asked for; folders: those that were there with another owner or mode.
        """
        if not self.before:
            return []
        changed = [(path, MODE) for path in folders or []]
        changed += [(path, how) for path in sorted(paths) if (how := self.how_strange(path))]
        foreign = sorted(path for path in strays or [] if path not in self.before)
        return [
            *(Finding(What.FILE, path, how, "as it was written") for path, how in changed),
            *(Finding(What.FILE, path, FOREIGN, "not there") for path in foreign),
        ]

    def begin(self, wanted: dict[str, str]) -> None:
        """Before files are written that will have these fingerprints."""
        for path, new in wanted.items():
            now = fingerprint_of(self.root / path)
            self.fingerprints[path] = [new] if now == new else [new, now]
        self.save(self.digest)

    def end(self, wanted: dict[str, str], removed: list[str] | None = None, digest: str | None = None) -> None:
        """After they are written, and others removed, for another digest."""
        self.fingerprints |= {path: [new] for path, new in wanted.items()}
        for path in removed or []:
            self.fingerprints.pop(path, None)
        self.save(self.digest if digest is None else digest)

    def save(self, digest: str) -> None:
        """Write what differs from the file; it says nothing of how the machine is set up, and so is no change."""
        if (self.fingerprints, digest) != (self.before, self.digest):
            text = json.dumps({"digest": digest, "files": self.fingerprints}, indent=1, sort_keys=True) + "\n"
            stat = self.root.stat()
            replace_file(self.root / contract.RECORD, text, mode=0o600, owner=stat.st_uid, group=stat.st_gid)
            self.before, self.digest = (
                {path: list(both) for path, both in self.fingerprints.items()},
                digest,
            )
