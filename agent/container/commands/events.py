"""`docker events`: subscription to the events of all containers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from agent.container.host import ContainerHost
from agent.container.model import ContainerEvent
from agent.event_bus import EventSubscription


def subscribe(host: ContainerHost) -> AbstractContextManager[EventSubscription[ContainerEvent]]:
    """Events from now on. A reader that lags gets `LaggedError` and subscribes again."""
    return host.events.subscribe()
