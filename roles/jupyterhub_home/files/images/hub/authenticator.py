"""Who may log in, what they may do, and for how long."""

from typing import Any

import reconcile
import settings_files
from jupyterhub import orm
from jupyterhub.auth import LocalAuthenticator, PAMAuthenticator
from settings_files import Settings, declared_users, undeclared_stay


def has_own_token(handler: Any) -> bool:
    """Whether a request came with a token that was made on purpose, and not for a session in a browser."""
    token = handler.get_token() if handler else None
    return bool(token and token.client_id == reconcile.OWN_TOKENS)


class HomeAuthenticator(PAMAuthenticator):
    """PAM says who somebody is, users.json what they may do; a name that is not in it is nobody.

    Who was added in the running hub, and stays, has no password; tokens that an admin made for them are good.

    These are defaults and no configuration, so that the owner's wins at every level.
    """

    list_decides = True  # of users.json, see UsersHandler

    def _service_default(self) -> str:
        return "jupyterhub"

    def _allow_all_default(self) -> bool:
        return True  # authenticate() has already refused whoever is not declared

    def _manage_groups_default(self) -> bool:
        return True

    def _auth_refresh_age_default(self) -> int:
        return 30  # seconds until a removed user, admin or group shows in an open session

    def _auth_refresh_strict_default(self) -> bool:
        return True  # tokens end with their user: a refresh here never needs a new login

    def declared(self, name: str) -> Settings | None:
        """The auth model {name, admin, groups} of a user, None for a stranger."""
        entry = declared_users().get(name)
        if entry is None:
            return None
        admin = entry.get("admin", False) or name in self.admin_users
        return {"name": name, "admin": admin, "groups": entry.get("groups", [])}

    async def authenticate(self, handler: Any, data: dict[str, str]) -> Settings | None:
        name = await super().authenticate(handler, data)
        model = self.declared(name) if name else None
        if name and not model:
            self.log.warning("Login refused: PAM knows %r, %s does not", name, settings_files.USERS)
        return model

    async def add_user(self, user: Any) -> None:
        """Take a new user into the database; whoever is not declared may stand there, but cannot log in."""
        # Not LocalAuthenticator's own, which wants an account of the system.
        super(LocalAuthenticator, self).add_user(user)
        # At its start the hub passes every row that it has.
        if not isinstance(user, orm.User) and (entry := declared_users().get(user.name)):
            user.orm_user.cookie_id = reconcile.cookie_id(entry)

    async def refresh_user(self, user: Any, handler: Any = None) -> Settings | bool:
        model: Any = self.declared(user.name)
        if not model and undeclared_stay() and not user.orm_user.cookie_id.startswith(reconcile.DECLARED):
            model = has_own_token(handler)
        if not model and handler and not hasattr(handler, "_token_authenticated"):
            handler._token_authenticated = False  # JupyterHub 6.1.1 forgets it and fails instead
        return model or False
