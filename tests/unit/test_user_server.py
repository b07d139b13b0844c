"""The configuration of users' servers in our image."""

import asyncio
from typing import Any

import pytest
from conftest import ROLE
from jupyterhub.httpclient import JupyterHubHTTPClient
from traitlets.config.loader import PyFileConfigLoader


def test_a_server_keeps_no_connection_and_no_address_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither outlives a hub that went without a word."""
    trait = JupyterHubHTTPClient.connector_options
    monkeypatch.setattr(trait, "default_args", trait.default_args)  # to be put back
    config = PyFileConfigLoader("jupyter_server_config.py", str(ROLE / "files/images/user")).load_config()
    assert config.HubAuth.cache_max_age == 5

    async def options() -> dict[str, Any]:
        given: dict[str, Any] = JupyterHubHTTPClient().connector_options
        return given

    assert asyncio.run(options()) == {"force_close": True, "use_dns_cache": False}
