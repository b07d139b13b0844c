#!/usr/bin/python
"""Say what is worth knowing: documentation alone, the work is plugins/action/report.py's."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Say what is worth knowing at the end of a run
description:
  - Runs on the controller.
options:
  found: {type: list, elements: str, default: [], description: "What somebody else had changed, a line an item."}
  notes: {type: list, elements: str, default: [], description: "What was done, or would be, a line an item."}
  outdated: {type: dict, default: {}, description: "Running servers, and which of their settings are not today's."}
  invitation: {type: list, elements: str, default: [], description: "Where the hub is opened, a line an item."}
attributes:
  check_mode: {support: full, description: Whether it runs in check mode.}
"""
EXAMPLES = r"""
- name: Say where to open it
  jupyterhub.home.report:
    notes: ["Added to the hub: kim"]
    invitation: ["Open it from any device on your network:", "http://192.0.2.20:8000/"]
"""
RETURN = r"""
msg:
  description: The lines.
  type: list
  elements: str
  returned: always
"""
