"""Watch stream over the cluster's keys in etcd: one revision after another, each with all of its events.

Invariant: no revision is delivered twice, split or left out. Where that is impossible the stream ends with an error, and its reader opens a
new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from grpc import aio

from coveypb.etcd import rpc_pb2, rpc_pb2_grpc
from manager.etcd.client import EtcdClient
from manager.etcd.errors import NoAnswerError, RevisionUnavailableError, error_of
from manager.etcd.keyspace import Keyspace

BEGIN_SECONDS = 2.0


class WatchStream:
    """``interrupt`` ends the current watch with NoAnswerError, also between two reads."""

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._keys = keys
        self._scope: asyncio.Timeout | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        self._interrupted = True
        if self._scope is not None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def read(self, call: Any, seconds: float | None = None) -> Any:
        if self._interrupted:
            raise NoAnswerError("the watch was interrupted")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(None if seconds is None else loop.time() + seconds) as self._scope:
                return await call.read()
        except TimeoutError:
            raise NoAnswerError("the watch timed out") from None
        finally:
            self._scope = None

    async def revisions(self, start: int) -> AsyncIterator[tuple[int, Sequence[rpc_pb2.Event]]]:
        """Yields each revision from ``start`` on with its events. A revision without events says that all earlier ones were delivered.

        Raises:
            RevisionUnavailableError: ``start`` was compacted; NoAnswerError: the stream broke.
        """
        endpoint, client = self._client.endpoint, self._client
        call: Any = rpc_pb2_grpc.WatchStub(client.channel()).Watch()
        self._interrupted = False
        gathered: list[rpc_pb2.Event] = []
        try:
            await call.write(self._request(start))
            response = await self.read(call, BEGIN_SECONDS)
            while True:
                _require_open(response, start)
                gathered += response.events
                if not response.fragment:
                    for revision in _by_revision(gathered):
                        yield revision
                    if not gathered and not response.created:
                        yield response.header.revision, ()
                    gathered = []
                response = await self.read(call)
        except NoAnswerError as error:
            client.leave_endpoint(
                endpoint, f"etcd at {client.target.endpoints[endpoint]} does not answer: {error.message}"
            )
            raise
        except asyncio.InvalidStateError as error:
            client.leave_endpoint(endpoint, f"etcd at {client.target.endpoints[endpoint]} did not accept the watch")
            raise NoAnswerError("etcd did not accept the watch") from error
        except aio.AioRpcError as failure:
            meant = error_of(failure, client.target.endpoints[endpoint])
            client.leave_endpoint(endpoint, meant.message)
            raise meant from failure
        finally:
            call.cancel()

    def _request(self, start: int) -> rpc_pb2.WatchRequest:
        create = rpc_pb2.WatchCreateRequest(
            key=self._keys.first, range_end=self._keys.end, start_revision=start, progress_notify=True, fragment=True
        )
        return rpc_pb2.WatchRequest(create_request=create)


def _require_open(response: Any, start: int) -> None:
    """Raises RevisionUnavailableError or NoAnswerError if etcd ended the watch."""
    if response is aio.EOF:
        raise NoAnswerError("etcd ended the watch")
    if response.compact_revision:
        raise RevisionUnavailableError(f"revision {start} was compacted; the oldest is {response.compact_revision}")
    if response.canceled:
        raise NoAnswerError(f"etcd cancelled the watch: {response.cancel_reason}")


def _by_revision(events: Sequence[rpc_pb2.Event]) -> list[tuple[int, list[rpc_pb2.Event]]]:
    """Groups events, which are in the order of their revisions, by revision."""
    found: list[tuple[int, list[rpc_pb2.Event]]] = []
    for event in events:
        revision = event.kv.mod_revision
        if not found or found[-1][0] != revision:
            found.append((revision, []))
        found[-1][1].append(event)
    return found
