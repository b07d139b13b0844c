#!/usr/bin/python
"""Write many small text files in one call, each atomically."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import present_text, replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import sentences
from ansible_collections.jupyterhub.home.plugins.module_utils.record import (
    Record,
    fingerprint,
    make_needed,
    needed_folders,
    strays,
)
from ansible_collections.jupyterhub.home.plugins.module_utils.way_back import Before

DOCUMENTATION = r"""
module: files
short_description: Make a folder hold exactly these files
description:
  - One call writes what dozens of copy tasks would; a file is replaced by rename, so a reader or a kill
    sees the old or the new one whole.
  - What it wrote is noted in C(written.json) below the root, so that the next call tells what somebody else changed.
options:
  root: {type: path, required: true, description: Folder that all paths are below.}
  files:
    type: dict
    required: true
    description:
      - Path below the root to its text, or to a dictionary of content, mode (octal string, default 0644), owner and
        group (numeric, default 0).
      - With generate (a number of bytes) in place of content, a random hexadecimal line is made once and kept, but made
        anew when somebody else has changed one of the files that its renew_with names.
        C(<sha256 of PATH>) in the text of another file becomes a digest of it, so that who uses it sees another one.
  secrets:
    type: str
    default: "{}"
    description: More files, as JSON text, whose contents are in no output and no diff.
  show_secrets: {type: bool, default: false, description: Put them into the diff all the same.}
  exact:
    type: list
    elements: str
    default: []
    description: Folders below the root from which every file that is not named is removed.
  kept_with:
    type: str
    default: ""
    description:
      - A file below the root. When it is replaced, and is as this module left it, all files are kept first as they are,
        for M(jupyterhub.home.way_back).
  digest:
    type: str
    default: ""
    description: A digest of everything above. It is noted when all is written, for M(jupyterhub.home.probe) to return.
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Write the hub's settings
  jupyterhub.home.files:
    root: /opt/jupyterhub-home
    files:
      compose.yml: "{{ compose | to_nice_yaml }}"
      hub/users-token: {generate: 32, mode: "0640", group: 58081}
    secrets: "{{ {'hub/hub.json': {'content': settings, 'mode': '0640', 'group': 58081}} | to_json }}"
    exact: [hub]
  register: written
"""
RETURN = r"""
paths: {description: Paths written or removed., type: list, elements: str, returned: always}
restored: {description: "Of these, files that go back to what they were.", type: list, elements: str, returned: always}
found: {description: "What somebody else had changed, in words.", type: list, elements: str, returned: always}
"""


def specification(value: Any) -> dict[str, Any]:
    """A file's specification with every key filled in; a bare string is its content."""
    given = {"content": value} if isinstance(value, str) else dict(value)
    return {
        "content": given.get("content"),
        "generate": int(given.get("generate", 0)),
        "renew_with": list(given.get("renew_with", [])),
        "mode": int(str(given.get("mode", "0644")), 8),
        "owner": int(given.get("owner", 0)),
        "group": int(given.get("group", 0)),
    }


def shown(text: str) -> str:
    """A text as the diff shows it: a lock file's thousands of lines would bury the rest."""
    lines = text.count("\n")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text if lines <= 300 else f"({lines} lines, sha256 {digest}...)\n"


