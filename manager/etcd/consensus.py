"""Consensus of the store over etcd: proposals, fresh reads, leadership and members of the group.

Invariant: an acknowledged proposal is stored by a majority of etcd and applied here.
Made by ``manager.etcd.backend``. The parts: ``StateFollower`` applies what etcd has. ``ManagerLease``,
``FencedLeadership`` and ``Election`` decide who leads. ``Proposals`` writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager

from covey.errors import DeadlineError
from covey.task_group import TaskGroup
from manager.etcd import group_requests
from manager.etcd.client import EtcdClient
from manager.etcd.election import Election
from manager.etcd.encryption import ValueCipher
from manager.etcd.follower import StateFollower
from manager.etcd.group_state import numeric_member_id
from manager.etcd.keyspace import Keyspace
from manager.etcd.leadership import FencedLeadership
from manager.etcd.lease import ManagerLease
from manager.etcd.proposals import Proposals
from manager.store.consensus import Leadership, Member, NotLeaderError, RemovedError, StateMachine
from manager.store.observable import ObservableValue

READ_SECONDS = 5.0
CHANGE_SECONDS = 10.0


class EtcdConsensus:
    """Works while ``run`` runs. Used on one event loop."""

    def __init__(
        self,
        client: EtcdClient,
        cipher: ValueCipher,
        machine: StateMachine,
        *,
        cluster_id: str,
        node_id: str,
        addr: str,
    ) -> None:
        self._client = client
        self._node_id = node_id
        keys = self._keys = Keyspace(client.target.prefix)
        follower = self._follower = StateFollower(
            client, keys, cipher, machine, cluster_id=cluster_id, changed=self._state_changed
        )
        self._lease = ManagerLease(
            client,
            keys,
            follower,
            node_id=node_id,
            addr=addr,
            expired=self._lease_expired,
            renewed=self._lease_renewed,
        )
        self._own_leadership = FencedLeadership(
            client, keys, follower, self._lease, node_id=node_id, addr=addr, changed=self._publish_leadership
        )
        self._election = Election(client, keys, follower, self._lease, self._own_leadership, node_id=node_id)
        self._proposals = Proposals(
            client, keys, cipher, machine=machine, follower=follower, leadership=self._own_leadership
        )
        self._leadership = ObservableValue(Leadership())
        self._removed = asyncio.Event()
        self._stop = asyncio.Event()

    @property
    def unavailable_reason(self) -> str:
        """Human-readable reason why no changes are possible now. Empty while etcd answers and accepts writes."""
        return self._client.unavailable_reason or self._client.write_refusal_reason

    async def run(self) -> None:
        """Runs until ``close``.

        Raises:
            RemovedError: this manager was removed from the group; ConflictError: the prefix holds another cluster. Both in a group.
        """
        works = (self._follower.run, self._keep_lease, self._election.run, self._end_when_removed)
        try:
            async with TaskGroup() as group, TaskGroup() as self._proposals.tasks:
                tasks = [group.create_task(work()) for work in works]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._proposals.tasks = None
            await self._client.close()

    async def close(self) -> None:
        """Revokes the lease, so that another manager leads at once, waits for running proposals, then ends ``run``."""
        await self._election.resign()
        self._publish_leadership()
        await self._proposals.finish()
        self._stop.set()

    async def _keep_lease(self) -> None:
        """Waits for the state first: nothing is written under the prefix of another cluster."""
        await self._follower.wait_until(lambda: self._follower.fresh)
        await self._lease.keep_lease()

    async def _end_when_removed(self) -> None:
        await self._removed.wait()
        await self._election.resign()
        raise RemovedError("this manager was removed from the cluster")

    def _state_changed(self) -> None:
        """Called by the follower after each revision."""
        if self._follower.fresh and self._node_id not in self._follower.group_state.addresses:
            self._removed.set()
        if not self._follower.fresh:
            self._own_leadership.abandon_stale()
        elif self._follower.group_state.leader is None:
            self._election.wake()
        self._publish_leadership()

    def _lease_expired(self, reason: str) -> None:
        self._own_leadership.lose(reason)

    def _lease_renewed(self) -> None:
        self._election.wake()

    def _publish_leadership(self) -> None:
        own, seen = self._own_leadership.leading, self._follower.group_state.leader
        if own is not None:
            leader_id = numeric_member_id(self._node_id)
            published = Leadership(is_leader=True, leader_id=leader_id, leader_addr=own.addr, term=own.term)
        elif seen is not None and seen.node_id != self._node_id:
            published = Leadership(leader_id=numeric_member_id(seen.node_id), leader_addr=seen.addr, term=seen.term)
        else:
            published = Leadership(term=self._leadership.value.term)
        self._leadership.set(published)

    @property
    def leadership(self) -> Leadership:
        return self._leadership.value

    @contextmanager
    def subscribe(self) -> Iterator[AsyncIterator[Leadership]]:
        with self._leadership.subscribe() as changes:
            yield changes

    def members(self) -> tuple[Member, ...]:
        return self._follower.group_state.members()

    def last_heard_seconds(self, _node_id: str) -> float | None:
        """None: on etcd the managers exchange no messages."""
        return None

    async def propose(self, data: bytes) -> int:
        return await self._proposals.propose(data)

    async def read_index(self) -> int:
        """Returns once everything that was acknowledged before the call is applied here."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._follower.catch_up()
        except TimeoutError:
            why = f": {self.unavailable_reason}" if self.unavailable_reason else ""
            raise DeadlineError(f"etcd confirmed no read within {READ_SECONDS:g} s{why}") from None

    async def remove_members(self, node_ids: Collection[str]) -> None:
        """Removes members in one transaction. Leader only; no effect on nodes that are not members. A leader that is among them hands over
        leadership instead, and its successor removes them.

        Raises:
            NotLeaderError, NoAnswerError, DeadlineError; UnavailableError: no other manager runs.
        """
        leader, group = self._own_leadership.require_leading(), self._follower.group_state
        leaving = [node_id for node_id in sorted(node_ids) if node_id in group.addresses]
        if self._node_id in leaving:
            await self._election.transfer_to([node_id for node_id in group.alive if node_id not in leaving])
            raise NotLeaderError(self.leadership.leader_addr)
        if not leaving:
            return
        answer = await self._client.txn(group_requests.remove_members(self._keys, leader.term, leaving))
        if not answer.succeeded:
            self._own_leadership.end_term(leader.term)
            raise NotLeaderError(self.leadership.leader_addr)
        try:
            async with asyncio.timeout(CHANGE_SECONDS):
                await self._follower.wait_until(lambda: not set(leaving) & set(group.addresses))
        except TimeoutError:
            raise DeadlineError(
                f"etcd removed {', '.join(leaving)}, but the watch did not confirm it within {CHANGE_SECONDS:g} s"
            ) from None

    async def transfer_leadership(self, among: Collection[str]) -> None:
        """Gives leadership to one of these nodes. Leader only.

        Raises:
            NotLeaderError, DeadlineError; UnavailableError: none of them runs.
        """
        self._own_leadership.require_leading()
        await self._election.transfer_to(among)
