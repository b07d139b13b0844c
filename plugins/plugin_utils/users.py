"""The users: their names, secrets and groups, and who leaves the hub."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from ansible_collections.jupyterhub.home.plugins.module_utils import contract
from ansible_collections.jupyterhub.home.plugins.module_utils.archive import shown_size
from ansible_collections.jupyterhub.home.plugins.plugin_utils.names import nearest
from ansible_collections.jupyterhub.home.plugins.plugin_utils.report import PREFIX, Place, Report, some
from ansible_collections.jupyterhub.home.plugins.plugin_utils.values import EXAMPLE_VALUES, check_keys, said

# What a name must be for shadow(5), a Docker name and a volume at once; 32 is the limit of useradd(8).
USER_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
GROUP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# crypt(5): the methods that Debian's PAM verifies and that are still thought strong.
HASH = re.compile(
    r"\$y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
    r"|\$6\$(rounds=[0-9]+\$)?[^$:\s]{1,16}\$[./A-Za-z0-9]{86}"
    r"|\$5\$(rounds=[0-9]+\$)?[^$:\s]{1,16}\$[./A-Za-z0-9]{43}"
    r"|\$2b\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}"
)
# Accounts of Debian's base system and of the images: PAM would find them before ours.
RESERVED = frozenset(
    """root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody _apt
    messagebus systemd-network systemd-timesync sshd hub jovyan""".split()  # noqa: SIM905 (a list would take 25 lines)
)
# Of people's accounts (login.defs(5)), and what directories give out, above what systemd keeps for itself.
UIDS = ((1000, 60000), (65536, 2**31 - 1))  # from and to
OWN_UIDS = [service.user for service in contract.SERVICES]
# Signs that word processors and phones put in the place of straight quotes.
CURLY = "\u201c\u201d\u201e\u201f\u00ab\u00bb"
SINGLE_CURLY = "\u2018\u2019\u201a\u201b\u2039\u203a"
# Signs that come with copied text, are not seen, and that nobody types: spaces of other kinds, of no width, directions.
UNSEEN = re.compile("[\u00a0\u00ad\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\ufeff]")


def plain_user_name(name: str) -> bool:
    """Whether PAM, Docker and a volume can all carry this name."""
    return bool(USER_NAME.fullmatch(name)) and ".." not in name and not name.endswith(".")


def check_user_name(where: Place, name: str, report: Report) -> None:
    """A name must be one that PAM, Docker and a volume can all carry."""
    letters = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    folded = re.sub(r"[^a-z0-9_-]+", "-", letters.lower()).strip("-").lstrip("0123456789-")[:32].rstrip("-")
    hint = f"name: {folded if plain_user_name(folded) and folded not in RESERVED else 'alice'}"
    if name in RESERVED:
        report.add(where, f"the name {name!r} belongs to the system.", f"name: {name}1")
    elif not USER_NAME.fullmatch(name):
        report.add(
            where,
            f"the name {said(name)} cannot be used: 1 to 32 of a-z, 0-9, '_', '-' and '.', "
            "beginning with a letter or '_'.",
            hint,
        )
    elif not plain_user_name(name):
        report.add(where, f"the name {name!r} cannot be used: no two dots in a row, none at the end.", hint)


def in_curly_quotes(text: str) -> bool:
    """Whether text was meant to be in quotes; one of a pair is enough where the other may have been cut off."""
    single = text[0] in SINGLE_CURLY and text[-1] in SINGLE_CURLY
    return text[0] in CURLY or text[-1] in CURLY or single


def check_secrets(where: Place, raw: dict[str, Any], user: dict[str, Any], pam: bool, report: Report) -> None:
    """A user's password or hash: one of them, and well formed. raw: all keys; user: those of the right type."""
    if pam and "password" not in raw and "password_hash" not in raw:
        report.add(
            where,
            "there is neither password nor password_hash.",
            'password: "...", or the line that make password prints',
        )
    if "password" in raw and "password_hash" in raw:
        report.add(where, "password and password_hash are both there.", "only one of them")
    password = user.get("password")
    if password is not None:
        # Lone surrogates, which JSON can carry, are no text that anybody could type.
        length = len(password.encode(errors="ignore"))
        if not 0 < length < 512:
            report.add(where, "the password is empty or longer than 511 bytes.", 'password: "..."')
        elif any(ord(sign) < 32 or ord(sign) == 127 or 0xD800 <= ord(sign) <= 0xDFFF for sign in password):
            report.add(where, "the password has a line break or another control character.", 'password: "..."')
        elif found := UNSEEN.search(password):
            name = unicodedata.name(found[0], "sign").lower()
            report.add(
                where,
                f"the password has a sign in it that is not seen and hardly typed (U+{ord(found[0]):04X}, {name}).",
                'password: "...", typed anew',
            )
        elif in_curly_quotes(password):
            report.add(
                where,
                "the password is in curly quotes, which YAML takes as a part of it.",
                'password: "...", in straight quotes',
            )
        elif HASH.fullmatch(password):
            report.add(where, "password holds a hash; nobody could log in with it.", 'password_hash: "..."')
    hashed = user.get("password_hash")
    # '!' or '*' before a hash, or alone, locks the account as usermod(8) does.
    if hashed is not None and not re.fullmatch(r"[!*]+", hashed) and not HASH.fullmatch(hashed.lstrip("!*")):
        report.add(
            where,
            "password_hash is none of the forms $y$ $6$ $5$ $2b$ of crypt(5), whole and in quotes.",
            'password_hash: "$y$j9T$...", as make password prints it',
        )


