#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: The cttune developers
# SPDX-License-Identifier: MIT OR Apache-2.0

from __future__ import annotations

DOCUMENTATION = r"""
---
module: profile
short_description: Apply a cttune profile, confirm it, or roll it back
version_added: "0.1.0"
description:
  - Applies a profile to the running kernel and to the files that the next boot reads.
  - In check mode nothing is changed, and the result is that of C(cttune plan).
  - Every value is read back. What fails on the way is undone by cttune.
options:
  name:
    description:
      - The profile, by name or by the path of a file on the host.
      - Without it, the active profile of the host.
    type: str
  state:
    description:
      - V(applied) applies the profile.
      - V(confirmed) keeps a change that waits to be confirmed; without one it does nothing.
      - V(rolled_back) undoes the last change, or the one that O(change) names.
    type: str
    choices: [applied, confirmed, rolled_back]
    default: applied
  set:
    description: Values beside the profile, by key.
    type: dict
    default: {}
  only:
    description: Change only the running kernel, or only the files.
    type: str
    choices: [live, persist]
  adopt:
    description: Comment out lines of other files that override the profile at boot.
    type: bool
    default: false
  allow_overridden:
    description: Go on although another file overrides the profile at boot.
    type: bool
    default: false
  allow_max_below_count:
    description: Go on although the limit would be below the number of entries.
    type: bool
    default: false
  expire:
    description: Also bring existing flows under the new timeouts.
    type: str
    choices: [clamp, re-age, delete]
  confirm_within:
    description:
      - Undo the change after this time (V(2m), V(90s)) unless it is confirmed.
      - Files are written when it is confirmed.
    type: str
  wait:
    description: How long to wait for another cttune on the host.
    type: str
    default: 60s
  change:
    description: The change that V(rolled_back) undoes, a number of C(cttune history).
    type: int
  program:
    description: The program, by name or path.
    type: str
    default: cttune
  netns:
    description: Work in another network namespace; no file is written then.
    type: str
  root:
    description: Work on the files below this folder, of an image; no kernel is changed then.
    type: path
attributes:
  check_mode:
    description: Predicts the change and changes nothing.
    support: full
  diff_mode:
    description: Shows values and files before and after.
    support: full
extends_documentation_fragment: []
seealso:
  - module: cttune.cttune.flows
  - module: cttune.cttune.facts
author:
  - The cttune developers (@cttune)
"""

EXAMPLES = r"""
- name: Apply a profile
  cttune.cttune.profile:
    name: campus-fw
    adopt: true

- name: Apply it so that it undoes itself unless this playbook can still connect
  cttune.cttune.profile:
    name: campus-fw
    adopt: true
    confirm_within: 2m

- name: Prove a new connection
  ansible.builtin.wait_for_connection:
    timeout: 60

- name: Keep it
  cttune.cttune.profile:
    state: confirmed
"""

