"""Event log of this host for ``docker events``: bounded queues of subscribers, and a history on disk.

Invariant: memory is bounded; a subscriber that lags is ended instead of being shown a gap. Publishing never waits: events reach the disk in
batches, from a thread. One ``EventLog`` per daemon. ``publish_container_events`` feeds it container events; routes publish those of images.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.container.api import Containers
from covey.errors import LaggedError
from engine.event_history import EventHistory
from engine.interfaces import LocalNetworkRegistry, Volumes
from engine.translate import event

QUEUE = 1024
MAX_PENDING = 10_000
BATCH_SECONDS = 0.2

log = logging.getLogger(__name__)

EventMessage = dict[str, Any]
EventQueue = asyncio.Queue[EventMessage | None]


class EventLog:
    """Events in Docker's JSON form. ``folder`` holds the history; without one there is none."""

    def __init__(self, folder: Path | None = None) -> None:
        self._history = EventHistory(folder) if folder else None
        self._pending: list[EventMessage] = []
        self._arrived = asyncio.Event()
        self._disk = asyncio.Lock()
        self._has_failed = False
        self._queues: set[EventQueue] = set()

    @property
    def readers(self) -> int:
        """Number of subscribers."""
        return len(self._queues)

    def publish(self, message: EventMessage) -> None:
        """Send an event to every subscriber. One whose queue is full is ended."""
        if self._history is not None and len(self._pending) < MAX_PENDING:
            self._pending.append(message)
            self._arrived.set()
        for queue in list(self._queues):
            if queue.full():
                self._queues.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(message)

    async def keep_history(self) -> None:
        """Write events to the disk until cancelled; the last ones too."""
        try:
            while True:
                await self._arrived.wait()
                await asyncio.sleep(BATCH_SECONDS)
                async with self._disk:
                    await self._flush()
        finally:
            if self._history is not None and self._pending:
                with contextlib.suppress(OSError):
                    self._history.append(self._pending)  # the loop is ending, so this small write may block it

    @asynccontextmanager
    async def subscribe(self, since_ns: int | None = None) -> AsyncIterator[tuple[list[EventMessage], EventQueue]]:
        """The history from a time on (None for none of it), and a queue of all later events, without gap or overlap. None in the queue
        means that the subscriber lagged.
        """
        queue: EventQueue = asyncio.Queue(QUEUE)
        try:
            past = [] if since_ns is None else await self._past(since_ns, queue)
            self._queues.add(queue)
            yield past, queue
        finally:
            self._queues.discard(queue)

    async def _past(self, since_ns: int, queue: EventQueue) -> list[EventMessage]:
        """While the lock is held, the disk has exactly what was published before the queue was added, but for ``recent``."""
        async with self._disk:
            await self._flush()
            recent = [item for item in self._pending if item["timeNano"] >= since_ns]
            self._queues.add(queue)
            stored = await asyncio.to_thread(self._history.read, since_ns) if self._history else []
        return [*stored, *recent]

    async def _flush(self) -> None:
        pending, self._pending = self._pending, []
        self._arrived.clear()
        if not pending or self._history is None:
            return
        try:
            await asyncio.to_thread(self._history.append, pending)
            self._has_failed = False
        except OSError as error:
            if not self._has_failed:
                log.warning("events are missing in the history, because the disk did not take them: %s", error)
            self._has_failed = True


async def publish_container_events(
    events: EventLog, containers: Containers, network_id: Callable[[str], str] = str
) -> None:
    """Publish events of containers, and of the networks they connect to, until cancelled. ``network_id`` is the id of a predefined
    network.
    """
    while True:
        with containers.subscribe() as stream:
            try:
                async for item in stream:
                    for message in event.of_container(item, network_id):
                        events.publish(message)
            except LaggedError:
                continue
        return


async def publish_network_events(log: EventLog, networks: LocalNetworkRegistry) -> None:
    """Publish the creation and removal of networks of this host until cancelled."""
    while True:
        with networks.events.subscribe() as events:
            try:
                async for item in events:
                    log.publish(event.from_network(item))
            except LaggedError:
                continue
        return


async def publish_volume_events(log: EventLog, volumes: Volumes) -> None:
    """Publish volume events until cancelled."""
    while True:
        with volumes.events.subscribe() as events:
            try:
                async for item in events:
                    log.publish(event.from_volume(item))
            except LaggedError:
                continue
        return
