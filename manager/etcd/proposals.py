"""Proposals to etcd: each store transaction is one fenced etcd transaction, and a lost answer is settled by moving the fence.

Invariant: a proposal is reported as committed, as refused, or as unknown, and the report is true. It is never applied twice.
Invariant: a proposal that was sent is finished even if its caller is cancelled: abandoned halfway, its outcome might never be known.
Called by ``EtcdConsensus``. This is the only place that sends a write to etcd again; see "Who retries" in docs/design/store.md.
"""

from __future__ import annotations

import asyncio

from covey.errors import CoveyError
from covey.task_group import TaskGroup
from coveypb.etcd import rpc_pb2
from coveypb.v1 import store_pb2
from manager.etcd.client import EtcdClient
from manager.etcd.encryption import ValueCipher
from manager.etcd.errors import DatabaseFullError, NoAnswerError
from manager.etcd.follower import OUTCOME_UNKNOWN_MESSAGE, StateFollower
from manager.etcd.group_state import Leader
from manager.etcd.keyspace import Keyspace
from manager.etcd.leadership import FencedLeadership
from manager.etcd.transactions import etcd_transaction, with_fence
from manager.store.consensus import NotLeaderError, OutcomeUnknownError, RefusedError, StateMachine

PROPOSE_SECONDS = 10.0
_ATTEMPT_SECONDS = 2.0
_RETRY_SECONDS = 0.05
_FINISH_SECONDS = 1.0

Outcome = int | CoveyError
"""The revision of a committed proposal, or the reason why there is none."""


class Proposals:
    """Runs each proposal as a task of ``tasks``, which ``EtcdConsensus.run`` sets while it runs."""

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        cipher: ValueCipher,
        *,
        machine: StateMachine,
        follower: StateFollower,
        leadership: FencedLeadership,
    ) -> None:
        self._client = client
        self._keys = keys
        self._cipher = cipher
        self._machine = machine
        self._follower = follower
        self._leadership = leadership
        self._running: set[asyncio.Task[Outcome]] = set()
        self._deadlines: set[asyncio.Timeout] = set()
        self.tasks: TaskGroup | None = None

    async def propose(self, data: bytes) -> int:
        """The revision of the transaction, once it is applied here. Raises as ``Consensus.propose`` does."""
        leader = self._leadership.require_leading()
        if self.tasks is None:
            raise NotLeaderError
        request_id = store_pb2.StoreCommit.FromString(data).request_id
        # Registered before the task starts, so that a reload in between reports the outcome as unknown instead of leaving it open.
        applied = self._follower.expect(request_id)
        task = self.tasks.create_task(self._run(data, applied, leader))
        self._running.add(task)
        task.add_done_callback(lambda done: self._forget_finished(done, request_id))
        try:
            outcome = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: self._settle_cancelled(done, request_id, leader))
            raise
        if isinstance(outcome, CoveyError):
            raise outcome
        return outcome

    async def finish(self) -> None:
        """Waits a moment for running proposals while the watch still runs; then reports the remaining ones as unknown."""
        if self._running:
            await asyncio.wait(self._running, timeout=_FINISH_SECONDS)
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())

    def _forget_finished(self, done: asyncio.Task[Outcome], request_id: int) -> None:
        self._running.discard(done)
        self._follower.forget(request_id)

    def _settle_cancelled(self, done: asyncio.Task[Outcome], request_id: int, leader: Leader) -> None:
        """Ends the term only if the outcome is unknown: no manager could start a new one while etcd is full."""
        if done.cancelled() or isinstance(done.result(), OutcomeUnknownError):
            self._leadership.end_term(leader.term)
        elif isinstance(done.result(), CoveyError):
            self._machine.dropped(request_id)

    async def _run(self, data: bytes, applied: asyncio.Future[int], leader: Leader) -> Outcome:
        """An unknown outcome ends this leadership: the next term settles what is open."""
        deadline = asyncio.timeout(PROPOSE_SECONDS)
        self._deadlines.add(deadline)
        try:
            async with deadline:
                return await self._write(etcd_transaction(self._keys, self._cipher, data), applied, leader)
        except TimeoutError:
            self._leadership.end_term(leader.term)
            reason = self._client.unavailable_reason or self._client.write_refusal_reason
            return OutcomeUnknownError(f"{OUTCOME_UNKNOWN_MESSAGE} ({reason})" if reason else OUTCOME_UNKNOWN_MESSAGE)
        except CoveyError as error:
            return error
        finally:
            self._deadlines.discard(deadline)

    async def _write(self, request: rpc_pb2.TxnRequest, applied: asyncio.Future[int], leader: Leader) -> int:
        while True:
            try:
                answer = await self._client.txn(with_fence(request, self._keys, leader), _ATTEMPT_SECONDS)
            except NoAnswerError:
                await self._settle_lost_write(leader, applied)
                if applied.done():
                    return applied.result()
                leader = self._leadership.require_same(leader)
                continue
            except DatabaseFullError:  # etcd may have executed the transaction all the same
                await self._follower.catch_up()
                if applied.done():
                    return applied.result()
                raise
            if answer.succeeded:
                return await applied
            leader = self._after_refusal(answer, leader)

    def _after_refusal(self, answer: rpc_pb2.TxnResponse, leader: Leader) -> Leader:
        """The leadership to write with again, when only the fence has moved.

        Raises:
            NotLeaderError: the leadership is over; RefusedError: an object has another version.
        """
        kvs = answer.responses[0].response_range.kvs
        if not kvs or kvs[0].create_revision != leader.term:
            self._leadership.end_term(leader.term)
        elif kvs[0].mod_revision == leader.fence:
            raise RefusedError("objects in etcd have other versions than this manager expected")
        else:
            self._leadership.record_fence(leader.term, kvs[0].mod_revision)
        return self._leadership.require_same(leader)

    async def _settle_lost_write(self, leader: Leader, applied: asyncio.Future[int]) -> None:
        """Returns once the transaction that was sent behind this fence is applied here, or never will be. The caller has a deadline."""
        while not applied.done():
            acquired = self._leadership.acquired
            if acquired is None or acquired.term != leader.term:
                # The leader's key of that term is deleted before another manager leads. No write behind it can follow.
                await self._follower.wait_until(lambda: self._leadership_is_over(leader))
                return
            if acquired.fence != leader.fence:
                await self._follower.wait_applied(acquired.fence)
                return
            try:
                await self._leadership.move_fence(leader)
            except CoveyError:  # whatever the error is, the outcome is still open
                await asyncio.sleep(_RETRY_SECONDS)

    def _leadership_is_over(self, leader: Leader) -> bool:
        """Only a complete state tells: during a reload no leader is known."""
        seen = self._follower.group_state.leader
        return self._follower.fresh and (seen is None or seen.term != leader.term)
