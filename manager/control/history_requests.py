"""History requests: what the leader remembers, and what happens next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from covey import codec
from covey.errors import NotFoundError
from covey.objects import HistoryEntry
from coveypb.v1 import control_pb2, objects_pb2
from manager.history.entries import TASK
from manager.history.log import HistoryLog, Position
from manager.store.view import View

_NOT_BY_DEFAULT = frozenset({TASK, "cluster"})


def list_history(
    view: View, history: HistoryLog, request: control_pb2.ListHistoryRequest
) -> control_pb2.ListHistoryResponse:
    """The remembered entries that a request asks for.

    Raises:
        NotFoundError: neither a service nor an entry has this name or id; ConflictError: several have.
    """
    end = history.end
    found: Iterable[HistoryEntry] = history.entries(since_ns=request.since_ns)
    if request.service_ref:
        identity = _service_id(view, history, request.service_ref)
        found = (entry for entry in found if entry.service_id == identity)
    wanted = [entry for entry in found if _is_asked(entry, request.kinds)]
    response = control_pb2.ListHistoryResponse(end=control_pb2.HistoryPosition(version=end[0], number=end[1]))
    for entry in wanted:
        codec.write(entry, response.entries.add())
    return response


async def watch_history(
    history: HistoryLog, request: control_pb2.WatchHistoryRequest, begun: Callable[[], Awaitable[None]]
) -> AsyncIterator[objects_pb2.HistoryEntry]:
    """The entries after the place of the request. Raises LaggedError if the reader is too slow."""
    after: Position | None = (request.after.version, request.after.number) if request.HasField("after") else None
    with history.follow(after) as entries:
        await begun()
        async for entry in entries:
            if _is_asked(entry, request.kinds):
                yield codec.to_wire(entry)


def _is_asked(entry: HistoryEntry, kinds: Iterable[str]) -> bool:
    named = set(kinds)
    return entry.kind in named if named else entry.kind not in _NOT_BY_DEFAULT


def _service_id(view: View, history: HistoryLog, ref: str) -> str:
    """The id of a service, or of the last one with this name or id that was removed."""
    try:
        return view.services.find(ref).id
    except NotFoundError:
        for entry in reversed(history.entries()):
            if entry.service_id and ref in {entry.service_id, entry.service_name}:
                return entry.service_id
        raise
