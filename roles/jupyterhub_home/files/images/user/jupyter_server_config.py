"""What every user's server loads."""

import os

from jupyterhub.httpclient import JupyterHubHTTPClient

# Whoever loads this file has put get_config and load_subconfig there.
c = get_config()  # type: ignore[name-defined]  # noqa: F821

load_subconfig("short_records.py")  # type: ignore[name-defined]  # noqa: F821
c.HubAuth.cache_max_age = 5  # seconds that somebody who was removed may still be let in; 0 means for ever
# A start without own packages is one of kernels: here they can be put right.
c.ServerApp.terminado_settings = {"shell_command": ["/usr/bin/env", "--unset=PYTHONNOUSERSITE", "/bin/bash"]}
# What is deleted is gone and its space free, also when the trash would be on the same disk: nothing shows the trash.
c.FileContentsManager.delete_to_trash = False
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

# JUPYTERHUB_DISABLE_USER_CONFIG leaves out kernels and JupyterLab's extensions in the home, too; these are welcome.
if os.environ.get("JUPYTERHUB_DISABLE_USER_CONFIG"):
    from jupyter_core.paths import jupyter_data_dir
    from jupyterhub.singleuser import _disable_user_config

    if _disable_user_config._jupyter_paths_without_home is not None:  # a server of the hub
        _disable_user_config._jupyter_paths_without_home.insert(0, jupyter_data_dir())

# A hub that went without a word, because its network was removed, leaves connections open that nobody answers: a page
# that asked over one would wait for 300 s. The server gives this client no configuration, so its default is another.
JupyterHubHTTPClient.connector_options.default_args = ({"force_close": True, "use_dns_cache": False},)