def check_uid(where: Place, name: str | None, uid: int, owners: dict[int, str], report: Report) -> None:
    """A uid must be one that a person can have, and nobody else's of the list. owners: those of the users before."""
    if uid in OWN_UIDS or not any(first <= uid <= last for first, last in UIDS):
        account = name if name and plain_user_name(name) else "alice"
        report.add(
            where,
            f"uid {said(uid)} cannot be a person's: 1000 to 60000, or 65536 and more, and none of "
            f"{', '.join(map(str, OWN_UIDS))}, which are the hub's own.",
            f"uid: 1001, or what id -u {account} prints on the machine that has the files",
        )
    elif uid in owners:
        report.add(
            where,
            f"uid {uid} is user {owners[uid]}'s, too, and the files of both would be one person's.",
            "a uid of its own for each",
        )


def present(user: dict[str, Any]) -> bool:
    """Whether an entry declares a user, and not the absence of one."""
    return bool(user.get("state", "present") == "present")


def shown_user(user: dict[str, Any], number: int) -> str:
    """A user as a message names it: by name where that can be printed, else by its place in the list."""
    name = user.get("name")
    return name if isinstance(name, str) and 0 < len(name) <= 40 and name.isprintable() else f"number {number}"


def check_users(
    users: list[dict[str, Any]], options: dict[str, Any], pam: bool, empty_is_meant: bool, report: Report
) -> None:
    """Names, secrets and groups of the users; pam: they log in with these passwords."""
    variable = f"{PREFIX}users"
    seen: set[str] = set()
    owners: dict[int, str] = {}
    if pam and not empty_is_meant and not any(present(user) for user in users) and not report.about("users"):
        report.add(
            variable,
            "there are no users, so nobody could log in.",
            f"{variable}: {EXAMPLE_VALUES[variable]}, into the file that make vault opens; if it is meant, "
            f"{PREFIX}allow_no_users: true",
        )
    for number, raw in enumerate(users, 1):
        named = raw.get("name") if isinstance(raw.get("name"), str) else None
        where = Place(variable).within(f"user {shown_user(raw, number)}")
        user = check_keys(where, raw, options, report)
        if named is not None:
            check_user_name(where, named, report)
            if named in seen:
                report.add(where, "this name stands in the list twice.", "each name once")
            seen.add(named)
        check_secrets(where, raw, user, pam and present(user), report)
        if "uid" in user:
            check_uid(where, named, user["uid"], owners if present(user) else {}, report)
            if present(user):
                owners.setdefault(user["uid"], shown_user(raw, number))
        for group in user.get("groups") or []:
            if not GROUP_NAME.fullmatch(group):
                hint = re.sub(r"[^A-Za-z0-9_.-]+", "-", group).strip("-.")[:64]
                report.add(
                    where,
                    f"the group {said(group)} cannot be used: up to 64 letters, digits, '_', '-' and '.'.",
                    f"groups: [{hint or 'family'}]",
                )


