"""
Runs cttune on a minion: the connection-tracking table, its profile, its flows.

Copy ``_modules`` and ``_states`` to the file roots, then ``salt '*' saltutil.sync_all``.

.. code-block:: bash

    salt '*' cttune.check
    salt '*' cttune.plan campus-fw adopt=True
    salt '*' cttune.apply campus-fw adopt=True
"""

import json

import salt.utils.path
from salt.exceptions import CommandExecutionError

__virtualname__ = "cttune"


def __virtual__():
    if salt.utils.path.which("cttune"):
        return __virtualname__
    return False, "cttune is not installed"


def _run(arguments, good=(0,)):
    """
    What cttune prints. Any exit code that is not good is an error with cttune's own hint.
    """
    command = ["cttune"] + arguments + ["--format", "json"]
    result = __salt__["cmd.run_all"](command, python_shell=False, env={"LC_ALL": "C.UTF-8"})
    if result["retcode"] in good:
        return json.loads(result["stdout"])
    message = result["stderr"]
    for line in reversed(message.splitlines()):
        if line.startswith("{"):
            error = json.loads(line)["error"]
            message = error["message"]
            if error.get("hint"):
                message += "; hint: " + error["hint"]
            break
    raise CommandExecutionError(message)


def _desired(profile, values, only, adopt, allow_overridden):
    options = []
    if profile:
        options += ["--profile", profile]
    for key, value in sorted((values or {}).items()):
        options += ["--set", "{}={}".format(key, value)]
    if only:
        options += ["--only", only]
    if adopt:
        options.append("--adopt")
    if allow_overridden:
        options.append("--allow-overridden")
    return options


def check(profile=None):
    """
    The health of the table, and what differs from the profile.
    """
    return _run(["check"] + _desired(profile, None, None, False, False), good=(0, 2))


def plan(profile=None, values=None, only=None, adopt=False, allow_overridden=False):
    """
    What apply would change.
    """
    options = _desired(profile, values, only, adopt, allow_overridden)
    return _run(["plan"] + options, good=(0, 2))


def apply(profile=None, values=None, only=None, adopt=False, allow_overridden=False, wait="60s"):
    """
    Applies a profile now and after every reboot. Every value is read back.
    """
    options = _desired(profile, values, only, adopt, allow_overridden)
    return _run(["apply"] + options + ["--yes", "--wait", wait])


def rollback(change=None):
    """
    Undoes the last change, or the one that is named.
    """
    return _run(["rollback"] + ([str(change)] if change is not None else []) + ["--yes"])


def expire(mode="clamp", max_flows=None):
    """
    Brings existing flows under the current timeouts.
    """
    limits = ["--max-flows", str(max_flows)] if max_flows is not None else []
    return _run(["expire", "--mode", mode, "--yes"] + limits)
