"""What JupyterHub loads: our settings, then the owner's traits, then the owner's Python."""

import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # not there for a configuration file

import disk
import jupyterhub_home

# Whoever loads this file has put get_config there.
c = get_config()  # type: ignore[name-defined]  # noqa: F821

try:
    required = jupyterhub_home.configure(c)
except jupyterhub_home.SettingsError as error:
    sys.exit(f"jupyterhub-home: {error}")

if jupyterhub_home.EXTRA.exists():
    try:
        load_subconfig(str(jupyterhub_home.EXTRA))  # type: ignore[name-defined]  # noqa: F821
    except Exception as error:
        # Not the whole traceback: it would quote the line, and a password in it, into the log.
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(jupyterhub_home.EXTRA)]
        where = getattr(error, "lineno", None) or (lines[-1] if lines else "?")
        sys.exit(f"jupyterhub-home: {jupyterhub_home.EXTRA}, line {where}: {type(error).__name__}: {error}")

jupyterhub_home.complete(c, required)
disk.keep(c.JupyterHub.db_url)
jupyterhub_home.end_without_engine()
