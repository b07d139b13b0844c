"""Try settings before the hub reads them: a JupyterHub of its own, and servers of users' as it would start them.

Reads from standard input what the trial module sends (see `Request`), and prints as its last line the problems, each
{variable, what, write}. It runs in a container of its own, in place of the hub, and keeps nothing. No message has a
value of the configuration in it that may be a secret.
"""

import ast
import asyncio
import difflib
import json
import os
import re
import secrets
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypedDict

sys.path.insert(0, str(Path(__file__).parent))

import configuration
import disk
import settings_files
import trial_database
import trial_servers
from authenticator import HomeAuthenticator
from jupyterhub.app import JupyterHub
from jupyterhub.traitlets import EntryPointType
from traitlets import HasTraits, TraitType, Type
from traitlets.config import Config, Configurable
from trial_servers import PREFIX, Problem

CONFIG_FILE = Path(__file__).with_name("jupyterhub_config.py")
STATE = Path("/srv/jupyterhub")
KEPT = Path("/run/kept")  # the hub's volume, if there is one
USER_KEYS = {"admin", "groups", "session"}
MAX_COPIED = 64 * 2**20  # bytes of the hub's own files, which lie in memory during the trial
# The packages of what authenticator_class is often said to be.
PACKAGES = dict.fromkeys(
    ("auth0", "azuread", "bitbucket", "cilogon", "generic-oauth", "github", "gitlab", "globus", "google", "mediawiki",
     "okpy", "openshift", "oauthenticator"), "oauthenticator",
) | {
    "ldap": "jupyterhub-ldapauthenticator", "ldapauthenticator": "jupyterhub-ldapauthenticator",
    "firstuse": "jupyterhub-firstuseauthenticator", "firstuseauthenticator": "jupyterhub-firstuseauthenticator",
    "native": "jupyterhub-nativeauthenticator", "nativeauthenticator": "jupyterhub-nativeauthenticator",
    "lti": "jupyterhub-ltiauthenticator", "ltiauthenticator": "jupyterhub-ltiauthenticator",
}  # fmt: skip


class Request(TypedDict):
    """What is to be tried."""

    files: dict[str, str]  # the settings files, absolute path to text
    host: str  # this container's name in the network
    network: str  # "" to start no server
    seconds: int  # for the hub to get ready
    guard: bool  # whether the guard must be able to make the servers


class TooLongError(BaseException):
    """The configuration did not come to an end."""


def kind(value: Any) -> str:
    """What a value is, in words and without the value itself."""
    words = {
        bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a dictionary",
        type(None): "empty",
    }  # fmt: skip
    return next((word for one, word in words.items() if isinstance(value, one)), "of another type")


# --- Who is to blame ---------------------------------------------------------


def frames(error: BaseException) -> Iterator[FrameType]:
    """The frames that an error went through, the outermost first."""
    traceback: TracebackType | None = error.__traceback__
    while traceback:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def cause(error: BaseException) -> BaseException:
    """What a SystemExit was made of, if anything."""
    while isinstance(error, SystemExit) and error.__context__ is not None:
        error = error.__context__
    return error


