#!/usr/bin/env python3
"""What `make hub`, `make check`, `make upgrade`, `make vault`, `make password` and, by its name, a playbook do.

First comes what can be known before it takes time (options, sudo), then Ansible's environment, the vault on first use,
and Ansible.

The vault's password is a random line in .vault-password; the vault itself holds the users. No secret is ever written
in plain text: Ansible encrypts what it reads from a pipe, and reads sudo's password from one.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import site
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VAULT = ROOT / "group_vars/jupyterhub/vault.yml"
INVENTORY = Path("inventory/home")
VAULT_PASSWORD = ROOT / ".vault-password"
PASSWORD_TRIES = 3
WITHOUT = " For today's packages of Debian alone: make upgrade ONLY=packages"
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "scripts")]

FIRST_VAULT = """---
# The users of the hub and their passwords. After a change: make hub
# Passwords stand in straight quotes, or YAML reads # as a comment and 0123 as a number.
#   {{name: kim, password: "..."}}                          a password, or
#   {{name: kim, password_hash: "$y$..."}}                  a hash that make password printed
#   {{name: kim, password: "...", admin: true, groups: [family]}}
jupyterhub_home_users:
  - {{name: {name}, password: "{password}", admin: true}}
"""


def first_admin() -> str:
    """The invoking user's name, the one behind sudo included; 'admin' for root or a name that the role refuses."""
    from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import Place, Report
    from ansible_collections.jupyterhub.home.plugins.plugin_utils.users import check_user_name

    name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    report = Report()
    check_user_name(Place(""), name, report)
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


def make_vault_password() -> None:
    """Make the vault's password if there is none."""
    if not VAULT_PASSWORD.exists():
        write_private(VAULT_PASSWORD, secrets.token_hex(32) + "\n")
        own_as_invoker(VAULT_PASSWORD)


def make_vault() -> str | None:
    """Make the vault if there is none; returns 'name, password' of its first user, None if one was there."""
    if VAULT.exists():
        return None
    make_vault_password()
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


