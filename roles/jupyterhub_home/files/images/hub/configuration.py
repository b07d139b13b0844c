"""What the role wrote as JSON becomes JupyterHub's configuration."""

import sys
from pathlib import Path

import aiohttp.connector
import disk
import docker
import engine_watch
import jupyterhub.roles
import limits
import reconcile
import settings_files
import short_records  # noqa: F401 (bounds what the log takes)
import upstream
from authenticator import HomeAuthenticator
from docker.utils import kwargs_from_env
from mounts import WORK
from settings_files import Settings, declared_users, read_json, read_text, undeclared_stay
from spawner import GUARDED, HomeSpawner, patiently
from tornado.httpserver import HTTPServer
from traitlets.config import Config

# Of a request to the hub, in bytes; Tornado would take 100 MB into memory from anybody. The largest that is sent on
# purpose, Ansible's list of users, takes 130 bytes a user. What is for users' servers does not come through the hub.
MAX_BODY = 2 * 2**20
DATABASE = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
TEMPLATES = str(Path(__file__).with_name("templates"))


def withhold_server_access() -> None:
    """Take from the role `admin` what opens other users' servers.

    JupyterHub refuses another definition of that role, so its default is changed. Besides the
    access itself these go: making tokens for others, renaming oneself into another, sharing what
    is not one's own, pointing the hub at another proxy, services with rights of their own.
    """
    original = jupyterhub.roles.get_default_roles
    taken = {"access:servers", "shares", "tokens", "proxy", "admin:users", "admin:services"}

    def get_default_roles() -> list[Settings]:
        roles: list[Settings] = original()
        for role in roles:
            if role["name"] == "admin":
                role["scopes"] = sorted({*role["scopes"], "users", "delete:users"} - taken)
        return roles

    jupyterhub.roles.get_default_roles = get_default_roles


def configure_hub(c: Config, base_url: str) -> None:
    """The hub itself: its address, its database, its classes."""
    c.JupyterHub.base_url = base_url
    c.JupyterHub.hub_ip = "0.0.0.0"
    c.JupyterHub.hub_connect_ip = "hub"
    c.JupyterHub.db_url = DATABASE
    c.JupyterHub.cookie_secret_file = "/srv/jupyterhub/jupyterhub_cookie_secret"
    c.JupyterHub.upgrade_db = True  # copies the SQLite file first
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.authenticator_class = HomeAuthenticator
    c.JupyterHub.spawner_class = HomeSpawner
    c.JupyterHub.template_paths, c.JupyterHub.template_vars = [], {}
    c.JupyterHub.named_server_limit_per_user = limits.SERVERS_MAX  # where the owner allows any
    HTTPServer.configure(None, max_body_size=MAX_BODY)  # JupyterHub has no trait for it


def configure_connections(c: Config, proxy_token: str) -> None:
    """How the hub reaches the proxy, and users' servers."""
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = "http://proxy:8001"
    c.ConfigurableHTTPProxy.auth_token = proxy_token

    # aiodns would keep an address for the 600 s of Docker's DNS, when its container is long gone.
    # aiohttp's types do not list the name that its connector looks up.
    aiohttp.connector.DefaultResolver = aiohttp.ThreadedResolver  # type: ignore[attr-defined]
    c.JupyterHubHTTPClient.connector_options = {"use_dns_cache": False}


def configure_servers(c: Config, project: str) -> None:
    """Users' servers, as far as spawner.json does not say."""
    c.Spawner.notebook_dir = WORK
    c.Spawner.start_timeout = 120  # seconds
    c.Spawner.http_timeout = 60  # twenty servers at once need 34 s on two processors
    c.HomeSpawner.project = project
    c.DockerSpawner.network_name = project
    c.DockerSpawner.prefix = f"{project}-user"
    c.DockerSpawner.use_internal_hostname = True  # an address would be stale after a reboot
    c.DockerSpawner.pull_policy = "never"  # the role has the image ready
    c.DockerSpawner.remove = True  # the next start gets today's image and limits


def our_services(proxy_token: str) -> tuple[list[Settings], list[Settings]]:
    """Services of the hub's API and their roles: the proxy, Ansible and the idle culler."""
    culler = [sys.executable, str(Path(__file__).with_name("culler.py")), "--cull-every=5", "--config="]
    services: list[Settings] = [
        {"name": "proxy", "api_token": proxy_token},
        {"name": "ansible", "api_token": read_text(settings_files.USERS_TOKEN)},
        {"name": "idle-culler", "command": culler},
    ]
    scopes = {
        "proxy": ["proxy"],
        "ansible": [reconcile.SCOPE],
        # The last two to ask a server whether it is busy: its container's name, and a token that opens it.
        "idle-culler": [
            "list:users", "read:users:activity", "read:servers", "delete:servers", "admin:server_state", "tokens",
        ],
    }  # fmt: skip
    return services, [{"name": name, "services": [name], "scopes": given} for name, given in scopes.items()]


def configure(c: Config) -> Settings:
    """Apply our settings, then the owner's traits from hub.json; returns what complete() needs."""
    hub = read_json(settings_files.HUB, "project", "base_url", "admin_access", "config")
    token = read_text(settings_files.TOKEN)
    users = declared_users()
    read_json(settings_files.SPAWNER)  # a broken file shows now, not at the first spawn
    upstream.patch(declared_users)
    limits.bound()

    configure_hub(c, hub["base_url"])
    configure_connections(c, token)
    configure_servers(c, hub["project"])
    services, roles = our_services(token)
    # The owner's Python may add to these lists.
    c.JupyterHub.services, c.JupyterHub.load_roles = list(services), list(roles)
    if not hub["admin_access"]:
        withhold_server_access()

    for name, traits in hub["config"].items():
        for trait, value in traits.items():
            c[name][trait] = value
    admins = [name for name, entry in users.items() if entry.get("admin", False)]
    return {"services": services, "load_roles": roles, "admins": admins}


def complete(c: Config, required: Settings) -> None:
    """After the owner's Python: another authenticator's admins, and what an assigned list replaced."""
    c.JupyterHub.template_paths = [*c.JupyterHub.template_paths, TEMPLATES]
    if c.JupyterHub.authenticator_class is HomeAuthenticator:  # what the admin page says of the list is of no other
        c.JupyterHub.template_vars["undeclared_stay"] = lambda user: undeclared_stay()
    if c.JupyterHub.authenticator_class is not HomeAuthenticator and "admin_users" not in c.Authenticator:
        c.Authenticator.admin_users = set(required["admins"])
    for trait, ours in (("services", required["services"]), ("load_roles", required["load_roles"])):
        theirs = list(c.JupyterHub[trait])
        names = {entry["name"] for entry in theirs}
        c.JupyterHub[trait] = theirs + [entry for entry in ours if entry["name"] not in names]


def run_for_good(c: Config) -> None:
    """What only a hub does that stays, and not one on trial or the guard."""
    disk.keep(c.JupyterHub.db_url)
    if not GUARDED:
        engine_watch.end_without_engine()
        return
    try:
        patiently(lambda: docker.APIClient(version="auto", **kwargs_from_env()).close())
    except docker.errors.DockerException as error:
        sys.exit(f"jupyterhub-home: the guard is not at work: {error}")
