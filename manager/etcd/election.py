"""Leader election over etcd, and the check that the watch keeps up.

Twice in a lease's life the election asks etcd for the latest revision. A manager whose watch lags behind leaves the endpoint. A manager
that sees no leader's key writes one. A leader that hands over names successors, which campaign first.
Run by ``EtcdConsensus``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from covey.clock import boot_time
from covey.errors import CoveyError, DeadlineError, UnavailableError
from manager.etcd import group_requests
from manager.etcd.client import EtcdClient
from manager.etcd.follower import StateFollower
from manager.etcd.group_state import head_of
from manager.etcd.keyspace import Keyspace
from manager.etcd.leadership import FencedLeadership
from manager.etcd.lease import RENEWALS, ManagerLease

log = logging.getLogger(__name__)

TRANSFER_SECONDS = 3.0
_ASK_SECONDS = 0.7
_RETRY_SECONDS = 0.1
_LAG_GRACE_SECONDS = 0.3
_PAUSE_AFTER_TRANSFER_SECONDS = 3.0
_SUCCESSORS_FIRST_SECONDS = 1.0


class Election:
    """``run`` campaigns while no manager leads, and watches over the watch."""

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        follower: StateFollower,
        lease: ManagerLease,
        leadership: FencedLeadership,
        *,
        node_id: str,
    ) -> None:
        self._client = client
        self._keys = keys
        self._follower = follower
        self._lease = lease
        self._leadership = leadership
        self._node_id = node_id
        self._no_campaign_until = 0.0
        self._leaderless_since: float | None = None
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Checks who leads now instead of after the pause."""
        self._wake.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            applied_before = self._follower.applied
            try:
                async with asyncio.timeout(self._lease.ttl_seconds / RENEWALS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._check_leader(applied_before)
            except CoveyError as error:
                log.debug("cannot ask etcd who leads: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _check_leader(self, applied_before: int) -> None:
        follower, leader = self._follower, self._follower.group_state.leader
        if not (follower.fresh and self._lease.is_valid):
            return
        if leader is None:
            if self._may_campaign() and await self._leadership.acquire():
                return
            await self._leave_lagging_watch(applied_before)  # a leader may exist that the watch has not shown
            return
        self._leaderless_since = None
        acquired = self._leadership.acquired
        if leader.node_id == self._node_id and (acquired is None or acquired.term != leader.term):
            await self._leadership.delete_leader_key(leader.term)  # from before a restart or an expired lease
            return
        await self._leave_lagging_watch(applied_before)

    async def _leave_lagging_watch(self, applied_before: int) -> None:
        """Leaves the endpoint if there is a newer revision, and the watch has shown none since ``applied_before`` and shows none soon."""
        follower, latest = self._follower, await self._latest_revision()
        if not latest > follower.applied == applied_before:
            return
        try:
            async with asyncio.timeout(_LAG_GRACE_SECONDS):
                await follower.wait_until(lambda: follower.applied != applied_before)
        except TimeoutError:
            follower.leave_endpoint()

    def _may_campaign(self) -> bool:
        """Named successors campaign before the others."""
        successors, now = self._follower.group_state.successors, boot_time()
        if self._leaderless_since is None:
            self._leaderless_since = now
        waited = now - self._leaderless_since
        return now >= self._no_campaign_until and (
            not successors or self._node_id in successors or waited > _SUCCESSORS_FIRST_SECONDS
        )

    async def _latest_revision(self) -> int:
        """The revision of the last transaction or change of leader, confirmed by a majority of etcd."""
        applied, known = self._follower.applied, self._follower.group_state.last
        answer = await self._client.txn(group_requests.latest_change(self._keys), _ASK_SECONDS)
        last, leader = [list(one.response_range.kvs) for one in answer.responses]
        self._follower.check_history(applied, known, answer.header.revision, head_of(last))
        return max([kv.mod_revision for kv in (*last, *leader)], default=0)

    async def transfer_to(self, candidates: Collection[str]) -> None:
        """Gives leadership up and returns when another manager has it. No effect on a follower.

        Raises:
            UnavailableError: no candidate runs; DeadlineError: no manager took over in time.
        """
        leader, group = self._leadership.leading, self._follower.group_state
        if leader is None:
            return
        successors = [node_id for node_id in candidates if node_id in group.alive and node_id != self._node_id]
        if not successors:
            raise UnavailableError("no other manager is running that could lead")
        self.pause()
        await self._leadership.delete_leader_key(leader.term, successors)
        self._leadership.lose("it was handed over")

        def taken_over() -> bool:
            return group.leader is not None and group.leader.node_id != self._node_id

        try:
            async with asyncio.timeout(TRANSFER_SECONDS):
                await self._follower.wait_until(taken_over)
        except TimeoutError:
            raise DeadlineError(f"no other manager took over leadership within {TRANSFER_SECONDS:g} s") from None

    def pause(self) -> None:
        """Does not campaign for a while, so that another manager can lead."""
        self._no_campaign_until = boot_time() + _PAUSE_AFTER_TRANSFER_SECONDS

    async def resign(self) -> None:
        """Ends the lease, and with it the leadership and this manager's alive key, at once and for good."""
        await self._lease.stop_renewal()
        self.pause()
        self._leadership.resign()
        await self._lease.revoke()
