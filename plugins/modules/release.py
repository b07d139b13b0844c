#!/usr/bin/python
"""Give the lease of a run back: documentation alone, the work is plugins/action/release.py's."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Give the lease of a run on a machine back
description:
  - Takes one command on the machine and no module. The lease of another run stays.
options:
  run: {type: str, required: true, description: Identity of the run that has the lease; empty for none.}
attributes:
  check_mode: {support: full, description: Whether it runs in check mode.}
"""
EXAMPLES = r"""
- name: Let other runs in
  jupyterhub.home.release:
    run: "{{ __jupyterhub_home_checked.run }}"
"""
RETURN = ""
