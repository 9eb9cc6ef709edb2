"""Raft transport: sends messages to all other members through one `PeerLink` each, following the membership.

Invariant: a peer's address is the one in the membership, or a newer one that the peer announced itself. So two managers
of which one has moved find each other although no majority can commit the new address.
Called by the driver; only the links themselves wait for a peer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from covey.task_group import TaskGroup
from manager.raft.core import Message
from manager.raft.peer import Credentials, PeerLink, TransportListener
from manager.raft.snapshots import SnapshotReader
from manager.store.consensus import Member

log = logging.getLogger(__name__)


class Transport:
    """The links to all other members. ``run`` owns their tasks."""

    def __init__(
        self,
        raft_id: int,
        cluster_id: str,
        credentials: Credentials,
        listener: TransportListener,
        open_snapshot: Callable[[int], Awaitable[SnapshotReader]],
        *,
        addr: str = "",
    ) -> None:
        """``addr`` is HOST:PORT of this node's listener."""
        self._raft_id = raft_id
        self._cluster_id = cluster_id
        self._credentials = credentials
        self._listener = listener
        self._open_snapshot = open_snapshot
        self._addr = addr
        self._members: tuple[Member, ...] = ()
        # For each moved peer, the address in the membership and the one that the peer announced.
        self._address_overrides: dict[int, tuple[str, str]] = {}
        self._links: dict[int, PeerLink] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._group: TaskGroup | None = None

    def set_members(self, members: Iterable[Member]) -> None:
        """Keeps a link to each member except this node; a changed address gets a new link."""
        self._members = tuple(members)
        targets = {
            m.raft_id: self._at_current_address(m) for m in self._members if m.raft_id != self._raft_id and m.addr
        }
        for raft_id, link in list(self._links.items()):
            if raft_id not in targets or targets[raft_id].addr != link.member.addr:
                self._drop(raft_id)
        for raft_id, member in targets.items():
            if raft_id not in self._links:
                self._links[raft_id] = PeerLink(
                    member,
                    self._cluster_id,
                    self._credentials,
                    self._listener,
                    self._open_snapshot,
                    sender=(self._raft_id, self._addr),
                )
                self._start(raft_id)

    def set_peer_address(self, raft_id: int, addr: str) -> None:
        """A peer announced its address."""
        link = self._links.get(raft_id)
        if link is None or link.member.addr == addr:
            return
        listed = next(member.addr for member in self._members if member.raft_id == raft_id)
        log.info("raft member %x has moved to %s, it was at %s", raft_id, addr, link.member.addr)
        self._address_overrides[raft_id] = (listed, addr)
        self.set_members(self._members)

    def address_of(self, member: Member) -> str:
        """The current HOST:PORT of a member, including this node."""
        return self._addr if self._addr and member.raft_id == self._raft_id else self._at_current_address(member).addr

    def _at_current_address(self, member: Member) -> Member:
        """The member with the address that it announced, unless the membership has changed since."""
        listed, announced = self._address_overrides.get(member.raft_id, ("", ""))
        return msgspec.structs.replace(member, addr=announced) if listed == member.addr else member

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            link = self._links.get(message.to)
            if link:
                link.send(message)
            elif message.snapshot:
                self._listener.report_snapshot(message.to, ok=False)

    def announce(self) -> None:
        """Tells all peers who and where this node is. A peer that removed it says so."""
        for link in self._links.values():
            link.announce()

    def record_received(self, raft_id: int) -> None:
        """Records that a message from a peer arrived."""
        link = self._links.get(raft_id)
        if link:
            link.record_received()

    def is_reachable(self, raft_id: int) -> bool:
        """Whether a peer is connected and answers."""
        link = self._links.get(raft_id)
        return link is not None and link.reachable

    def last_heard_seconds(self, raft_id: int) -> float | None:
        """Seconds since the last message of a peer arrived; None if none did."""
        link = self._links.get(raft_id)
        return link.last_heard_seconds if link is not None else None

    async def run(self) -> None:
        """Runs until cancelled."""
        async with TaskGroup() as group:
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
        self._links.pop(raft_id).close()
        task = self._tasks.pop(raft_id, None)
        if task:
            task.cancel()
