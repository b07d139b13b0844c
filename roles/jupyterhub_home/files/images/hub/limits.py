"""Bounds of what one user can have kept in the hub's database, each with an answer that says it."""

import functools
from collections.abc import Callable
from typing import Any

import reconcile
from jupyterhub import apihandlers, orm
from jupyterhub.apihandlers.auth import OAuthHandler
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.apihandlers.groups import GroupAPIHandler, GroupListAPIHandler, GroupUsersAPIHandler
from jupyterhub.apihandlers.users import UserListAPIHandler, UserServerAPIHandler, UserTokenListAPIHandler
from jupyterhub.handlers.base import BaseHandler
from sqlalchemy import Unicode, event
from sqlalchemy.orm import object_session
from tornado import web

# Bytes of a request to the API. JupyterHub looks at each scope in it: at those in 2 MB for 11 s, doing nothing else.
BODY_MAX = 64 * 2**10
LISTS_OF_ADMINS = (
    reconcile.UsersHandler,
    UserListAPIHandler,
    GroupListAPIHandler,
    GroupAPIHandler,
    GroupUsersAPIHandler,
)
OPTIONS_MAX = 16 * 2**10  # characters of JSON that a start's options may have
SCOPES_MAX = 64 * 2**10  # of the scopes of a token
TOKENS_MAX = 200  # that a user can have made and that are good, and of sessions in one server
CODES_MAX = 200  # for sharing one server
SERVERS_MAX = 10  # of one user beside the default one, where the owner allows any
EXPIRES_MAX = 100 * 365 * 86_400  # seconds; the database's dates end in the year 9999
# Of their texts SQLite does not keep the lengths that JupyterHub has for them.
TABLES = (orm.APIToken, orm.OAuthCode, orm.Spawner, orm.Share, orm.ShareCode, orm.User, orm.Group)
LISTS = {"user_options": OPTIONS_MAX, "scopes": SCOPES_MAX, "_scopes": SCOPES_MAX}


def refuse(what: str, maximum: int) -> web.HTTPError:
    """The answer to what is too much."""
    return web.HTTPError(400, f"{what}: no more than {maximum:,}")


def check_options(options: Any) -> None:
    """What a user chose for a server's start, which is kept for the next one."""
    if options and len(orm.JSONDict().process_bind_param(options, None)) > OPTIONS_MAX:
        raise refuse("characters of user options", OPTIONS_MAX)


def bound_column(attribute: Any, maximum: int) -> None:
    """No value of a text column is longer, or one that the database cannot hold."""
    name = attribute.key.strip("_")

    def check(_row: Any, value: Any, *_: Any) -> None:
        text = value if isinstance(attribute.type, Unicode) else attribute.type.process_bind_param(value, None)
        if not isinstance(text, str):
            return
        if len(text) > maximum:
            raise refuse(f"characters of {name}", maximum)
        if not text.isascii() and text != text.encode(errors="ignore").decode():
            raise web.HTTPError(400, f"{name} is no text")

    event.listen(attribute, "set", check)


def bound_columns() -> None:
    """All that a user's requests may fill."""
    for table in TABLES:
        for attribute in table.__mapper__.column_attrs:
            column = attribute.columns[0].type
            maximum = LISTS.get(attribute.key) or (isinstance(column, Unicode) and column.length)
            if maximum:
                bound_column(getattr(table, attribute.key), maximum)


class TokensHandler(UserTokenListAPIHandler):
    """The page of a user's tokens in the API, on which nobody makes more than so many."""

    def get_scope_filter(self, scope: str) -> Callable[..., bool]:
        """JupyterHub asks it last, when it knows who asks: a stranger must not learn how many there are."""
        may = super().get_scope_filter(scope)

        def may_and_has_room(user: Any, kind: str) -> bool:
            allowed: bool = may(user, kind=kind)
            if allowed and self.request.method == "POST" and not isinstance(self.current_user, orm.Service):
                mine = self.db.query(orm.APIToken).filter_by(user_id=user.id, client_id=reconcile.OWN_TOKENS)
                good = mine.filter((orm.APIToken.expires_at.is_(None)) | (orm.APIToken.expires_at > orm.utcnow()))
                if good.count() >= TOKENS_MAX:
                    raise refuse("tokens of one user; delete some that are not needed", TOKENS_MAX)
            return allowed

        return may_and_has_room


