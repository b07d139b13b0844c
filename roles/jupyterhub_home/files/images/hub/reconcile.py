"""Make the hub's database match the declared users; JupyterHub itself only ever adds.

Ansible posts the users; what the database has beyond them goes, with sessions, tokens and servers.
"""

import asyncio
import re
from typing import Any, NoReturn
from urllib.parse import unquote

from jupyterhub import orm, roles, scopes
from jupyterhub.apihandlers.base import APIHandler
from sqlalchemy import func, inspect, or_
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from tornado import web

PATH = "/api/jupyterhub-home/users"
SCOPE = "custom:jupyterhub-home:users"
scopes.define_custom_scopes({SCOPE: {"description": "Make the users match Ansible's variables"}})

# The cookie id of a user whom Ansible declared, also when the declaration is gone: others have no such prefix.
DECLARED = "declared-"
PENDING_MAX = 150  # seconds; a server that is starting or stopping gets as long as the hub itself gives it
OWN_TOKENS = "jupyterhub"  # the OAuth client of tokens that no browser session got: a server's own, a user's own

Users = dict[str, dict[str, Any]]
Changes = dict[str, Any]


def cookie_id(declared: dict[str, Any]) -> str:
    """What the database must have as a user's cookie id; another one ends every session in a browser."""
    return DECLARED + str(declared["session"])


def no_name(column: Any) -> Any:
    """The condition that a name is NULL or blank."""
    return or_(column.is_(None), func.trim(column) == "")


def user_of(spawner: orm.Spawner) -> str | None:
    """The name of the user for whom a running server was started, which is in its address; None of another's."""
    address = re.search(r"/user/([^/]+)/", spawner.server.base_url) if spawner.server else None
    return unquote(address[1]) if address else None


def repair_rows(db: Session, users: Users) -> list[str]:
    """Repair rows that nobody can have, with which JupyterHub does not start; returns what was repaired, in words.

    A user without a name, or with one that was changed in the running hub, gets the own one back, and a running server
    without a user its user: nobody's work ends. users: as for `differences`. Commits nothing.
    """
    repaired = []
    names = {cookie_id(user): name for name, user in users.items()}
    for row_id, called, cookie in db.query(orm.User.id, orm.User.name, orm.User.cookie_id).all():
        nameless = not (called or "").strip()
        if called in users or not (nameless or cookie in names):
            continue
        row: Any = db.get(orm.User, row_id)
        servers = [spawner for spawner in row._orm_spawners if spawner.server]
        name = names.get(cookie) or next(filter(None, map(user_of, servers)), None)
        if name and not orm.User.find(db, name):
            row.name = name
            repaired.append(f"{name} had the name {called!r}")
            continue
        if name:  # who has logged in anew since
            hand_over(row, orm.User.find(db, name))
        db.delete(row)
        repaired.append(f"{name or 'a user'} was there a second time, with the name {called!r}")
    for spawner in db.query(orm.Spawner).filter(~orm.Spawner.user.has()).all():
        name = user_of(spawner)
        if name and not orm.User.find(db, name):
            db.add(orm.User(name=name))
            roles.assign_default_roles(db, orm.User.find(db, name))
        if name:
            adopt(orm.User.find(db, name), spawner)
        else:
            db.delete(spawner)
        repaired.append(f"a server of {name or 'nobody'} had no user")
    for group in db.query(orm.Group).filter(no_name(orm.Group.name)).all():
        db.delete(group)
        repaired.append("a group had no name")
    nowhere = orm.Service.url.is_not(None) & (orm.Service.url != "") & (orm.Service._server_id.is_(None))
    for service in db.query(orm.Service).filter(~orm.Service.from_config, or_(no_name(orm.Service.name), nowhere)):
        db.delete(service)
        repaired.append(f"the service {service.name} was not whole")
    db.flush()
    return repaired


def hand_over(row: orm.User, other: orm.User) -> None:
    """Give a user's running servers and own tokens to another row of the same user."""
    for spawner in list(row._orm_spawners):
        if spawner.server:
            adopt(other, spawner)
    for token in list(row.api_tokens):
        if token.client_id == OWN_TOKENS:
            token.user = other


def adopt(user: orm.User, spawner: orm.Spawner) -> None:
    """Make a running server a user's, unless another one runs under that name: that took its container's name."""
    db = Session.object_session(user)
    assert db
    present = user.orm_spawners.get(spawner.name)
    if present is None or not present.server:
        if present is not None:
            db.delete(present)
        spawner.user = user
    else:
        db.delete(spawner)