class Writer:
    """Compares the files with what is there, and notes what differs; nothing is written before `write`."""

    def __init__(self, module: AnsibleModule) -> None:
        self.pretend, self.shows_secrets = module.check_mode, module.params["show_secrets"]
        self.root, self.record = Path(module.params["root"]), Record(Path(module.params["root"]))
        self.hidden = json.loads(module.params["secrets"])
        named = {**module.params["files"], **self.hidden}
        self.files = {path: specification(value) for path, value in named.items()}
        keys = ("mode", "owner", "group")
        self.places = {path: {key: file[key] for key in keys} for path, file in self.files.items()}
        self.exact: list[str] = module.params["exact"]
        self.strays: list[Path] = []
        self.texts: dict[str, str] = {}
        self.paths: list[str] = []
        self.spoilt: list[str] = []  # folders that had another owner or mode
        self.diffs: list[dict[str, Any]] = []

    def make_folders(self) -> None:
        """Make the folders, and note which were spoilt."""
        for folder in needed_folders(self.root, list(self.files)):
            was_there = folder.exists()
            if make_needed(self.root, folder, pretend=self.pretend):
                self.paths.append(str(folder))
                self.spoilt += [str(folder.relative_to(self.root.parent))] if was_there else []

    def compare(self) -> None:
        """Find out the text of each file, and which are to be written."""
        digests: dict[str, str] = {}
        # Generated ones first: others have their digests.
        for path, file in sorted(self.files.items(), key=lambda item: (item[1]["content"] is not None, item[0])):
            present, in_place = present_text(self.root / path, **self.places[path])
            content = file["content"]
            if content is None:  # a generated secret stays what it is once it exists
                kept = re.fullmatch(rf"[0-9a-f]{{{2 * file['generate']}}}", (present or "").strip())
                renew = any(self.record.how_strange(other) for other in file["renew_with"])
                content = (kept[0] if kept and not renew else secrets.token_hex(file["generate"])) + "\n"
                digests[path] = hashlib.sha256(content.encode()).hexdigest()[:16]
            content = re.sub(r"<sha256 of ([^>]+)>", lambda match: digests.get(match[1], match[0]), content)
            self.texts[path] = content
            if not in_place or present != content:
                self.note(path, present)
        self.strays = strays(self.root, self.exact, {self.root / path for path in self.files})
        for stray in self.strays:
            self.paths.append(str(stray))
            self.diffs.append({"before_header": str(stray), "before": "(not ours)\n", "after": ""})

    def note(self, path: str, present: str | None) -> None:
        """A file is to be written whose text is this now."""
        there, file = self.root / path, self.files[path]
        secret = file["generate"] or (path in self.hidden and not self.shows_secrets)
        self.paths.append(str(there))
        self.diffs.append(
            {
                "before_header": str(there),
                "after_header": f"{there} (mode {file['mode']:04o})",
                "before": "" if secret or present is None else shown(present),
                "after": "(not shown)\n" if secret else shown(self.texts[path]),
            }
        )

    def write(self, digest: str, kept_with: str) -> dict[str, Any]:
        """Write what differs, but with pretend; returns what the module answers of it."""
        names = [str(stray.relative_to(self.root)) for stray in self.strays]
        found = sentences(self.record.found(list(self.files), names, self.spoilt))
        fingerprints = {path: fingerprint(text, **self.places[path]) for path, text in self.texts.items()}
        written = [path for path in self.texts if str(self.root / path) in self.paths]
        restored = [str(self.root / path) for path in written if self.record.before.get(path) == [fingerprints[path]]]
        if not self.pretend:
            if kept_with in written and kept_with in self.record.before and not self.record.how_strange(kept_with):
                Before(self.root).keep_files(self.record.before)
            self.record.begin(fingerprints)
            for path in written:
                replace_file(self.root / path, self.texts[path], **self.places[path])
            for stray in self.strays:
                stray.unlink()
                self.clear(stray.parent)
            self.record.end(fingerprints, names, digest or ("" if self.paths else self.record.digest))
        return {"paths": self.paths, "restored": restored, "found": found, "diff": self.diffs}

    def clear(self, folder: Path) -> None:
        """Remove a folder below an exact one that is empty by now, and those above it that are then."""
        while str(folder.relative_to(self.root)) not in self.exact and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "secrets": {"type": "str", "default": "{}", "no_log": True},
            "show_secrets": {"type": "bool", "default": False, "no_log": False},
            "exact": {"type": "list", "elements": "str", "default": []},
            "kept_with": {"type": "str", "default": ""},
            "digest": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    writer = Writer(module)
    writer.make_folders()
    writer.compare()
    answer = writer.write(module.params["digest"], module.params["kept_with"])
    module.exit_json(changed=bool(writer.paths), **answer)


if __name__ == "__main__":
    main()
