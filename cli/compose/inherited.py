"""Volumes that a container takes over from the one that it replaces. Pure."""

from collections.abc import Mapping
from typing import Any


def with_inherited_volumes(body: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the new container with the anonymous volumes of the old one.

    Args:
        body: the new container's body.
        old: the inspected old container; empty to inherit nothing.
    """
    host = dict(body["HostConfig"])
    mounts = list(host.get("Mounts") or ())
    named = {item["Target"] for item in mounts if item.get("Source") or item["Type"] != "volume"}
    named |= {text.split(":")[1] for text in host.get("Binds") or ()} | set(host.get("Tmpfs") or ())
    for volume in old.get("Mounts") or ():
        target = volume.get("Destination", "")
        if volume.get("Type") != "volume" or target in named:
            continue
        mounts = [item for item in mounts if item["Target"] != target]
        mounts.append(
            {"Type": "volume", "Source": volume["Name"], "Target": target, "ReadOnly": not volume.get("RW", True)}
        )
    if mounts:
        host["Mounts"] = mounts
    return {**body, "HostConfig": host}
