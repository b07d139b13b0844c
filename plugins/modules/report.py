#!/usr/bin/python
"""Say what is worth knowing: documentation alone, the work is plugins/action/report.py's."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Say what is worth knowing at the end of a run, and give its lease back
description:
  - Runs on the controller; to give the lease back takes one command on the machine and no module.
options:
  lines: {type: list, elements: str, required: true, description: "What is said, a line an item."}
  run: {type: str, required: true, description: Identity of the run that has the lease; empty for none.}
attributes:
  check_mode: {support: full, description: Whether it runs in check mode.}
"""
EXAMPLES = r"""
- name: Say where to open it
  jupyterhub.home.report:
    lines: ["JupyterHub is at http://192.0.2.20:8000/"]
    run: "{{ __jupyterhub_home_checked.run }}"
"""
RETURN = r"""
msg:
  description: The lines.
  type: list
  elements: str
  returned: always
"""
