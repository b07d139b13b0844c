"""What every user's server loads."""

from jupyterhub.httpclient import JupyterHubHTTPClient

# Whoever loads this file has put get_config there.
c = get_config()  # type: ignore[name-defined]  # noqa: F821

c.HubAuth.cache_max_age = 5  # seconds that somebody who was removed may still be let in; 0 means for ever
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash"]}
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

# A hub that went without a word, because its network was removed, leaves connections open that nobody answers: a page
# that asked over one would wait for 300 s. The server gives this client no configuration, so its default is another.
JupyterHubHTTPClient.connector_options.default_args = ({"force_close": True, "use_dns_cache": False},)
