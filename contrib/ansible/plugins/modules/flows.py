#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: The cttune developers
# SPDX-License-Identifier: MIT OR Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: flows
short_description: Shorten flows to the current timeouts, or end the flows that are named
version_added: "0.1.0"
description:
  - O(action=expire) brings existing flows under the current timeouts, as C(cttune expire).
  - O(action=kill) ends the flows that O(match) selects, as C(cttune kill). Their connections break.
  - The session that Ansible comes through is never touched. In check mode flows are only counted.
options:
  action:
    description: What to do.
    type: str
    choices: [expire, kill]
    default: expire
  mode:
    description: How O(action=expire) shortens.
    type: str
    choices: [clamp, re-age, delete]
  match:
    description: Which flows, each as V(dst=192.0.2.7,dport=5228).
    type: list
    elements: str
    default: []
  keep:
    description: Flows to keep, even if O(match) selects them.
    type: list
    elements: str
    default: []
  max_flows:
    description: Refuse to act on more flows than this.
    type: int
  rate:
    description: Flows a second at most.
    type: int
  program:
    description: The program, by name or path.
    type: str
    default: cttune
  netns:
    description: Work in another network namespace.
    type: str
  root:
    description: Not of use here; an image has no flows.
    type: path
attributes:
  check_mode:
    description: Counts the flows and changes none.
    support: full
author:
  - The cttune developers (@cttune)
"""

EXAMPLES = r"""
- name: Bring every flow under the current timeouts
  cttune.cttune.flows:

- name: End the flows to one server, but not more than a thousand
  cttune.cttune.flows:
    action: kill
    match: ["dst=192.0.2.7,dport=5228"]
    max_flows: 1000
"""

RETURN = r"""
flows:
  description: What became of the flows, as C(cttune expire --json) has it.
  type: dict
  returned: success
hint:
  description: What cttune says to do about a failure.
  type: str
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cttune.cttune.plugins.module_utils.cttune import PLACE, run

CHANGED = ("clamped", "re_aged", "deleted")


def main():
    arguments = {
        "action": {"type": "str", "choices": ["expire", "kill"], "default": "expire"},
        "mode": {"type": "str", "choices": ["clamp", "re-age", "delete"]},
        "match": {"type": "list", "elements": "str", "default": []},
        "keep": {"type": "list", "elements": "str", "default": []},
        "max_flows": {"type": "int"},
        "rate": {"type": "int"},
    }
    arguments.update(PLACE)
    module = AnsibleModule(
        argument_spec=arguments,
        supports_check_mode=True,
        required_if=[("action", "kill", ["match"])],
    )
    params = module.params
    if params["action"] == "kill" and params["mode"]:
        module.fail_json(msg="mode belongs to action=expire")
    command = [params["action"]]
    for option in ("mode", "max_flows", "rate"):
        if params[option] is not None:
            command += ["--" + option.replace("_", "-"), str(params[option])]
    for option in ("match", "keep"):
        for terms in params[option]:
            command += ["--" + option, terms]
    # A count first: where no flow is selected, there is nothing to do and nothing to fail.
    code, counted = run(module, command + ["--dry-run"], good=(0, 1, 2))
    selected = counted.get("selected", 0)
    if module.check_mode or not selected:
        would = sum(counted.get(name, 0) for name in CHANGED)
        module.exit_json(changed=bool(would), flows=counted)
    code, flows = run(module, command + ["--yes"])
    module.exit_json(changed=any(flows.get(name, 0) for name in CHANGED), flows=flows)


if __name__ == "__main__":
    main()
