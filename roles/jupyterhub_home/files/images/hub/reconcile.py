"""Make the hub's database match the declared users; JupyterHub itself only ever adds.

Ansible posts the users; what the database has beyond them goes, with sessions, tokens and servers.
"""

import asyncio
from typing import Any, NoReturn

from jupyterhub import orm, roles, scopes
from jupyterhub.apihandlers.base import APIHandler
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
    """POST {users, keep_undeclared, servers, pretend}: the differences that were, or with pretend would be, mended.

    servers: what spawner.json has, or will have. A server that was started with something else is named in the answer.
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
        wish = self.get_json_body()
        if not isinstance(wish, dict) or not {"users", "keep_undeclared", "servers", "pretend"} <= wish.keys():
            raise web.HTTPError(400, "users, keep_undeclared, servers and pretend are wanted")
        for name, user in wish["users"].items():
            user["admin"] = user["admin"] or name in self.authenticator.admin_users
        kept_groups = set(self.app.load_groups) | {g for role in self.app.load_roles for g in role.get("groups", [])}
        try:
            async with self.one_at_a_time:
                found = differences(self.db, wish["users"], wish["keep_undeclared"], kept_groups)
                found["running"] = self.running(found["remove"])
                if not wish["pretend"]:
                    await self.apply(found, wish["users"])
        except SQLAlchemyError as error:
            self.give_up(error)
        found["outdated"] = self.outdated(wish["servers"])
        self.write(found)

    def running(self, names: list[str]) -> list[str]:
        """Those of the users who have a server."""
        return [name for name in names if any(s.active for s in self.users[name].spawners.values())]

    def outdated(self, settings: dict[str, Any]) -> dict[str, list[str]]:
        """Which settings of a running server are not these, by the server's name (user/server)."""
        found = {}
        for user in self.users.values():
            for spawner in user.spawners.values():
                # The owner may have chosen another spawner, which does not know.
                if not spawner.ready or not hasattr(spawner, "outdated_settings"):
                    continue
                if names := spawner.outdated_settings(settings):
                    found[f"{user.name}/{spawner.name}".removesuffix("/")] = names
        return found

    async def apply(self, found: Changes, users: Users) -> None:
        """Rights first, and committed, before anything that takes time."""
        named = {*found["promote"], *found["demote"], *found["log_out"], *found["remove"], *found["groups"]}
        rows = {row.name: row for row in self.db.query(orm.User).filter(orm.User.name.in_(named))}
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
        # A former admin's sessions in servers of others end too.
        for name in found["log_out"] + found["demote"]:
            end_sessions(self.db, rows[name], cookie_id(users[name]))
        for name in found["remove"]:
            end_sessions(self.db, rows[name], DECLARED + orm.new_token())
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
