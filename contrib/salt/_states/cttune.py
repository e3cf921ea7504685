"""
The state of the connection-tracking table, by a profile of cttune.

.. code-block:: yaml

    campus-fw:
      cttune.applied:
        - adopt: True
"""

from salt.exceptions import CommandExecutionError

__virtualname__ = "cttune"


def __virtual__():
    if "cttune.apply" in __salt__:
        return __virtualname__
    return False, "the execution module cttune is not there"


def _changes(steps):
    """
    What each key and file was, and will be.
    """
    changes = {}
    for step in steps:
        name = step.get("key") or step.get("path")
        if name and name in changes:
            changes[name]["new"] = step["to"]
        elif name:
            changes[name] = {"old": step["from"], "new": step["to"]}
        else:
            changes[step["kind"]] = {"old": None, "new": step.get("why", "")}
    return changes


def applied(
    name, profile=None, values=None, only=None, adopt=False, allow_overridden=False, wait="60s"
):
    """
    The profile is applied, live and for the next boot.

    name
        The profile, by name or by its path on the minion, unless ``profile`` names it.
    values
        Values beside the profile, by key.
    only
        ``live`` or ``persist``: only the running kernel, or only the files.
    adopt
        Comment out lines of other files that override the profile at boot.
    allow_overridden
        Go on although another file overrides it.
    wait
        How long to wait for another cttune.
    """
    result = {"name": name, "changes": {}, "result": False, "comment": ""}
    options = {
        "profile": profile or name,
        "values": values,
        "only": only,
        "adopt": adopt,
        "allow_overridden": allow_overridden,
    }
    try:
        plan = __salt__["cttune.plan"](**options)
        if plan["blocked"] and not allow_overridden:
            result["comment"] = "; ".join(
                "{} (hint: {})".format(one["message"], one["hint"]) for one in plan["blocked"]
            )
            return result
        if not plan["steps"]:
            result["result"] = True
            result["comment"] = "{} is applied already".format(plan["profile"])
            return result
        result["changes"] = _changes(plan["steps"])
        if __opts__["test"]:
            result["result"] = None
            result["comment"] = "{} changes would be made".format(len(plan["steps"]))
            return result
        done = __salt__["cttune.apply"](wait=wait, **options)
    except CommandExecutionError as error:
        result["changes"] = {}
        result["comment"] = str(error)
        return result
    result["result"] = True
    result["changes"] = _changes(done["steps"]) if done["changed"] else {}
    result["comment"] = "change {}; to undo it: cttune rollback {}".format(done["id"], done["id"])
    return result
