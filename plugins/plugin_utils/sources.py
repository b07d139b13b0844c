"""Where variables come from: files of which two say the same one, and templates that fail."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleError
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import SECRET

if TYPE_CHECKING:
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar


def check_files(loader: DataLoader, task_vars: dict[str, Any], report: Report) -> None:
    """Report variables that stand in two files of a group's or the host's folder, where the last file wins."""
    names = [("group_vars", group) for group in ["all", *task_vars.get("group_names", [])]]
    names.append(("host_vars", task_vars["inventory_hostname"]))
    folders = {os.path.realpath(task_vars[key]) for key in ("inventory_dir", "playbook_dir") if task_vars.get(key)}
    seen: set[str] = set()
    for folder in sorted(folders):
        for kind_of_vars, name in names:
            first: dict[str, str] = {}
            there = loader.find_vars_files(f"{folder}/{kind_of_vars}", name)
            for path in (os.fsdecode(one) for one in there):
                if (real := os.path.realpath(path)) in seen:
                    continue
                seen.add(real)
                # Ansible has read it already, and keeps it.
                for key in loader.load_from_file(path, cache="all", unsafe=True) or {}:
                    before = first.setdefault(key, path) if str(key).startswith(PREFIX) else path
                    if before != path:
                        report.add(
                            str(key), f"it stands in {os.path.relpath(before, folder)} and in "
                            f"{os.path.relpath(path, folder)}; only the latter would count.",
                            f"{key} in one of them",
                        )  # fmt: skip


def failing_templates(templar: Templar, value: Any, place: str) -> Iterator[str]:
    """Where in nested data a template fails, such as `entry 2, password`; no values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            shown = str(key) if re.fullmatch(r"\w{1,40}", str(key)) else "a key"
            yield from failing_templates(templar, inner, f"{place}, {shown}" if place else shown)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from failing_templates(templar, inner, f"{place}, entry {number}" if place else f"entry {number}")
    else:
        try:
            templar.template(value)
        except AnsibleError:
            yield place


def templated(templar: Templar, task_vars: dict[str, Any], names: list[str], report: Report) -> dict[str, Any]:
    """The variables' values; one whose template fails is reported and left out."""
    values = {}
    for name in names:
        try:
            values[name] = templar.template(task_vars[name])
        except AnsibleError as error:
            if name in SECRET:  # the error's text may quote what it could not read
                places = "; ".join(place for place in failing_templates(templar, task_vars[name], "") if place)
                report.add(
                    name,
                    f"its template fails{f' ({places})' if places else ''}.",
                    'a value; before text that has {{ or {% in it write !unsafe, such as password: !unsafe "..."',
                )
            else:
                text = " ".join(str(error).split()).rstrip(".")
                write = "a value, or define what it refers to"
                if name == f"{PREFIX}mounts":
                    write += "; a user's name is {username}, in single braces"
                report.add(name, f"its template fails: {text}.", write)
    return values