def line_of(error: BaseException) -> int | None:
    """The line of extra.py where an error came up."""
    if isinstance(error, SyntaxError) and error.filename == str(settings_files.EXTRA):
        return error.lineno
    traceback, line = error.__traceback__, None
    while traceback:
        if traceback.tb_frame.f_code.co_filename == str(settings_files.EXTRA):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def texts(value: Any) -> Iterator[str]:
    """All text in nested data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, (list, tuple, set)):
        for inner in value:
            yield from texts(inner)


def public(trait: str) -> bool:
    """Whether what is given to a trait is never a secret, and needed to understand an error."""
    return trait.endswith("_class") or trait in ("load_roles", "load_groups")


class Owner:
    """What the owner gave, and messages about it."""

    def __init__(self, files: dict[str, str]) -> None:
        self.config: dict[str, dict[str, Any]] = json.loads(files[str(settings_files.HUB)])["config"]
        self.extra = files.get(str(settings_files.EXTRA), "")
        given = {
            text
            for traits in self.config.values()
            for trait, value in traits.items()
            if not public(trait)
            for text in texts(value)
            if len(text) > 3
        }
        try:
            nodes = ast.walk(ast.parse(self.extra))
            constants = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
            given |= {text for text in constants if len(text) > 5 and not text.startswith("/")}
        except (SyntaxError, ValueError):
            pass
        self.hidden = sorted(given, key=len, reverse=True)

    def hide(self, text: str) -> str:
        """A text without what may be a secret."""
        for secret in self.hidden:
            text = text.replace(secret, "...")
        return text

    def safe(self, text: object) -> str:
        """The same on one line, and short."""
        plain = " ".join(self.hide(str(text)).split())
        return plain if len(plain) <= 400 else plain[:397] + "..."

    def variable(self, section: str = "", trait: str = "") -> str:
        """The variable that a class's trait was given in, or all of them that it can be."""
        if section:
            return f"{PREFIX}config" if trait in self.config.get(section, {}) else f"{PREFIX}extra_config"
        given = [name for name, value in (("config", self.config), ("extra_config", self.extra.strip())) if value]
        return ", ".join(PREFIX + name for name in given or ["hub_packages"])

    def problem_of(self, error: BaseException, config: Config) -> Problem:
        """What an error at the hub's start says to the owner."""
        error = cause(error)
        if isinstance(error, trial_database.DatabaseError):
            return error.problem
        if found := self.wrong_trait(error, config):
            return found
        line = line_of(error)
        variable = f"{PREFIX}extra_config" if line else self.variable()
        where = f"line {line}: " if line else ""
        if isinstance(error, TooLongError):
            return {"variable": variable, "what": f"{where}it does not come to an end.", "write": "what ends"}
        if isinstance(error, SystemExit):
            what = "it ends the hub (sys.exit)." if line else f"the hub ends: {self.safe(error)}."
            return {"variable": variable, "what": where + what, "write": "what goes on"}
        what = f"{where}{type(error).__name__}: {self.safe(error)}".rstrip(" .") + "."
        write = "what the hub can start with"
        if isinstance(error, ImportError):
            top = (error.name or "").partition(".")[0]
            package = PACKAGES.get(top, top.replace("_", "-") or "PACKAGE")
            write = f"{PREFIX}hub_packages: [{package}], or the name of a module that is there"
        return {"variable": variable, "what": what, "write": write}

    def wrong_trait(self, error: BaseException, config: Config) -> Problem | None:
        """The same of a value that a trait refuses, if it is one."""
        for place in (frame.f_locals for frame in frames(error)):
            if isinstance(place.get("cfg"), Config):
                config = place["cfg"]  # what is being loaded; the application may not have it yet
            trait, owner = place.get("self"), place.get("obj")
            if isinstance(trait, TraitType) and isinstance(owner, HasTraits):
                for section in (cls.__name__ for cls in type(owner).__mro__):
                    if trait.name and trait.name in config.get(section, {}):
                        return self.refused(section, trait, place.get("value"))
        return None

    def refused(self, section: str, trait: TraitType[Any, Any], value: Any) -> Problem:
        """What is said of a value that a trait refuses."""
        variable, name = self.variable(section, trait.name), f"{section}.{trait.name}"
        if isinstance(trait, Type) and isinstance(value, str):
            return {"variable": variable, **self.wrong_class(name, trait, value, variable)}
        default = trait.default_value if isinstance(trait.default_value, (int, float)) else "..."
        shown = str(default).lower() if isinstance(default, bool) else default
        write = f"{section}: {{{trait.name}: {shown}}}" if "extra" not in variable else f"c.{name} = {default}"
        return {"variable": variable, "what": f"{name} is {kind(value)}, not {trait.info()}.", "write": write}

    def wrong_class(self, name: str, trait: TraitType[Any, Any], value: str, variable: str) -> dict[str, str]:
        """What is said of the name of a class that cannot be had."""
        there = set(trait.load_entry_points()) if isinstance(trait, EntryPointType) else set()
        section, attribute = name.split(".")
        shown = value if len(value) <= 60 else value[:57] + "..."
        package = PACKAGES.get(value.lower()) or PACKAGES.get(value.partition(".")[0].lower())
        if package and value.lower() not in there:
            write = f"{PREFIX}hub_packages: [{package}]"
            return {"what": f"{name} is {shown!r}, whose package the hub does not have.", "write": write}
        like = next(iter(difflib.get_close_matches(value.lower(), {*there, *PACKAGES}, n=1)), "dummy")
        form = f"c.{name} = {like!r}" if "extra" in variable else f"{section}: {{{attribute}: {like}}}"
        if like not in there and like in PACKAGES:
            form += f", with {PREFIX}hub_packages: [{PACKAGES[like]}]"
        what = f"{name} is {shown!r}, which is no class that can be imported and none of {', '.join(sorted(there))}."
        return {"what": what, "write": form}


