"""This manager's leadership: the leader's key in etcd, the fence of its writes, and the moment when leadership ends.

Invariant: a write that was sent behind an older fence is in etcd before the fence moves, or never will be. Every write names the fence (the
revision of the leader's key), so etcd refuses the writes of a former leader even if this host's clock is wrong.
Invariant: this manager leads only while its lease is valid and the leader's key has come through its own watch.
Acquired by ``Election``; moved and ended by ``EtcdConsensus``, whose writes tell where the fence is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import msgspec

from manager.etcd import group_requests
from manager.etcd.client import EtcdClient
from manager.etcd.follower import StateFollower
from manager.etcd.group_state import Leader
from manager.etcd.keyspace import Keyspace
from manager.etcd.lease import ManagerLease
from manager.store.consensus import NotLeaderError

log = logging.getLogger(__name__)


class FencedLeadership:
    """``changed`` is called when the leadership may have changed without a change of a key."""

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        follower: StateFollower,
        lease: ManagerLease,
        *,
        node_id: str,
        addr: str,
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._follower = follower
        self._lease = lease
        self._node_id = node_id
        self._addr = addr
        self._changed = changed
        self._moving = asyncio.Lock()
        self.acquired: Leader | None = None
        """The leadership according to the last answer of etcd. Not yet confirmed by the watch."""

    @property
    def leading(self) -> Leader | None:
        """This manager's leadership once its key has come through the watch, so that every earlier write is applied here."""
        acquired, seen = self.acquired, self._follower.group_state.leader
        if acquired is None or seen is None or seen.term != acquired.term:
            return None
        return acquired if self._follower.fresh and self._lease.is_valid else None

    def require_leading(self) -> Leader:
        """Raises NotLeaderError with the address of the leader, if one is known."""
        leader = self.leading
        if leader is None:
            seen = self._follower.group_state.leader
            raise NotLeaderError(seen.addr if seen is not None and seen.node_id != self._node_id else "")
        return leader

    def require_same(self, leader: Leader) -> Leader:
        """The same leadership with its present fence. Raises NotLeaderError if it is over."""
        acquired = self.acquired
        if acquired is None or acquired.term != leader.term:
            seen = self._follower.group_state.leader
            raise NotLeaderError(seen.addr if seen is not None and seen.node_id != self._node_id else "")
        return acquired

    async def acquire(self) -> bool:
        """Writes the leader's key if there is none and this manager is a member. Returns whether it did."""
        request = group_requests.acquire_leadership(self._keys, self._node_id, self._addr, self._lease.id)
        answer = await self._client.txn(request)
        if answer.succeeded:
            term = answer.header.revision
            self.acquired = Leader(node_id=self._node_id, addr=self._addr, term=term, fence=term)
            self._changed()
        return answer.succeeded

    async def delete_leader_key(self, term: int, successors: Collection[str] = ()) -> None:
        """Deletes the leader's key of that term, and names the managers that may lead next."""
        await self._client.txn(group_requests.release_leadership(self._keys, term, successors, self._lease.id))

    async def move_fence(self, leader: Leader) -> None:
        """Returns once the fence of this leadership differs from the given one, or the leadership is over."""
        async with self._moving:
            acquired = self.acquired
            if acquired is None or acquired.term != leader.term or acquired.fence != leader.fence:
                return
            request = group_requests.move_fence(self._keys, leader.term, self._node_id, self._addr, self._lease.id)
            answer = await self._client.txn(request)
            if answer.succeeded:
                self.record_fence(leader.term, answer.header.revision)
            else:
                self.end_term(leader.term)

    def record_fence(self, term: int, revision: int) -> None:
        """Notes where etcd says that the fence of this term is."""
        if self.acquired is not None and self.acquired.term == term and revision > self.acquired.fence:
            self.acquired = msgspec.structs.replace(self.acquired, fence=revision)

    def end_term(self, term: int) -> None:
        """Ends the leadership of that term: etcd says that it is over, or only a new term can settle an open write."""
        if self.acquired is not None and self.acquired.term == term:
            self.lose("another manager leads, or none")

    def abandon_stale(self) -> None:
        """Ends the leadership because the state here may be outdated. A new one begins once the state is read again."""
        if self.acquired is not None:
            self.lose("the cluster's state is read again")

    def lose(self, reason: str) -> None:
        if self.acquired is not None:
            log.warning("this manager no longer leads: %s", reason)
        self.acquired = None
        self._changed()

    def resign(self) -> None:
        """Ends the leadership without a notice, before the lease is revoked."""
        self.acquired = None