RETURN = r"""
id:
  description: The change, for C(cttune rollback); nothing if nothing was changed.
  type: int
  returned: when something was changed
profile:
  description: The profile that was applied or planned.
  type: str
  returned: success
steps:
  description: The steps, as C(cttune plan --json) and C(cttune apply --json) have them.
  type: list
  elements: dict
  returned: success
pending:
  description: The change that waits to be confirmed, and its deadline.
  type: dict
  returned: with O(confirm_within)
hint:
  description: What cttune says to do about a failure.
  type: str
  returned: failure
mistakes:
  description: The mistakes of a profile, each with file, line and column.
  type: list
  elements: dict
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.cttune.cttune.plugins.module_utils.cttune import PLACE, run

DIFFERS = 2


def desired(params):
    """The options that plan and apply share."""
    options = []
    if params["name"]:
        options += ["--profile", params["name"]]
    for key, value in sorted(params["set"].items()):
        options += ["--set", "%s=%s" % (key, value)]
    if params["only"]:
        options += ["--only", params["only"]]
    if params["expire"]:
        options.append("--expire=%s" % params["expire"])
    for switch in ("adopt", "allow_overridden", "allow_max_below_count"):
        if params[switch]:
            options.append("--" + switch.replace("_", "-"))
    return options


def diff(steps):
    """Before and after, as Ansible shows it: the running kernel, then each file."""
    live = [step for step in steps if step["kind"] == "write-live"]
    first, last = {}, {}
    for step in live:
        first.setdefault(step["key"], step["from"])
        last[step["key"]] = step["to"]

    def text(values):
        return "".join("%s = %s\n" % (key, value) for key, value in values.items())

    told = []
    if live:
        told.append({
            "before": text(first),
            "after": text(last),
            "before_header": "running kernel",
            "after_header": "running kernel",
        })
    for step in steps:
        if "path" in step:
            told.append({
                "before": step["from"] or "",
                "after": step["to"] or "",
                "before_header": step["path"],
                "after_header": step["path"],
            })
        elif step["kind"] == "expire":
            told.append({"prepared": "%s %s flows\n" % (step["mode"], step["flows"])})
    return told


def apply(module):
    params = module.params
    options = desired(params)
    code, plan = run(module, ["plan"] + options, good=(0, DIFFERS))
    allowed = params["allow_overridden"] or params["allow_max_below_count"]
    if plan["blocked"] and (module.check_mode or not plan["steps"]) and not allowed:
        blocked = plan["blocked"][0]
        module.fail_json(
            msg="; ".join(one["message"] for one in plan["blocked"]),
            hint=blocked["hint"],
            unchanged=True,
        )
    result = {
        "changed": bool(plan["steps"]),
        "profile": plan["profile"],
        "steps": plan["steps"],
        "diff": diff(plan["steps"]),
    }
    if module.check_mode or not plan["steps"]:
        module.exit_json(**result)
    command = ["apply"] + options + ["--yes", "--wait", params["wait"]]
    if params["confirm_within"]:
        command += ["--confirm-within", params["confirm_within"]]
    code, done = run(module, command)
    result["changed"] = done["changed"]
    result["steps"] = done["steps"]
    for name in ("id", "pending", "flows"):
        if done.get(name) is not None:
            result[name] = done[name]
    module.exit_json(**result)


def confirm(module):
    code, check = run(module, ["check"], good=(0, DIFFERS))
    if not check["pending"]:
        module.exit_json(changed=False, profile=check["profile"], steps=[])
    if module.check_mode:
        module.exit_json(changed=True, profile=check["profile"], steps=[])
    code, done = run(module, ["confirm", "--wait", module.params["wait"]])
    module.exit_json(
        changed=done["changed"], id=done["id"], profile=done["profile"], steps=done["steps"]
    )


def roll_back(module):
    command = ["rollback"]
    if module.params["change"] is not None:
        command.append(str(module.params["change"]))
    if module.check_mode:
        code, told = run(module, command + ["--dry-run"], good=(0, DIFFERS))
        steps = [step for change in told["changes"] for step in change["steps"]]
        module.exit_json(changed=bool(steps), steps=steps, diff=diff(steps))
    code, done = run(module, command + ["--yes", "--wait", module.params["wait"]])
    module.exit_json(
        changed=done["changed"], steps=done.get("steps", []), diff=diff(done.get("steps", []))
    )


def main():
    arguments = {
        "name": {"type": "str"},
        "state": {
            "type": "str",
            "choices": ["applied", "confirmed", "rolled_back"],
            "default": "applied",
        },
        "set": {"type": "dict", "default": {}},
        "only": {"type": "str", "choices": ["live", "persist"]},
        "adopt": {"type": "bool", "default": False},
        "allow_overridden": {"type": "bool", "default": False},
        "allow_max_below_count": {"type": "bool", "default": False},
        "expire": {"type": "str", "choices": ["clamp", "re-age", "delete"]},
        "confirm_within": {"type": "str"},
        "wait": {"type": "str", "default": "60s"},
        "change": {"type": "int"},
    }
    arguments.update(PLACE)
    module = AnsibleModule(
        argument_spec=arguments,
        supports_check_mode=True,
        mutually_exclusive=[("only", "confirm_within")],
    )
    act = {"applied": apply, "confirmed": confirm, "rolled_back": roll_back}
    act[module.params["state"]](module)


if __name__ == "__main__":
    main()
