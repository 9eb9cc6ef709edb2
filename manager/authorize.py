"""Authorization of gRPC calls: one table of methods and callers, applied on every listener by one interceptor.

Invariant: a method without a line in the table is refused. A test walks all service descriptors, so none is forgotten.
Invariant: the leader trusts a certificate no more than the store. A removed node is refused, and a demoted one is a worker, whatever its
certificate says until it expires.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from covey.errors import (
    CoveyError,
    InvalidArgumentError,
    NodeRemovedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from manager.caller import Caller, Peer, author_of, peer_of
from manager.grpc_handlers import wrap_handler
from manager.grpc_status import abort_with
from manager.store.author import acting_as

log = logging.getLogger(__name__)


_LOCAL_OR_MANAGER = frozenset({Caller.LOCAL, Caller.MANAGER})
_NODES = frozenset({Caller.WORKER, Caller.MANAGER})
_LOCAL = frozenset({Caller.LOCAL})
_MANAGERS = frozenset({Caller.MANAGER})
_JOINING = frozenset({Caller.ANONYMOUS, Caller.MANAGER})

ALLOWED: dict[str, frozenset[Caller]] = {
    "/coveypb.v1.CertificateAuthority/GetRootCertificate": _JOINING,
    "/coveypb.v1.CertificateAuthority/IssueCertificate": _JOINING,
    "/coveypb.v1.CertificateRenewal/RenewCertificate": _NODES | {Caller.LOCAL},
    "/coveypb.v1.Dispatcher/Session": _NODES,
    "/coveypb.v1.Dispatcher/PublishLogs": _NODES,
    "/coveypb.v1.Dispatcher/LocateImage": _NODES,
    "/coveypb.v1.Dispatcher/AuthorizeFetch": _NODES,
    "/coveypb.v1.Dispatcher/AttachNetwork": _NODES,
    "/coveypb.v1.Dispatcher/ServeTaskCall": _NODES,
    "/coveypb.v1.LogTailMirror/MirrorLogTails": _MANAGERS,
    "/coveypb.v1.Raft/Exchange": _MANAGERS,
    "/coveypb.v1.Raft/SendSnapshot": _MANAGERS,
    "/coveypb.v1.Raft/Join": _MANAGERS,
    "/coveypb.v1.Raft/Leave": _MANAGERS,
    "/coveypb.v1.StoreEngine/GetStoreKey": _MANAGERS,
    "/coveypb.v1.Control/GetCluster": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/UpdateCluster": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetUnlockKey": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListNodes": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetNode": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/UpdateNode": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RemoveNode": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListServices": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetService": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/CreateService": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/UpdateService": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RemoveService": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetServiceExplanation": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetServiceDryRun": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/PromoteService": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RebalanceService": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListTasks": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetTask": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/CallTask": _LOCAL,
    "/coveypb.v1.Control/OpenTaskCall": _MANAGERS,
    "/coveypb.v1.Control/ListNetworks": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetNetwork": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/CreateNetwork": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RemoveNetwork": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListSecrets": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetSecret": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/CreateSecret": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/UpdateSecret": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RemoveSecret": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RotateSecret": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListConfigs": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/GetConfig": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/CreateConfig": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/UpdateConfig": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RemoveConfig": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/RotateConfig": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListWatchedStacks": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/WatchStack": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/DeployWatchedStack": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/UnwatchStack": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListNodeImages": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/FetchImage": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/CheckNetworks": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/ListHistory": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/WatchHistory": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/Logs": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/Status": _LOCAL_OR_MANAGER,
    "/coveypb.v1.Control/Backup": _LOCAL,
}


CurrentRole = Callable[[Peer], Caller | None]
"""Returns the present role of a node in the cluster, or None if it is not a member. A follower may be behind, so it returns the role in the
certificate; the leader decides.
"""


def authorize(method: str, peer: Peer, cluster_id: str, *, standing: CurrentRole) -> None:
    """Returns if the peer may call the method.

    Raises:
        PermissionDeniedError: it may not; UnauthenticatedError: its certificate belongs to another cluster.
    """
    name = method.removeprefix("/coveypb.v1.").replace("/", ".")
    allowed = ALLOWED.get(method)
    if allowed is None or peer.caller not in allowed:
        may = ", ".join(sorted(caller.value for caller in allowed or ())) or "no caller"
        raise PermissionDeniedError(f"{peer.caller.value} may not call {name}; {may} may")
    if peer.caller in {Caller.ANONYMOUS, Caller.LOCAL}:
        return
    if peer.cluster_id != cluster_id:
        raise UnauthenticatedError(
            f"node {peer.node_id} has a certificate of cluster {peer.cluster_id}, but this is cluster {cluster_id}"
        )
    now = standing(peer)
    if now is None:
        raise NodeRemovedError(
            f"node {peer.node_id} was removed from the cluster; leave the cluster on that host and join again"
        )
    if now not in allowed:
        raise PermissionDeniedError(f"node {peer.node_id} is {now.value} now and may not call {name}")


class AuthorizationInterceptor(aio.ServerInterceptor):
    """Checks every call against the table and maps errors to gRPC statuses. What a call changes has its caller as the author.

    ``fixed`` is the kind of all callers on a listener without client certificates, ``node_id`` this manager's node.
    """

    def __init__(
        self, cluster_id: str, standing: CurrentRole, fixed: Caller | None = None, *, node_id: str = ""
    ) -> None:
        self._cluster_id = cluster_id
        self._standing = standing
        self._fixed = fixed
        self._node_id = node_id

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        return wrap_handler(handler, lambda inner: self._authorized(method, inner))

    def _authorized(self, method: str, inner: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        async def call(request: Any, context: Any) -> Any:
            try:
                peer = Peer(caller=self._fixed) if self._fixed else peer_of(context)
                authorize(method, peer, self._cluster_id, standing=self._standing)
                with acting_as(author_of(peer, context, self._node_id)):
                    return await inner(request, context)
            except aio.AbortError:
                raise
            except CoveyError as error:
                await abort_with(context, error)
            except ValueError as error:  # a value in the message that this version does not know
                await abort_with(context, InvalidArgumentError(str(error)))
            except Exception:
                log.exception("%s failed", method)
                raise

        return call
