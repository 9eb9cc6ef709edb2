"""gRPC listeners of a manager: the join port (server TLS), the mTLS port between nodes, and the Unix socket of the local daemon.

Invariant: every method on every listener passes ``manager.authorize``. Only the join port and the socket forward calls to the leader.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc import aio

from covey.errors import UnavailableError
from covey.states import NodeRole
from coveypb.v1 import ca_pb2_grpc, control_pb2_grpc, dispatcher_pb2_grpc, engine_pb2_grpc, raft_pb2_grpc
from manager.authorize import AuthorizationInterceptor
from manager.caller import Caller, Peer
from manager.config import ManagerConfig
from manager.control.leader_forwarding import LeaderForwarder
from manager.identity import CHANNEL_OPTIONS, ManagerIdentity, Stamp
from manager.revocation import Revocations
from manager.store import Consensus, Store

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
_MAX_MESSAGE_BYTES = 8 << 20
_MAX_JOINING = 64
_MAX_JOINING_BYTES = 64 << 10
"""Enough for a token and a signing request: longer messages of callers without a certificate are not read."""
_MAX_NODES = 8_192
_MAX_LOCAL = 512


class ManagerChannels:
    """Channels to other managers, one per address. A channel is replaced after this manager's certificate is renewed."""

    def __init__(self, identity: ManagerIdentity) -> None:
        self._identity = identity
        self._channels: dict[str, tuple[Stamp, aio.Channel]] = {}

    def __call__(self, addr: str) -> aio.Channel:
        stamp = self._identity.files.stamp
        known = self._channels.get(addr)
        if known is not None and known[0] == stamp:
            return known[1]
        channel = aio.secure_channel(addr, self._identity.channel_credentials(), options=CHANNEL_OPTIONS)
        self._channels[addr] = (stamp, channel)
        return channel

    async def close(self) -> None:
        for _, channel in self._channels.values():
            await channel.close()


class Servicers:
    """The gRPC services of a manager, made by ``manager.main``."""

    def __init__(self, *, ca: Any, control: Any, dispatcher: Any, raft: Any, store_key: Any, tails: Any) -> None:
        self.ca = ca
        self.control = control
        self.dispatcher = dispatcher
        self.raft = raft
        self.store_key = store_key
        self.tails = tails


class Listeners:
    """The three listeners. ``close`` gives running calls a grace period."""

    def __init__(
        self,
        config: ManagerConfig,
        identity: ManagerIdentity,
        store: Store,
        consensus: Consensus,
        services: Servicers,
    ) -> None:
        self._config = config
        self._identity = identity
        self._dialer = ManagerChannels(identity)
        cluster_id = identity.peer.cluster_id

        revoked = Revocations(store)

        def current_role(peer: Peer) -> Caller | None:
            if peer.node_id in revoked:
                return None
            if not consensus.leadership.is_leader:
                return peer.caller
            node = store.view().nodes.get(peer.node_id)
            if node is None:
                return None
            return Caller.MANAGER if node.role is NodeRole.MANAGER else Caller.WORKER

        def authorized_server(
            caller: Caller | None,
            dial: Callable[[str], aio.Channel] | None,
            max_calls: int,
            message_bytes: int = _MAX_MESSAGE_BYTES,
        ) -> aio.Server:
            chain: Sequence[aio.ServerInterceptor] = (
                AuthorizationInterceptor(cluster_id, current_role, caller, node_id=identity.peer.node_id),
                LeaderForwarder(consensus, dial),
            )
            options = (*_OPTIONS, ("grpc.max_receive_message_length", message_bytes))
            return aio.server(interceptors=chain, options=options, maximum_concurrent_rpcs=max_calls)

        self._join = authorized_server(Caller.ANONYMOUS, self._dialer, _MAX_JOINING, _MAX_JOINING_BYTES)
        ca_pb2_grpc.add_CertificateAuthorityServicer_to_server(services.ca, self._join)
        self._nodes = authorized_server(None, None, _MAX_NODES)
        ca_pb2_grpc.add_CertificateAuthorityServicer_to_server(services.ca, self._nodes)
        ca_pb2_grpc.add_CertificateRenewalServicer_to_server(services.ca, self._nodes)
        control_pb2_grpc.add_ControlServicer_to_server(services.control, self._nodes)
        dispatcher_pb2_grpc.add_DispatcherServicer_to_server(services.dispatcher, self._nodes)
        dispatcher_pb2_grpc.add_LogTailMirrorServicer_to_server(services.tails, self._nodes)
        raft_pb2_grpc.add_RaftServicer_to_server(services.raft, self._nodes)
        engine_pb2_grpc.add_StoreEngineServicer_to_server(services.store_key, self._nodes)
        self._local = authorized_server(Caller.LOCAL, self._dialer, _MAX_LOCAL)
        control_pb2_grpc.add_ControlServicer_to_server(services.control, self._local)
        ca_pb2_grpc.add_CertificateRenewalServicer_to_server(services.ca, self._local)

    @property
    def dial(self) -> Callable[[str], aio.Channel]:
        """Channels to other managers, which this object owns."""
        return self._dialer

    async def start(self) -> None:
        """Raises UnavailableError if a port is in use."""
        config = self._config
        host = f"[{config.listen_addr}]" if ":" in config.listen_addr else config.listen_addr
        self._bind(self._join, f"{host}:{config.join_port}", self._identity.server_credentials(mutual=False))
        self._bind(self._nodes, f"{host}:{config.mtls_port}", self._identity.server_credentials(mutual=True))
        config.socket_path.parent.mkdir(parents=True, exist_ok=True)
        config.socket_path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._bind(self._local, f"unix:{config.socket_path}", None)
        finally:
            os.umask(before)
        for server in (self._join, self._nodes, self._local):
            await server.start()

    async def close(self, grace_seconds: float) -> None:
        for server in (self._join, self._local, self._nodes):
            await server.stop(grace_seconds)
        await self._dialer.close()
        self._config.socket_path.unlink(missing_ok=True)

    def _bind(self, server: aio.Server, addr: str, credentials: grpc.ServerCredentials | None) -> None:
        try:
            port = server.add_secure_port(addr, credentials) if credentials else server.add_insecure_port(addr)
        except RuntimeError:  # its text is about gRPC
            port = 0
        if not port:
            raise UnavailableError(
                f"the manager cannot listen at {addr}: the port is in use on this host, or the address is another's. Stop what listens "
                "there, or choose another with --listen-addr"
            )
