"""Lease, leader election and write fence of this manager in etcd.

Invariant: a leader's own clock ends its leadership before its lease can expire in etcd, counted from before the request. If the clock is
wrong, the fence still keeps its writes out: it names the revision of the leader's key.
Invariant: a write that was sent behind an older fence is in etcd before the fence moves, or never will be.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress

import msgspec

from covey.errors import CoveyError, DeadlineError, UnavailableError
from coveypb.etcd import rpc_pb2
from manager.etcd.client import EtcdClient
from manager.etcd.errors import LeaseLostError, NoAnswerError
from manager.etcd.follower import StateFollower
from manager.etcd.group_state import Leader, LeaderKeyValue, head_of
from manager.etcd.keyspace import Keyspace
from manager.store.consensus import NotLeaderError, RemovedError

log = logging.getLogger(__name__)

Compare = rpc_pb2.Compare
RequestOp = rpc_pb2.RequestOp

TTL_SECONDS = 2
"""The shortest lease that an etcd with usual settings grants; with slower elections it grants longer ones."""
RENEWALS = 3
"""A lease is renewed so many times in its life."""
_MARGIN_SECONDS = 0.1
_RENEW_SECONDS = 0.6
_LOOK_SECONDS = 0.7
_RETRY_SECONDS = 0.1
_GRACE_SECONDS = 0.3
_REST_SECONDS = 3.0
_HEIR_SECONDS = 1.0
_RELEASE_SECONDS = 1.0
TRANSFER_SECONDS = 3.0


class LeaseHolder:
    """``changed`` is called when the leadership may have changed for a reason that no key shows."""

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        follower: StateFollower,
        *,
        node_id: str,
        addr: str,
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._follower = follower
        self._node_id = node_id
        self._addr = addr
        self._changed = changed
        self._lease = 0
        self._registered_revision = 0
        self._ttl = float(TTL_SECONDS)
        self._valid_until = 0.0
        self._lapse_timer: asyncio.TimerHandle | None = None
        self._acquired: Leader | None = None
        self._no_campaign_until = 0.0
        self._leaderless_since: float | None = None
        self._fencing = asyncio.Lock()
        self._keeping = asyncio.Lock()
        self._released = False
        self._wake = asyncio.Event()

    @property
    def leading(self) -> Leader | None:
        """The leadership of this manager, once its key has come through the watch: then all that was written before is applied here."""
        won, seen = self._acquired, self._follower.group_state.leader
        if won is None or seen is None or seen.term != won.term or not self._follower.fresh or not self._lease_lives():
            return None
        return won

    @property
    def acquired(self) -> Leader | None:
        """The leadership as the last answer of etcd left it."""
        return self._acquired

    def _lease_lives(self) -> bool:
        return _now() < self._valid_until - _MARGIN_SECONDS

    def wake(self) -> None:
        """A look at who leads, now."""
        self._wake.set()

    # The lease.

    async def keep_lease(self) -> None:
        """Until released or cancelled: registered, with a lease that lives.

        Raises:
            RemovedError: the group has no such member.
        """
        while True:
            try:
                async with self._keeping:
                    if self._released:
                        return
                    await (self._renew() if self._lease else self._register())
            except LeaseLostError:
                self._lease = 0
                self._lose_leadership("the lease has ended")
                continue
            except CoveyError as error:
                log.debug("the lease is not renewed: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(max(0.0, self._valid_until - self._ttl * (1 - 1 / RENEWALS) - _now()))

    async def _register(self) -> None:
        sent = _now()
        granted = await self._client.grant(TTL_SECONDS)
        await self._register_alive(granted.ID)
        self._lease, self._ttl = granted.ID, float(granted.TTL)
        self._extend(sent)  # what that took is of the lease's life: it may be time to renew it

    async def _register_alive(self, lease: int) -> None:
        """Says that this manager runs, for as long as the lease lives."""
        own, runs = self._keys.member(self._node_id), self._keys.alive(self._node_id)
        addr = self._addr.encode()
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.CREATE, result=Compare.GREATER, key=own, create_revision=0)
        request.success.add(request_put=rpc_pb2.PutRequest(key=own, value=addr))
        request.success.add(request_put=rpc_pb2.PutRequest(key=runs, value=addr, lease=lease))
        answer = await self._client.txn(request)
        if not answer.succeeded:
            raise RemovedError("this manager was removed from the cluster")
        self._registered_revision = answer.header.revision

    def _alive_key_is_missing(self) -> bool:
        """An earlier registration that arrived late had hung it on its own lease, which ended."""
        follower = self._follower
        return (
            follower.fresh
            and follower.applied >= self._registered_revision
            and self._node_id not in follower.group_state.alive
        )

    async def _renew(self) -> None:
        sent = _now()
        ttl = await self._client.keep_alive(self._lease, _RENEW_SECONDS)
        if ttl <= 0:
            raise LeaseLostError("the lease has ended")
        self._ttl = float(ttl)
        self._extend(sent)
        if self._alive_key_is_missing():
            await self._register_alive(self._lease)

    def _extend(self, sent: float) -> None:
        self._valid_until = sent + self._ttl
        if self._lapse_timer is not None:
            self._lapse_timer.cancel()
        left = max(0.0, self._valid_until - _MARGIN_SECONDS - _now())
        self._lapse_timer = asyncio.get_running_loop().call_later(
            left, self._lose_leadership, "etcd did not renew the lease in time"
        )
        self._wake.set()

    def _lose_leadership(self, why: str) -> None:
        if self._acquired is not None:
            log.warning("leads no more: %s", why)
        self._acquired = None
        self._changed()

    # Leadership.

    async def run_elections(self) -> None:
        """Until cancelled: looks whether the watch keeps up and who leads, and leads where nobody does."""
        while True:
            before = self._follower.applied
            try:
                async with asyncio.timeout(self._ttl / RENEWALS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._check_leader(before)
            except CoveyError as error:
                log.debug("etcd was not asked who leads: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _check_leader(self, before: int) -> None:
        follower, leader = self._follower, self._follower.group_state.leader
        if not (follower.fresh and self._lease and self._lease_lives()):
            return
        if leader is None:
            if self._may_lead() and await self._campaign():
                return
            await self._leave_lagging_watch(before)  # somebody may lead, and the watch does not say so
            return
        self._leaderless_since = None
        if leader.node_id == self._node_id and (self._acquired is None or self._acquired.term != leader.term):
            await self._delete_leader_key(leader.term)  # of a life before, or from before the lease lapsed
            return
        await self._leave_lagging_watch(before)

    async def _leave_lagging_watch(self, before: int) -> None:
        """Leaves a watch that has brought nothing since ``before`` was applied, though there is something, and soon brings nothing."""
        follower, latest = self._follower, await self._latest()
        if not latest > follower.applied == before:
            return
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await follower.wait_until(lambda: follower.applied != before)
        except TimeoutError:
            follower.leave_endpoint()

    def _may_lead(self) -> bool:
        """Whoever was named an heir goes first."""
        heirs, now = self._follower.group_state.successors, _now()
        if self._leaderless_since is None:
            self._leaderless_since = now
        waited = now - self._leaderless_since
        return now >= self._no_campaign_until and (not heirs or self._node_id in heirs or waited > _HEIR_SECONDS)

    async def _latest(self) -> int:
        """The revision of the last transaction or change of leadership, as a majority confirms."""
        applied, known = self._follower.applied, self._follower.group_state.last
        request = rpc_pb2.TxnRequest()
        for key in (self._keys.last_transaction, self._keys.leader):
            request.success.add(request_range=rpc_pb2.RangeRequest(key=key))
        answer = await self._client.txn(request, _LOOK_SECONDS)
        last, leader = [list(one.response_range.kvs) for one in answer.responses]
        self._follower.check_history(applied, known, answer.header.revision, head_of(last))
        return max([kv.mod_revision for kv in (*last, *leader)], default=0)

    async def _campaign(self) -> bool:
        """Whether this manager has the leader's key now."""
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=0)
        own = self._keys.member(self._node_id)
        request.compare.add(target=Compare.CREATE, result=Compare.GREATER, key=own, create_revision=0)
        request.success.append(self._put_leader_key())
        request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=self._keys.successors))
        answer = await self._client.txn(request)
        if answer.succeeded:
            term = answer.header.revision
            self._acquired = Leader(node_id=self._node_id, addr=self._addr, term=term, fence=term)
            self._changed()
        return answer.succeeded

    def _put_leader_key(self) -> rpc_pb2.RequestOp:
        value = msgspec.json.encode(LeaderKeyValue(self._node_id, self._addr))
        return RequestOp(request_put=rpc_pb2.PutRequest(key=self._keys.leader, value=value, lease=self._lease))

    async def _delete_leader_key(self, term: int, heirs: Collection[str] = ()) -> None:
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=term)
        request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=self._keys.leader))
        if heirs:
            value = msgspec.json.encode(sorted(heirs))
            put = rpc_pb2.PutRequest(key=self._keys.successors, value=value, lease=self._lease)
            request.success.add(request_put=put)
        await self._client.txn(request)

    async def move_fence(self, leader: Leader) -> None:
        """Returns once this manager's leadership stands behind another fence than the given one, or is over."""
        async with self._fencing:
            if self._acquired is None or self._acquired.term != leader.term or self._acquired.fence != leader.fence:
                return
            request = rpc_pb2.TxnRequest()
            request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=leader.term)
            request.success.append(self._put_leader_key())
            answer = await self._client.txn(request)
            if answer.succeeded:
                self.record_fence(leader.term, answer.header.revision)
            else:
                self.deposed(leader.term)

    def record_fence(self, term: int, revision: int) -> None:
        """The fence is known to stand there now."""
        if self._acquired is not None and self._acquired.term == term and revision > self._acquired.fence:
            self._acquired = msgspec.structs.replace(self._acquired, fence=revision)

    def deposed(self, term: int) -> None:
        """This leadership is over, as etcd says; or it shall be, so that the next one clears up what is open."""
        if self._acquired is not None and self._acquired.term == term:
            self._lose_leadership("another manager leads, or nobody")

    def abandon_stale(self) -> None:
        """What is here may be old: another leadership begins once it is read again."""
        if self._acquired is not None:
            self._lose_leadership("the cluster's state is read again")

    async def transfer_to(self, among: Collection[str]) -> None:
        """Gives leadership up for a while; returns when another manager has it. No effect on a follower.

        Raises:
            UnavailableError: none of these runs; DeadlineError: nobody took it.
        """
        leader, group_state = self.leading, self._follower.group_state
        if leader is None:
            return
        heirs = [node_id for node_id in among if node_id in group_state.alive and node_id != self._node_id]
        if not heirs:
            raise UnavailableError("no other manager runs that could lead")
        self._no_campaign_until = _now() + _REST_SECONDS
        await self._delete_leader_key(leader.term, heirs)
        self._lose_leadership("it was handed over")

        def taken() -> bool:
            now = group_state.leader
            return now is not None and now.node_id != self._node_id

        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                await self._follower.wait_until(taken)
        except TimeoutError:
            raise DeadlineError(f"no other manager took over leadership within {TRANSFER_SECONDS:g} s") from None

    async def release(self) -> None:
        """Ends the lease, and with it leadership and the sign that this manager runs, at once and for good."""
        self._released = True
        with suppress(TimeoutError):  # what is being granted now would be given back by nobody
            async with asyncio.timeout(_RELEASE_SECONDS), self._keeping:
                pass
        lease, self._lease = self._lease, 0
        self._no_campaign_until = _now() + _REST_SECONDS
        self._acquired = None
        if lease:
            try:
                await self._client.revoke(lease)
            except (NoAnswerError, LeaseLostError) as error:
                log.info("the lease ends by itself: %s", error.message)

    def require_leading(self) -> Leader:
        """Raises NotLeaderError."""
        leader = self.leading
        if leader is None:
            seen = self._follower.group_state.leader
            raise NotLeaderError(seen.addr if seen is not None and seen.node_id != self._node_id else "")
        return leader


def _now() -> float:
    """Also goes on while the host sleeps, as the lease does in etcd."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
