"""Raft as the consensus backend of a manager process: its group member, its gRPC service, and background tasks.

Invariant: implements `manager.consensus_backend`. The background tasks announce a changed address, search for
peers while there is no leader, and apply the cluster's Raft settings.
Created by `manager.main` after `manager.bootstrap` has prepared the Raft directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from covey.errors import ConflictError, CoveyError
from coveypb.v1 import engine_pb2, engine_pb2_grpc
from manager.caller import peer_of
from manager.config import ManagerConfig
from manager.consensus_backend import BackgroundTask, IsManager
from manager.identity import ManagerIdentity
from manager.keys.key_ring import KeyRing
from manager.raft import join_client
from manager.raft.node import RaftNode
from manager.raft.peer_discovery import discover_peers
from manager.raft.service import RaftService
from manager.raft.wal import SEGMENT_BYTES
from manager.store import Member, StateMachine, Store

log = logging.getLogger("covey.manager")

_ADDRESS_PAUSE_SECONDS = 1.0
_ADDRESS_SECONDS = 5.0
"""After this timeout the addresses of the other managers are read again, because they may have changed too."""
_TUNE_SECONDS = 5.0
_ROOM_BYTES = 2 * SEGMENT_BYTES
"""Room beside the copy, for segments that are started during the copy."""


class RaftBackend:
    """One per manager process."""

    def __init__(self, config: ManagerConfig, identity: ManagerIdentity, ring: KeyRing) -> None:
        self._config = config
        self._identity = identity
        self._ring = ring
        self._node: RaftNode | None = None

    @property
    def replays_log(self) -> bool:
        return True

    def connect(self, machine: StateMachine) -> RaftNode:
        folder = self._config.manager_dir / "raft"
        self._node = RaftNode.open(
            folder, self._ring, machine, self._identity.channel_credentials, addr=self._config.addr
        )
        return self._node

    @property
    def node(self) -> RaftNode:
        if self._node is None:
            raise RuntimeError("the consensus backend is not connected to a store yet")
        return self._node

    def raft_service(self, is_manager: IsManager) -> Any:
        return RaftService(
            self.node,
            self._identity.channel_credentials,
            caller=lambda context: peer_of(context).node_id,
            is_manager=is_manager,
        )

    def key_service(self, is_manager: IsManager) -> Any:  # noqa: ARG002 - refused to everybody
        return _StoreKeyRefusal()

    def background_tasks(self, store: Store) -> tuple[BackgroundTask, ...]:
        return (self._announce_address, self._discover_peers, lambda: self._follow_settings(store))

    async def reencrypt(self, ring: KeyRing) -> None:
        """Raises OSError if there is no room for a second copy of the largest file, because a failed write would end the node."""
        await asyncio.to_thread(_require_free_space, self._config.manager_dir / "raft")
        await self.node.reencrypt(ring)

    async def run(self) -> None:
        await self.node.run()

    async def close(self) -> None:
        await self.node.close()

    def members(self) -> tuple[Member, ...]:
        return self.node.members()

    async def remove_members(self, node_ids: Collection[str]) -> None:
        await self.node.remove_members(node_ids)

    async def transfer_leadership(self, among: Collection[str]) -> None:
        await self.node.transfer_leadership(among)

    async def _announce_address(self) -> None:
        """Announces a changed address of this manager to the others until the membership names it."""
        node, own = self.node, self.node.identity
        while True:
            member = next((m for m in node.members() if m.raft_id == own.raft_id), None)
            if member is not None and member.addr == self._config.addr:
                return
            others = announcement_targets(
                node.members(), own.raft_id, node.leadership.leader_id, self._config.join_addrs, self._config.addr
            )
            try:
                if node.leadership.is_leader:
                    await node.add_member(own.node_id, self._config.addr, own.raft_id)
                elif member is not None and others:
                    await join_client.join(
                        others,
                        self._identity.channel_credentials,
                        node_id=own.node_id,
                        addr=self._config.addr,
                        raft_id=own.raft_id,
                        timeout_seconds=_ADDRESS_SECONDS,
                    )
            except CoveyError as error:
                log.warning(
                    "the managers do not know this manager's address %s yet: %s", self._config.addr, error.message
                )
            await asyncio.sleep(_ADDRESS_PAUSE_SECONDS)

    async def _discover_peers(self) -> None:
        """Runs peer discovery at the addresses that this manager was given when it joined."""
        await discover_peers(self.node, self._config.join_addrs, self._identity.channel_credentials, self._config.addr)

    async def _follow_settings(self, store: Store) -> None:
        """Applies changes of the cluster's Raft settings."""
        while True:
            for cluster in store.view().clusters:
                self.node.configure(
                    snapshot_interval=cluster.spec.raft.snapshot_interval,
                    log_entries_for_slow_followers=cluster.spec.raft.log_entries_for_slow_followers,
                    keep_old_snapshots=cluster.spec.raft.keep_old_snapshots,
                )
            await asyncio.sleep(_TUNE_SECONDS)


def announcement_targets(
    members: Sequence[Member], own_raft_id: int, leader_id: int, join_addrs: Sequence[str], own_addr: str
) -> list[str]:
    """The addresses to which a manager announces its own, each once, the likely ones first. Pure.

    The addresses that it was given to join go before those of the membership: after all managers have moved, only they may be right.
    """
    leader = [member.addr for member in members if member.raft_id == leader_id]
    others = [member.addr for member in members if member.raft_id != own_raft_id]
    return [addr for addr in dict.fromkeys((*join_addrs, *leader, *others)) if addr != own_addr]


def _require_free_space(folder: Path) -> None:
    largest = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # removed by a log compaction meanwhile
            largest = max(largest, path.stat().st_size)
    needed, free = largest + _ROOM_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"re-encrypting the log needs {needed >> 20} MiB in {folder}, but only {free >> 20} MiB are free: free some space",
        )


class _StoreKeyRefusal(engine_pb2_grpc.StoreEngineServicer):
    """Refuses managers that were started for etcd but asked a cluster of another kind."""

    async def GetStoreKey(  # noqa: N802 - the service's own name
        self, _request: engine_pb2.StoreKeyRequest, _context: Any
    ) -> engine_pb2.StoreKeyResponse:
        raise ConflictError("this cluster keeps its state in its managers (Raft): start coveyd without --store")
