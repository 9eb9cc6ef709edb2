"""Follower of the state in etcd: reads everything at one revision, then applies every later revision from a watch.

Invariant: revisions are applied in order, each whole and once.
Invariant: when the watch cannot continue (compacted revisions, objects changed by a stranger, a restored etcd with another
history), everything is read again, and until then this manager does not lead. ``applied`` then goes back if etcd did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from coveypb.etcd import rpc_pb2
from manager.etcd.bootstrap import require_cluster
from manager.etcd.client import EtcdClient
from manager.etcd.encryption import ValueCipher
from manager.etcd.errors import HistoryChangedError, MessageTooLargeError, NoAnswerError, RevisionUnavailableError
from manager.etcd.group_requests import latest_transaction
from manager.etcd.group_state import GroupState, TransactionHead, head_of
from manager.etcd.keyspace import Keyspace
from manager.etcd.transactions import ForeignWriteError, SnapshotBuilder, store_transaction
from manager.etcd.watch_stream import WatchStream
from manager.store.consensus import OutcomeUnknownError, StateMachine

log = logging.getLogger(__name__)

_PAGE = 32
_LARGEST_PAGE = 512
"""Small objects may be followed by objects of the largest size: without a limit, a page could have GiB."""
_PAGE_BYTES = 8 << 20
_PAGE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_RETRY_SECONDS = 0.05
_STRETCH = 64


class StateFollower:
    """``applied`` is the last applied revision. ``fresh`` is true while no revision before it is missing. ``changed`` is called after each
    revision. Used on one event loop.
    """

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        cipher: ValueCipher,
        machine: StateMachine,
        *,
        cluster_id: str,
        changed: Callable[[], None],
    ) -> None:
        self.group_state = GroupState(keys)
        self.applied = 0
        self.fresh = False
        self._client = client
        self._keys = keys
        self._cipher = cipher
        self._machine = machine
        self._cluster_id = cluster_id
        self._changed = changed
        self._watch = WatchStream(client, keys)
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self._moved = asyncio.Event()
        client.on_move = self._watch.interrupt

    async def run(self) -> None:
        """Runs until cancelled.

        Raises:
            ConflictError: the prefix holds another cluster.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = self.applied
            try:
                if not self.fresh:
                    await self._load()
                await self._follow()
            except (RevisionUnavailableError, HistoryChangedError) as error:
                log.warning("reading the cluster's state again: %s", error.message)
                self._invalidate()
            except ForeignWriteError:
                log.warning(
                    "reading the cluster's state again: objects in etcd were changed by a process that is no manager"
                )
                self._invalidate()
            except NoAnswerError as error:
                log.debug("opening the watch again: %s", error.message)
            pause = _FIRST_PAUSE_SECONDS if self.applied > before else min(pause * 2, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    def leave_endpoint(self) -> None:
        """Opens the watch again, on the next endpoint if there is one: this one may hang."""
        endpoint = self._client.endpoint
        self._client.leave_endpoint(endpoint, f"the watch at {self._client.target.endpoints[endpoint]} lags behind")
        self._watch.interrupt()

    def expect(self, request_id: int) -> asyncio.Future[int]:
        """A future of the transaction's revision, set once it is applied. The caller calls ``forget`` afterwards."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._awaited[request_id] = answer
        return answer

    def forget(self, request_id: int) -> None:
        self._awaited.pop(request_id, None)

    async def wait_applied(self, revision: int) -> None:
        """Waits until a revision is applied. The caller has a deadline."""
        await self.wait_until(lambda: self.fresh and self.applied >= revision)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until the applied state makes the condition true. The caller has a deadline."""
        while not condition():
            await self._moved.wait()

    async def _load(self) -> None:
        """Reads everything under the prefix at one revision."""
        found = (await self._client.range(rpc_pb2.RangeRequest(key=self._keys.cluster))).kvs
        require_cluster(self._client, found[0].value.decode() if found else "", self._cluster_id)
        self.group_state.clear()
        snapshot = SnapshotBuilder(self._keys, self._cipher)
        request = rpc_pb2.RangeRequest(key=self._keys.first, range_end=self._keys.end, limit=_PAGE)
        while True:
            page = await self._page(request)
            request.revision = request.revision or page.header.revision
            snapshot.add(page.kvs)
            for kv in page.kvs:
                self.group_state.put(kv)
            if not page.more:
                break
            request.key = page.kvs[-1].key + b"\0"
            request.limit = _next_limit(page)
        revision = request.revision
        install = await asyncio.to_thread(self._machine.decode, revision, snapshot.whole())
        install()
        self.applied, self.fresh = revision, True
        self._notify()

    async def _page(self, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
        """Reads a page. Lowers ``request.limit`` when the page does not fit into a message: sizes are not known before."""
        while True:
            try:
                return await self._client.range(request, _PAGE_SECONDS)
            except MessageTooLargeError:
                if request.limit <= 1:
                    raise
                request.limit //= 2

    async def latest_revision(self) -> int:
        """The revision of the last transaction, confirmed by a majority of etcd.

        Raises:
            HistoryChangedError: it does not belong to the history that is applied here; everything is being read again.
        """
        applied, known = self.applied, self.group_state.last
        answer = await self._client.range(latest_transaction(self._keys))
        head = head_of(answer.kvs)
        self.check_history(applied, known, answer.header.revision, head)
        return head[0]

    async def catch_up(self) -> int:
        """Returns the latest revision once it is applied here. Retries while etcd does not answer. The caller has a deadline."""
        while True:
            await self.wait_until(lambda: self.fresh)
            try:
                revision = await self.latest_revision()
            except (NoAnswerError, HistoryChangedError):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self.wait_applied(revision)
            return revision

    def check_history(self, applied: int, known: TransactionHead, revision: int, answered: TransactionHead) -> None:
        """Compares an answer for ``PREFIX/last`` with what was known before the request.

        Raises:
            HistoryChangedError: etcd was restored from a snapshot.
        """
        if self.fresh and (revision < applied or (answered[0] <= applied and answered != known)):
            error = HistoryChangedError(
                "etcd was restored from a snapshot: its history differs from what this manager has applied"
            )
            log.warning("reading the cluster's state again: %s", error.message)
            self._invalidate()
            self._watch.interrupt()
            raise error

    async def _require_history(self) -> None:
        """Compares all keys but objects at the last applied revision. A restored etcd may have passed that revision with other content.

        Raises:
            HistoryChangedError: etcd has another history.
        """
        request = rpc_pb2.RangeRequest(key=self._keys.first, range_end=self._keys.objects, revision=self.applied)
        found = GroupState(self._keys)
        for kv in (await self._client.range(request)).kvs:
            found.put(kv)
        if not found.same_history(self.group_state):
            raise HistoryChangedError(
                f"etcd was restored from a snapshot: it has other content at revision {self.applied}"
            )

    async def _follow(self) -> None:
        await self._require_history()
        count = 0
        async for revision, events in self._watch.revisions(self.applied + 1):
            self._apply(revision, events)
            count += 1
            if count % _STRETCH == 0:
                await asyncio.sleep(0)

    def _apply(self, revision: int, events: Sequence[rpc_pb2.Event]) -> None:
        if revision <= self.applied:
            return
        entry = store_transaction(self._keys, self._cipher, events) if events else None
        if entry is not None:
            self._machine.apply(revision, entry[1])
        for event in events:
            if event.type == rpc_pb2.Event.PUT:
                self._client.write_refusal_reason = ""
                self.group_state.put(event.kv)
            else:
                self.group_state.delete(event.kv.key)
        self.applied = revision
        answer = self._awaited.pop(entry[0], None) if entry is not None else None
        if answer is not None and not answer.done():
            answer.set_result(revision)
        self._notify()

    def _invalidate(self) -> None:
        """Stops following. The outcome of transactions that are still awaited is unknown."""
        self.fresh = False
        awaited, self._awaited = self._awaited, {}
        for answer in awaited.values():
            with suppress(asyncio.InvalidStateError):
                answer.set_exception(OutcomeUnknownError(OUTCOME_UNKNOWN_MESSAGE))
        self._notify()

    def _notify(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        self._changed()


OUTCOME_UNKNOWN_MESSAGE = (
    "etcd became unreachable during this write. The outcome is unknown: check the object's state before retrying"
)


def _next_limit(page: rpc_pb2.RangeResponse) -> int:
    """The number of keys in a page of some MiB, estimated from the last page."""
    return max(8, min(_LARGEST_PAGE, _PAGE_BYTES * len(page.kvs) // max(1, page.ByteSize())))
