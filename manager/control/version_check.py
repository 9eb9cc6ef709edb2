"""Optimistic concurrency check for spec updates. Pure, called in a transaction.

Invariant: an update replaces only the spec that the client has read. Changes by the cluster itself (a node's status, the progress of an
update, an address) also increase the version, but do not make an update stale.
"""

from covey.errors import StaleVersionError
from covey.objects import Node, Service

OUT_OF_SEQUENCE = "update out of sequence"


def require_current_spec(found: Node | Service, version: int) -> None:
    """Raises StaleVersionError if a client that read this version of the object has not seen its present spec."""
    if not found.version_before_spec < version <= found.meta.version:
        raise StaleVersionError(OUT_OF_SEQUENCE)
