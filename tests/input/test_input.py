"""Bad input to the real role: every mistake gets its message, no password is shown, and nothing is touched.

cases.yml is the table. All its cases are hosts of one run of site.yml, which looks at this machine and stops there:
only the checks carry the tag `always`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LEASE = Path("/run/jupyterhub-home.lease")
SECRETS = ("hunter2", "48151623")
# The only docker commands that checks may run.
LOOKING = {"info", "ps", "inspect", "--version", "image ls", "volume ls"}


class Unsafe(str):
    """Text behind !unsafe: Ansible looks for no template in it."""


def construct_unsafe(loader: yaml.SafeLoader, node: yaml.Node) -> Unsafe:
    assert isinstance(node, yaml.ScalarNode)
    return Unsafe(loader.construct_scalar(node))


yaml.SafeLoader.add_constructor("!unsafe", construct_unsafe)
yaml.SafeDumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


def read_cases(**places: str) -> list[dict[str, Any]]:
    """The table, with its @NAMES@ filled in."""
    text = (Path(__file__).parent / "cases.yml").read_text(encoding="utf-8")
    for name, value in places.items():
        text = text.replace(f'"@{name}@"' if value.isdigit() else f"@{name}@", value)
        text = text.replace(f"@{name}@", value)
    cases: list[dict[str, Any]] = yaml.safe_load(text)
    return cases


NAMES = [case["case"] for case in read_cases()]


def host(name: str) -> str:
    """A case's name in the inventory."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


def environment(**more: str) -> dict[str, str]:
    """The environment of a plain terminal: no settings of Ansible but the repository's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    return {**kept, "ANSIBLE_NOCOLOR": "1", **more}


def playbook(*arguments: str, book: str = "site.yml", cwd: Path = ROOT, **more: str) -> tuple[int, str]:
    """Exit status and whole output of ansible-playbook."""
    done = subprocess.run(
        ["ansible-playbook", book, *arguments],
        cwd=cwd, env=environment(**more), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert "[DEPRECATION WARNING]" not in done.stdout
    return done.returncode, done.stdout


def mistakes_in(message: str) -> list[str]:
    """The numbered mistakes of a message; those about the tester's own machine and rights are left out."""
    found = re.split(r"^ +[0-9]+\. ", message, flags=re.MULTILINE)[1:]
    return [mistake for mistake in found if not mistake.startswith("This machine:")]


def put_fake_docker(folder: Path) -> Path:
    """A docker that notes what it is asked, knows of no container, and claims that an engine runs; its notes."""
    notes = folder / "docker.log"
    program = folder / "docker"
    program.write_text(
        f"#!/bin/sh\necho \"$*\" >>'{notes}'\n"
        """if [ "$1" = info ]; then echo '{"ServerVersion": "26.1.5", "DockerRootDir": "/"}'; fi\n"""
    )
    program.chmod(0o755)
    return notes


