"""configuration: what the JSON files become, and who wins over whom."""

from typing import Any

import configuration
import jupyterhub.roles
import pytest
import reconcile
from authenticator import HomeAuthenticator
from hub_settings import Files, load
from jupyterhub import apihandlers
from spawner import HomeSpawner
from traitlets.utils.importstring import import_item


def test_defaults(files: Files) -> None:
    c = load(files)
    assert c.JupyterHub.authenticator_class is HomeAuthenticator
    assert c.DockerSpawner.prefix == "home-user"
    assert c.JupyterHub.cleanup_servers is False
    assert c.ConfigurableHTTPProxy.auth_token == "secret-of-the-proxy"
    services = {service["name"]: service for service in c.JupyterHub.services}
    assert services.keys() == {"proxy", "ansible", "idle-culler"}
    assert services["proxy"]["api_token"] == "secret-of-the-proxy"
    assert services["ansible"]["api_token"] == "secret-of-ansible"
    roles = {role["name"]: role for role in c.JupyterHub.load_roles}
    assert roles.keys() == services.keys(), "the list of users decides who is an admin, at any time"
    assert all(role["services"] == [name] for name, role in roles.items())
    assert roles["proxy"]["scopes"] == ["proxy"]
    assert roles["ansible"]["scopes"] == [reconcile.SCOPE]
    assert "access:servers" not in roles["idle-culler"]["scopes"], "no token that opens every server may reach one"


@pytest.mark.parametrize("theirs", [HomeAuthenticator, HomeSpawner])
def test_the_owners_python_has_our_classes_by_one_name(theirs: type) -> None:
    """As text in a trait, or imported: where they really stand may change."""
    assert import_item(f"jupyterhub_home.{theirs.__name__}") is theirs


def test_the_culler_asks_often_and_knows_no_limit_of_its_own(files: Files) -> None:
    """The limit is in spawner.json, and may change while it runs."""
    (service,) = [one for one in load(files).JupyterHub.services if one["name"] == "idle-culler"]
    assert "--cull-every=5" in service["command"]
    assert not any(part.startswith("--timeout") for part in service["command"])


def test_owner_traits_then_owner_python_win(files: Files) -> None:
    files.write("extra.py", "c.Spawner.http_timeout = 3\nc.JupyterHub.services.append({'name': 'own'})\n")
    c = load(files, config={"Spawner": {"http_timeout": 1, "start_timeout": 2}})
    assert (c.Spawner.http_timeout, c.Spawner.start_timeout) == (3, 2)
    assert [service["name"] for service in c.JupyterHub.services] == ["proxy", "ansible", "idle-culler", "own"]


def test_owner_lists_do_not_drop_ours_but_replace_by_name(files: Files) -> None:
    mine = {"name": "idle-culler", "services": ["idle-culler"], "scopes": []}
    c = load(files, config={"JupyterHub": {"load_roles": [mine], "services": [{"name": "own"}]}})
    assert {service["name"] for service in c.JupyterHub.services} == {"own", "proxy", "ansible", "idle-culler"}
    assert [role for role in c.JupyterHub.load_roles if role["name"] == "idle-culler"] == [mine]


@pytest.mark.parametrize("text", ["raise ValueError('oops')", "def (:"])
def test_broken_extra_stops_the_hub(files: Files, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    files.write("extra.py", f"c.X.password = 'my-secret'\n{text}")
    with pytest.raises(SystemExit, match=r"jupyterhub-home: .*extra\.py, line 2: (ValueError|SyntaxError)"):
        load(files)
    assert "my-secret" not in capsys.readouterr().err


def test_another_authenticator_gets_the_admins_and_nothing_else(files: Files) -> None:
    c = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert c.Authenticator == {"admin_users": {"alice"}}
    assert "admin" not in {role["name"] for role in c.JupyterHub.load_roles}
    c = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}, "Authenticator": {"admin_users": ["x"]}})
    assert c.Authenticator.admin_users == ["x"]


def test_the_admin_page_says_where_users_are_changed(files: Files) -> None:
    """Unless another authenticator decides who is known; templates of the owner's go before."""
    assert load(files).JupyterHub.template_paths == [configuration.TEMPLATES]
    assert load(files, config={"JupyterHub": {"template_paths": ["/x"]}}).JupyterHub.template_paths == [
        "/x",
        configuration.TEMPLATES,
    ]
    files.write("extra.py", "c.JupyterHub.template_paths.append('/y')")
    assert load(files).JupyterHub.template_paths == ["/y", configuration.TEMPLATES]
    other = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert other.JupyterHub.template_paths == ["/y", configuration.TEMPLATES]
    assert "undeclared_stay" not in other.JupyterHub.template_vars


@pytest.mark.parametrize("access", [True, False])
def test_admin_access(files: Files, access: bool) -> None:
    load(files, admin_access=access)
    scopes = next(role["scopes"] for role in jupyterhub.roles.get_default_roles() if role["name"] == "admin")
    for scope in ("access:servers", "shares", "tokens", "proxy", "admin:users"):
        assert (scope in scopes) is access
    assert {"admin-ui", "admin:servers"} <= set(scopes)


@pytest.mark.parametrize("authenticator", [HomeAuthenticator, "dummy"])
def test_the_hub_answers_ansible(files: Files, authenticator: Any) -> None:
    """Whatever the authenticator; see UsersHandler."""
    load(files, config={"JupyterHub": {"authenticator_class": "dummy"}} if authenticator == "dummy" else {})
    assert apihandlers.default_handlers.count((reconcile.PATH, reconcile.UsersHandler)) == 1
