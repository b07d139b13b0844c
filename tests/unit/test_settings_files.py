"""settings_files: what is missing or broken is one clear error, and lets nobody in."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
import settings_files
from authenticator import HomeAuthenticator
from hub_settings import HUB_IMAGE, Files, load
from traitlets.config.loader import PyFileConfigLoader


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), ("", "is empty"), ("{,}", "is not JSON"), ("[]", "not a JSON object"), ("{}", "lacks a")],
)
def test_broken_file_is_one_clear_error(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(settings_files.SettingsError, match=message) as error:
        settings_files.read_json(path, "a")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["hub.json", "spawner.json", "proxy-token", "users-token"])
def test_hub_does_not_start_without_a_file(files: Files, name: str) -> None:
    (files.folder / name).unlink()
    with pytest.raises(SystemExit, match=f"jupyterhub-home: cannot read .*{name}"):
        PyFileConfigLoader("jupyterhub_config.py", str(HUB_IMAGE)).load_config()


def test_without_a_list_there_is_nobody(files: Files) -> None:
    """The hub may start before the first list is written."""
    (files.folder / "users.json").unlink()
    assert settings_files.declared_users() == {}
    c = load(files, config={"JupyterHub": {"authenticator_class": "dummy"}})
    assert c.Authenticator.admin_users == set()
    assert asyncio.run(HomeAuthenticator().refresh_user(SimpleNamespace(name="alice"))) is False


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_broken_list_lets_nobody_in(files: Files, text: str) -> None:
    files.write("users.json", text)
    with pytest.raises(settings_files.SettingsError):
        asyncio.run(HomeAuthenticator().refresh_user(SimpleNamespace(name="alice")))