class Run(NamedTuple):
    """One run over all cases: what each host got ('' when it passed), and what was left behind."""

    status: int
    output: str
    messages: dict[str, str]
    tasks: set[str]
    folder: Path
    inventory: Path
    docker: list[str]
    path: str
    cases: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def held_port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        yield holder.getsockname()[1]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, held_port: int) -> Run:
    """All cases at once."""
    folder = tmp_path_factory.mktemp("input")
    programs = tmp_path_factory.mktemp("programs")
    for name in ("open/kim", "open/lee", "loose/private/kim"):
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(0o777)
    (folder / "open" / "file").touch()
    (folder / "open").chmod(0o1777)
    (folder / "loose").chmod(0o777)
    (folder / "ours").mkdir()
    places = {"FOLDER": folder / "open", "OURS": folder / "ours", "LOOSE": folder / "loose"}
    cases = read_cases(PORT=str(held_port), **{name: str(place) for name, place in places.items()})
    common = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        # What a case does not name is fine on any machine.
        "jupyterhub_home_users": [{"name": "kim", "password": "hunter2"}],
        "jupyterhub_home_directory": str(folder / "hub" / "made"),
        "jupyterhub_home_free_disk_min": "1M",
        "jupyterhub_home_port": 20997,
    }
    inventory = folder / "inventory.yml"
    hosts = {host(case["case"]): case["vars"] for case in cases}
    inventory.write_text(yaml.safe_dump({"jupyterhub": {"vars": common, "hosts": hosts}}, allow_unicode=True))
    notes = put_fake_docker(programs)
    path = f"{programs}:{os.environ['PATH']}"
    status, output = playbook(
        "-i", str(inventory), "--tags", "always", "--check", "--forks", "4",  # no lease is left here
        PATH=path, ANSIBLE_CALLBACK_RESULT_FORMAT="json", ANSIBLE_CALLBACK_FORMAT_PRETTY="false",
    )  # fmt: skip
    messages = dict.fromkeys(re.findall(r"^ok: \[(\S+)\]", output, flags=re.MULTILINE), "")
    for name, result in re.findall(r"^fatal: \[(\S+)\]: FAILED! => (\{.*\})$", output, flags=re.MULTILINE):
        messages[name] = json.loads(result)["msg"]
    return Run(
        status, output, messages, set(re.findall(r"^TASK \[(.*)\] \*", output, flags=re.MULTILINE)), folder, inventory,
        notes.read_text().splitlines(), path, {case["case"]: case for case in cases},
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_message(run: Run, name: str) -> None:
    case = run.cases[name]
    message = run.messages[host(name)]
    found = mistakes_in(message)
    assert len(found) == (case.get("mistakes", 1) if case["says"] else 0), message or "it passed"
    # The end of a line may matter, so a mistake ends with one.
    for part in case["says"]:
        assert part in "\n".join(found) + "\n", message
    for mistake in found:
        what, _, write = mistake.partition("\n     Write: ")
        assert what.endswith(".") and write.strip(), mistake
        assert "Tagged" not in mistake and "Error" not in mistake.replace("Syntax error", ""), mistake


def test_every_case_has_an_answer(run: Run) -> None:
    assert len({host(name) for name in NAMES}) == len(NAMES)
    assert sorted(run.messages) == sorted(host(name) for name in NAMES)


def test_the_run_fails(run: Run) -> None:
    assert run.status != 0


def test_no_password_is_shown(run: Run) -> None:
    assert [secret for secret in SECRETS if secret in run.output] == []


def test_nothing_is_touched(run: Run) -> None:
    # What passes the checks is reported at the end, and with the tag `always` there is nothing in between.
    assert {task.partition(" : ")[2].partition(" | ")[0] for task in run.tasks} == {
        "validate", "Remove older images", "lease", "report"
    }  # fmt: skip
    assert len(run.tasks) == 4
    # Of `info --format ...`, `image ls --digests ...` and `compose -f FILE config --hash ...`, the command alone.
    commands = (re.sub(r" -f \S+", "", line).split() for line in run.docker)
    assert {" ".join(words[: 2 if words[0] in ("image", "volume", "compose") else 1]) for words in commands} == LOOKING
    assert sorted(path.name for path in run.folder.iterdir()) == ["inventory.yml", "loose", "open", "ours"]
    assert sorted(path.name for path in (run.folder / "open").iterdir()) == ["file", "kim", "lee"]


def test_no_password_is_shown_at_any_verbosity(run: Run) -> None:
    """Users and configuration only: the rest holds none."""
    telling = [
        host(name) for name, case in run.cases.items()
        if any(secret in repr(case["vars"]) for secret in SECRETS) and any(
            word in name for word in ("password", "template", "colon", "authenticator", "limits", "as text")
        )
    ]  # fmt: skip
    assert len(telling) > 8
    status, output = playbook(
        "-i", str(run.inventory), "--tags", "always", "--forks", "4", "--limit", ",".join(telling), "-vvvvvv",
        PATH=run.path,
    )  # fmt: skip
    assert status != 0
    assert "EXEC" in output, "not verbose"
    assert [line for line in output.splitlines() if any(secret in line for secret in SECRETS)] == []


def test_all_mistakes_are_said_at_once(run: Run, held_port: int, tmp_path: Path) -> None:
    """The plain command, as the owner runs it, with settings on the command line too."""
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        yaml.safe_dump(
            {
                "jupyterhub": {
                    "hosts": {"here": None},
                    "vars": {
                        "ansible_connection": "local",
                        "ansible_become": False,
                        "ansible_python_interpreter": "/usr/bin/python3",
                        "jupyterhub_home_directory": str(tmp_path / "hub/made"),
                        "jupyterhub_home_users": [{"name": "Kim", "password": "hunter2"}, {"name": "bob"}],
                        "jupyterhub_home_mounts": [{"source": "/no/such/folder", "target": "/data"}],
                        "jupyterhub_home_free_disk_min": "900T",
                        "jupyterhub_home_config": {"spawner": "hunter2"},
                        "jupyterhub_home_usr": [],
                    },
                }
            }
        )
    )
    status, output = playbook(
        "-i", str(inventory), "-e", f"jupyterhub_home_port={held_port}", "-e", "jupyterhub_home_admin_access=no",
        PATH=run.path, ANSIBLE_CALLBACK_RESULT_FORMAT="json", ANSIBLE_CALLBACK_FORMAT_PRETTY="false",
    )  # fmt: skip
    assert status != 0
    result = re.search(r"^fatal: \[here\]: FAILED! => (\{.*\})$", output, flags=re.MULTILINE)
    assert result, output
    found = mistakes_in(json.loads(result[1])["msg"])
    wanted = ["usr: ", "admin_access: ", "config: ", "users, user Kim: ", "users, user bob: ", "port: ",
              "free_disk_min: ", "mounts: "]  # fmt: skip
    assert [mistake.split(": ")[0] + ": " for mistake in found] == [f"jupyterhub_home_{name}" for name in wanted]
    assert "nothing was changed" in output
    assert "hunter2" not in output
    assert not (tmp_path / "hub").exists()


