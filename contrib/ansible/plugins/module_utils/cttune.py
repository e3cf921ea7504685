# -*- coding: utf-8 -*-
# Copyright: The cttune developers
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs cttune and reads what it prints: one JSON object, or an error with a hint."""

from __future__ import annotations

import json

# What every module takes.
PLACE = {
    "program": {"type": "str", "default": "cttune"},
    "netns": {"type": "str"},
    "root": {"type": "path"},
}


def place(params):
    """The options that say which machine, image or namespace is meant."""
    options = []
    if params.get("netns"):
        options += ["--netns", params["netns"]]
    if params.get("root"):
        options += ["--root", params["root"]]
    return options


def read_error(stderr):
    """The error object on stderr; notes may stand before it."""
    for line in reversed(stderr.splitlines()):
        if not line.startswith("{"):
            continue
        try:
            return json.loads(line)["error"]
        except (ValueError, KeyError, TypeError):
            continue
    return None


def run(module, arguments, good=(0,)):
    """Gives the object that cttune prints; any exit code that is not good ends the module."""
    program = module.get_bin_path(module.params["program"], required=True)
    command = [program] + arguments + place(module.params) + ["--format", "json"]
    code, out, err = module.run_command(
        command, environ_update={"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
    )
    if code not in good:
        error = read_error(err) or {}
        message = error.get("message") or err.strip() or "cttune ended with %d" % code
        hint = error.get("hint")
        module.fail_json(
            msg=message if not hint else "%s; hint: %s" % (message, hint),
            hint=hint,
            mistakes=error.get("mistakes", []),
            rc=code,
            cmd=command,
            # The codes of cttune: 3 is failed and something is left.
            unchanged=code != 3,
        )
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    for note in notes:
        module.warn(note[len("note: "):])
    try:
        return code, json.loads(out)
    except ValueError:
        module.fail_json(msg="cttune printed no JSON", rc=code, cmd=command, stdout=out)
