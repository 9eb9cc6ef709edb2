"""The CA on the wire: hosts join by token on the join port, nodes renew on the mTLS port.

Law: a certificate says what the store says: a joining host's Node object is committed before it gets its certificate, and a renewed
certificate carries the role that the node has now. Only the leader issues; a follower forwards or names the leader. The daemon beside
a manager renews on its Unix socket, where no certificate is asked for: one that expired while the host was off is no dead end.
"""

# ruff: noqa: N802 - gRPC names its methods so

from typing import Any

from covey.clock import Clock, wall_clock
from covey.errors import PermissionDeniedError, UnavailableError
from covey.ids import new_id
from covey.objects import Cluster, Node, NodeSpec
from covey.states import NodeAvailability, NodeRole
from coveypb.v1 import ca_pb2
from manager.authorize import peer_of
from manager.ca import certificates
from manager.ca.cluster import role_of_token, root_pair
from manager.control.errors import abort_not_leader
from manager.store import Store, View


def the_cluster(view: View) -> Cluster:
    """The one cluster object.

    Raises:
        UnavailableError: this manager has not received the cluster's state yet.
    """
    for cluster in view.clusters:
        return cluster
    raise UnavailableError("this manager has not received the cluster's state yet; try again shortly")


class CertificateAuthority:
    """Both services of ca.proto. ``node_id`` is this manager's own."""

    def __init__(self, store: Store, root_pem: bytes, node_id: str, clock: Clock = wall_clock) -> None:
        self._store = store
        self._root_pem = root_pem
        self._node_id = node_id
        self._clock = clock

    async def GetRootCertificate(self, _request: ca_pb2.GetRootCertificateRequest, _context: Any) -> Any:
        return ca_pb2.GetRootCertificateResponse(certificate=self._root_pem)

    async def IssueCertificate(self, request: ca_pb2.IssueCertificateRequest, _context: Any) -> Any:
        cluster = the_cluster(self._store.view())
        role = role_of_token(cluster, request.token)
        spec = NodeSpec(desired_role=role, availability=NodeAvailability(request.availability))
        node = Node(id=new_id(), spec=spec, role=role)
        response = self._issue(cluster, request.csr, node.id, role)
        await self._store.update(lambda tx: tx.create(node))
        return response

    async def RenewCertificate(self, request: ca_pb2.RenewCertificateRequest, context: Any) -> Any:
        leadership = self._store.consensus.leadership
        if not leadership.is_leader:
            await abort_not_leader(context, leadership.leader_addr)
        node_id = peer_of(context).node_id if "x509_subject" in context.auth_context() else self._node_id
        node = self._store.view().nodes.get(node_id)
        if node is None:
            raise PermissionDeniedError(f"node {node_id} was removed from the cluster")
        return self._issue(the_cluster(self._store.view()), request.csr, node.id, node.role)

    def _issue(self, cluster: Cluster, csr: bytes, node_id: str, role: NodeRole) -> ca_pb2.IssueCertificateResponse:
        certificate = certificates.issue(
            root_pair(cluster),
            csr,
            node_id=node_id,
            role=role,
            cluster_id=cluster.id,
            now_ns=self._clock(),
            life_ns=cluster.spec.ca.node_cert_expiry_ns,
        )
        return ca_pb2.IssueCertificateResponse(
            node_id=node_id,
            role=ca_pb2.IssueCertificateResponse(role=int(role)).role,  # type: ignore[arg-type]
            certificate=certificate,
            root_certificate=cluster.root_ca.cert,
            cluster_id=cluster.id,
        )
