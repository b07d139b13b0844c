"""Misspelt variables."""

from __future__ import annotations

from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import misspelt
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.variables import check_variables
from checks import SPECS, USERS


def test_names_that_are_nearly_right() -> None:
    known = list(SPECS)
    for wrong, write in {
        f"{PREFIX}prot": "port", f"{PREFIX}memory": "memory_limit", f"{PREFIX}image": "user_image",
        f"{PREFIX}package": "hub_packages", f"{PREFIX}admin": "admin_access", "jupyterhub_hom_port": "port",
    }.items():  # fmt: skip
        report = Report()
        assert misspelt(wrong, known)
        check_variables({f"{PREFIX}users": USERS, wrong: "hunter2"}, SPECS, report)
        (mistake,) = report.mistakes
        assert mistake.text() == f"{wrong}: there is no such variable.\n     Write: {PREFIX}{write}: ..."
    for other in ["jupyterhub_port", "jupyter_home", f"__{PREFIX}checked", "ansible_user", *known]:
        assert not misspelt(other, known)
