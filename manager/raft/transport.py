"""Messages to the other members: one `PeerLink` each, following the membership.

Law: knows addresses from the membership alone. Called by the driver; nothing here waits for a peer but the links themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from manager.raft.core import Message, Snapshot
from manager.raft.peer import Credentials, Listener, PeerLink
from manager.store.consensus import Member


class Transport:
    """The links of one node. ``run`` holds their tasks."""

    def __init__(
        self,
        raft_id: int,
        cluster_id: str,
        credentials: Credentials,
        listener: Listener,
        load_snapshot: Callable[[int], Awaitable[Snapshot]],
    ) -> None:
        self._raft_id = raft_id
        self._cluster_id = cluster_id
        self._credentials = credentials
        self._listener = listener
        self._load_snapshot = load_snapshot
        self._links: dict[int, PeerLink] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    def set_members(self, members: Iterable[Member]) -> None:
        """Links to all of them but this node; a changed address is a new link."""
        wanted = {member.raft_id: member for member in members if member.raft_id != self._raft_id and member.addr}
        for raft_id, link in list(self._links.items()):
            if raft_id not in wanted or wanted[raft_id].addr != link.member.addr:
                self._drop(raft_id)
        for raft_id, member in wanted.items():
            if raft_id not in self._links:
                self._links[raft_id] = PeerLink(
                    member, self._cluster_id, self._credentials, self._listener, self._load_snapshot
                )
                self._start(raft_id)

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            link = self._links.get(message.to)
            if link:
                link.send(message)
            elif message.snapshot:
                self._listener.snapshot_sent(message.to, ok=False)

    def heard(self, raft_id: int) -> None:
        """Something came in from a peer."""
        link = self._links.get(raft_id)
        if link:
            link.heard()

    def connected(self, raft_id: int) -> bool:
        link = self._links.get(raft_id)
        return link is not None and link.connected

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for raft_id in self._links:
                self._start(raft_id)
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

    def _start(self, raft_id: int) -> None:
        if self._group:
            self._tasks[raft_id] = self._group.create_task(self._links[raft_id].run(), name=f"raft peer {raft_id:x}")

    def _drop(self, raft_id: int) -> None:
        del self._links[raft_id]
        task = self._tasks.pop(raft_id, None)
        if task:
            task.cancel()
