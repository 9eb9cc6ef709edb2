"""Consensus of the store over etcd: fenced transactions, one watch, leadership by lease.

Invariant: an acknowledged proposal is stored by a majority of etcd and applied here.
Invariant: a proposal is never applied twice. When its answer is lost, the fence moves; then the proposal is known to be applied, or it is
sent again. Made by ``manager.etcd.backend``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager

from covey.errors import CoveyError, DeadlineError
from coveypb.etcd import rpc_pb2
from coveypb.v1 import store_pb2
from manager.etcd.client import EtcdClient
from manager.etcd.encryption import ValueCipher
from manager.etcd.errors import DatabaseFullError, HistoryChangedError, NoAnswerError
from manager.etcd.follower import OUTCOME_UNKNOWN_MESSAGE, StateFollower
from manager.etcd.group_state import Leader, numeric_member_id
from manager.etcd.keyspace import Keyspace
from manager.etcd.leadership import LeaseHolder
from manager.etcd.transactions import etcd_transaction, with_fence
from manager.store.consensus import (
    Leadership,
    Member,
    NotLeaderError,
    OutcomeUnknownError,
    RefusedError,
    RemovedError,
    StateMachine,
)
from manager.store.observable import ObservableValue

PROPOSE_SECONDS = 10.0
READ_SECONDS = 5.0
CHANGE_SECONDS = 10.0
_FINISH_SECONDS = 1.0
_ATTEMPT_SECONDS = 2.0
_RETRY_SECONDS = 0.05

Compare = rpc_pb2.Compare


class EtcdConsensus:
    """Runs while ``run`` does. All methods belong to one event loop."""

    def __init__(
        self,
        client: EtcdClient,
        sealer: ValueCipher,
        machine: StateMachine,
        *,
        cluster_id: str,
        node_id: str,
        addr: str,
    ) -> None:
        self._client = client
        self._machine = machine
        self._keys = Keyspace(client.target.prefix)
        self._sealer = sealer
        self._node_id = node_id
        self._follower = StateFollower(
            client, self._keys, sealer, machine, cluster_id=cluster_id, changed=self._changed
        )
        self._holder = LeaseHolder(
            client, self._keys, self._follower, node_id=node_id, addr=addr, changed=self._set_leadership
        )
        self._leadership = ObservableValue(Leadership())
        self._removed = asyncio.Event()
        self._stop = asyncio.Event()
        self._writing: asyncio.TaskGroup | None = None
        self._open: set[asyncio.Task[int | CoveyError]] = set()
        self._deadlines: set[asyncio.Timeout] = set()

    @property
    def unavailable_reason(self) -> str:
        """Why nothing can be changed now, for people; empty while etcd answers and takes writes."""
        return self._client.unavailable_reason or self._client.write_refusal_reason

    async def run(self) -> None:
        """Until ``close``.

        Raises:
            RemovedError: this manager was removed from the group; ConflictError: the prefix holds another cluster. Both in a group.
        """
        works = (self._follower.run, self._keep_lease, self._holder.run_elections, self._end_when_removed)
        try:
            async with asyncio.TaskGroup() as group, asyncio.TaskGroup() as self._writing:
                tasks = [group.create_task(work()) for work in works]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._writing = None
            await self._client.close()

    async def close(self) -> None:
        """Gives the lease back, so that another manager leads at once; hears what became of its writes; then ends ``run``."""
        await self._holder.release()
        self._set_leadership()
        await self._finish_writes()
        self._stop.set()

    async def _finish_writes(self) -> None:
        """While the watch still runs: what it does not bring in time, nobody knows."""
        if self._open:
            await asyncio.wait(self._open, timeout=_FINISH_SECONDS)
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())

    async def _keep_lease(self) -> None:
        await self._follower.wait_until(
            lambda: self._follower.fresh
        )  # so that a prefix of another cluster is not touched
        await self._holder.keep_lease()

    async def _end_when_removed(self) -> None:
        await self._removed.wait()
        await self._holder.release()
        raise RemovedError("this manager was removed from the cluster")

    # What the watch and the lease tell.

    def _changed(self) -> None:
        if self._follower.fresh and self._node_id not in self._follower.group_state.addresses:
            self._removed.set()
        if not self._follower.fresh:
            self._holder.abandon_stale()
        elif self._follower.group_state.leader is None:
            self._holder.wake()
        self._set_leadership()

    def _set_leadership(self) -> None:
        leads, seen = self._holder.leading, self._follower.group_state.leader
        if leads is not None:
            self._leadership.set(
                Leadership(
                    is_leader=True, leader_id=numeric_member_id(self._node_id), leader_addr=leads.addr, term=leads.term
                )
            )
        elif seen is not None and seen.node_id != self._node_id:
            self._leadership.set(
                Leadership(leader_id=numeric_member_id(seen.node_id), leader_addr=seen.addr, term=seen.term)
            )
        else:
            self._leadership.set(Leadership(term=self._leadership.value.term))

    # Consensus.

    @property
    def leadership(self) -> Leadership:
        return self._leadership.value

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[Leadership]]:
        with self._leadership.subscribe() as changes:
            yield changes

    def members(self) -> tuple[Member, ...]:
        return self._follower.group_state.members()

    async def propose(self, data: bytes) -> int:
        leader = self._holder.require_leading()
        if self._writing is None:
            raise NotLeaderError
        request_id = store_pb2.StoreCommit.FromString(data).request_id
        answer = self._follower.expect(request_id)  # at once: what is lost before the task begins must be heard of, too
        writing = self._writing.create_task(self._propose_with_deadline(data, answer, leader))
        self._open.add(writing)
        writing.add_done_callback(lambda done: self._forget_finished(done, request_id))
        try:
            outcome = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # It goes on, for what is cancelled halfway might never be cleared up.
            writing.add_done_callback(lambda done: self._settle_cancelled(done, request_id, leader))
            raise
        if isinstance(outcome, CoveyError):
            raise outcome
        return outcome

    def _forget_finished(self, done: asyncio.Task[int | CoveyError], request_id: int) -> None:
        self._open.discard(done)
        self._follower.forget(request_id)

    def _settle_cancelled(self, done: asyncio.Task[int | CoveyError], request_id: int, leader: Leader) -> None:
        """Only what nobody knows takes a new term: where etcd is full, nobody could begin one."""
        if done.cancelled() or isinstance(done.result(), OutcomeUnknownError):
            self._holder.deposed(leader.term)
        elif isinstance(done.result(), CoveyError):
            self._machine.dropped(request_id)

    async def _propose_with_deadline(
        self, data: bytes, answer: asyncio.Future[int], leader: Leader
    ) -> int | CoveyError:
        """The revision, or why there is none. When nobody can tell, this leadership ends, and with its term the question is settled."""
        deadline = asyncio.timeout(PROPOSE_SECONDS)
        self._deadlines.add(deadline)
        try:
            async with deadline:
                return await self._write(etcd_transaction(self._keys, self._sealer, data), answer, leader)
        except TimeoutError:
            self._holder.deposed(leader.term)
            return OutcomeUnknownError(
                f"{OUTCOME_UNKNOWN_MESSAGE} ({self.unavailable_reason})"
                if self.unavailable_reason
                else OUTCOME_UNKNOWN_MESSAGE
            )
        except CoveyError as error:
            return error
        finally:
            self._deadlines.discard(deadline)

    async def _write(self, request: rpc_pb2.TxnRequest, answer: asyncio.Future[int], leader: Leader) -> int:
        while True:
            try:
                told = await self._client.txn(with_fence(request, self._keys, leader), _ATTEMPT_SECONDS)
            except NoAnswerError:
                await self._settle_lost_write(leader, answer)
                if answer.done():
                    return answer.result()
                leader = self._require_still(leader)
                continue
            except DatabaseFullError:
                await self._read_last()
                if answer.done():
                    return answer.result()
                raise
            if told.succeeded:
                return await answer
            kvs = told.responses[0].response_range.kvs
            if not kvs or kvs[0].create_revision != leader.term:
                self._holder.deposed(leader.term)
                raise NotLeaderError(self.leadership.leader_addr)
            if kvs[0].mod_revision == leader.fence:
                raise RefusedError("objects in etcd are not as this manager knows them")
            self._holder.record_fence(leader.term, kvs[0].mod_revision)
            leader = self._require_still(leader)

    def _require_still(self, leader: Leader) -> Leader:
        """The same leadership as it stands now. Raises NotLeaderError: nothing of the proposal was or will be written."""
        won = self._holder.acquired
        if won is None or won.term != leader.term:
            raise NotLeaderError(self.leadership.leader_addr)
        return won

    async def _settle_lost_write(self, leader: Leader, answer: asyncio.Future[int]) -> None:
        """Returns once the transaction that was sent behind this leader's fence is applied here or never will be."""
        while not answer.done():
            won = self._holder.acquired
            if won is None or won.term != leader.term:
                # The key of that leadership is deleted before anybody else leads; no write behind it can follow.
                await self._follower.wait_until(lambda: self._leadership_is_over(leader))
                return
            if won.fence != leader.fence:
                await self._follower.wait_applied(won.fence)
                return
            try:
                await self._holder.move_fence(leader)
            except CoveyError:  # whatever it is, what became of the transaction is not known yet
                await asyncio.sleep(_RETRY_SECONDS)

    def _leadership_is_over(self, leader: Leader) -> bool:
        """While everything is read again, that no leader is known says nothing."""
        seen = self._follower.group_state.leader
        return self._follower.fresh and (seen is None or seen.term != leader.term)

    async def read_index(self) -> int:
        """Returns when everything acknowledged before the call is applied here: every transaction changes the key that is asked for."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._read_last()
        except TimeoutError:
            why = f": {self.unavailable_reason}" if self.unavailable_reason else ""
            raise DeadlineError(f"etcd confirmed no read within {READ_SECONDS:g} s{why}") from None

    async def _read_last(self) -> int:
        """The caller has a deadline."""
        while True:
            await self._follower.wait_until(lambda: self._follower.fresh)
            try:
                revision = await self._follower.latest_revision()
            except (NoAnswerError, HistoryChangedError):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await self._follower.wait_applied(revision)
            return revision

    # The group.

    async def remove_members(self, node_ids: Collection[str]) -> None:
        """Leader only, all at once; no effect on nodes that are no members. A leader that is among them hands over first, and its
        successor goes on.

        Raises:
            NotLeaderError, LostError, DeadlineError; UnavailableError: no other manager runs.
        """
        leader, group_state = self._holder.require_leading(), self._follower.group_state
        leaving = [node_id for node_id in sorted(node_ids) if node_id in group_state.addresses]
        if self._node_id in leaving:
            await self._holder.transfer_to([node_id for node_id in group_state.alive if node_id not in leaving])
            raise NotLeaderError(self.leadership.leader_addr)
        if not leaving:
            return
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=leader.term)
        for node_id in leaving:
            for key in (self._keys.member(node_id), self._keys.alive(node_id)):
                request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
        if not (await self._client.txn(request)).succeeded:
            self._holder.deposed(leader.term)
            raise NotLeaderError(self.leadership.leader_addr)
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                await self._follower.wait_until(lambda: not set(leaving) & set(group_state.addresses))
        except TimeoutError:
            raise DeadlineError(f"the removal of {', '.join(leaving)} has not come back from etcd in time") from None

    async def transfer_leadership(self, among: Collection[str]) -> None:
        """Leader only: gives leadership to one of these nodes.

        Raises:
            NotLeaderError, DeadlineError; UnavailableError: none of them runs.
        """
        self._holder.require_leading()
        await self._holder.transfer_to(among)
