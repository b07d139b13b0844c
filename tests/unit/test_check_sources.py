"""Where variables come from: with Ansible's own loader and templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Place, Report
from ansible_collections.jupyterhub.home.plugins.plugin_utils.sources import check_files, templated
from checks import told


@pytest.fixture
def report() -> Report:
    return Report()


def test_two_files_of_one_folder_that_say_a_variable(tmp_path: Path, report: Report) -> None:
    folder = tmp_path / "group_vars/jupyterhub"
    folder.mkdir(parents=True)
    (folder / "main.yml").write_text(f"{PREFIX}port: 8001\n{PREFIX}project: lab\nother: 1\n")
    (folder / "more.yml").write_text(f"{PREFIX}port: 8002\nother: 2\n")
    (tmp_path / "group_vars/all.yml").write_text(f"{PREFIX}project: home\n")
    # The playbook's folder is the inventory's, too, and is read once.
    variables = {"group_names": ["jupyterhub"], "inventory_hostname": "hub", "inventory_dir": str(tmp_path)}
    check_files(DataLoader(), {**variables, "playbook_dir": str(tmp_path)}, report)
    assert told(report) == (
        f"{PREFIX}port: it stands in group_vars/jupyterhub/main.yml and in group_vars/jupyterhub/more.yml; "
        f"only the latter would count.\n     Write: {PREFIX}port in one of them"
    )


def test_templates_that_fail_are_left_out(report: Report) -> None:
    text = trust_as_template("{{ nobody }}")
    variables: dict[str, Any] = {
        f"{PREFIX}port": trust_as_template("{{ 8000 + 1 }}"),
        f"{PREFIX}directory": text,
        f"{PREFIX}mounts": [{"source": text}],
        f"{PREFIX}users": [{"name": "kim", "password": "hunter2"}, {"name": "lee", "password": text}],
    }
    good = templated(Templar(DataLoader(), variables), variables, list(variables), report)
    assert good == {f"{PREFIX}port": 8001}
    assert [mistake.place for mistake in report.mistakes] == [
        Place(PREFIX + n) for n in ("directory", "mounts", "users")
    ]
    directory, mounts, users = report.mistakes
    assert "'nobody' is undefined" in directory.what and "{username}, in single braces" in mounts.write
    assert users.what == "its template fails (entry 2, password)." and "hunter2" not in told(report)
