"""What JupyterHub 6.1.1 does wrong, patched here; each of these goes when JupyterHub does it right.

And the page on which Ansible posts the users, which is there whatever the authenticator.
"""

import functools
from collections.abc import Callable
from typing import Any

import reconcile
from jupyterhub import apihandlers, handlers, orm
from jupyterhub.apihandlers.users import UserAPIHandler
from jupyterhub.app import JupyterHub
from jupyterhub.handlers.base import PrefixRedirectHandler
from sqlalchemy import event
from tornado import web


class UserHandler(UserAPIHandler):
    """The page of one user in the API, whose PATCH leaves a name that stays the same alone.

    JupyterHub writes the name NULL then, and its own admin page always sends the name. Another name is refused: the
    user's files and declaration would stay with the old one.
    """

    def get_json_body(self) -> Any:
        body = super().get_json_body()
        if self.request.method != "PATCH" or not isinstance(body, dict):
            return body
        present, wanted = self.path_args[0], body.pop("name", None)
        if isinstance(wanted, str):
            wanted = self.authenticator.normalize_username(wanted)
        if wanted not in (None, present):
            raise web.HTTPError(
                400,
                f"{present} cannot be renamed here, because the files would stay behind. Write it into the list "
                f"of users (make vault), then run make hub: {{name: {wanted}, renamed_from: {present}, …}}",
            )
        if {"groups", "roles"} & body.keys():  # JupyterHub would fail, half done
            raise web.HTTPError(400, "groups and roles of a user cannot be changed here")
        return body


class PrefixHandler(PrefixRedirectHandler):
    """What is outside of the hub's base URL leads into it, the API below an earlier base URL too.

    A running server knows no other, and asks there whether the culler may ask it what it does.
    """

    def check_xsrf_cookie(self) -> None:
        """Nothing is done here."""

    def get(self) -> None:
        uri = self.request.uri or ""
        _, api, rest = uri.partition("/hub/api/")
        if api and not uri.startswith((f"{self.base_url}user/", f"{self.base_url}services/")):
            self.redirect(f"{self.hub.base_url}api/{rest}", status=307)  # with the same method and body
        elif self.request.method == "GET":
            super().get()
        else:
            raise web.HTTPError(405)

    post = get


def refuse_no_name(_row: Any, name: Any, *_: Any) -> None:
    """Nobody and nothing in the database has no name: JupyterHub would not start with such a row."""
    if not isinstance(name, str) or not name.strip():
        raise web.HTTPError(400, f"{name!r} is no name")


def repair_rows_first(init_users: Callable[..., Any], declared: Callable[[], reconcile.Users]) -> Callable[..., Any]:
    """JupyterHub.init_users, the first step of its start that looks at rows, with those rows repaired."""

    @functools.wraps(init_users)
    async def repair_and_init(app: JupyterHub) -> None:
        for what in reconcile.repair_rows(app.db, declared()):
            app.log.warning("Found in the database, and mended: %s", what)
        app.db.commit()
        await init_users(app)

    return repair_and_init


def only_whole_services(make: Callable[..., Any]) -> Callable[..., Any]:
    """service_from_spec or service_from_orm of JupyterHub: of a service that cannot be, no row stays.

    One that an admin made over the API would end every later start.
    """

    @functools.wraps(make)
    def make_or_remove(app: JupyterHub, what: Any, **options: Any) -> Any:
        try:
            return make(app, what, **options)
        except Exception as error:
            name = what.get("name") if isinstance(what, dict) else what.name
            app.db.rollback()
            row = app.db.query(orm.Service).filter_by(name=name, from_config=False).first()
            if row is None:  # the owner's configuration: JupyterHub says what is wrong with it
                raise
            app.db.delete(row)
            app.db.commit()
            if isinstance(what, dict):
                raise
            app.log.error("Removed the service %r, which somebody had added to the running hub: %s", name, error)
            return None

    return make_or_remove


def patch(declared: Callable[[], reconcile.Users]) -> None:
    """Put all of this in place, once; declared: gives the users of users.json."""
    if any(handler is UserHandler for _, handler in apihandlers.default_handlers):
        return
    apihandlers.default_handlers.insert(0, (r"/api/users/([^/]+)", UserHandler))
    apihandlers.default_handlers.append((reconcile.PATH, reconcile.UsersHandler))
    handlers.PrefixRedirectHandler = PrefixHandler
    for table in (orm.User, orm.Group, orm.Service):
        event.listen(table.name, "set", refuse_no_name)
    JupyterHub.init_users = repair_rows_first(JupyterHub.init_users, declared)
    for name in ("service_from_spec", "service_from_orm"):
        setattr(JupyterHub, name, only_whole_services(getattr(JupyterHub, name)))
