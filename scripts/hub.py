#!/usr/bin/env python3
"""What `make hub`, `make uninstall`, `make vault` and `make password` do: the vault on first use, then Ansible.

The vault's password is a random line in .vault-password; the vault itself holds the users. No secret is ever written
in plain text: Ansible encrypts what it reads from a pipe.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VAULT = ROOT / "group_vars/jupyterhub/vault.yml"
INVENTORY = Path("inventory/home")
VAULT_PASSWORD = ROOT / ".vault-password"
sys.path.insert(0, str(ROOT / "roles/jupyterhub_home/module_utils"))
sys.path.insert(0, str(ROOT / "roles/jupyterhub_home/action_plugins"))

FIRST_VAULT = """---
# The users of the hub and their passwords. After a change: make hub
#   {{name: kim, password: "..."}}                          a password, or
#   {{name: kim, password_hash: "$y$..."}}                  a hash that make password printed
#   {{name: kim, password: "...", admin: true, groups: [family]}}
jupyterhub_home_users:
  - {{name: {name}, password: "{password}", admin: true}}
"""


def first_admin() -> str:
    """The invoking user's name, the one behind sudo included; 'admin' for root or a name that the role refuses."""
    from jupyterhub_home_validate import Report, check_user_name

    name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    report = Report()
    check_user_name("", name, report)
    return "admin" if report.mistakes else name


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(content)
    beside.replace(path)


def own_as_invoker(path: Path) -> None:
    """Under sudo, give a file to whoever owns the checkout, so that it can be edited without sudo too."""
    if os.getuid() == 0:
        owner = ROOT.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def make_vault() -> str | None:
    """Make the vault if there is none; gives 'name, password' of its first user, None if one was there."""
    if VAULT.exists():
        return None
    if not VAULT_PASSWORD.exists():
        write_private(VAULT_PASSWORD, secrets.token_hex(32) + "\n")
        own_as_invoker(VAULT_PASSWORD)
    name = first_admin()
    # 16 letters and digits without look-alikes: 80 bits, and easy to type on a tablet.
    password = "-".join("".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(4)) for _ in range(4))
    encrypted = subprocess.run(
        ["ansible-vault", "encrypt", "--output", "-", "-"],
        input=FIRST_VAULT.format(name=name, password=password), text=True, cwd=ROOT, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    write_private(VAULT, encrypted.stdout)
    own_as_invoker(VAULT)
    return f"user {name}, password {password}"


def names_this_machine() -> bool:
    """Whether the inventory has this machine; others have their own sudo, and ARGS=-K asks for its password."""
    lines = (ROOT / INVENTORY).read_text(encoding="utf-8").splitlines()
    return any("ansible_connection=local" in line for line in lines if not line.lstrip().startswith(("#", ";")))


def playbook(name: str, arguments: list[str]) -> list[str]:
    """The command that runs a playbook on the inventory, asking for sudo's password where it will be wanted."""
    command = ["ansible-playbook", name, "-i", str(INVENTORY), *arguments]
    if os.getuid() != 0 and names_this_machine():
        if shutil.which("sudo") is None:
            sys.exit("This needs root: install sudo, or run make hub as root.")
        # Ansible works without a terminal, where a password that sudo remembers for this one does not count: hence -k.
        if subprocess.run(["sudo", "-k", "-n", "true"], capture_output=True, check=False).returncode != 0:
            print("Your password for sudo, please (Ansible asks for it as BECOME password).")
            command.append("--ask-become-pass")
    return command


def converge(arguments: list[str]) -> int:
    """Make the vault if needed and run the main job; gives its exit status."""
    command = playbook("site.yml", arguments)
    first = make_vault()
    status = None
    try:
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:  # also after Ctrl-C
        if first:
            served = status == 0 and not {"--check", "-C"} & set(arguments)
            print(f"\n{'Log in as' if served else 'Once a run has passed, log in as'} {first}")
            print("This is shown once; make vault shows it again, and adds users.")
    return status


def uninstall(arguments: list[str]) -> int:
    """Remove the hub; gives Ansible's exit status."""
    return subprocess.run(playbook("playbooks/uninstall.yml", arguments), cwd=ROOT, check=False).returncode


def edit_vault() -> int:
    """Open the vault in $EDITOR, making it first if there is none."""
    first = make_vault()
    if first:
        print(f"Made the vault with {first}")
    environment = {"EDITOR": next((e for e in ("editor", "nano", "vi") if shutil.which(e)), "vi"), **os.environ}
    return subprocess.run(["ansible-vault", "edit", str(VAULT)], cwd=ROOT, env=environment, check=False).returncode


def print_hash() -> int:
    """Ask for a password twice and print the line for the vault."""
    from jupyterhub_home_crypt import hash_password

    password = getpass.getpass("Password: ")
    if not password or not re.fullmatch(r"[^\x00-\x1f]{1,500}", password):
        sys.exit("The password is empty, too long, or has control characters. Nothing was made.")
    if getpass.getpass("Again: ") != password:
        sys.exit("The two are not the same. Nothing was made.")
    print(f'password_hash: "{hash_password(password)}"')
    return 0


def main() -> int:
    jobs = {"vault": edit_vault, "password": print_hash}
    if len(sys.argv) > 1 and sys.argv[1] in jobs:
        return jobs[sys.argv[1]]()
    if sys.argv[1:2] == ["uninstall"]:
        return uninstall(sys.argv[2:])
    return converge(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
