"""Event log of this host for ``docker events``: a short history and bounded queues of subscribers.

Invariant: memory is bounded; a subscriber that lags is ended instead of being shown a gap. One ``EventLog`` per daemon.
``publish_container_events`` feeds it container events; routes publish those of images.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent.container.api import Containers
from covey.errors import LaggedError
from engine.interfaces import Volumes
from engine.translate import event

HISTORY = 256
QUEUE = 1024

EventMessage = dict[str, Any]


class EventLog:
    """Events in Docker's JSON form, oldest first."""

    def __init__(self) -> None:
        self._history: deque[EventMessage] = deque(maxlen=HISTORY)
        self._queues: set[asyncio.Queue[EventMessage | None]] = set()

    @property
    def readers(self) -> int:
        """Number of subscribers."""
        return len(self._queues)

    def publish(self, message: EventMessage) -> None:
        """Send an event to every subscriber. One whose queue is full is ended."""
        self._history.append(message)
        for queue in list(self._queues):
            if queue.full():
                self._queues.discard(queue)
                queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(message)

    @contextmanager
    def subscribe(self) -> Iterator[tuple[list[EventMessage], asyncio.Queue[EventMessage | None]]]:
        """The history, and a queue of all later events, without gap or overlap. None in the queue means that the subscriber lagged."""
        queue: asyncio.Queue[EventMessage | None] = asyncio.Queue(QUEUE)
        self._queues.add(queue)
        try:
            yield list(self._history), queue
        finally:
            self._queues.discard(queue)


async def publish_container_events(log: EventLog, containers: Containers) -> None:
    """Publish container events until cancelled."""
    while True:
        with containers.subscribe() as events:
            try:
                async for item in events:
                    log.publish(event.from_container(item))
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
