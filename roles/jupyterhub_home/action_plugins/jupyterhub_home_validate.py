"""Check every variable and the machine before anything is touched, and say all mistakes at once."""

from __future__ import annotations

import difflib
import ipaddress
import posixpath
import re
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

PREFIX = "jupyterhub_home_"
WORK_FOLDER = "/home/jovyan/work"
JOVYAN = 1000

# What a name must be for shadow(5), a Docker name and a volume at once; 32 is the limit of useradd(8).
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
PROJECT = re.compile(r"[a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?")
SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)")
SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
IMAGE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]*")
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._-]+\])?([=<>!~]=?[A-Za-z0-9.*+!,=<>~_-]+)?")
# crypt(5): the methods that Debian's PAM verifies and that are still thought strong.
HASH = re.compile(
    r"\$y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
    r"|\$6\$(rounds=[0-9]+\$)?[^$:\s]{1,16}\$[./A-Za-z0-9]{86}"
    r"|\$5\$(rounds=[0-9]+\$)?[^$:\s]{1,16}\$[./A-Za-z0-9]{43}"
    r"|\$2b\$[0-9]{2}\$[./A-Za-z0-9]{53}"
)
# Accounts of Debian's base system and of the images: PAM would find them before ours.
RESERVED = frozenset(
    """root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody
    messagebus systemd-network systemd-timesync sshd hub jovyan""".split()  # noqa: SIM905 (a list would take 25 lines)
)
SUPPORTED = {("debian", "12"), ("debian", "13")}
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "path": ((str,), "a path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list,), "a list"),
    "dict": ((dict,), "a dictionary"),
}


def nearest(name: str, known: Any) -> str:
    """The known name that is most like this one, or '' when none is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), "")


def size_in_bytes(text: str) -> int | None:
    """Bytes of a size such as 512M or 1.5G (powers of 1024), None when it is no size."""
    match = SIZE.fullmatch(text)
    return int(float(match[1]) * SIZE_UNITS[match[2]]) if match else None


class Report:
    """Collects mistakes: where, what is wrong, and the line to write instead."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def add(self, where: str, what: str, write: str) -> None:
        self.mistakes.append(f"{where}: {what}\n     Write: {write}")

    def text(self) -> str:
        count = len(self.mistakes)
        head = "1 thing has" if count == 1 else f"{count} things have"
        body = "\n".join(f"  {number}. {mistake}" for number, mistake in enumerate(self.mistakes, 1))
        return f"{head} to be put right first; nothing was changed.\n{body}"


def of_type(value: Any, wanted: str) -> bool:
    """Whether a value is of a specs type; a bool is no number, and 'yes' no bool."""
    kinds, _ = TYPES[wanted]
    return isinstance(value, kinds) and (wanted == "bool" or not isinstance(value, bool))


def convert(name: str, value: Any, spec: dict[str, Any], report: Report) -> Any:
    """The value in the type of its spec, or None with the mistake reported.

    `-e name=8000` on the command line gives text: digits pass for numbers. Nothing else is converted.
    """
    wanted = spec.get("type", "str")
    if wanted in ("int", "float") and isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        value = float(value) if "." in value else int(value)
    example = f"{name}: {yaml.safe_dump(spec.get('default'), default_flow_style=True).splitlines()[0]}"
    if not of_type(value, wanted):
        report.add(name, f"{value!r} is not {TYPES[wanted][1]}.", example)
        return None
    if "choices" in spec and value not in spec["choices"]:
        report.add(name, f"{value!r} is none of {', '.join(spec['choices'])}.", example)
        return None
    if wanted == "list" and "elements" in spec:
        wrong = [item for item in value if not of_type(item, spec["elements"])]
        # The value stays unsaid where it may hold a password.
        for item in wrong:
            said = "an item" if spec["elements"] == "dict" else repr(item)
            report.add(name, f"{said} in the list is not {TYPES[spec['elements']][1]}.", f"see the README at {name}")
        value = [item for item in value if item not in wrong]
    return value


