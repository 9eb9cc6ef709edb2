"""Watch over the host's own routes, which networks of the cluster avoid: the kernel tells of each change.

Invariant: the routes of containers wake nobody. What others change is looked at after `SETTLE_SECONDS`, and told at most once in
`PAUSE_SECONDS`, because each description of a node is a write of the managers.

Owned by `driver`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterable

from agent.network.foreign_routes import foreign_routes
from agent.network.kernel.netlink import messages
from agent.network.kernel.notifications import NotificationSocket
from agent.network.model import HostRoute as Route
from agent.network.namespace_state import ROUTE_PROTOCOL
from agent.network.netns import Namespace
from covey.errors import CoveyError
from covey.objects import HostRoute

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 0.5
PAUSE_SECONDS = 5.0
_GROUPS = 0x40 | 0x400
"""Routes of IPv4 and of IPv6 (linux/rtnetlink.h, RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE)."""
_KINDS = {24, 25}
"""A new route and one that goes (RTM_NEWROUTE, RTM_DELROUTE)."""
_PROTOCOL_BYTE = 5


class RouteMonitor(NotificationSocket):
    """Notifications of routes of the calling thread's namespace."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, _GROUPS))
        except BaseException:
            self.close()
            raise

    def read(self) -> bool:
        """Read what has arrived, within bounds. Returns whether a route changed that is not Covey's."""
        changed = False
        for data in self._arrived():
            changed = data is None or _has_foreign_route(data) or changed
        return changed


def _has_foreign_route(data: bytes) -> bool:
    return any(kind in _KINDS and body[_PROTOCOL_BYTE] != ROUTE_PROTOCOL for kind, _, _, body in messages(data))


class RouteWatch:
    """`current` are the host's routes without those to containers. `on_change` is called after each change of them, and at most once in
    `pause_seconds`.
    """

    def __init__(self, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._pause_seconds = pause_seconds
        self.current: tuple[HostRoute, ...] = ()
        self.on_change: Callable[[], None] = lambda: None
        self._monitor: RouteMonitor | None = None
        self._changed = asyncio.Event()

    async def start(
        self,
        host: Namespace,
        read: Callable[[], Awaitable[Iterable[Route]]],
        spawn: Callable[[Coroutine[None, None, None], str], object],
    ) -> None:
        """Read once, then follow changes until the spawned task is cancelled."""
        self._monitor = await asyncio.to_thread(host.run, RouteMonitor)
        asyncio.get_running_loop().add_reader(self._monitor.fileno(), self._read_monitor)
        self.current = foreign_routes(await read())
        spawn(self._follow(read), "watch over the host's routes")

    def close(self) -> None:
        """Stop listening."""
        if self._monitor is not None:
            asyncio.get_running_loop().remove_reader(self._monitor.fileno())
            self._monitor.close()
            self._monitor = None

    async def _follow(self, read: Callable[[], Awaitable[Iterable[Route]]]) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            try:
                found = foreign_routes(await read())
            except (CoveyError, OSError) as error:
                logger.warning("the host's routes could not be read: %s", error)
                found = self.current
            if found != self.current:
                self.current = found
                self.on_change()
            await asyncio.sleep(self._pause_seconds)

    def _read_monitor(self) -> None:
        if self._monitor is not None and self._monitor.read():
            self._changed.set()
