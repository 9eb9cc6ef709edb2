"""The fragments of each overlay network that the reconciler has, so that all of them go with the network.

Owned by `host_networks`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from agent.network.namespace_state import Fragment
from agent.network.reconciler import Reconciler
from covey.errors import CoveyError

_BATCH = 512
"""Fragments handed over at once, so that the event loop does other work in between."""


class PutFragments:
    """One per host."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._keys: dict[str, set[str]] = {}

    async def put(self, network_id: str, changes: Mapping[str, Fragment | None]) -> dict[str, CoveyError]:
        """Put or drop fragments of a network. Returns the errors of those that failed."""
        keys = self._keys.setdefault(network_id, set())
        keys |= {key for key, fragment in changes.items() if fragment is not None}
        keys -= {key for key, fragment in changes.items() if fragment is None}
        errors: dict[str, CoveyError] = {}
        items = iter(changes.items())
        while batch := dict(itertools.islice(items, _BATCH)):
            errors |= await self._reconciler.put_many(batch)
        return errors

    async def drop(self, network_id: str) -> None:
        """Drop all fragments of a network."""
        await self._reconciler.put_many(dict.fromkeys(self._keys.pop(network_id, set())))