def phase(name: str) -> dict[str, Any]:
    """A task that runs one of the role's files of tasks."""
    return {"ansible.builtin.include_role": {"name": "jupyterhub.home.jupyterhub_home", "tasks_from": name}}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to the hub's user")
def test_no_password_is_shown_when_users_are_written(tmp_path: Path, run: Run) -> None:
    """The task that has the passwords, with every output that there is."""
    book = tmp_path / "users.yml"
    book.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "localhost",
                    "gather_facts": False,
                    "connection": "local",
                    "vars": {
                        "ansible_python_interpreter": "/usr/bin/python3",
                        "jupyterhub_home_directory": str(tmp_path / "hub/made"),
                        "jupyterhub_home_free_disk_min": "1M",
                        "jupyterhub_home_port": 20997,
                        "jupyterhub_home_users": [{"name": "kim", "password": "hunter2"}],
                    },
                    "tasks": [{"block": [phase("validate"), phase("users")], "always": [phase("lease")]}],
                }
            ]
        )
    )
    status, output = playbook("-i", "localhost,", "--diff", "-vvvvvv", book=str(book), PATH=run.path)
    assert status != 0 and "users-token is not there; run without --tags first" in output, output
    shadow = (tmp_path / "hub/made/users/shadow").read_text()
    assert shadow.startswith("kim:$y$")
    assert "changed: true" in output
    assert "hunter2" not in output
    assert shadow.split(":")[1] not in output
    assert not LEASE.exists(), "the tester's machine was not given back"


GROUPS = {
    "renamed": {"jupyterhubs": {"hosts": {"here": None}}},
    "empty": {"jupyterhub": None},
    "elsewhere": {"jupyterhub": {"hosts": {"here": None}}, "printers": {"hosts": {"ink": None}}},
}