def check_keys(where: str, item: dict[str, Any], options: dict[str, Any], report: Report) -> dict[str, Any]:
    """The item's well-typed keys; unknown, missing and ill-typed ones are reported, secrets without their value."""
    good = {}
    for key, value in item.items():
        if key not in options:
            like = nearest(str(key), options)
            report.add(
                where, f"the key {key!r} is not known.", f"{like}: ..." if like else f"one of {', '.join(options)}"
            )
        elif not of_type(value, options[key].get("type", "str")):
            wanted = options[key].get("type", "str")
            said = f"a value of type {type(value).__name__}" if options[key].get("no_log") else repr(value)
            quoted = '"..."' if wanted == "str" else {"bool": "true", "list": "[...]"}.get(wanted, "...")
            report.add(where, f"{key} is {said}, not {TYPES[wanted][1]}.", f"{key}: {quoted}")
        else:
            good[key] = value
    for key, option in options.items():
        if option.get("required") and key not in item:
            report.add(where, f"{key} is missing.", f"{key}: ...")
    return good


def check_user_name(where: str, name: str, report: Report) -> None:
    """A name must be one that PAM, Docker and a volume can all carry."""
    folded = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:32]
    hint = f"name: {folded if folded and folded not in RESERVED else 'alice'}"
    if name in RESERVED:
        report.add(where, f"the name {name!r} belongs to the system.", f"name: {name}1")
    elif not USER_NAME.fullmatch(name):
        report.add(
            where,
            f"the name {name!r} cannot be used: 1 to 32 of a-z, 0-9, '_', '-' and '.', beginning with a letter or '_'.",
            hint,
        )
    elif ".." in name or name.endswith("."):
        report.add(where, f"the name {name!r} cannot be used: no two dots in a row, none at the end.", hint)


