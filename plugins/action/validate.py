"""Check every variable and the machine before anything is touched, and say all mistakes at once."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.jupyterhub.home.plugins.plugin_utils.machine import check_machine, writes_much
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import check_names, misspelt
from ansible_collections.jupyterhub.home.plugins.plugin_utils.plain import check_plain
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.run import has_ended, report_run, runs, this_run
from ansible_collections.jupyterhub.home.plugins.plugin_utils.uninstall import check_uninstall
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import check_removals, check_renamed
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import SECRET, converted
from ansible_collections.jupyterhub.home.plugins.plugin_utils.variables import check_variables

# Ansible loads this plugin when it has read all variables, and from then on forks a process for every task. Without it
# the garbage collector of each would go through a list of a thousand users, which is a tenth of such a run.
gc.freeze()

# The one in C takes a tenth of the time, and is not in every build of PyYAML.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ActionModule(ActionBase):
    """Fails with every mistake at once; otherwise gives settings, machine and builds, which hold no secret."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def said_twice(self, task_vars: dict[str, Any], report: Report) -> None:
        """Report variables that stand in two files of a group's or the host's folder, where the last file wins."""
        names = [("group_vars", group) for group in ["all", *task_vars.get("group_names", [])]]
        names.append(("host_vars", task_vars["inventory_hostname"]))
        folders = {os.path.realpath(task_vars[key]) for key in ("inventory_dir", "playbook_dir") if task_vars.get(key)}
        seen: set[str] = set()
        for folder in sorted(folders):
            for kind_of_vars, name in names:
                first: dict[str, str] = {}
                there = self._loader.find_vars_files(f"{folder}/{kind_of_vars}", name)
                for path in (os.fsdecode(one) for one in there):
                    if (real := os.path.realpath(path)) in seen:
                        continue
                    seen.add(real)
                    # Ansible has read it already, and keeps it.
                    for key in self._loader.load_from_file(path, cache="all", unsafe=True) or {}:
                        before = first.setdefault(key, path) if str(key).startswith(PREFIX) else path
                        if before != path:
                            report.add(
                                str(key), f"it stands in {os.path.relpath(before, folder)} and in "
                                f"{os.path.relpath(path, folder)}; only the latter would count.",
                                f"{key} in one of them",
                            )  # fmt: skip

    def failing_templates(self, value: Any, place: str) -> Iterator[str]:
        """Where in nested data a template fails, such as `entry 2, password`; no values."""
        if isinstance(value, dict):
            for key, inner in value.items():
                shown = str(key) if re.fullmatch(r"\w{1,40}", str(key)) else "a key"
                yield from self.failing_templates(inner, f"{place}, {shown}" if place else shown)
        elif isinstance(value, list):
            for number, inner in enumerate(value, 1):
                yield from self.failing_templates(inner, f"{place}, entry {number}" if place else f"entry {number}")
        else:
            try:
                self._templar.template(value)
            except AnsibleError:
                yield place

    def templated(self, task_vars: dict[str, Any], names: list[str], report: Report) -> dict[str, Any]:
        """The variables' values; one whose template fails is reported and left out."""
        values = {}
        for name in names:
            try:
                values[name] = self._templar.template(task_vars[name])
            except AnsibleError as error:
                if name in SECRET:  # the error's text may quote what it could not read
                    places = "; ".join(place for place in self.failing_templates(task_vars[name], "") if place)
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

    def built(self, task_vars: dict[str, Any], checked: dict[str, Any]) -> list[dict[str, Any]]:
        """The images that are to be built, as vars/main.yml derives them."""
        self._templar.available_variables = {**task_vars, "__jupyterhub_home_checked": checked}
        builds: list[dict[str, Any]] = self._templar.template(task_vars["__jupyterhub_home_builds"])
        return builds

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        role, entry = Path(self._task.args["role_path"]), self._task.args.get("entry_point", "main")
        with (role / "meta/argument_specs.yml").open(encoding="utf-8") as stream:
            entry_points = yaml.load(stream, LOADER)["argument_specs"]  # noqa: S506 (both are safe ones)
        main, specs = entry_points["main"]["options"], entry_points[entry]["options"]
        known = {name: option for point in entry_points.values() for name, option in point["options"].items()}
        report = Report()
        unknown = [name for name in task_vars if misspelt(name, known)]
        variables = self.templated(task_vars, [name for name in specs if name in task_vars], report)
        check_names(unknown, known, report)
        self.said_twice(task_vars, report)
        if entry == "main":
            good = check_variables(variables, specs, report)
        else:  # the others have the values that fit any machine
            good = converted({}, main, report) | converted(variables, specs, report)
            check_plain(good, known, report)

        def look(**lease: Any) -> dict[str, Any]:
            arguments = {
                "project": good["project"], "bind_address": good["bind_address"], "port": good["port"],
                "directory": good["directory"], "sources": [mount["source"] for mount in good["mounts"]],
                "ca_bundle": good["ca_bundle"], "belongings": entry == "uninstall",
                "homes": any(user.get("renamed_from") for user in good["users"] if isinstance(user, dict)), **lease,
            }  # fmt: skip
            answer: dict[str, Any] = self._execute_module(
                module_name="jupyterhub.home.probe", module_args=arguments, task_vars=task_vars
            )
            return answer

        # A run that will change nothing needs no lease and waits for none.
        run = {} if self._task.check_mode or report.mistakes else this_run()
        probe = look(run=run)
        if probe.get("holder") and has_ended(probe["holder"], run):
            probe = look(run=run, ended=probe["holder"]["id"])
        if probe.get("failed") or "machine" not in probe:
            if not report.mistakes:
                return {**result, **probe, "failed": True}
            why = " ".join(str(probe.get("msg", "no answer")).split())
            return {**result, "failed": True, "msg": f"{report.text()}\nAnd looking at the machine failed: {why}"}
        machine = probe["machine"]
        settings = {key: value for key, value in good.items() if key not in ("users", "config", "extra_config")}
        checked: dict[str, Any] = {"settings": settings, "machine": machine, "run": run.get("id", "")}
        if entry == "main":
            checked["builds"] = self.built(task_vars, checked)
            tags = {tag for tag in ("docker", "images", "hub") if runs(tag, task_vars)}
            check_machine(good, machine, report, writes=writes_much(good, machine, checked["builds"], tags))
            new_vault = task_vars.get("__jupyterhub_home_new_vault") is not None  # see scripts/hub.py
            if new_vault or runs("users", task_vars):
                check_removals(good, machine["users"], new_vault, report)
                check_renamed(good, machine["users"], machine["homes"], report)
        elif not report.mistakes:
            check_uninstall(good, machine, report)
        if probe["holder"]:
            report_run(probe["holder"], report)
        elif run and report.mistakes:
            look(release=run["id"])
        if report.mistakes:
            return {**result, "failed": True, "msg": report.text()}
        for mount in good["mounts"]:
            mount.update({key: machine["folders"][mount["source"]][key] for key in ("uid", "gid")})
        return {**result, "changed": False, **checked}