def sessions_bounded(new: Callable[..., str]) -> Callable[..., str]:
    """APIToken.new: of sessions of one user in one server, the newest go on."""

    @functools.wraps(new)
    def make_and_forget(cls: Any, *, user: Any = None, **options: Any) -> str:
        token = new(cls, user=user, **options)
        client = options.get("client_id") or getattr(options.get("oauth_client"), "identifier", reconcile.OWN_TOKENS)
        if user and client != reconcile.OWN_TOKENS:
            db: Any = object_session(user)
            rows = db.query(orm.APIToken).filter_by(user_id=user.id, client_id=client)
            for old in rows.order_by(orm.APIToken.id.desc()).offset(TOKENS_MAX):
                db.delete(old)
            db.commit()
        return token

    return make_and_forget


def codes_bounded(new: Callable[..., Any]) -> Callable[..., Any]:
    """ShareCode.new, which refuses another code of a server that has enough."""

    @functools.wraps(new)
    def make_or_refuse(cls: Any, db: Any, spawner: Any, **options: Any) -> Any:
        codes = db.query(orm.ShareCode).filter_by(spawner_id=spawner.id)
        if codes.filter(orm.ShareCode.expires_at > orm.utcnow()).count() >= CODES_MAX:
            raise refuse("sharing codes of one server; delete some that are not needed", CODES_MAX)
        return new(cls, db, spawner, **options)

    return make_or_refuse


def small_bodies(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """BaseHandler.prepare, the first step of every answer, without what is too large for any user's purpose."""

    @functools.wraps(prepare)
    async def check_and_prepare(handler: BaseHandler) -> None:
        small = isinstance(handler, APIHandler | OAuthHandler) and not isinstance(handler, LISTS_OF_ADMINS)
        if small and len(handler.request.body) > BODY_MAX:
            raise refuse("bytes of a request", BODY_MAX)
        await prepare(handler)

    return check_and_prepare


def checked_body(get_json_body: Callable[..., Any]) -> Callable[..., Any]:
    """APIHandler.get_json_body: an expiry that no date can be made of is refused."""

    @functools.wraps(get_json_body)
    def get_and_check(handler: APIHandler) -> Any:
        body = get_json_body(handler)
        expires = body.get("expires_in") if isinstance(body, dict) else None
        if isinstance(expires, int) and expires > EXPIRES_MAX:
            raise refuse("seconds of expires_in", EXPIRES_MAX)
        return body

    return get_and_check


def checked_server(get_server_json_body: Callable[..., Any]) -> Callable[..., Any]:
    """UserServerAPIHandler.get_server_json_body, before a server is made of it."""

    @functools.wraps(get_server_json_body)
    def get_and_check(handler: APIHandler) -> Any:
        body = get_server_json_body(handler)
        check_options(body["user_options"])
        return body

    return get_and_check


def checked_spawn(spawn_single_user: Callable[..., Any]) -> Callable[..., Any]:
    """BaseHandler.spawn_single_user, which forms and links lead to as well."""

    @functools.wraps(spawn_single_user)
    async def check_and_spawn(*given: Any, options: Any = None, **named: Any) -> Any:
        check_options(options)
        return await spawn_single_user(*given, options=options, **named)

    return check_and_spawn


def bound() -> None:
    """Put all of this in place, once."""
    if any(handler is TokensHandler for _, handler in apihandlers.default_handlers):
        return
    apihandlers.default_handlers.insert(0, (r"/api/users/([^/]+)/tokens", TokensHandler))
    BaseHandler.prepare = small_bodies(BaseHandler.prepare)
    APIHandler.get_json_body = checked_body(APIHandler.get_json_body)
    UserServerAPIHandler.get_server_json_body = checked_server(UserServerAPIHandler.get_server_json_body)
    BaseHandler.spawn_single_user = checked_spawn(BaseHandler.spawn_single_user)
    orm.APIToken.new = classmethod(sessions_bounded(orm.APIToken.new.__func__))
    orm.ShareCode.new = classmethod(codes_bounded(orm.ShareCode.new.__func__))
    bound_columns()
