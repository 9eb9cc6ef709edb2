"""The fragments of each overlay network that the reconciler has, so that all of them go with the network.

Owned by `host_networks`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

from agent.network.namespace_state import Fragment
from agent.network.reconciler import Reconciler
from covey.errors import CoveyError
from covey.task_group import TaskGroup

_BATCH = 256
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
        items = iter(changes.items())
        puts: list[asyncio.Task[Mapping[str, CoveyError]]] = []
        async with TaskGroup() as tasks:
            # While the kernel takes one batch, the next ones are compared with what is wanted.
            while batch := dict(itertools.islice(items, _BATCH)):
                puts.append(tasks.create_task(self._put_batch(batch)))
                await asyncio.sleep(0)
        return {key: error for done in puts for key, error in done.result().items()}

    async def _put_batch(self, batch: Mapping[str, Fragment | None]) -> Mapping[str, CoveyError]:
        try:
            return await self._reconciler.put_many(batch)
        except CoveyError as error:  # none of it is known to be applied
            return dict.fromkeys(batch, error)

    async def drop(self, network_id: str) -> None:
        """Drop all fragments of a network."""
        await self._reconciler.put_many(dict.fromkeys(self._keys.pop(network_id, set())))
