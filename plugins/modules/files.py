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
from ansible_collections.jupyterhub.home.plugins.module_utils.atomic import make_folder, present_text, replace_file
from ansible_collections.jupyterhub.home.plugins.module_utils.findings import sentences
from ansible_collections.jupyterhub.home.plugins.module_utils.record import Record, mark, needed_folders, strays

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
restored: {description: Of these, files that go back to what they were., type: list, elements: str, returned: always}
found: {description: "What somebody else had changed, in words.", type: list, elements: str, returned: always}
"""


def specification(value: Any) -> dict[str, Any]:
    """A file's wish with every key filled in; a bare string is its content."""
    wish = {"content": value} if isinstance(value, str) else dict(value)
    return {
        "content": wish.get("content"),
        "generate": int(wish.get("generate", 0)),
        "renew_with": list(wish.get("renew_with", [])),
        "mode": int(str(wish.get("mode", "0644")), 8),
        "owner": int(wish.get("owner", 0)),
        "group": int(wish.get("group", 0)),
    }


def shown(text: str) -> str:
    """A text as the diff shows it: a lock file's thousands of lines would bury the rest."""
    lines = text.count("\n")
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text if lines <= 300 else f"({lines} lines, sha256 {digest}...)\n"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "secrets": {"type": "str", "default": "{}", "no_log": True},
            "show_secrets": {"type": "bool", "default": False, "no_log": False},
            "exact": {"type": "list", "elements": "str", "default": []},
            "digest": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    root = Path(module.params["root"])
    hidden = json.loads(module.params["secrets"])
    wishes = {path: specification(value) for path, value in {**module.params["files"], **hidden}.items()}
    digests: dict[str, str] = {}
    diffs: list[dict[str, Any]] = []
    paths: list[str] = []
    texts: dict[str, str] = {}
    record = Record(root)
    places = {path: {key: wish[key] for key in ("mode", "owner", "group")} for path, wish in wishes.items()}
    spoilt = []

    for folder in needed_folders(root, list(wishes)):
        was_there = folder.exists()
        if make_folder(folder, pretend=module.check_mode):
            paths.append(str(folder))
            spoilt += [str(folder.relative_to(root.parent))] if was_there else []
    for path, wish in sorted(wishes.items(), key=lambda item: (item[1]["content"] is not None, item[0])):
        there = root / path
        present, as_wished = present_text(there, **places[path])
        content = wish["content"]
        if content is None:  # a generated secret stays what it is once it exists
            kept = re.fullmatch(rf"[0-9a-f]{{{2 * wish['generate']}}}", (present or "").strip())
            renew = any(record.how_strange(other) for other in wish["renew_with"])
            content = (kept[0] if kept and not renew else secrets.token_hex(wish["generate"])) + "\n"
            digests[path] = hashlib.sha256(content.encode()).hexdigest()[:16]
        content = re.sub(r"<sha256 of ([^>]+)>", lambda match: digests.get(match[1], match[0]), content)
        texts[path] = content
        if as_wished and present == content:
            continue
        paths.append(str(there))
        secret = wish["generate"] or (path in hidden and not module.params["show_secrets"])
        diffs.append(
            {
                "before_header": str(there),
                "after_header": f"{there} (mode {wish['mode']:04o})",
                "before": "" if secret or present is None else shown(present),
                "after": "(not shown)\n" if secret else shown(content),
            }
        )
    foreign = strays(root, module.params["exact"], {root / path for path in wishes})
    for stray in foreign:
        paths.append(str(stray))
        diffs.append({"before_header": str(stray), "before": "(not ours)\n", "after": ""})

    names = [str(stray.relative_to(root)) for stray in foreign]
    found = sentences(record.found(list(wishes), names, spoilt))
    marks = {path: mark(text, **places[path]) for path, text in texts.items()}
    written = [path for path in texts if str(root / path) in paths]
    restored = [str(root / path) for path in written if record.before.get(path) == [marks[path]]]
    if not module.check_mode:
        record.begin(marks)
        for path in written:
            replace_file(root / path, texts[path], **places[path])
        for stray in foreign:
            stray.unlink()
        record.end(marks, names, module.params["digest"] or ("" if paths else record.wish))
    module.exit_json(changed=bool(paths), paths=paths, restored=restored, found=found, diff=diffs)


if __name__ == "__main__":
    main()