# --- Names -------------------------------------------------------------------


def subclasses(cls: type[Configurable]) -> Iterator[type[Configurable]]:
    """All loaded classes below one, itself included."""
    yield cls
    below: type[Configurable]
    for below in cls.__subclasses__():
        yield from subclasses(below)


def defined(name: str) -> bool:
    """Whether some installed package has a class of this name, loaded or not."""
    pattern = re.compile(rf"^class {re.escape(name)}\b", re.M)
    for folder in {entry for entry in sys.path if entry.endswith("site-packages")}:
        for path in Path(folder).rglob("*.py"):
            if name in (text := path.read_text(encoding="utf-8", errors="replace")) and pattern.search(text):
                return True
    return False


def unknown_names(owner: Owner, config: Config) -> list[Problem]:
    """Classes and traits of the configuration that nothing would ever read."""
    traits: dict[str, set[str]] = {}
    for cls in set(subclasses(Configurable)):
        names = set(cls.class_trait_names(config=True))
        for base in cls.__mro__:
            traits.setdefault(base.__name__, set()).update(names)
    problems = []
    for section, values in config.items():
        if not isinstance(values, Config) or not values:
            continue
        ours = section in owner.config
        if section not in traits:
            like = next(iter(difflib.get_close_matches(section, traits, n=1, cutoff=0.85)), "")
            package = PACKAGES.get(re.sub(r"o?authenticator$", "", section.lower()))
            # Python may use a name of its own to keep something in.
            if (like or ours) and not defined(section):
                problems.append({
                    "variable": f"{PREFIX}config" if ours else f"{PREFIX}extra_config",
                    "what": f"the hub knows no class {section}.",
                    "write": f"{like}: {{...}}" if ours and like else f"c.{like}" if like else
                             f"{PREFIX}hub_packages: [{package}], or take it away" if package else
                             f"a class of the hub's, or of a package in {PREFIX}hub_packages",
                })  # fmt: skip
            continue
        for trait in values:
            if trait in traits[section] or trait[0].isupper():
                continue
            variable = owner.variable(section, trait)
            like = next(iter(difflib.get_close_matches(trait, traits[section], n=1)), "")
            form = f"{section}: {{{like}: ...}}" if variable == f"{PREFIX}config" else f"c.{section}.{like}"
            problems.append({
                "variable": variable,
                "what": f"{section} has no trait {trait}.",
                "write": form if like else "a trait of JupyterHub's documentation",
            })  # fmt: skip
    return problems


# --- The hub -----------------------------------------------------------------


