"""This manager's lease, and the leadership that hangs on it.

Law: a leader's own clock ends its leadership before its lease can have ended in etcd, counted from when it last asked. Even if that failed,
the fence keeps what it writes out: it names the key that the lease holds. ``fence`` moves when the fate of a write must be known:
what was sent before then either stands before the move or never will.
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
from manager.etcd.client import Client
from manager.etcd.errors import LeaseLostError, LostError
from manager.etcd.follower import Follower
from manager.etcd.keys import Keys
from manager.etcd.registry import Claim, Leader, head_of
from manager.raft.errors import RemovedError
from manager.store.consensus import NotLeaderError

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


class Holder:
    """``changed`` is called when the leadership may have changed for a reason that no key shows."""

    def __init__(
        self, client: Client, keys: Keys, follower: Follower, *, node_id: str, addr: str, changed: Callable[[], None]
    ) -> None:
        self._client = client
        self._keys = keys
        self._follower = follower
        self._node_id = node_id
        self._addr = addr
        self._changed = changed
        self._lease = 0
        self._signed_at = 0
        self._ttl = float(TTL_SECONDS)
        self._valid_until = 0.0
        self._lapse_timer: asyncio.TimerHandle | None = None
        self._won: Leader | None = None
        self._rests_until = 0.0
        self._leaderless_since: float | None = None
        self._fencing = asyncio.Lock()
        self._keeping = asyncio.Lock()
        self._released = False
        self._wake = asyncio.Event()

    @property
    def leading(self) -> Leader | None:
        """The leadership of this manager, once its key has come through the watch: then all that was written before is applied here."""
        won, seen = self._won, self._follower.registry.leader
        if won is None or seen is None or seen.term != won.term or not self._follower.fresh or not self._lease_lives():
            return None
        return won

    @property
    def won(self) -> Leader | None:
        """The leadership as the last answer of etcd left it."""
        return self._won

    def _lease_lives(self) -> bool:
        return _now() < self._valid_until - _MARGIN_SECONDS

    def wake(self) -> None:
        """A look at who leads, now."""
        self._wake.set()

    # The lease.

    async def keep(self) -> None:
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
                self._lapse("the lease has ended")
                continue
            except CoveyError as error:
                log.debug("the lease is not renewed: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(max(0.0, self._valid_until - self._ttl * (1 - 1 / RENEWALS) - _now()))

    async def _register(self) -> None:
        sent = _now()
        granted = await self._client.grant(TTL_SECONDS)
        await self._sign(granted.ID)
        self._lease, self._ttl = granted.ID, float(granted.TTL)
        self._extend(sent)  # what that took is of the lease's life: it may be time to renew it

    async def _sign(self, lease: int) -> None:
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
        self._signed_at = answer.header.revision

    def _sign_is_gone(self) -> bool:
        """An earlier registration that arrived late had hung it on its own lease, which ended."""
        follower = self._follower
        return follower.fresh and follower.applied >= self._signed_at and self._node_id not in follower.registry.alive

    async def _renew(self) -> None:
        sent = _now()
        ttl = await self._client.keep_alive(self._lease, _RENEW_SECONDS)
        if ttl <= 0:
            raise LeaseLostError("the lease has ended")
        self._ttl = float(ttl)
        self._extend(sent)
        if self._sign_is_gone():
            await self._sign(self._lease)

    def _extend(self, sent: float) -> None:
        self._valid_until = sent + self._ttl
        if self._lapse_timer is not None:
            self._lapse_timer.cancel()
        left = max(0.0, self._valid_until - _MARGIN_SECONDS - _now())
        self._lapse_timer = asyncio.get_running_loop().call_later(
            left, self._lapse, "etcd did not renew the lease in time"
        )
        self._wake.set()

    def _lapse(self, why: str) -> None:
        if self._won is not None:
            log.warning("leads no more: %s", why)
        self._won = None
        self._changed()

    # Leadership.

    async def elect(self) -> None:
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
                await self._look(before)
            except CoveyError as error:
                log.debug("etcd was not asked who leads: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _look(self, before: int) -> None:
        follower, leader = self._follower, self._follower.registry.leader
        if not (follower.fresh and self._lease and self._lease_lives()):
            return
        if leader is None:
            if self._may_lead() and await self._campaign():
                return
            await self._doubt_behind(before)  # somebody may lead, and the watch does not say so
            return
        self._leaderless_since = None
        if leader.node_id == self._node_id and (self._won is None or self._won.term != leader.term):
            await self._delete_claim(leader.term)  # of a life before, or from before the lease lapsed
            return
        await self._doubt_behind(before)

    async def _doubt_behind(self, before: int) -> None:
        """Leaves a watch that has brought nothing since ``before`` was applied, though there is something, and soon brings nothing."""
        follower, latest = self._follower, await self._latest()
        if not latest > follower.applied == before:
            return
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await follower.until(lambda: follower.applied != before)
        except TimeoutError:
            follower.doubt()

    def _may_lead(self) -> bool:
        """Whoever was named an heir goes first."""
        heirs, now = self._follower.registry.heirs, _now()
        if self._leaderless_since is None:
            self._leaderless_since = now
        waited = now - self._leaderless_since
        return now >= self._rests_until and (not heirs or self._node_id in heirs or waited > _HEIR_SECONDS)

    async def _latest(self) -> int:
        """The revision of the last transaction or change of leadership, as a majority confirms."""
        applied, known = self._follower.applied, self._follower.registry.last
        request = rpc_pb2.TxnRequest()
        for key in (self._keys.last, self._keys.leader):
            request.success.add(request_range=rpc_pb2.RangeRequest(key=key))
        answer = await self._client.txn(request, _LOOK_SECONDS)
        last, leader = [list(one.response_range.kvs) for one in answer.responses]
        self._follower.compare(applied, known, answer.header.revision, head_of(last))
        return max([kv.mod_revision for kv in (*last, *leader)], default=0)

    async def _campaign(self) -> bool:
        """Whether this manager has the leader's key now."""
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=0)
        own = self._keys.member(self._node_id)
        request.compare.add(target=Compare.CREATE, result=Compare.GREATER, key=own, create_revision=0)
        request.success.append(self._claim())
        request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=self._keys.heirs))
        answer = await self._client.txn(request)
        if answer.succeeded:
            term = answer.header.revision
            self._won = Leader(node_id=self._node_id, addr=self._addr, term=term, fence=term)
            self._changed()
        return answer.succeeded

    def _claim(self) -> rpc_pb2.RequestOp:
        value = msgspec.json.encode(Claim(self._node_id, self._addr))
        return RequestOp(request_put=rpc_pb2.PutRequest(key=self._keys.leader, value=value, lease=self._lease))

    async def _delete_claim(self, term: int, heirs: Collection[str] = ()) -> None:
        request = rpc_pb2.TxnRequest()
        request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=term)
        request.success.add(request_delete_range=rpc_pb2.DeleteRangeRequest(key=self._keys.leader))
        if heirs:
            value = msgspec.json.encode(sorted(heirs))
            put = rpc_pb2.PutRequest(key=self._keys.heirs, value=value, lease=self._lease)
            request.success.add(request_put=put)
        await self._client.txn(request)

    async def move_fence(self, leader: Leader) -> None:
        """Returns once this manager's leadership stands behind another fence than the given one, or is over."""
        async with self._fencing:
            if self._won is None or self._won.term != leader.term or self._won.fence != leader.fence:
                return
            request = rpc_pb2.TxnRequest()
            request.compare.add(target=Compare.CREATE, key=self._keys.leader, create_revision=leader.term)
            request.success.append(self._claim())
            answer = await self._client.txn(request)
            if answer.succeeded:
                self.fenced_at(leader.term, answer.header.revision)
            else:
                self.deposed(leader.term)

    def fenced_at(self, term: int, revision: int) -> None:
        """The fence is known to stand there now."""
        if self._won is not None and self._won.term == term and revision > self._won.fence:
            self._won = msgspec.structs.replace(self._won, fence=revision)

    def deposed(self, term: int) -> None:
        """This leadership is over, as etcd says; or it shall be, so that the next one clears up what is open."""
        if self._won is not None and self._won.term == term:
            self._lapse("another manager leads, or nobody")

    def forsake(self) -> None:
        """What is here may be old: another leadership begins once it is read again."""
        if self._won is not None:
            self._lapse("the cluster's state is read again")

    async def hand_over(self, among: Collection[str]) -> None:
        """Gives leadership up for a while; returns when another manager has it. No effect on a follower.

        Raises:
            UnavailableError: none of these runs; DeadlineError: nobody took it.
        """
        leader, registry = self.leading, self._follower.registry
        if leader is None:
            return
        heirs = [node_id for node_id in among if node_id in registry.alive and node_id != self._node_id]
        if not heirs:
            raise UnavailableError("no other manager runs that could lead")
        self._rests_until = _now() + _REST_SECONDS
        await self._delete_claim(leader.term, heirs)
        self._lapse("it was handed over")

        def taken() -> bool:
            now = registry.leader
            return now is not None and now.node_id != self._node_id

        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                await self._follower.until(taken)
        except TimeoutError:
            raise DeadlineError(f"no other manager took over leadership within {TRANSFER_SECONDS:g} s") from None

    async def release(self) -> None:
        """Ends the lease, and with it leadership and the sign that this manager runs, at once and for good."""
        self._released = True
        with suppress(TimeoutError):  # what is being granted now would be given back by nobody
            async with asyncio.timeout(_RELEASE_SECONDS), self._keeping:
                pass
        lease, self._lease = self._lease, 0
        self._rests_until = _now() + _REST_SECONDS
        self._won = None
        if lease:
            try:
                await self._client.revoke(lease)
            except (LostError, LeaseLostError) as error:
                log.info("the lease ends by itself: %s", error.message)

    def require(self) -> Leader:
        """Raises NotLeaderError."""
        leader = self.leading
        if leader is None:
            seen = self._follower.registry.leader
            raise NotLeaderError(seen.addr if seen is not None and seen.node_id != self._node_id else "")
        return leader


def _now() -> float:
    """Also goes on while the host sleeps, as the lease does in etcd."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
