"""What JupyterHub loads: our settings, then the owner's traits, then the owner's Python."""

import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # not there for a configuration file

import configuration
import settings_files

# Whoever loads this file has put get_config there.
c = get_config()  # type: ignore[name-defined]  # noqa: F821

try:
    required = configuration.configure(c)
except settings_files.SettingsError as error:
    sys.exit(f"jupyterhub-home: {error}")

if settings_files.EXTRA.exists():
    try:
        load_subconfig(str(settings_files.EXTRA))  # type: ignore[name-defined]  # noqa: F821
    except Exception as error:
        # Not the whole traceback: it would quote the line, and a password in it, into the log.
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(settings_files.EXTRA)]
        where = getattr(error, "lineno", None) or (lines[-1] if lines else "?")
        sys.exit(f"jupyterhub-home: {settings_files.EXTRA}, line {where}: {type(error).__name__}: {error}")

configuration.complete(c, required)
configuration.run_for_good(c)