class TrialHub(JupyterHub):
    """The hub, with a copy of its database; one that is elsewhere (JupyterHub.db_url) is left alone."""

    db: Any
    db_url: Any
    db_kwargs: Any

    def init_db(self) -> None:
        url = "sqlite:///:memory:"
        if self.db_url == configuration.DATABASE and (KEPT / trial_database.NAME).exists():
            copy = trial_database.copied(KEPT, STATE)
            trial_database.migrate(copy)
            url = f"sqlite:///{copy}"
        self.db_url, self.db_kwargs, self.upgrade_db = url, {}, False
        super().init_db()
        trial_database.forget_servers(self.db)


def copy_state(kept: Path) -> None:
    """Put the hub's own files here, which its configuration may read; its database comes later, as a copy."""
    left = MAX_COPIED
    for path in sorted(kept.rglob("*")):
        if disk.RESERVE.name in path.relative_to(kept).parts[:1]:
            continue
        copy = STATE / path.relative_to(kept)
        if path.is_dir() and not path.is_symlink():
            copy.mkdir(parents=True, exist_ok=True)
        elif not path.name.startswith("jupyterhub.sqlite") and (path.is_file() or path.is_symlink()):
            left -= path.lstat().st_size
            if left > 0:
                shutil.copy2(path, copy, follow_symlinks=False)
            else:
                copy.symlink_to(path)


def whole_users() -> None:
    """Leave out of the list of users what somebody's edit has broken: the run writes it anew, after the trial."""
    try:
        users = settings_files.declared_users()
    except settings_files.SettingsError:
        users = {"": {}}
    whole = {name: user for name, user in users.items() if isinstance(user, dict) and user.keys() >= USER_KEYS}
    if whole != users:
        STATE.mkdir(exist_ok=True)
        settings_files.USERS = STATE / "users.json"
        settings_files.USERS.write_text(json.dumps(whole), encoding="utf-8")


async def start_hub(request: Request, owner: Owner) -> tuple[TrialHub, list[Problem]]:
    """A hub as far as it goes without its database, proxy and network; and what was found on the way."""

    def too_long(*_: object) -> None:
        raise TooLongError

    app = TrialHub()
    setattr(configuration, "run_for_good", lambda c: None)  # noqa: B010 (mypy takes no other assignment)
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"], 1)
    try:
        await app.initialize(["-f", str(CONFIG_FILE)])
        user = trial_servers.trial_user(app, "trial")
        user.spawner  # noqa: B018 (it takes its configuration when it is made)
        app.users.delete(user)
    except (Exception, SystemExit, TooLongError) as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return app, [owner.problem_of(error, app.config)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return app, unknown_names(owner, app.config)


# --- The job -----------------------------------------------------------------


async def problems_of(request: Request) -> list[Problem]:
    """Everything that the owner has to put right."""
    for path, text in request["files"].items():
        Path(path).write_text(text, encoding="utf-8")
    for token in (settings_files.TOKEN, settings_files.USERS_TOKEN):
        token.write_text(secrets.token_hex(32), encoding="utf-8")  # good for nothing
    if KEPT.is_dir():
        copy_state(KEPT)
    whole_users()
    owner = Owner(request["files"])
    app, problems = await start_hub(request, owner)
    if not problems and request["network"] and trial_servers.can_try(app):
        users = dict(sorted(settings_files.declared_users().items()))
        if app.authenticator_class is not HomeAuthenticator or not users:
            users.setdefault("trial", {})  # who can log in is not known here
        try:
            trial = trial_servers.Trial(app, request["host"], request["network"], request["guard"])
            problems = await trial.problems(users)
        except Exception:
            traceback.print_exc()  # of the trial's own: no reason to refuse what the owner wrote
    problems = [{key: owner.hide(text) for key, text in problem.items()} for problem in problems]
    return problems


def main() -> None:
    request = json.load(sys.stdin)
    answer = sys.stdout
    sys.stdout = sys.stderr  # what the configuration prints is not for here
    problems = asyncio.run(problems_of(request))
    answer.write(json.dumps({"problems": problems}) + "\n")
    answer.flush()
    os._exit(0)  # whatever else is still under way


if __name__ == "__main__":
    main()
