"""Rotation of this host's WireGuard key: a new key is announced, then used for sending, and later the one before is forgotten.

Invariant: a key is announced while its device already receives, and used for sending only once it has a session with each node that
answers; the key before is received for as long again. So a rotation loses no packet.

Owned by `encryption`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from agent.network.wireguard.keys import TunnelKeys
from covey.errors import CoveyError

logger = logging.getLogger(__name__)
_RETRY_SECONDS = 10.0


class RotationTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between rotations, from a node's departure to the next one, and from the announcement of a key to its use."""

    period: float = 12 * 3600.0
    after_departure: float = 30.0
    announce: float = 60.0


class RotatedTunnels(Protocol):
    """The tunnels whose keys are rotated."""

    @property
    def keys(self) -> TunnelKeys: ...
    @property
    def has_tunnels(self) -> bool: ...
    async def set_keys(self, keys: TunnelKeys) -> None: ...
    async def with_new_key(self, keys: TunnelKeys) -> TunnelKeys: ...
    async def announced(self) -> None: ...
    async def shake_hands(self) -> None: ...


class KeyRotation:
    """One per daemon. `announce` is called when what the managers are to tell of this host has changed."""

    def __init__(self, tunnels: RotatedTunnels, times: RotationTimes, announce: Callable[[], None]) -> None:
        self._tunnels = tunnels
        self._times = times
        self._announce = announce
        self._departed = asyncio.Event()

    def node_left(self) -> None:
        """A node left that knows the keys: the next rotation is due soon."""
        self._departed.set()

    async def run(self) -> None:
        """Finish the rotation that an earlier process began, and rotate when it is time."""
        while True:
            await self._attempt(self.finish)
            remaining = self._tunnels.keys.made_at + _spread(self._times.period) - time.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(remaining, 0)):
                    await self._departed.wait()
                    await asyncio.sleep(_spread(self._times.after_departure))
            self._departed.clear()
            await self._attempt(self.begin)

    async def begin(self) -> None:
        """Make a new key, with its device, and announce it. It is used for sending later."""
        new = await self._tunnels.with_new_key(self._tunnels.keys)
        await self._tunnels.set_keys(new)
        self._announce()

    async def finish(self) -> None:
        """Send with the new key once the managers announced it and others answer to it, and later forget the one before."""
        tunnels = self._tunnels
        if tunnels.keys.previous is None:
            return
        if not tunnels.keys.sends_new:
            await tunnels.announced()
            await asyncio.sleep(_spread(self._times.announce))
            await tunnels.shake_hands()
            await tunnels.set_keys(msgspec.structs.replace(tunnels.keys, sends_new=True))
        await asyncio.sleep(_spread(self._times.announce))
        await tunnels.set_keys(msgspec.structs.replace(tunnels.keys, previous=None))
        self._announce()

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step until it succeeds."""
        while True:
            try:
                return await step()
            except (CoveyError, OSError) as error:
                logger.warning("WireGuard keys are rotated later: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)


def _spread(seconds: float) -> float:
    """Nodes take different times, so that they do not all work at once."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - not for security
