"""What carrying out differences in one namespace led to."""

from __future__ import annotations

import msgspec

from agent.network.plan.items import Item
from covey.errors import CoveyError


class Outcome(msgspec.Struct):
    """`made` and `deleted` are devices of the namespace, `made_elsewhere` the other ends of its veth pairs, by namespace and name.

    `orphans` are veth ends that are missing and that only their maker can make. `lost_entries` says that a device was changed in a
    way that may have cost it addresses, routes or entries, so that the namespace is to be read again.
    """

    failures: dict[Item, CoveyError] = {}
    made: set[str] = set()
    deleted: set[str] = set()
    made_elsewhere: set[tuple[str, str]] = set()
    orphans: set[str] = set()
    lost_entries: bool = False
