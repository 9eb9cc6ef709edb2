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
from manager.etcd.errors import HistoryChangedError, MessageTooLargeError, NoAnswerError, RevisionCompactedError
from manager.etcd.group_state import GroupState, TransactionHead, head_of
from manager.etcd.keyspace import Keyspace
from manager.etcd.transactions import ForeignWriteError, SnapshotBuilder, store_transaction
from manager.etcd.watch_stream import WatchStream
from manager.store.consensus import OutcomeUnknownError, StateMachine

log = logging.getLogger(__name__)

_PAGE = 32
_LARGEST_PAGE = 512
"""Objects of the largest size may follow upon small ones: etcd would put together a page of GiB."""
_PAGE_BYTES = 8 << 20
_PAGE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_STRETCH = 64


class StateFollower:
    """``applied`` is the last revision that is applied here; ``fresh`` says that nothing is missing before it. ``changed`` is called
    after each revision. Used on one event loop.
    """

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        sealer: ValueCipher,
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
        self._sealer = sealer
        self._machine = machine
        self._cluster_id = cluster_id
        self._changed = changed
        self._watch = WatchStream(client, keys)
        self._awaited: dict[int, asyncio.Future[int]] = {}
        self._moved = asyncio.Event()
        client.on_move = self._watch.interrupt

    async def run(self) -> None:
        """Until cancelled.

        Raises:
            ConflictError: what lies under the prefix is not this cluster.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = self.applied
            try:
                if not self.fresh:
                    await self._load()
                await self._follow()
            except (RevisionCompactedError, HistoryChangedError) as error:
                log.warning("the cluster's state is read again: %s", error.message)
                self._invalidate()
            except ForeignWriteError:
                log.warning("the cluster's state is read again: somebody else changed objects in etcd")
                self._invalidate()
            except NoAnswerError as error:
                log.debug("the watch begins again: %s", error.message)
            pause = _FIRST_PAUSE_SECONDS if self.applied > before else min(pause * 2, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    def leave_endpoint(self) -> None:
        """The watch may hang: it begins again, on another endpoint if there is one."""
        endpoint = self._client.endpoint
        self._client.leave_endpoint(
            endpoint, f"the watch at {self._client.target.endpoints[endpoint]} lags behind what etcd says"
        )
        self._watch.interrupt()

    def expect(self, request_id: int) -> asyncio.Future[int]:
        """The revision of a transaction, once it is applied. The caller forgets it."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._awaited[request_id] = answer
        return answer

    def forget(self, request_id: int) -> None:
        self._awaited.pop(request_id, None)

    async def wait_applied(self, revision: int) -> None:
        """Until a revision of this prefix is applied."""
        await self.wait_until(lambda: self.fresh and self.applied >= revision)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Until what is applied here makes the condition true; the caller has a deadline."""
        while not condition():
            await self._moved.wait()

    async def _load(self) -> None:
        """Everything under the prefix at one revision."""
        found = (await self._client.range(rpc_pb2.RangeRequest(key=self._keys.cluster))).kvs
        require_cluster(self._client, found[0].value.decode() if found else "", self._cluster_id)
        self.group_state.clear()
        snapshot = SnapshotBuilder(self._keys, self._sealer)
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
        """Of fewer keys than ``request.limit`` where so many do not fit into a message: nobody knows their sizes before."""
        while True:
            try:
                return await self._client.range(request, _PAGE_SECONDS)
            except MessageTooLargeError:
                if request.limit <= 1:
                    raise
                request.limit //= 2

    async def latest_revision(self) -> int:
        """The revision of the last transaction, as a majority confirms, once it is known to be of the history that is applied here: where
        it is not, everything is read again, and it is ReturnedError.
        """
        applied, known = self.applied, self.group_state.last
        answer = await self._client.range(rpc_pb2.RangeRequest(key=self._keys.last_transaction))
        told = head_of(answer.kvs)
        self.check_history(applied, known, answer.header.revision, told)
        return told[0]

    def check_history(self, applied: int, known: TransactionHead, revision: int, told: TransactionHead) -> None:
        """What was here before etcd was asked for ``PREFIX/last``, and what it said then. Raises ReturnedError."""
        if self.fresh and (revision < applied or (told[0] <= applied and told != known)):
            error = HistoryChangedError("etcd was restored: it stands before what this manager had from it")
            log.warning("the cluster's state is read again: %s", error.message)
            self._invalidate()
            self._watch.interrupt()
            raise error

    async def _require_history(self) -> None:
        """Raises ReturnedError unless etcd has at the last applied revision what is here: a restored one may have another past, and be
        beyond that revision already.
        """
        request = rpc_pb2.RangeRequest(key=self._keys.first, range_end=self._keys.objects, revision=self.applied)
        there = GroupState(self._keys)
        for kv in (await self._client.range(request)).kvs:
            there.put(kv)
        if not there.same_history(self.group_state):
            raise HistoryChangedError(f"etcd was restored: at revision {self.applied} it had something else")

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
        entry = store_transaction(self._keys, self._sealer, events) if events else None
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
        """What is here is not followed any more. Who waits for a transaction cannot be told what became of it."""
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
    "etcd was lost while it handled this write; it may or may not have taken effect: look, then repeat it if need be"
)


def _next_limit(page: rpc_pb2.RangeResponse) -> int:
    """As many keys as make a page of some MiB, going by the last one."""
    return max(8, min(_LARGEST_PAGE, _PAGE_BYTES * len(page.kvs) // max(1, page.ByteSize())))