def check_users(users: list[dict[str, Any]], options: dict[str, Any], pam: bool, report: Report) -> None:
    """Names, secrets and groups of the users; pam: they log in with these passwords."""
    variable = f"{PREFIX}users"
    seen: set[str] = set()
    if pam and not users:
        report.add(
            variable,
            "there are no users, so nobody could log in.",
            "make vault, and there: jupyterhub_home_users: [{name: alice, password: ..., admin: true}]",
        )
    for number, raw in enumerate(users, 1):
        named = raw.get("name") if isinstance(raw.get("name"), str) else None
        where = f"{variable}, user {named or f'number {number}'}"
        user = check_keys(where, raw, options, report)
        if named is not None:
            check_user_name(where, named, report)
            if named in seen:
                report.add(where, "this name stands in the list twice.", "each name once")
            seen.add(named)
        if pam and "password" not in raw and "password_hash" not in raw:
            report.add(
                where, "there is neither password nor password_hash.", "password: a password, or run make password"
            )
        if "password" in raw and "password_hash" in raw:
            report.add(where, "password and password_hash are both there.", "only one of them")
        password = user.get("password")
        if password is not None and not 0 < len(password.encode()) < 512:
            report.add(where, "the password is empty or longer than 511 bytes.", "password: a password")
        if password is not None and any(ord(character) < 32 for character in password):
            report.add(where, "the password has a line break or another control character.", "password: a password")
        hashed = user.get("password_hash")
        # '!' or '*' before a hash, or alone, locks the account as usermod(8) does.
        if hashed is not None and not re.fullmatch(r"[!*]", hashed) and not HASH.fullmatch(hashed.lstrip("!*")):
            report.add(
                where,
                "password_hash is none of the forms $y$ $6$ $5$ $2b$ of crypt(5), whole and in quotes.",
                'password_hash: "$y$j9T$...", as make password prints it',
            )
        for group in user.get("groups") or []:
            if not isinstance(group, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", group):
                report.add(where, f"the group {group!r} cannot be used.", "groups: [family]")


def expand_mounts(
    mounts: list[dict[str, Any]], options: dict[str, Any], names: list[str], pam: bool, report: Report
) -> list[dict[str, Any]]:
    """One entry {source, target, read_only, users (None: everyone)} a host folder, `{username}` filled in."""
    found: list[dict[str, Any]] = []
    for number, raw in enumerate(mounts, 1):
        where = f"{PREFIX}mounts, entry {number}"
        before = len(report.mistakes)
        mount = check_keys(where, raw, options, report)
        users = mount.get("users")
        for key in ("source", "target"):
            path = mount.get(key)
            if path is not None and (not path.startswith("/") or posixpath.normpath(path) != path or ":" in path):
                report.add(
                    where, f"{key} {path!r} is not a plain absolute path.",
                    f"{key}: {posixpath.normpath('/' + path.lstrip('/')).replace(':', '')}",
                )  # fmt: skip
        if mount.get("target") in ("/", "/home", "/home/jovyan", "/opt", "/usr", "/etc", "/var"):
            report.add(where, f"target {mount['target']!r} would hide the image's own files.", f"target: {WORK_FOLDER}")
        for name in users or []:
            if pam and name not in names:
                like = nearest(str(name), names)
                report.add(where, f"user {name!r} is not in {PREFIX}users.", f"users: [{like or 'alice'}]")
        if len(report.mistakes) > before:
            continue
        plain = {"target": mount["target"], "read_only": mount.get("read_only", False)}
        if "{username}" in mount["source"]:
            for name in names if users is None else users:
                found.append({**plain, "source": mount["source"].replace("{username}", name), "users": [name]})
        else:
            found.append({**plain, "source": mount["source"], "users": users})
    taken: dict[tuple[str, str], str] = {}
    for mount in found:
        for name in names if mount["users"] is None else mount["users"]:
            other = taken.setdefault((name, mount["target"]), mount["source"])
            if other != mount["source"]:
                report.add(
                    f"{PREFIX}mounts",
                    f"{other} and {mount['source']} both go to {mount['target']} of user {name}.",
                    "a target of its own for each",
                )
    return found


def check_variables(variables: dict[str, Any], specs: dict[str, Any], report: Report) -> dict[str, Any]:
    """Check every variable by itself and against the others.

    variables: {public name: value}; specs: the options of argument_specs. Gives {name without prefix: value}, each
    in its type, with mounts expanded; a variable with a mistake has its default there.
    """
    for name in sorted(set(variables) - set(specs)):
        like = nearest(name, specs)
        report.add(name, "there is no such variable.", f"{like}: ..." if like else "a name from the README's table")
    good: dict[str, Any] = {}
    for name, spec in specs.items():
        value = convert(name, variables.get(name, spec.get("default")), spec, report)
        good[name.removeprefix(PREFIX)] = spec.get("default") if value is None else value

    def check(name: str, fine: bool, what: str, write: str) -> None:
        if not fine:
            report.add(PREFIX + name, f"{good[name]!r} {what}", f"{PREFIX}{name}: {write}")

    check(
        "project",
        bool(PROJECT.fullmatch(good["project"])),
        "cannot name containers and volumes: 1 to 40 of a-z, 0-9, '-' and '_', no sign at an end.",
        "jupyterhub-home",
    )
    check("port", 1 <= good["port"] <= 65535, "is not a TCP port, 1 to 65535.", "8000")
    directory = good["directory"]
    check(
        "directory",
        directory.startswith("/")
        and posixpath.normpath(directory) == directory
        and directory.count("/") >= 2
        and not re.search(r"[\s:,]", directory),
        "is not a plain absolute path of a folder of the role's own.",
        "/opt/jupyterhub-home",
    )
    try:
        ipaddress.ip_address(good["bind_address"])
    except ValueError:
        check("bind_address", False, "is not an IP address.", "0.0.0.0")
    check(
        "base_url",
        bool(re.fullmatch(r"/([A-Za-z0-9_.~-]+/)*", good["base_url"])),
        "does not begin and end with a slash.",
        "/" + re.sub(r"[^A-Za-z0-9_.~/-]", "", good["base_url"]).strip("/") + "/",
    )
    check(
        "default_url",
        bool(re.fullmatch(r"/[A-Za-z0-9_.~/-]*", good["default_url"])),
        "does not begin with a slash.",
        "/lab",
    )
    memory = size_in_bytes(good["memory_limit"]) if good["memory_limit"] else None
    check(
        "memory_limit",
        not good["memory_limit"] or (memory is not None and memory >= 256 * 2**20),
        "is not a size of at least 256M, with K, M, G or T.",
        "2G",
    )
    check("free_disk_min", size_in_bytes(good["free_disk_min"]) is not None, "is not a size with K, M, G or T.", "4G")
    check("cpu_limit", good["cpu_limit"] >= 0, "is negative.", "0")
    check(
        "pids_limit",
        good["pids_limit"] == 0 or good["pids_limit"] >= 64,
        "leaves no room for a notebook: 0 or 64 and more.",
        "2048",
    )
    # Below, a server whose browser tab is open would stop: it reports activity every 5 minutes.
    check(
        "idle_timeout",
        good["idle_timeout"] == 0 or good["idle_timeout"] >= 330,
        "is under 330 seconds; servers report every 300.",
        "42000",
    )
    for name in ("user_image", "base_image"):
        check(
            name,
            not good[name] or bool(IMAGE.fullmatch(good[name])),
            "is not an image reference.",
            '"quay.io/jupyter/scipy-notebook:latest"',
        )
    for name in ("user_packages", "hub_packages"):
        for package in good[name]:
            if not REQUIREMENT.fullmatch(package):
                report.add(
                    PREFIX + name,
                    f"{package!r} is not a pip requirement without spaces.",
                    f'{PREFIX}{name}: ["numpy>=2"]',
                )
    if good["user_image"] and good["user_packages"]:
        report.add(
            f"{PREFIX}user_packages",
            f"only the image built here takes packages, not {good['user_image']}.",
            f"{PREFIX}user_packages: []",
        )
    for name, traits in good["config"].items():
        if not isinstance(traits, dict) or not re.fullmatch(r"[A-Z][A-Za-z0-9]*", str(name)):
            report.add(
                f"{PREFIX}config",
                f"{name!r} is not a class with a dictionary of traits.",
                f"{PREFIX}config: {{Spawner: {{start_timeout: 120}}}}",
            )
    try:
        compile(good["extra_config"], f"{PREFIX}extra_config", "exec")
    except (SyntaxError, ValueError) as error:
        report.add(
            f"{PREFIX}extra_config", f"is not Python: {error}.", "Python, each line at its indentation, after a `|`"
        )

    hub = good["config"].get("JupyterHub")
    pam = not (isinstance(hub, dict) and "authenticator_class" in hub)
    check_users(good["users"], specs[f"{PREFIX}users"]["options"], pam, report)
    names = [user["name"] for user in good["users"] if isinstance(user.get("name"), str)]
    good["mounts"] = expand_mounts(good["mounts"], specs[f"{PREFIX}mounts"]["options"], names, pam, report)
    return good


def check_machine(good: dict[str, Any], machine: dict[str, Any], report: Report) -> None:
    """Check what was found on the target against the variables; sizes in bytes."""
    system = machine["system"]
    if (system.get("id"), system.get("version_id")) not in SUPPORTED:
        report.add(
            "This machine", f"runs {system.get('pretty_name', 'an unknown system')}; supported are Debian 12 and 13.",
            "another host in inventory/home",
        )  # fmt: skip
    if not machine["root"]:
        report.add("This machine", "the tasks do not run as root.", "become: true, as site.yml does")
    if machine["port"] not in ("", "ours"):
        report.add(
            f"{PREFIX}port", f"{good['bind_address']}:{good['port']} cannot be used: {machine['port']}.",
            f"{PREFIX}port: {good['port'] + 1}, or stop what holds it (ss -ltnp 'sport = :{good['port']}')",
        )  # fmt: skip
    if machine["directory_is_file"]:
        report.add(f"{PREFIX}directory", f"{good['directory']} is a file.", f"{PREFIX}directory: /opt/jupyterhub-home")
    wanted = size_in_bytes(good["free_disk_min"]) or 0
    if machine["free_disk"] < wanted:
        free = machine["free_disk"] / 2**30
        report.add(
            f"{PREFIX}free_disk_min", f"only {free:.1f}G are free for images and volumes, not {good['free_disk_min']}.",
            f"{PREFIX}free_disk_min: {int(machine['free_disk'] * 0.9 / 2**20)}M, or make room (docker image prune)",
        )  # fmt: skip
    bundle = good["ca_bundle"]
    if bundle and bundle != "/etc/ssl/certs/ca-certificates.crt" and not machine["ca_bundle"]:
        report.add(f"{PREFIX}ca_bundle", f"{bundle} is no file on this machine.", f'{PREFIX}ca_bundle: ""')
    docker = machine["docker"]
    if not docker["installed"] and good["docker_source"] == "none":
        report.add(
            f"{PREFIX}docker_source", "'none', but this machine has no Docker.", f"{PREFIX}docker_source: distribution"
        )
    for mount in good["mounts"]:
        folder = machine["folders"][mount["source"]]
        if not folder["exists"]:
            report.add(
                f"{PREFIX}mounts",
                f"{mount['source']} is no folder on this machine.",
                f"the path of a folder, or mkdir {mount['source']}",
            )
        elif not mount["read_only"] and not writable(mount, folder):
            report.add(
                f"{PREFIX}mounts",
                f"{mount['source']} belongs to {folder['uid']}:{folder['gid']}, mode {folder['mode']:04o}; "
                "a server could not write there.",
                f"read_only: true, or chown {JOVYAN} {mount['source']}",
            )


def writable(mount: dict[str, Any], folder: dict[str, Any]) -> bool:
    """Whether a server can write to a folder.

    A server whose work folder is mounted runs as that folder's owner; otherwise it runs as user 1000 and has the
    folder's group. Root's identity is never taken on.
    """
    if mount["target"] == WORK_FOLDER and folder["uid"] != 0:
        return bool(folder["mode"] & 0o200)
    own = folder["uid"] == JOVYAN and folder["mode"] & 0o200
    group = folder["gid"] != 0 and folder["mode"] & 0o020
    return bool(own or group or folder["mode"] & 0o002)


class ActionModule(ActionBase):
    """Fails with every mistake at once; otherwise gives settings and machine, which hold no secret."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        role = Path(self._task.args["role_path"])
        with (role / "meta/argument_specs.yml").open(encoding="utf-8") as stream:
            specs = yaml.safe_load(stream)["argument_specs"]["main"]["options"]
        report = Report()
        variables = {}
        for name in [name for name in task_vars if name.startswith(PREFIX)]:
            try:
                variables[name] = self._templar.template(task_vars[name])
            except AnsibleError as error:
                report.add(name, f"its template fails: {error}.", "a value, or define what it refers to")
        good = check_variables(variables, specs, report)
        probe = self._execute_module(
            module_name="jupyterhub_home_probe",
            module_args={
                "project": good["project"], "bind_address": good["bind_address"], "port": good["port"],
                "directory": good["directory"], "sources": [mount["source"] for mount in good["mounts"]],
                "ca_bundle": good["ca_bundle"],
            },
            task_vars=task_vars,
        )  # fmt: skip
        if probe.get("failed") or "machine" not in probe:
            return {**result, **probe, "failed": True}
        machine = probe["machine"]
        check_machine(good, machine, report)
        if report.mistakes:
            return {**result, "failed": True, "msg": report.text()}
        for mount in good["mounts"]:
            mount.update({key: machine["folders"][mount["source"]][key] for key in ("uid", "gid")})
        settings = {key: value for key, value in good.items() if key not in ("users", "config", "extra_config")}
        return {**result, "changed": False, "settings": settings, "machine": machine}