def check_leaving(users: list[dict[str, Any]], delete: list[str], archive: list[str], report: Report) -> None:
    """Old names of users, and users whose files are to go: nobody of them may be declared, too.

    delete, archive: whose homes are deleted, and those before which they are archived.
    """
    declared = {user["name"] for user in users if isinstance(user.get("name"), str) and present(user)}
    heirs: dict[str, str] = {}
    going = {"delete_homes": delete, "archive_homes": archive}
    for number, user in enumerate(users, 1):
        old = user.get("renamed_from")
        if not isinstance(old, str) or not present(user):
            continue
        heir = shown_user(user, number)
        where = Place(f"{PREFIX}users").within(f"user {heir}")
        if old in declared:
            report.add(
                where,
                f"renamed_from is {said(old)}, who is in the list.",
                f"only one of the two, {said(old)} or renamed_from",
            )
        elif old in heirs:
            report.add(where, f"user {heirs[old]} is renamed from {said(old)}, too.", "renamed_from with one of them")
        else:
            for variable in [variable for variable, names in going.items() if old in names]:
                report.add(f"{PREFIX}{variable}", f"the files of {said(old)} go to user {heir}.", "one of the two")
        heirs[old] = heir
    for variable, loss in (("delete_homes", "would lose all files"), ("archive_homes", "may be at work")):
        for name in [name for name in going[variable] if name in declared]:
            report.add(
                f"{PREFIX}{variable}",
                f"{said(name)} is in {PREFIX}users, and {loss}.",
                f"{{name: {name}, state: absent}} there, or take it away here",
            )
    if contract.EVERYBODY in delete:
        report.add(
            f"{PREFIX}delete_homes",
            f"{said(contract.EVERYBODY)} is no user; all who are gone at once can be archived, and then deleted.",
            f'{PREFIX}archive_homes: ["{contract.EVERYBODY}"], or their names here',
        )
    for name in [name for name in archive if name in delete]:
        report.add(
            f"{PREFIX}archive_homes",
            f"{said(name)} is in {PREFIX}delete_homes, too.",
            f"{said(name)} in one of the two alone",
        )


def check_archive(good: dict[str, Any], list_decides: bool, lack: dict[str, int], report: Report) -> None:
    """Whether it can be told who is gone, and whether archives find room. lack: see M(jupyterhub.home.probe)."""
    variable = f"{PREFIX}archive_homes"
    if contract.EVERYBODY in good["archive_homes"] and (not list_decides or good["undeclared_users"] == "keep"):
        report.add(
            variable,
            f"{said(contract.EVERYBODY)} is everybody who is not in {PREFIX}users, but the hub may have users that are "
            "not in it.",
            f"{variable}: [alice], with the name of each who is gone (make homes lists them)",
        )
    elif lack:
        needed, free = shown_size(lack["needed"]), shown_size(lack["free"])
        place = contract.archives(good["project"])
        report.add(
            variable,
            f"the archives need up to {needed}, and where {place} is, or would be, are {free} free.",
            f"fewer names at a time, make room, or mount a larger disk at {place}",
        )


def passwords_count(good: dict[str, Any]) -> bool:
    """Whether users log in with the passwords of the list; with another authenticator the hub alone decides."""
    hub = good["config"].get("JupyterHub")
    return not (isinstance(hub, dict) and "authenticator_class" in hub)


def check_removals(good: dict[str, Any], there: list[str], new_vault: bool, report: Report) -> None:
    """A lost vault or another hub's list must not take everybody off the hub. there: the users of the hub's list now.

    Who is renamed or declared absent is meant to go. new_vault: the list was made up just now.
    """
    if not passwords_count(good) or good["allow_mass_removal"] or report.about("users", "allow_mass_removal"):
        return
    meant = {user["name"] for user in good["users"]} | {user.get("renamed_from") for user in good["users"]}
    gone = [name for name in there if name not in meant]
    allow = f'if it is meant: make hub ARGS="-e {PREFIX}allow_mass_removal=true"'
    if new_vault and there:
        report.add(
            f"{PREFIX}users",
            f"the vault was made just now, but this machine has a hub already, with the users {some(there)}.",
            "that hub's own group_vars/jupyterhub/vault.yml and .vault-password into this checkout, from the one where "
            f"make hub ran before or from your copy; {allow}",
            label="Put",
        )
    elif len(gone) >= 2 and len(gone) > len(there) / 2:
        report.add(
            f"{PREFIX}users",
            f"{len(gone)} of the hub's {len(there)} users are not in the list any more, and would be removed: "
            f"{some(gone)}.",
            f"them into the file that make vault opens, or {{name: {gone[0]}, state: absent}} for each who is to go; "
            f"{allow}",
        )


def check_renamed(good: dict[str, Any], there: list[str], homes: list[str], report: Report) -> None:
    """An old name that nobody has is misspelt, unless its files went over in an earlier run."""
    if not there or report.about("users"):
        return
    known = {*there, *homes}
    declared = {user["name"] for user in good["users"] if present(user)}
    for user in filter(present, good["users"]):
        old, new = user.get("renamed_from"), user["name"]
        if old and old not in known and new not in known:
            like = nearest(old, sorted(known - declared))
            report.add(
                Place(f"{PREFIX}users").within(f"user {new}"),
                f"renamed_from is {said(old)}, a name that nobody has or had on this hub.",
                f"renamed_from: {like}" if like else f"{{name: {new}, ...}} without renamed_from",
            )
