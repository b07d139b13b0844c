#!/usr/bin/python
"""Check every variable and the machine: documentation alone, the work is plugins/action/validate.py's."""

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Check every variable of the role and the machine, and tell all mistakes at once
description:
  - Runs on the controller, looks at the machine in one call of M(jupyterhub.home.probe), and is the first task of
    whatever changes a machine.
  - Fails with every mistake, each with the variable, what is wrong and the line to write instead.
  - Takes the lease of the run on the machine, unless in check mode. M(jupyterhub.home.release) gives it back.
  - The variables themselves are no options, and are taken from the inventory and from where else Ansible has them.
options:
  role_path: {type: path, required: true, description: "The role's folder, with its C(meta/argument_specs.yml)."}
  entry_point: {type: str, default: main, description: The role's entry point whose variables are checked.}
  done: {type: str, default: nothing was changed, description: "What the run has done before, as mistakes say it."}
attributes:
  check_mode: {support: full, description: Whether it runs in check mode.}
"""
EXAMPLES = r"""
- name: Check every variable and look at the machine
  jupyterhub.home.validate:
    role_path: "{{ role_path }}"
  register: __jupyterhub_home_checked

- name: Check the variables for uninstalling
  jupyterhub.home.validate:
    role_path: "{{ role_path }}"
    entry_point: uninstall
  register: __jupyterhub_home_checked
"""
RETURN = r"""
local_url:
  description: Address of the hub for the machine itself, through the proxy.
  type: str
  returned: with the entry points main and status
settings:
  description: >-
    The variables by their names without prefix, each in its type, the mounts one for each folder; without users
    and configuration, which may hold secrets.
  type: dict
  returned: success
machine:
  description: What RV(jupyterhub.home.probe#module:machine) says.
  type: dict
  returned: success
run:
  description: Identity of this run, which has the lease; empty in check mode.
  type: str
  returned: success
docker:
  description: What is missing of Docker on the machine.
  type: dict
  returned: with the entry point main
notes:
  description: What the report is to say of the machine's system, in words.
  type: list
  elements: str
  returned: with the entry point main
images:
  description: "The images: C(base), C(builds), C(tags) and those that the engine does not have, C(missing)."
  type: dict
  returned: with the entry point main
files:
  description: The files below the role's folder on the machine, without those that may hold a secret of the owner's.
  type: dict
  returned: with the entry point main
"""
