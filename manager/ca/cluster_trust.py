"""Root CA and join tokens of the cluster object: creation, token rotation, the role of a token.

Invariant: a token is always compared with both tokens of the cluster, in constant time.

Called by the bootstrap, the control API and the CA's servicer.
"""

import hashlib

from covey import jointoken
from covey.errors import InvalidArgumentError, UnauthenticatedError
from covey.ids import new_id
from covey.objects import Cluster, ClusterSpec, RootCA, replace
from covey.states import NodeRole
from manager.ca.certificates import RootPair, create_root
from manager.ca.operator_root import parse_root


def new_cluster(spec: ClusterSpec, now_ns: int) -> Cluster:
    """A cluster with a new root or the root in the spec, and with new tokens.

    Raises:
        InvalidArgumentError: the root in the spec is invalid, or its key is missing.
    """
    cluster_id = new_id()
    settings = spec.ca
    if settings.signing_key and not settings.signing_cert:
        raise InvalidArgumentError("if a signing CA key is provided, the signing CA cert must also be provided")
    if settings.signing_cert and not settings.signing_key:
        raise InvalidArgumentError(
            "a new cluster needs the key of its root: give it, or create the cluster without a CA and then rotate to the external CA"
        )
    root = parse_root(settings.signing_cert, settings.signing_key, now_ns) if settings.signing_cert else None
    return Cluster(
        id=cluster_id, spec=without_signing_material(spec), root_ca=new_root_ca(root or create_root(cluster_id, now_ns))
    )


def without_signing_material(spec: ClusterSpec) -> ClusterSpec:
    """The spec as it is stored: without the CA certificate and key of the request, which become part of the root CA."""
    return replace(spec, ca=replace(spec.ca, signing_cert=b"", signing_key=b""))


def root_pair(cluster: Cluster) -> RootPair:
    return RootPair(cert=cluster.root_ca.cert, key=cluster.root_ca.key)


def with_new_tokens(cluster: Cluster, *, worker: bool, manager: bool) -> Cluster:
    """The cluster with new tokens for the chosen roles; the old ones become invalid."""
    root = cluster.root_ca
    if worker:
        root = replace(root, join_token_worker=str(jointoken.generate(root.cert)))
    if manager:
        root = replace(root, join_token_manager=str(jointoken.generate(root.cert)))
    return replace(cluster, root_ca=root)


def role_of_token(cluster: Cluster, text: str) -> NodeRole:
    """The role that a token gives.

    Raises:
        InvalidArgumentError: the text is not a join token.
        UnauthenticatedError: the token belongs to another cluster, or its secret is wrong or was rotated.
    """
    token = jointoken.parse(text)
    root = cluster.root_ca
    worker = jointoken.equal_constant_time(str(token), root.join_token_worker)
    manager = jointoken.equal_constant_time(str(token), root.join_token_manager)
    if manager:
        return NodeRole.MANAGER
    if worker:
        return NodeRole.WORKER
    if token.digest != jointoken.root_digest(root.cert):
        raise UnauthenticatedError(
            "the join token belongs to another cluster: its digest is not that of this cluster's root certificate"
        )
    raise UnauthenticatedError(
        "the join token is not valid: it was rotated or mistyped; ask a manager for the current one (swarm join-token worker|manager)"
    )


def new_root_ca(root: RootPair) -> RootCA:
    """A root CA with new tokens that carry its digest."""
    return RootCA(
        key=root.key,
        cert=root.cert,
        cert_digest=hashlib.sha256(jointoken.pem_to_der(root.cert)).hexdigest(),
        join_token_worker=str(jointoken.generate(root.cert)),
        join_token_manager=str(jointoken.generate(root.cert)),
    )
