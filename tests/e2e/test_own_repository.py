"""The collection in a repository of somebody's own: installed, with their inventory and vault, without the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from machine import ROOT
from testinfra.host import Host

VERSION = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
PLAYBOOKS = {
    "imports.yml": [{"import_playbook": "jupyterhub.home.site"}],
    "role.yml": [
        {"hosts": "jupyterhub", "become": True, "gather_facts": False, "roles": ["jupyterhub.home.jupyterhub_home"]}
    ],
}


class Repository(NamedTuple):
    """A folder with an inventory, the users that it shall declare, and the collection."""

    path: Path
    users: list[dict[str, Any]]

    def run(self, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """A command of Ansible's there, as somebody types it who knows nothing of the checkout."""
        settings = {"ANSIBLE_CONFIG": str(self.path / "ansible.cfg"), "MOLECULE_PROJECT_DIRECTORY": str(ROOT)}
        return subprocess.run(
            command, cwd=self.path, env={**os.environ, **settings}, input=text, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def declare(self, text: str) -> None:
        """Write the file that has the users."""
        (self.path / "group_vars/jupyterhub/users.yml").write_text(text, encoding="utf-8")

    def finds_nothing_to_do(self, *command: str) -> None:
        """The machine is as the scenario's own run left it, so the same users and settings change nothing."""
        done = self.run("ansible-playbook", "-i", "hosts.yml", *command)
        assert done.returncode == 0, done.stdout[-4000:]
        assert re.search(r"ok=[1-9][0-9]* +changed=0 ", done.stdout), done.stdout[-4000:]
        assert ":8000/" in done.stdout, "the hub's address"


@pytest.fixture(scope="module")
def repository(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository whose variables are the scenario's, with the collection from a tarball."""
    path = tmp_path_factory.mktemp("own")
    (path / "group_vars/jupyterhub").mkdir(parents=True)
    (path / "ansible.cfg").write_text("[defaults]\ncollections_path = collections\n")
    (path / "home-password").write_text("a vault's password\n")
    for name, plays in PLAYBOOKS.items():
        (path / name).write_text(yaml.safe_dump(plays))
    scenario = os.environ["MOLECULE_SCENARIO_NAME"]
    where = [option for folder in ("shared", scenario) for option in ("-i", f"{ROOT}/molecule/{folder}/inventory")]
    repository = Repository(path, [])
    told = repository.run("ansible-inventory", *where, "--host", host.backend.name)
    variables = json.loads(told.stdout)
    users = variables.pop("jupyterhub_home_users")
    declared = {name: variables.pop(name) for name in list(variables) if name.startswith("jupyterhub_home_")}
    hosts = {"jupyterhub": {"hosts": {host.backend.name: variables}}}
    (path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    (path / "group_vars/jupyterhub/main.yml").write_text(yaml.safe_dump(declared))
    for command in (
        ["ansible-galaxy", "collection", "build", "--output-path", str(path), str(ROOT)],
        ["ansible-galaxy", "collection", "install", f"{path}/jupyterhub-home-{VERSION}.tar.gz", "-p", "collections"],
    ):
        done = repository.run(*command)
        assert done.returncode == 0, done.stdout
    return repository._replace(users=users)


def test_a_list_in_a_plain_file(repository: Repository) -> None:
    repository.declare(yaml.safe_dump({"jupyterhub_home_users": repository.users}))
    repository.finds_nothing_to_do("imports.yml")


def test_single_values_that_are_encrypted(repository: Repository) -> None:
    # In JSON, which is YAML, a tag can stand before a value; block scalars cannot, so the secret is in quotes.
    text = json.dumps({"jupyterhub_home_users": repository.users})
    for password in (str(user["password"]) for user in repository.users if "password" in user):
        done = repository.run("ansible-vault", "encrypt_string", "--vault-password-file=home-password", text=password)
        secret = "\n".join(line.strip() for line in done.stdout.partition("!vault |\n")[2].splitlines() if line.strip())
        text = text.replace(json.dumps(password), f"!vault {json.dumps(secret)}")
    repository.declare(text)
    repository.finds_nothing_to_do("--vault-password-file=home-password", "role.yml")


def test_a_vault_under_an_id(repository: Repository) -> None:
    repository.declare(yaml.safe_dump({"jupyterhub_home_users": repository.users}))
    vault = "group_vars/jupyterhub/users.yml"
    done = repository.run("ansible-vault", "encrypt", "--vault-id=home@home-password", vault)
    assert done.returncode == 0, done.stdout
    assert (repository.path / vault).read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;home\n")
    repository.finds_nothing_to_do("--vault-id=home@home-password", "jupyterhub.home.site")


def test_no_secret_of_the_checkout_is_packaged(repository: Repository) -> None:
    collection = repository.path / "collections/ansible_collections/jupyterhub/home"
    names = {path.name for path in collection.iterdir()}
    assert {"plugins", "roles", "playbooks", "site.yml", "meta"} <= names
    assert not names & {"group_vars", "inventory", "tests", "molecule", ".vault-password", ".venv", "collections"}
