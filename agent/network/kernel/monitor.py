"""Notices changes that others make to the nftables of the calling thread's namespace, by the kernel's own notifications.

Layouts: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h. The kernel sends the changes of a transaction, and then its new
generation with the name of the thread that made it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from agent.network.kernel.netlink import attributes, messages, to_text
from agent.network.kernel.notifications import NotificationSocket

_NETLINK_NETFILTER = 12
_NFTABLES_GROUP = 7
_SUBSYSTEM = 10 << 8
_DELETE_TABLE, _NEW_GENERATION = _SUBSYSTEM | 2, _SUBSYSTEM | 15
_ELEMENTS = {_SUBSYSTEM | 12, _SUBSYSTEM | 14}
_HEADER_BYTES = 4
_TABLE, _PROCESS_NAME = 1, 3
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33


class NftMonitor(NotificationSocket):
    """`author` is the name of the threads whose transactions are our own. `is_ours` tells our tables by name."""

    def __init__(self, author: str, is_ours: Callable[[str], bool]) -> None:
        self._author = author
        self._is_ours = is_ours
        self._concerned = False
        super().__init__(_NETLINK_NETFILTER)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 4 << 20)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        except BaseException:
            self.close()
            raise

    def read(self) -> bool:
        """Read what has arrived, within bounds. Returns whether anybody else changed a table of ours."""
        changed = False
        for data in self._arrived():
            changed = data is None or self._take(data) or changed
        return changed

    def _take(self, data: bytes) -> bool:
        changed = False
        elements_seen = False
        for kind, _, _, body in messages(data):
            if kind == _NEW_GENERATION:
                author = to_text(attributes(body, _HEADER_BYTES).get(_PROCESS_NAME, b""))
                changed = changed or (self._concerned and author != self._author)
                self._concerned = False
            elif kind in _ELEMENTS and elements_seen:
                continue  # one of many elements says enough
            elif not self._concerned:
                elements_seen = elements_seen or kind in _ELEMENTS
                self._concerned = self._is_ours(to_text(attributes(body, _HEADER_BYTES).get(_TABLE, b"")))
        return changed
