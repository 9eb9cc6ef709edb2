"""`docker events`: subscription to the events of all containers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from agent.container.events import EventSubscription
from agent.container.host import ContainerHost


def subscribe(host: ContainerHost) -> AbstractContextManager[EventSubscription]:
    """Events from now on. A reader that lags gets `LaggedError` and subscribes again."""
    return host.events.subscribe()