def differences(db: Session, users: Users, keep_undeclared: bool, kept_groups: set[str]) -> Changes:
    """What the database has otherwise than declared, as lists of names; see `apply` for their meaning.

    users: {name: {admin, groups, session}}. kept_groups: groups that the owner's configuration names.
    """
    found: Changes = {
        "add": [], "remove": [], "promote": [], "demote": [], "log_out": [], "groups": {}, "remove_groups": []
    }  # fmt: skip
    # Columns and no objects: a thousand users take a few milliseconds.
    rows = {row.name: row for row in db.query(orm.User.name, orm.User.admin, orm.User.cookie_id)}
    groups: dict[str, set[str]] = {name: set() for name in rows}
    for name, group in db.query(orm.User.name, orm.Group.name).join(orm.User.groups):
        groups[name].add(group)
    for name, row in rows.items():
        if name not in users and (row.cookie_id.startswith(DECLARED) or not keep_undeclared):
            found["remove"].append(name)
    wanted_groups = set(kept_groups)
    for name, user in users.items():
        wanted_groups |= set(user["groups"])
        row = rows.get(name)
        if row is None:
            found["add"].append(name)
            continue
        if bool(row.admin) != user["admin"]:
            found["promote" if user["admin"] else "demote"].append(name)
        if row.cookie_id != cookie_id(user):
            found["log_out"].append(name)
        if groups[name] != set(user["groups"]):
            found["groups"][name] = sorted(user["groups"])
    if keep_undeclared:
        staying = rows.keys() - users.keys() - set(found["remove"])
        wanted_groups |= {group for name in staying for group in groups[name]}
    found["remove_groups"] = [name for (name,) in db.query(orm.Group.name) if name not in wanted_groups]
    return {key: value if isinstance(value, dict) else sorted(value) for key, value in found.items()}


def end_sessions(db: Session, row: orm.User, new_cookie_id: str) -> None:
    """No cookie and no token that a browser got is good any more; the user's own API tokens stay."""
    row.cookie_id = new_cookie_id
    for token in list(row.api_tokens):
        if token.client_id != OWN_TOKENS:
            db.delete(token)
    for code in list(row.oauth_codes):
        db.delete(code)


