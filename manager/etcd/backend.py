"""etcd as the consensus backend of a manager process: store key, bootstrap or join, and the services for other managers.

Invariant: of the cluster's state, this host keeps only its identity and the store key. See ``manager.consensus_backend``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

from covey.clock import wall_clock
from covey.errors import ConflictError, CoveyError, DeadlineError, PermissionDeniedError, UnsupportedError
from coveypb.v1 import engine_pb2, engine_pb2_grpc
from manager.bootstrap.new_cluster import first_objects
from manager.caller import peer_of
from manager.config import ManagerConfig, ManagerMode
from manager.consensus_backend import BackgroundTask, IsManager
from manager.etcd import bootstrap, encryption, target
from manager.etcd.client import EtcdClient
from manager.etcd.consensus import EtcdConsensus
from manager.etcd.encryption import ValueCipher
from manager.identity import ManagerIdentity
from manager.keys.key_ring import KeyRing
from manager.keys.rotation import KeyRotator
from manager.store import Member, StateMachine, Store

log = logging.getLogger("covey.manager")


async def open_backend(config: ManagerConfig, rotator: KeyRotator) -> tuple[ManagerIdentity, EtcdBackend]:
    """Opens the backend. Creates the cluster or joins its group if the mode says so.

    Raises:
        CoveyError: that failed; RemovedError: this node is not a manager of the cluster.
    """
    etcd_target = target.parse(
        config.store, ca_file=config.store_ca, cert_file=config.store_cert, key_file=config.store_key
    )
    client = EtcdClient(etcd_target)
    try:
        identity, key = await _bootstrap_or_join(config, rotator, client)
    except BaseException:
        await client.close()
        raise
    return identity, EtcdBackend(config, identity, rotator, client, key)


async def _bootstrap_or_join(
    config: ManagerConfig, rotator: KeyRotator, client: EtcdClient
) -> tuple[ManagerIdentity, bytes]:
    folder = config.identity_dir
    if config.mode not in {ManagerMode.BOOTSTRAP, ManagerMode.JOIN, ManagerMode.RESTART}:
        raise UnsupportedError(
            f"{config.mode.value} is not supported with --store: back up and restore etcd with etcdctl snapshot"
        )
    key = encryption.load_key(folder, rotator.unseal)
    if config.mode is ManagerMode.BOOTSTRAP and key is None:
        key = encryption.new_key()
        cluster, node = first_objects(config, rotator, wall_clock())
        encryption.save_key(folder, rotator.node_key_on_disk(key))
        try:
            await bootstrap.create_cluster(client, ValueCipher(key, cluster.id), cluster, node, config.addr)
        except CoveyError as error:
            if not isinstance(error, DeadlineError):  # otherwise the cluster may exist, and only this key decrypts it
                target.remove_store_key(folder)
            raise
        return ManagerIdentity(folder, rotator.unseal), key
    identity = ManagerIdentity(folder, rotator.unseal)
    if key is None:
        key = await bootstrap.fetch_store_key(identity, config.join_addrs)
        encryption.save_key(folder, rotator.node_key_on_disk(key))
    if config.mode is ManagerMode.JOIN:
        await bootstrap.join_group(client, ValueCipher(key, identity.peer.cluster_id), identity, config.addr)
    return identity, key


class EtcdBackend:
    """One per manager process, made by ``open_backend``."""

    def __init__(
        self, config: ManagerConfig, identity: ManagerIdentity, rotator: KeyRotator, client: EtcdClient, key: bytes
    ) -> None:
        self._config = config
        self._identity = identity
        self._rotator = rotator
        self._client = client
        self._key = key
        self._consensus: EtcdConsensus | None = None

    @property
    def replays_log(self) -> bool:
        return False  # the state is read at one revision

    def connect(self, machine: StateMachine) -> EtcdConsensus:
        peer = self._identity.peer
        cipher = ValueCipher(self._key, peer.cluster_id)
        self._consensus = EtcdConsensus(
            self._client, cipher, machine, cluster_id=peer.cluster_id, node_id=peer.node_id, addr=self._config.addr
        )
        return self._consensus

    @property
    def consensus(self) -> EtcdConsensus:
        if self._consensus is None:
            raise RuntimeError("the backend is not connected to a store yet")
        return self._consensus

    def raft_service(self, is_manager: IsManager) -> Any:  # noqa: ARG002 - every call is refused
        return _RaftRefusal(str(self._client.target))

    def key_service(self, is_manager: IsManager) -> Any:
        return _StoreKeyService(self.consensus, self._key, is_manager)

    def background_tasks(self, store: Store) -> tuple[BackgroundTask, ...]:  # noqa: ARG002 - ``run`` keeps the lease and the address
        return ()

    async def reencrypt(self, ring: KeyRing) -> None:  # noqa: ARG002 - the rotator has it by now
        await asyncio.to_thread(
            encryption.save_key, self._config.identity_dir, self._rotator.node_key_on_disk(self._key)
        )

    async def run(self) -> None:
        await self.consensus.run()

    async def close(self) -> None:
        await self.consensus.close()

    def members(self) -> tuple[Member, ...]:
        return self.consensus.members()

    async def remove_members(self, node_ids: Collection[str]) -> None:
        await self.consensus.remove_members(node_ids)

    async def transfer_leadership(self, among: Collection[str]) -> None:
        await self.consensus.transfer_leadership(among)


class _StoreKeyService(engine_pb2_grpc.StoreEngineServicer):
    """Sends the store key to managers of the cluster. Asks etcd first, so a demoted node is refused."""

    def __init__(self, consensus: EtcdConsensus, key: bytes, is_manager: IsManager) -> None:
        self._consensus = consensus
        self._key = key
        self._is_manager = is_manager

    async def GetStoreKey(  # noqa: N802 - the service's own name
        self, _request: engine_pb2.StoreKeyRequest, context: Any
    ) -> engine_pb2.StoreKeyResponse:
        caller = peer_of(context).node_id
        await self._consensus.read_index()
        if not self._is_manager(caller):
            raise PermissionDeniedError(f"node {caller} is not a manager of this cluster: promote it first")
        return engine_pb2.StoreKeyResponse(key=self._key)


class _RaftRefusal:
    """Refuses Raft calls: a manager was started without --store for a cluster on etcd."""

    def __init__(self, store: str) -> None:
        self._store = store

    async def _refuse(self, _request: Any, _context: Any) -> Any:
        raise ConflictError(f"this cluster keeps its state in etcd: start coveyd with --store {self._store}")

    Exchange = SendSnapshot = Join = Leave = _refuse
