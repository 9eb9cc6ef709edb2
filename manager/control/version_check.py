"""Whether a change was made from what is there: nobody overwrites a spec that he has not seen. Pure, called on a transaction.

Law: only another spec stands in a spec's way. What the cluster itself notes on the object meanwhile (a node's status, an update's
progress, an address) changes its version too, but takes nothing from whoever read it before.
"""

from covey.errors import StaleVersionError
from covey.objects import Node, Service

OUT_OF_SEQUENCE = "update out of sequence"


def require_current_spec(found: Node | Service, version: int) -> None:
    """Raises StaleVersionError if who saw that version of the object has not seen its present spec."""
    if not found.version_before_spec < version <= found.meta.version:
        raise StaleVersionError(OUT_OF_SEQUENCE)
