"""Check every variable and the machine before anything is touched, and say all mistakes at once."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.plugins.action import ActionBase
from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.plugin_utils.addresses import local_url
from ansible_collections.jupyterhub.home.plugins.plugin_utils.backup import (
    backup_settings,
    check_backing_up,
    check_backup,
    check_restore,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.desired import CONTEXTS, desired
from ansible_collections.jupyterhub.home.plugins.plugin_utils.hub import has_other_login
from ansible_collections.jupyterhub.home.plugins.plugin_utils.images import desired_images
from ansible_collections.jupyterhub.home.plugins.plugin_utils.machine import check_machine, writes_much
from ansible_collections.jupyterhub.home.plugins.plugin_utils.mounts import FOUND
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import check_names, misspelt
from ansible_collections.jupyterhub.home.plugins.plugin_utils.plain import check_plain
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.run import has_ended, report_run, runs, this_run
from ansible_collections.jupyterhub.home.plugins.plugin_utils.schedule import job
from ansible_collections.jupyterhub.home.plugins.plugin_utils.sources import check_files, templated
from ansible_collections.jupyterhub.home.plugins.plugin_utils.uninstall import check_root, check_uninstall
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import (
    check_archive,
    check_removals,
    check_renamed,
    present,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import SECRET, converted
from ansible_collections.jupyterhub.home.plugins.plugin_utils.variables import check_variables

# Ansible loads this plugin when it has read all variables, and from then on forks a process for every task. Without it
# the garbage collector of each would go through a list of a thousand users, which is a tenth of such a run.
gc.freeze()

# Entry points that change nothing, and so need not be alone on the machine.
LOOKING = ("homes", "status")
# The one in C takes a tenth of the time, and is not in every build of PyYAML.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ActionModule(ActionBase):
    """Fails with every mistake at once; otherwise returns what follows from the variables, without secrets.

    `settings` are the checked variables but users, config and extra_config, `machine` what was found on the target,
    `run` is the holder of the lease, `backup` what backups need, and the rest is what `desired` derives from
    all of them.
    """

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"role_path", "entry_point", "done"})
    _requires_connection = True

    @property
    def role(self) -> Path:
        """The role's folder on the controller."""
        return Path(self._task.args["role_path"])

    @property
    def done(self) -> str:
        """What the run has done before this task, as the report says it."""
        return str(self._task.args.get("done", "nothing was changed"))

    @property
    def entry(self) -> str:
        """The role's entry point whose variables are checked."""
        return str(self._task.args.get("entry_point", "main"))

    def variables(self, task_vars: dict[str, Any], report: Report) -> dict[str, Any]:
        """The checked variables, {name without prefix: value}."""
        with (self.role / "meta/argument_specs.yml").open(encoding="utf-8") as stream:
            entry_points = yaml.load(stream, LOADER)["argument_specs"]  # noqa: S506 (both are safe ones)
        main, specs = entry_points["main"]["options"], entry_points[self.entry]["options"]
        known = {name: option for point in entry_points.values() for name, option in point["options"].items()}
        variables = templated(self._templar, task_vars, [name for name in specs if name in task_vars], report)
        check_names([name for name in task_vars if misspelt(name, known)], known, report)
        check_files(self._loader, task_vars, report)
        if self.entry == "main":
            return check_variables(variables, specs, report)
        # The others have the values that fit any machine.
        good = converted({}, main, report) | converted(variables, specs, report)
        check_plain(good, known, report)
        if self.entry in ("backup", "restore"):
            check_backup(good, report)
        if self.entry == "restore":
            check_restore(good, report)
        return good

    def look(self, good: dict[str, Any], task_vars: dict[str, Any], **lease: Any) -> dict[str, Any]:
        """What the probe answers. lease: what it is to do with the lease on the target."""
        names = [user.get("name") for user in good["users"] if isinstance(user, dict) and present(user)]
        stay = [*map(str, names), *good["delete_homes"]] if good["archive_homes"] else []
        arguments = {
            "project": good["project"], "bind_address": good["bind_address"], "port": good["port"],
            "directory": good["directory"], "sources": [mount["source"] for mount in good["mounts"]],
            "ca_bundle": good["ca_bundle"], "belongings": self.entry == "uninstall",
            "archive": good["archive_homes"], "stay": stay,
            "homes": any(user.get("renamed_from") for user in good["users"] if isinstance(user, dict)), **lease,
        }  # fmt: skip
        answer: dict[str, Any] = self._execute_module(
            module_name="jupyterhub.home.probe", module_args=arguments, task_vars=task_vars
        )
        return answer

    def look_and_take(self, good: dict[str, Any], task_vars: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
        """What the probe answers, the lease taken for this run if no other one has it that has not ended."""
        probe = self.look(good, task_vars, run=run)
        if probe.get("holder") and has_ended(probe["holder"], run):
            probe = self.look(good, task_vars, run=run, ended=probe["holder"]["id"])
        return probe

    def check_deployment(
        self,
        good: dict[str, Any],
        machine: dict[str, Any],
        missing: list[str],
        task_vars: dict[str, Any],
        report: Report,
    ) -> None:
        """Whether a hub with these variables can be on the machine, in place of the one that may be there.

        missing: images that the engine does not have.
        """
        tags = {tag for tag in ("docker", "images", "hub") if runs(tag, task_vars)}
        check_machine(good, machine, report, writes=writes_much(machine, missing, tags))
        new_vault = task_vars.get("__jupyterhub_home_new_vault") is not None  # see scripts/hub.py
        if new_vault or runs("users", task_vars):
            check_removals(good, machine["users"], new_vault, report)
            check_renamed(good, machine["users"], machine["homes"], report)
            decides = not has_other_login(good["config"], good["extra_config"])
            check_archive(good, decides, machine["archive_lack"], report)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        report = Report()
        good = self.variables(task_vars, report)
        # A run that will change nothing needs no lease and waits for none.
        run = {} if self._task.check_mode or report.mistakes or self.entry in LOOKING else this_run()
        probe = self.look_and_take(good, task_vars, run)
        if probe.get("failed") or "machine" not in probe:
            if not report.mistakes:
                return {**result, **probe, "failed": True}
            why = " ".join(str(probe.get("msg", "no answer")).split())
            return {
                **result,
                "failed": True,
                "msg": f"{report.text(self.done)}\nAnd looking at the machine failed: {why}",
            }
        machine = probe["machine"]
        checkout, inventories = self.role.resolve().parents[1], context.CLIARGS.get("inventory") or ()
        machine["job"] = job(self._connection.transport, inventories, checkout, task_vars["inventory_hostname"])
        settings = {key: value for key, value in good.items() if PREFIX + key not in SECRET}
        checked: dict[str, Any] = {"settings": settings, "machine": machine, "run": run.get("id", "")}
        if self.entry == "main":
            # See playbooks/renew.yml: what is to be made anew counts as missing.
            present = [] if task_vars.get("__jupyterhub_home_renew") else machine["images"]
            images = desired_images(good, self.role / CONTEXTS, present)
            self.check_deployment(good, machine, images["missing"], task_vars, report)
        elif self.entry in LOOKING:
            check_root(machine, report)
            checked["local_url"] = local_url(good)
        elif self.entry == "uninstall" and not report.mistakes:
            check_uninstall(good, machine, report)
        else:
            if self.entry == "backup":
                check_backing_up(machine, report)
            checked |= {"backup": backup_settings(good, machine), "installed_note": contract.INSTALLED}
        if probe["holder"]:
            report_run(probe["holder"], report)
        elif run and report.mistakes:
            self.look(good, task_vars, release=run["id"])
        if report.mistakes:
            return {**result, "failed": True, "msg": report.text(self.done)}
        if self.entry == "main":
            for mount in good["mounts"]:
                mount.update({key: machine["folders"][mount["source"]][key] for key in FOUND})
            declared = self._templar.template(task_vars[f"{PREFIX}mounts"])
            checked |= desired(good, declared, machine, images, self.role)
        return {**result, "changed": False, **checked}
