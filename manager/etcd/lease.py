"""The lease of this manager in etcd: grant, renewal, expiry on this host's clock, and the key that says the manager runs.

Invariant: the lease counts as expired here before it can expire in etcd. Its remaining time is counted from the moment before the request
was sent, minus a margin, on a clock that also runs while the host sleeps.
Used by ``FencedLeadership`` (the leader's key is bound to the lease) and ``Election``. Run by ``EtcdConsensus``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from covey.clock import boot_time
from covey.errors import CoveyError
from manager.etcd import group_requests
from manager.etcd.client import EtcdClient
from manager.etcd.errors import LeaseLostError, NoAnswerError
from manager.etcd.follower import StateFollower
from manager.etcd.keyspace import Keyspace
from manager.store.consensus import RemovedError

log = logging.getLogger(__name__)

TTL_SECONDS = 2
"""The shortest lease that etcd grants with default settings. With longer election timeouts etcd grants longer leases."""
RENEWALS = 3
"""The number of renewals within one lifetime of the lease."""
_MARGIN_SECONDS = 0.1
_RENEW_SECONDS = 0.6
_RETRY_SECONDS = 0.1
_REVOKE_WAIT_SECONDS = 1.0


class ManagerLease:
    """``expired`` is called with the reason when the lease counts as expired, ``renewed`` after each grant or renewal."""

    def __init__(
        self,
        client: EtcdClient,
        keys: Keyspace,
        follower: StateFollower,
        *,
        node_id: str,
        addr: str,
        expired: Callable[[str], None],
        renewed: Callable[[], None],
    ) -> None:
        self._client = client
        self._keys = keys
        self._follower = follower
        self._node_id = node_id
        self._addr = addr
        self._expired = expired
        self._renewed = renewed
        self._registered_revision = 0
        self._valid_until = 0.0
        self._expiry_timer: asyncio.TimerHandle | None = None
        self._renewing = asyncio.Lock()
        self._released = False
        self.id = 0
        """The id of the lease in etcd, or 0 while there is none."""
        self.ttl_seconds = float(TTL_SECONDS)

    @property
    def is_valid(self) -> bool:
        """Whether the lease exists in etcd for certain."""
        return bool(self.id) and boot_time() < self._valid_until - _MARGIN_SECONDS

    async def keep_lease(self) -> None:
        """Registers this manager and renews the lease, until ``release`` or cancellation.

        Raises:
            RemovedError: this manager is not a member of the group.
        """
        while True:
            try:
                async with self._renewing:
                    if self._released:
                        return
                    await (self._renew() if self.id else self._grant())
            except LeaseLostError:
                self.id = 0
                self._expired("the lease has expired in etcd")
                continue
            except CoveyError as error:
                log.debug("cannot renew the lease: %s", error.message)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(max(0.0, self._valid_until - self.ttl_seconds * (1 - 1 / RENEWALS) - boot_time()))

    async def _grant(self) -> None:
        requested_at = boot_time()
        granted = await self._client.grant(TTL_SECONDS)
        await self._register_alive(granted.ID)
        self.id, self.ttl_seconds = granted.ID, float(granted.TTL)
        self._extend(requested_at)  # registration took part of the lifetime, so a renewal may be due at once

    async def _renew(self) -> None:
        requested_at = boot_time()
        ttl = await self._client.keep_alive(self.id, _RENEW_SECONDS)
        if ttl <= 0:
            raise LeaseLostError("the lease has expired in etcd")
        self.ttl_seconds = float(ttl)
        self._extend(requested_at)
        if self._alive_key_is_missing():
            await self._register_alive(self.id)

    def _extend(self, requested_at: float) -> None:
        """Etcd may have started the lease's time at any moment since the request was sent."""
        self._valid_until = requested_at + self.ttl_seconds
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        left = max(0.0, self._valid_until - _MARGIN_SECONDS - boot_time())
        self._expiry_timer = asyncio.get_running_loop().call_later(
            left, self._expired, "etcd did not renew the lease in time"
        )
        self._renewed()

    async def _register_alive(self, lease: int) -> None:
        request = group_requests.register_manager(self._keys, self._node_id, self._addr, lease)
        answer = await self._client.txn(request)
        if not answer.succeeded:
            raise RemovedError("this manager was removed from the cluster")
        self._registered_revision = answer.header.revision

    def _alive_key_is_missing(self) -> bool:
        """Happens when an earlier registration arrives late and binds the key to an earlier lease, which then expires."""
        follower = self._follower
        return (
            follower.fresh
            and follower.applied >= self._registered_revision
            and self._node_id not in follower.group_state.alive
        )

    async def stop_renewal(self) -> None:
        """Ends ``keep_lease``. Waits for a request in progress: a lease granted after this call would never be revoked."""
        self._released = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_REVOKE_WAIT_SECONDS), self._renewing:
                pass

    async def revoke(self) -> None:
        """Ends the lease in etcd, and with it the keys that are bound to it."""
        lease, self.id = self.id, 0
        if lease:
            try:
                await self._client.revoke(lease)
            except (NoAnswerError, LeaseLostError) as error:
                log.info("cannot revoke the lease, it expires by itself: %s", error.message)
