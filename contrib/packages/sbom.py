#!/usr/bin/env python3
"""Turns `cargo metadata` into a CycloneDX list of what the binary is made of. The same input gives
the same bytes."""

import json
import sys
import uuid

metadata = json.load(sys.stdin)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
root = metadata["resolve"]["root"]


def built_in(node):
    """The packages whose code is in the binary, or makes code that is."""
    return [
        dep["pkg"]
        for dep in node["deps"]
        if any(kind["kind"] is None for kind in dep["dep_kinds"])
    ]


seen, todo = set(), [root]
while todo:
    one = todo.pop()
    if one not in seen:
        seen.add(one)
        todo += built_in(nodes[one])


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind):
    entry = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return entry


parts = sorted((packages[one] for one in seen - {root}), key=reference)
bom = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {"component": component(packages[root], "application")},
    "components": [component(package, "library") for package in parts],
    "dependencies": [
        {
            "ref": reference(packages[one]),
            "dependsOn": sorted(reference(packages[dep]) for dep in built_in(nodes[one])),
        }
        for one in sorted(seen, key=lambda one: reference(packages[one]))
    ],
}
text = json.dumps(bom, sort_keys=True)
bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"
json.dump(bom, sys.stdout, indent=1)
print()
