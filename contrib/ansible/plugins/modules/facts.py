#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: The cttune developers
# SPDX-License-Identifier: MIT OR Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: facts
short_description: Read the connection-tracking table, its settings and what is wrong
version_added: "0.1.0"
description:
  - Returns what C(cttune check --json) prints as the fact V(cttune). It changes nothing.
options:
  name:
    description:
      - The profile to compare with, by name or by the path of a file on the host.
      - Without it, the active profile of the host.
    type: str
  program:
    description: The program, by name or path.
    type: str
    default: cttune
  netns:
    description: Look at another network namespace.
    type: str
  root:
    description: Look at the files below this folder, of an image.
    type: path
attributes:
  check_mode:
    description: It never changes anything.
    support: full
author:
  - The cttune developers (@cttune)
"""

EXAMPLES = r"""
- name: Read the table
  cttune.cttune.facts:
    name: campus-fw

- name: Show the fill
  ansible.builtin.debug:
    msg: "{{ ansible_facts.cttune.table.fill }}"
"""

RETURN = r"""
ansible_facts:
  description: The fact.
  type: dict
  returned: success
  contains:
    cttune:
      description: The object that C(cttune check --json) prints.
      type: dict
      returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cttune.cttune.plugins.module_utils.cttune import PLACE, run


def main():
    arguments = {"name": {"type": "str"}}
    arguments.update(PLACE)
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    command = ["check"]
    if module.params["name"]:
        command += ["--profile", module.params["name"]]
    code, check = run(module, command, good=(0, 2))
    module.exit_json(changed=False, ansible_facts={"cttune": check})


if __name__ == "__main__":
    main()