@pytest.mark.parametrize("book", ["site.yml", "playbooks/uninstall.yml"])
@pytest.mark.parametrize(
    ("groups", "options", "said"),
    [
        ("renamed", [], "no group jupyterhub. Write: [jupyterhub], in place of jupyterhubs."),
        ("empty", [], "The group jupyterhub of the inventory has no host."),
        (
            "elsewhere",
            ["--limit", "ink"],
            "No host of the group jupyterhub fits --limit ink. Write: --limit one of here.",
        ),
        ("elsewhere", ["--limit", "her"], "leaves us with no hosts to target"),  # Ansible's own
        ("elsewhere", ["--tags", "user"], "There is no tag user. Write: --tags users."),
        ("elsewhere", ["--tags", "hub,verfy"], "There is no tag verfy. Write: --tags verify."),
        ("elsewhere", ["--skip-tags", "image"], "There is no tag image. Write: --tags images."),
    ],
)
def test_a_run_aimed_at_nothing_is_no_success(
    tmp_path: Path, book: str, groups: str, options: list[str], said: str
) -> None:
    inventory = tmp_path / "inventory.yml"
    common = {"ansible_connection": "local", "ansible_python_interpreter": "/no/python"}
    inventory.write_text(yaml.safe_dump({"all": {"vars": common, "children": GROUPS[groups]}}))
    if "uninstall" in book and "tag" in " ".join(options):
        said = "This playbook has no tags"
    status, output = playbook("-i", str(inventory), *options, book=book)
    assert status != 0 and said in output and "/no/python" not in output, output


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the repository with a vault; its password is `right`."""
    for name in ("inventory", "group_vars", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("vault.yml"))
    for name in ("site.yml", "ansible.cfg"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("collections", "roles"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".vault-password").write_text("right\n")
    vault = tmp_path / "group_vars/jupyterhub/vault.yml"
    vault.write_text("jupyterhub_home_users: [{name: kim, password: hunter2}]\njupyterhub_home_port: a word\n")
    subprocess.run(["ansible-vault", "encrypt", str(vault)], cwd=tmp_path, env=environment(), check=True)
    return tmp_path


def test_the_right_vault_password(project: Path) -> None:
    status, output = playbook("--tags", "always", "-e", "ansible_become=false", cwd=project)
    assert status != 0
    assert "jupyterhub_home_port: it is 'a word', not a whole number." in output
    assert "vault-password" not in output and "hunter2" not in output


def test_a_variable_in_two_files_of_a_folder(project: Path) -> None:
    """One of the two would count, and the other be forgotten; of one file, Ansible says it."""
    main = project / "group_vars/jupyterhub/main.yml"
    main.write_text("jupyterhub_home_users: [{name: kim, password: hunter2}]\nmy_own: 1\n")
    status, output = playbook("--tags", "always", "-e", "ansible_become=false", cwd=project)
    assert status != 0
    flat = " ".join(output.split())
    where = "it stands in group_vars/jupyterhub/main.yml and in group_vars/jupyterhub/vault.yml;"
    assert f"jupyterhub_home_users: {where} only the latter would count." in flat
    assert "2 things have" in flat and "hunter2" not in output  # with the port of the fixture
    main.write_text("jupyterhub_home_users: [{name: kim, password: hunter2, password: hunter2b}]\n")
    status, output = playbook("--tags", "always", "-e", "ansible_become=false", cwd=project)
    assert status != 0 and "Found duplicate mapping key 'password'" in output and "hunter2" not in output


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("other-words\n", "is not the password of group_vars/jupyterhub/vault.yml"),
        ("", "group_vars/jupyterhub/vault.yml is there, but its password is not"),
        (None, "group_vars/jupyterhub/vault.yml is there, but its password is not"),
    ],
)
def test_a_wrong_vault_password(project: Path, password: str | None, said: str) -> None:
    """The message names both files and says what to do."""
    held = project / ".vault-password"
    held.unlink()
    if password is not None:
        held.write_text(password)
    status, output = playbook("--tags", "always", "-e", "ansible_become=false", cwd=project)
    assert status != 0
    assert said in output, output
    assert str(held) in output
    assert "Put the right one" in output
    assert "TASK" not in output
    assert "other-words" not in output


def test_a_damaged_vault(project: Path) -> None:
    vault = project / "group_vars/jupyterhub/vault.yml"
    lines = vault.read_text().splitlines()
    vault.write_text("\n".join(lines[:-1]) + "\n")
    status, output = playbook("--tags", "always", "-e", "ansible_become=false", cwd=project)
    assert status != 0
    assert "group_vars/jupyterhub/vault.yml" in output and ".vault-password" in output, output
