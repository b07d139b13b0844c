"""All variables of the role together: each by itself, and against the others."""

from __future__ import annotations

from typing import Any

from ansible_collections.jupyterhub.home.plugins.plugin_utils.backup import check_backup
from ansible_collections.jupyterhub.home.plugins.plugin_utils.config import check_config, check_extra_config
from ansible_collections.jupyterhub.home.plugins.plugin_utils.mounts import expand_mounts
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import check_names
from ansible_collections.jupyterhub.home.plugins.plugin_utils.packages import check_packages
from ansible_collections.jupyterhub.home.plugins.plugin_utils.plain import check_plain
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import (
    check_leaving,
    check_users,
    passwords_count,
    present,
)
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import converted
from ansible_collections.jupyterhub.home.plugins.plugin_utils.walls import check_walls


def check_variables(variables: dict[str, Any], specs: dict[str, Any], report: Report) -> dict[str, Any]:
    """Check every variable by itself and against the others.

    variables: {public name: value}; specs: the options of argument_specs. Gives {name without prefix: value}, each
    in its type, with mounts expanded; a variable with a mistake has its default there. One that the report names
    already may be missing.
    """
    check_names(set(variables) - set(specs), specs, report)
    good = converted(variables, specs, report)
    # Without a readable config or list nobody knows who logs in how, and guesses would be false alarms.
    pam = not report.about("config") and passwords_count(good)
    complete = not report.about("users")
    check_plain(good, specs, report)
    check_walls(good, report)
    check_backup(good, report)
    check_packages(good, report)
    check_config(good["config"], report)
    check_extra_config(good["extra_config"], report)
    check_users(good["users"], specs[f"{PREFIX}users"]["options"], pam, good["allow_no_users"], report)
    check_leaving(good["users"], good["delete_homes"], good["archive_homes"], report)
    names = [user["name"] for user in good["users"] if isinstance(user.get("name"), str) and present(user)]
    options = specs[f"{PREFIX}mounts"]["options"]
    good["mounts"] = expand_mounts(good["mounts"], options, names, pam and complete, report)
    return good
