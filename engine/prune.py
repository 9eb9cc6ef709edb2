"""Prunes of this host: one at a time for each group, as in Docker, and the event that follows.

Invariant: containers and networks share a group; images, volumes and the build cache have their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from covey.errors import ConflictError
from engine.request_context import RequestContext
from engine.translate import event

CONTAINER, NETWORK, IMAGE, VOLUME, BUILDER = "container", "network", "image", "volume", "builder"
_GROUP = {NETWORK: CONTAINER}


class Prune:
    """One prune; the route adds to ``reclaimed_bytes`` what it frees."""

    def __init__(self) -> None:
        self.reclaimed_bytes = 0


@contextmanager
def pruning(context: RequestContext, kind: str) -> Iterator[Prune]:
    """Prune objects of a kind in the block; its end publishes the event ``prune`` unless it failed.

    Raises ConflictError in Docker's words while another prune of the group runs.
    """
    group, running = _GROUP.get(kind, kind), context.services.running_prunes
    if group in running:
        raise ConflictError("a prune operation is already running")
    running.add(group)
    prune = Prune()
    try:
        yield prune
    finally:
        running.discard(group)
    attributes = {"reclaimed": str(prune.reclaimed_bytes)}
    context.services.events.publish(event.message(kind, "prune", "", attributes, context.services.clock()))