def try_sudo(*options: str, password: str = "") -> str:
    """What sudo says in place of running a program, without a terminal as Ansible has none; '' if it runs it."""
    done = subprocess.run(
        ["sudo", "-k", *options, "true"],  # what sudo remembers for this terminal is of no use to Ansible
        input=f"{password}\n", env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    return (done.stderr.strip() or "it failed") if done.returncode != 0 else ""


def sudo_password() -> str | None:
    """Sudo's password for this machine, None where none is wanted; ends with what to do where sudo will not work."""
    if os.getuid() == 0 or not names_this_machine():
        return None
    if shutil.which("sudo") is None:
        sys.exit("This needs root: install sudo, or run make hub as root.")
    user = pwd.getpwuid(os.getuid()).pw_name
    said = try_sudo("-n")
    if "must have a tty" in said:
        sys.exit(f"sudo wants a terminal, which Ansible has not. Write with visudo: Defaults:{user} !requiretty")
    if not said:
        return None
    print("Your password for sudo, please (Ansible calls it BECOME password).", flush=True)
    for _ in range(PASSWORD_TRIES):
        password = getpass.getpass("BECOME password: ")
        said = try_sudo("-S", "-p", "", password=password)
        if not said:
            return password
        if re.search(r"not in the sudoers|not allowed|may not run", said):
            sys.exit(
                f"{user} may not use sudo for this: {said.splitlines()[-1]}\n"
                f"As root: usermod -aG sudo {user}, then log in anew; or run make hub as root. Nothing was changed."
            )
        print(f"sudo does not take {'an empty password' if not password else 'that password'}.")
    sys.exit(f"sudo says: {said.splitlines()[-1]}\nNothing was changed.")


def set_up(password: str | None = None) -> None:
    """Ansible's environment, made if need be; its programs and packages are found from then on."""
    more = {"SUDO": "sudo -S -p ''"} if password is not None else {}
    made = subprocess.run(
        ["sh", "scripts/venv", ".venv", "requirements/ansible.txt"],
        cwd=ROOT, env={**os.environ, **more}, input=None if password is None else f"{password}\n",
        text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        sys.exit(made.returncode)
    os.environ["PATH"] = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    for packages in (ROOT / ".venv/lib").glob("python*/site-packages"):
        site.addsitedir(str(packages))
    # Named, because Ansible does not look for it in a folder that everybody may write to.
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    if ROOT.stat().st_mode & stat.S_IWOTH:
        print(f"Everybody may write to {ROOT}, and so become root here. Better: chmod o-w {ROOT}")
    program = ROOT / "scripts/vault-password"
    if not os.access(program, os.X_OK):  # then Ansible would take its text for the password
        with contextlib.suppress(OSError):
            program.chmod(program.stat().st_mode | 0o111)
        if not os.access(program, os.X_OK):
            sys.exit(
                f"{program} cannot be run. Do: chmod +x {program}; or clone to a file system that lets programs run."
            )


def yaml_mistake(text: str) -> str:
    """What is wrong with a file of variables, and where; '' if nothing is. Its parser comes with Ansible."""
    import variables_file

    return variables_file.mistake(text)


def play(book: str, arguments: list[str], password: str | None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the inventory; SystemExit where a file of variables is no YAML: Ansible names no line."""
    for path in sorted((ROOT / "group_vars").rglob("*.yml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if not text.startswith("$ANSIBLE_VAULT") and (mistake := yaml_mistake(text)):
            sys.exit(f"{path.relative_to(ROOT)}: {mistake} Nothing was changed.")
    command = ["ansible-playbook", book, "-i", str(INVENTORY), *arguments]
    if password is not None:
        command += ["--become-password-file", "-"]
        options["input"] = f"{password}\n"
    return subprocess.run(command, cwd=ROOT, text=True, check=False, **options)


def converge(arguments: list[str]) -> int:
    """Make the vault if needed and run the main job; returns its exit status."""
    password = sudo_password()
    set_up(password)
    password_was_there = VAULT_PASSWORD.exists()
    first = make_vault()
    if first:
        # Before a new vault takes the place of a list that was lost, the checks alone: see check_removals of the role.
        alone = [*arguments, "--check", "--tags", "always", "--extra-vars", "__jupyterhub_home_new_vault=true"]
        checked = None
        try:
            checked = play("site.yml", alone, password, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        finally:  # also after Ctrl-C: the next run must not find it
            if checked is None or checked.returncode != 0:
                VAULT.unlink()
                if not password_was_there:
                    VAULT_PASSWORD.unlink()
        if checked.returncode != 0:
            print(f"{checked.stdout}\nThe vault that was made for this run is taken away again.")
            return checked.returncode
    status = None
    try:
        status = play("site.yml", arguments, password).returncode
    finally:  # also after Ctrl-C
        if first:
            served = status == 0 and not {"--check", "-C"} & set(arguments)
            print(f"\n{'Log in as' if served else 'Once a run has passed, log in as'} {first}")
            print("This is shown once; make vault shows it again, and adds users.")
    return status


def restored() -> list[str]:
    """What `make restore USER=alice FILE=work/x SNAPSHOT=...` names, as options for Ansible."""
    os.environ["USER"] = pwd.getpwuid(os.getuid()).pw_name  # make passes on what it is given, and Ansible believes it
    given = {name: os.environ.get(f"RESTORE_{name.upper()}", "") for name in ("user", "file", "snapshot")}
    variables = {f"jupyterhub_home_restore_{name}": text for name, text in given.items() if text}
    return ["--extra-vars", json.dumps(variables)] if variables else []


def other_job(book: str, arguments: list[str]) -> int:
    """Run one of the playbooks, which need no vault; returns Ansible's exit status."""
    password = sudo_password()
    set_up(password)
    return play(book, arguments, password).returncode


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A git command on the checkout, by whoever owns that: git refuses another's, and root would own what comes."""
    owner = ROOT.stat()
    options: dict[str, Any] = {}
    environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    if os.getuid() == 0 and owner.st_uid != 0:
        options = {"user": owner.st_uid, "group": owner.st_gid}
        environment["HOME"] = pwd.getpwuid(owner.st_uid).pw_dir
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, env=environment, text=True, capture_output=True, check=False, **options
    )


def no_upgrade(why: str, do: str) -> NoReturn:
    """End where the newest version cannot be had."""
    sys.exit(f"No newer version of this project was taken: {why}\n{do}\nNothing was changed.{WITHOUT}")


def take_newest(*, pretend: bool) -> None:
    """Have the checkout be the newest version of its branch, and say so; ends where that cannot be. pretend: say it."""
    if shutil.which("git") is None or git("rev-parse", "--git-dir").returncode != 0:
        no_upgrade(
            f"{ROOT} is no clone of git's.",
            "Put the newer version into its place, with your group_vars and .vault-password, then: make renew",
        )
    if (follows := git("rev-parse", "--abbrev-ref", "@{upstream}")).returncode != 0:
        no_upgrade(follows.stderr.strip(), "Write, for example: git branch --set-upstream-to=origin/main")
    # Their variables and inventory are the owner's to change: git keeps them, or says that it cannot.
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!group_vars", ":!inventory").stdout
    if changed:
        no_upgrade(
            f"files of it are changed here.\n{changed.rstrip()}",
            "Look at them with git diff. To undo what is not meant to stay: git checkout -- FILE; else: git stash",
        )
    before = git("rev-parse", "HEAD").stdout.strip()
    taken = git("fetch") if pretend else git("pull", "--ff-only")
    if taken.returncode != 0:
        no_upgrade(
            f"git says:\n{taken.stderr.strip()}",
            "Without a way to where the clone is from, try it later. Where lines of your own are in the way: "
            "git stash; git pull --ff-only; git stash pop; then make renew",
        )
    new = git("log", "--oneline", f"{before}..{'@{upstream}' if pretend else 'HEAD'}").stdout.splitlines()
    if not new:
        print("There is no newer version of this project.", flush=True)
    else:
        what = "It would be taken, and is not tried here" if pretend else f"Back: git reset --keep {before[:12]}"
        print(f"A newer version of this project, by {len(new)} commits: see CHANGELOG.md. {what}.", flush=True)


def upgrade(arguments: list[str]) -> int:
    """Take the newest version of the project, then have it renew the images; returns the exit status."""
    only = os.environ.get("ONLY", "")
    if only not in ("", "pins", "packages"):
        sys.exit(f"ONLY is {only!r}. Write: make upgrade ONLY=pins, or ONLY=packages. Nothing was done")
    if only != "packages":
        take_newest(pretend=bool({"--check", "-C"} & set(arguments)))
    # By the new version's own program, which reads ARGS as this one did.
    command = [sys.executable, str(ROOT / "scripts/hub.py"), "converge" if only == "pins" else "renew"]
    return subprocess.run(command, check=False).returncode


def edit_vault() -> int:
    """Open the vault in $EDITOR, making it first if there is none."""
    set_up()
    editor = os.environ.get("EDITOR") or next((e for e in ("editor", "nano", "vi") if shutil.which(e)), None)
    if editor is None:
        sys.exit("There is no editor on this machine. Write: sudo apt-get install nano, then make vault")
    first = make_vault()
    if first:
        print(f"Made the vault with {first}")
    elif not VAULT.read_text(encoding="utf-8", errors="replace").startswith("$ANSIBLE_VAULT"):
        make_vault_password()
        sys.exit(
            f"{VAULT.relative_to(ROOT)} is not encrypted. Edit it as it is, or encrypt it: .venv/bin/ansible-vault "
            f"encrypt {VAULT.relative_to(ROOT)}"
        )
    if not shutil.which(shlex.split(editor)[0]):
        sys.exit(f"There is no editor {editor}. Write, for example: EDITOR=nano make vault")
    environment = {**os.environ, "EDITOR": editor}
    status = subprocess.run(["ansible-vault", "edit", str(VAULT)], cwd=ROOT, env=environment, check=False).returncode
    if status == 0:
        view = ["ansible-vault", "view", str(VAULT)]
        plain = subprocess.run(view, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False).stdout
        if mistake := yaml_mistake(plain):
            print(f"{mistake} No run can read the vault until this is put right: make vault", file=sys.stderr)
            return 1
        import variables_file

        for number in variables_file.cut_passwords(plain):
            print(f'Line {number}: what comes after # is a comment. If it is not meant: password: "...", in quotes')
    return status


def print_hash() -> int:
    """Ask for a password twice and print the line for the vault."""
    from ansible_collections.jupyterhub.home.plugins.module_utils.crypt import hash_password

    password = getpass.getpass("Password: ")
    if not password or not re.fullmatch(r"[^\x00-\x1f]{1,500}", password):
        sys.exit("The password is empty, too long, or has control characters. Nothing was made.")
    if getpass.getpass("Again: ") != password:
        sys.exit("The two are not the same. Nothing was made.")
    print(f'password_hash: "{hash_password(password)}"')
    return 0


def ansible_options() -> list[str]:
    """What stands in ARGS, split as a shell would."""
    try:
        return shlex.split(os.environ.get("ARGS", ""))
    except ValueError as error:
        sys.exit(f"ARGS cannot be read: {error}. Write it in quotes of the other kind: make hub ARGS='-e \"{{a: b}}\"'")


def main() -> int:
    job = sys.argv[1]
    if job == "vault":
        return edit_vault()
    if job == "password":
        return print_hash()
    if job == "upgrade":
        return upgrade(ansible_options())
    if (ROOT / (book := f"playbooks/{job}.yml")).exists():
        return other_job(book, [*(restored() if job == "restore" else []), *ansible_options()])
    return converge([*(["--check", "--diff"] if job == "check" else []), *ansible_options()])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EOFError:  # Ctrl-D, or no terminal
        sys.exit("\nNo password was typed. Nothing was done.")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