class UsersHandler(APIHandler):
    """POST {users, keep_undeclared, servers, pretend}: the differences that were, or with pretend would be, repaired.

    decides: whether the list is about to decide who is known, whatever the present authenticator; a hub with another
    one answers 404 else. servers: what spawner.json has, or will have. A server that was started with something else is
    named in the answer.
    Answers 503 with a message when the database cannot be used or a server does not stop.
    """

    one_at_a_time = asyncio.Lock()
    database_error: SQLAlchemyError | None = None

    async def get_current_user(self) -> Any:
        try:
            return await super().get_current_user()
        except SQLAlchemyError as error:
            self.database_error = error
            raise

    async def prepare(self) -> None:
        """JupyterHub's own takes a database that fails for a token that is wrong."""
        await super().prepare()
        if self.database_error:
            self.give_up(self.database_error)

    def give_up(self, error: SQLAlchemyError) -> NoReturn:
        """Answer that the database cannot be used, and how it says so."""
        self.db.rollback()
        what = getattr(error, "orig", None) or type(error).__name__
        raise web.HTTPError(503, f"the hub's database cannot be used: {what}") from error

    @scopes.needs_scope(SCOPE)  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        desired = self.get_json_body()
        if not isinstance(desired, dict) or not {"users", "keep_undeclared", "servers", "pretend"} <= desired.keys():
            raise web.HTTPError(400, "users, keep_undeclared, servers and pretend are wanted")
        if not (desired.get("decides") or getattr(self.authenticator, "list_decides", False)):
            raise web.HTTPError(404, "another authenticator decides who is known")
        for name, user in desired["users"].items():
            user["admin"] = user["admin"] or name in self.authenticator.admin_users
        kept_groups = set(self.app.load_groups) | {g for role in self.app.load_roles for g in role.get("groups", [])}
        try:
            async with self.one_at_a_time:
                repaired = repair_rows(self.db, desired["users"])
                found = differences(self.db, desired["users"], desired["keep_undeclared"], kept_groups)
                found["mended"] = repaired
                if repaired:
                    self.db.rollback() if desired["pretend"] else self.forget_stale()
                found["running"] = self.running(found["remove"])
                if not desired["pretend"]:
                    await self.apply(found, desired["users"])
        except SQLAlchemyError as error:
            self.give_up(error)
        found["outdated"] = self.outdated(desired["servers"], desired["users"])
        self.write(found)

    def running(self, names: list[str]) -> list[str]:
        """Those of the users who have a server."""
        known = {name: self.users.get(name) for name in names}  # in a try, who has no name yet is not
        return [name for name, user in known.items() if user and any(s.active for s in user.spawners.values())]

    def forget_stale(self) -> None:
        """Let JupyterHub take from the database anew what `repair_rows` made another there."""
        for number, user in list(self.users.items()):
            rows = user.orm_user.orm_spawners
            if inspect(user.orm_user).deleted or any(
                spawner.orm_spawner is not rows.get(name) for name, spawner in user.spawners.items()
            ):
                dict.pop(self.users, number)

    def outdated(self, settings: dict[str, Any], users: Users) -> dict[str, list[str]]:
        """Which settings of a running server are not these, by the server's name (user/server)."""
        found = {}
        for user in self.users.values():
            for spawner in user.spawners.values():
                # The owner may have chosen another spawner, which does not know.
                if not spawner.ready or not hasattr(spawner, "outdated_settings"):
                    continue
                if names := spawner.outdated_settings(settings, users):
                    found[f"{user.name}/{spawner.name}".removesuffix("/")] = names
        return found

    async def apply(self, found: Changes, users: Users) -> None:
        """Rights first, and committed, before anything that takes time."""
        named = {*found["promote"], *found["demote"], *found["log_out"], *found["remove"], *found["groups"]}
        rows = {row.name: row for row in self.db.query(orm.User).filter(orm.User.name.in_(named))}
        # First what nobody has: until its user was renamed, a session may have been another's.
        for name in found["log_out"] + found["remove"]:
            rows[name].cookie_id = DECLARED + orm.new_token()
        self.db.flush()
        # A former admin's sessions in servers of others end too.
        for name in found["log_out"] + found["demote"]:
            end_sessions(self.db, rows[name], cookie_id(users[name]))
        for name in found["remove"]:
            end_sessions(self.db, rows[name], rows[name].cookie_id)
        self.db.flush()
        # What assign_default_roles would give, without its commit for each.
        user_role, admin_role = (orm.Role.find(self.db, name) for name in ("user", "admin"))
        for name in found["add"]:
            admin = users[name]["admin"]
            rows[name] = orm.User(name=name, admin=admin, cookie_id=cookie_id(users[name]))
            rows[name].roles = [user_role, admin_role] if admin else [user_role]
            self.db.add(rows[name])
        for name in found["promote"] + found["demote"]:
            rows[name].admin = users[name]["admin"]
            roles.assign_default_roles(self.db, entity=rows[name])
        new_groups = {name: users[name]["groups"] for name in found["add"]}
        self.set_groups(found["groups"] | new_groups, found["remove_groups"], rows)
        self.db.commit()
        leaving = (self.remove(self.users[rows[name]]) for name in found["remove"])
        # One who cannot be removed holds up nobody else.
        for failure in await asyncio.gather(*leaving, return_exceptions=True):
            if failure:
                raise failure

    def set_groups(self, members: dict[str, list[str]], gone: list[str], rows: dict[str, orm.User]) -> None:
        """These users' groups as declared, and groups that nobody declares are gone."""
        groups = {group.name: group for group in self.db.query(orm.Group)}
        for name, wanted in members.items():
            for group in set(wanted) - groups.keys():
                groups[group] = orm.Group(name=group)
                self.db.add(groups[group])
            rows[name].groups = [groups[group] for group in wanted]
        for name in gone:
            self.db.delete(groups[name])

    async def remove(self, user: Any) -> None:
        """Stop a user's servers, each by its own shutdown, then delete the user."""
        for name in list(user.orm_user.orm_spawners):
            spawner = user.spawners[name]
            await self.settled(spawner)
            if spawner.active:
                await (await self.stop_single_user(user, name))
            elif await spawner.poll() is None:
                await spawner.stop()  # it did not stop before, and JupyterHub forgot it all the same
            if spawner.active or await spawner.poll() is None:
                raise web.HTTPError(503, f"the server of {user.name} could not be stopped; the hub's log says why")
        self.authenticator.delete_user(user)
        await user.delete_spawners()
        self.users.delete(user)

    async def settled(self, spawner: Any) -> None:
        """Wait until a server is neither starting nor stopping."""
        for _ in range(PENDING_MAX * 10):
            if not spawner.pending:
                return
            await asyncio.sleep(0.1)
        raise web.HTTPError(503, f"the server {spawner._log_name} does not finish its {spawner.pending}")
