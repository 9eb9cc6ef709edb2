"""Names of devices that planners make. Pure."""

from __future__ import annotations

import hashlib


def port_name(container_id: str, interface: str) -> str:
    """The name of a container's port outside its namespace: unique per container and interface, at most 15 bytes."""
    return "cv" + hashlib.blake2b(f"{container_id}/{interface}".encode(), digest_size=6).hexdigest()
