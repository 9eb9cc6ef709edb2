"""The gRPC services of the certificate authority: hosts join by token on the join port, nodes renew certificates on the mTLS port.

Invariant: a certificate agrees with the store. A joining host's Node object is committed before the host gets its certificate, and a
renewed certificate has the node's present role. Only the leader issues certificates; a follower forwards the call or names the leader.

The daemon of a manager's host renews on the Unix socket, which needs no certificate, so it can renew even an expired one.
"""

# ruff: noqa: N802 - gRPC names its methods so

from typing import Any

from covey import trust
from covey.errors import NodeRemovedError, UnavailableError
from covey.ids import new_id
from covey.objects import Cluster, Node, NodeSpec, replace
from covey.states import NodeAvailability, NodeRole
from coveypb.v1 import ca_pb2
from manager.ca.cluster_trust import role_of_token
from manager.ca.root_rotation import without_stale_tls
from manager.ca.signing import CertificateSigner
from manager.caller import peer_of
from manager.grpc_status import abort_not_leader
from manager.store import Store, Tx, View

_ROTATED = "a rotation of the root certificate has started; try again"


class CertificateAuthorityServicer:
    """Both services of ca.proto. ``root_pem`` is returned until the cluster's state is known; ``node_id`` is this manager's own."""

    def __init__(self, store: Store, root_pem: bytes, node_id: str, signer: CertificateSigner) -> None:
        self._store = store
        self._root_pem = root_pem
        self._node_id = node_id
        self._signer = signer

    async def GetRootCertificate(self, _request: ca_pb2.GetRootCertificateRequest, _context: Any) -> Any:
        """The root that join tokens refer to. During a rotation that is the old one, which also verifies certificates of the new one."""
        for cluster in self._store.view().clusters:
            return ca_pb2.GetRootCertificateResponse(certificate=cluster.root_ca.cert)
        return ca_pb2.GetRootCertificateResponse(certificate=self._root_pem)

    async def IssueCertificate(self, request: ca_pb2.IssueCertificateRequest, _context: Any) -> Any:
        cluster = self._store.view().cluster
        role = role_of_token(cluster, request.token)
        spec = NodeSpec(desired_role=role, availability=NodeAvailability(request.availability))
        node = Node(id=new_id(), spec=spec, role=role)
        certificate = await self._signer.sign(cluster, request.csr, node.id, role)

        def create(tx: Tx) -> None:
            now = tx.cluster
            _require_same_issuer(now, cluster)
            role_of_token(now, request.token)  # the token may have been rotated while an external CA signed
            tx.create(replace(node, version_before_spec=tx.version))

        await self._store.update(create)
        return _response(cluster, certificate, node.id, role)

    async def RenewCertificate(self, request: ca_pb2.RenewCertificateRequest, context: Any) -> Any:
        leadership = self._store.consensus.leadership
        if not leadership.is_leader:
            await abort_not_leader(context, leadership.leader_addr)
        await self._store.consensus.read_index()  # a deposed leader could sign with an old root
        node_id = peer_of(context).node_id if "x509_subject" in context.auth_context() else self._node_id
        node = self._store.view().nodes.get(node_id)
        if node is None:
            raise NodeRemovedError(f"node {node_id} was removed from the cluster")
        cluster = self._store.view().cluster
        certificate = await self._signer.sign(cluster, request.csr, node.id, node.role)

        def clear_tls_info(tx: Tx) -> None:
            _require_same_issuer(tx.cluster, cluster)
            stored = tx.nodes.get(node_id)
            if stored is None:
                raise NodeRemovedError(f"node {node_id} was removed from the cluster")
            if without_stale_tls(stored, cluster.root_ca) != stored:
                tx.update(without_stale_tls(stored, cluster.root_ca))

        if without_stale_tls(node, cluster.root_ca) != node:
            await self._store.update(clear_tls_info)
        _require_unchanged(self._store.view(), cluster, node)
        return _response(cluster, certificate, node.id, node.role)


def _require_same_issuer(now: Cluster, then: Cluster) -> None:
    if trust.issuing_root(now.root_ca) != trust.issuing_root(then.root_ca):
        raise UnavailableError(_ROTATED)


def _require_unchanged(view: View, cluster: Cluster, node: Node) -> None:
    """Raises if the issuer or the node's role changed while an external CA signed."""
    _require_same_issuer(view.cluster, cluster)
    now = view.nodes.get(node.id)
    if now is None:
        raise NodeRemovedError(f"node {node.id} was removed from the cluster")
    if now.role is not node.role:
        raise UnavailableError(f"the role of node {node.id} has changed; try again")


def _response(cluster: Cluster, certificate: bytes, node_id: str, role: NodeRole) -> ca_pb2.IssueCertificateResponse:
    return ca_pb2.IssueCertificateResponse(
        node_id=node_id,
        role=ca_pb2.IssueCertificateResponse(role=int(role)).role,  # type: ignore[arg-type]
        certificate=certificate,
        root_certificate=trust.trusted_roots(cluster.root_ca),
        cluster_id=cluster.id,
    )
