"""Applied state of a Raft node: the state machine and the group's members as of the last applied entry.

Invariant: entries are applied in order and once. A snapshot replaces the whole state in one step on the event loop. The ids of
removed members are remembered, also in snapshots, so that a member that comes back learns of its removal.
Called by the driver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from covey.errors import UnavailableError
from manager.raft.compactor import Compactor
from manager.raft.core import ConfChange, Entry, EntryKind, RawNode, SnapshotMeta
from manager.raft.core import Snapshot as RaftSnapshot
from manager.raft.disk import Disk
from manager.raft.membership import members_after, members_in
from manager.raft.pending_proposals import PendingProposals
from manager.raft.transport import Transport
from manager.store.consensus import Member, StateMachine

log = logging.getLogger(__name__)

MAX_REMOVED = 1024
"""Bound on the remembered ids of removed members."""
_ENTRIES_PER_SLICE = 128
"""After so many applied entries other coroutines get their turn."""


class _DecodedSnapshot(msgspec.Struct, frozen=True):
    """A snapshot from the leader that is decoded but not installed yet."""

    snapshot: RaftSnapshot
    install: Callable[[], tuple[Member, ...]]


class AppliedState:
    """Used on one event loop."""

    def __init__(
        self,
        disk: Disk,
        machine: StateMachine,
        transport: Transport,
        compactor: Compactor,
        proposals: PendingProposals,
    ) -> None:
        """Restores the latest snapshot of the disk. ``transport``, ``compactor`` and ``proposals`` are told of what is applied."""
        self.index, self.term = 0, 0
        self.conf = disk.storage.initial_state()[1]
        self.members: dict[int, Member] = {}
        self.removed_ids: dict[int, None] = {}
        self.removed = asyncio.Event()
        """Set when this node is no longer a member."""
        self._raft_id = disk.identity.raft_id
        self._machine = machine
        self._transport = transport
        self._compactor = compactor
        self._proposals = proposals
        self._is_decoding = False
        self._decoded: _DecodedSnapshot | None = None
        self._restore_from_disk(disk)

    @property
    def metadata(self) -> SnapshotMeta:
        """The metadata of a snapshot of this state."""
        return SnapshotMeta(self.index, self.term, self.conf)

    @property
    def is_single_voter(self) -> bool:
        """Whether this node is the only voter of its group."""
        return self.conf.voters == (self._raft_id,)

    def capture(self) -> Callable[[], bytes]:
        """Captures the state for a snapshot; the result encodes it in a thread."""
        removed = [Member(raft_id=raft_id, node_id="", addr="") for raft_id in self.removed_ids]
        return self._machine.snapshot((*self.members.values(), *removed))

    # Entries.

    async def apply(self, entries: Sequence[Entry], node: RawNode) -> None:
        """Applies committed entries in order."""
        for number, entry in enumerate(entries, start=1):
            if entry.kind is EntryKind.CONF_CHANGE:
                self._apply_change(ConfChange.decode(entry.data), node)
            elif entry.data:
                self._machine.apply(entry.index, entry.data)
            self.index, self.term = entry.index, entry.term
            self._compactor.entry_applied(len(entry.data))
            self._proposals.entry_applied(entry.index, entry.term)
            if number % _ENTRIES_PER_SLICE == 0:
                await asyncio.sleep(0)

    def _apply_change(self, change: ConfChange, node: RawNode) -> None:
        self.conf = node.apply_conf_change(change)
        before = set(self.members)
        self._set_members(members_after(self.members, change, self.conf))
        self._remember_removed(sorted(before - set(self.members)))
        if self._raft_id in before and self._raft_id not in self.members:
            self.removed.set()

    def _set_members(self, members: dict[int, Member]) -> None:
        self.members = members
        self._transport.set_members(members.values())

    def _remember_removed(self, raft_ids: Sequence[int]) -> None:
        """Keeps the latest ids in the order of their removal; a member removed earlier is refused without a reason."""
        for raft_id in raft_ids:
            self.removed_ids[raft_id] = None
        for raft_id in list(self.removed_ids)[:-MAX_REMOVED]:
            del self.removed_ids[raft_id]

    # Snapshots.

    def _restore_from_disk(self, disk: Disk) -> None:
        """A new member without a snapshot uses the member list that it got when it joined."""
        snapshot = disk.snapshot
        if snapshot is None:
            self._transport.set_members(disk.identity.members)
            return
        self._install(snapshot, self._machine.decode(snapshot.metadata.index, snapshot.data))
        disk.forget_snapshot()

    async def decode(self, snapshot: RaftSnapshot) -> None:
        """Decodes a snapshot from the leader in a thread, before the core sees it. `restore` installs it later.

        Raises:
            UnavailableError: another snapshot is being decoded.
        """
        if self._is_decoding:
            raise UnavailableError("this manager is receiving another snapshot; try again later")
        self._is_decoding = True
        try:
            install = await asyncio.to_thread(self._machine.decode, snapshot.metadata.index, snapshot.data)
        finally:
            self._is_decoding = False
        self._decoded = _DecodedSnapshot(snapshot, install)

    def discard_decoded(self) -> None:
        """The core did not accept the decoded snapshot."""
        self._decoded = None

    async def restore(self, snapshot: RaftSnapshot) -> None:
        """Replaces the state by a snapshot from the leader."""
        log.info("replacing the log by the leader's snapshot at index %d", snapshot.metadata.index)
        decoded, self._decoded = self._decoded, None
        if decoded is not None and decoded.snapshot is snapshot:
            self._install(snapshot, decoded.install)
        else:
            index = snapshot.metadata.index
            self._install(snapshot, await asyncio.to_thread(self._machine.decode, index, snapshot.data))

    def _install(self, snapshot: RaftSnapshot, install: Callable[[], tuple[Member, ...]]) -> None:
        metadata = snapshot.metadata
        listed = install()
        self.conf = metadata.conf_state
        self.index, self.term = metadata.index, metadata.term
        self._compactor.snapshot_taken(metadata.index, len(snapshot.data))
        members = members_in(listed, self.conf)
        self._remember_removed([member.raft_id for member in listed if member.raft_id not in members])
        self._proposals.snapshot_restored(self.index, self.term)
        self._set_members(members)
