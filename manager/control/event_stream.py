"""Stream of the cluster's events: every commit of the store as messages, in commit order.

Invariant: no event is skipped. A reader that is too slow gets LaggedError (DATA_LOSS) and must start again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

from covey import codec
from coveypb.v1 import control_pb2
from manager.control.redaction import redact
from manager.store import Change, Store


async def stream_events(store: Store, begun: Callable[[], Awaitable[None]]) -> AsyncIterator[control_pb2.ClusterEvent]:
    """Every change after ``begun`` is called. Raises LaggedError if the reader is too slow."""
    with store.watch() as (_, commits):
        await begun()
        async for commit in commits:
            for change in commit.changes:
                yield event_message(change, commit.timestamp_ns)


def event_message(change: Change, timestamp_ns: int) -> control_pb2.ClusterEvent:
    message = control_pb2.ClusterEvent(action=change.action.name.lower(), timestamp_ns=timestamp_ns)
    item = change.item
    codec.write(redact(item), getattr(message, type(item).__name__.lower()))
    return message
