"""Revocation of removed nodes: the cluster object lists their ids until their certificates expire, and every manager refuses them.

Invariant: node ids are never reused, so a revocation is never withdrawn. It is dropped when no certificate of the node can be valid.
Written in the transaction that removes the node (``manager.control.nodes``), read on every call (``manager.listeners``). A follower may not
know a new node yet, but it knows the nodes whose removal it has applied.
"""

from covey.objects import Cluster, RevokedNode, replace
from manager.ca import certificates
from manager.store import Store

MIN_LIFETIME_NS = 90 * 24 * 3600 * 10**9
"""Minimum lifetime to assume: a certificate may have been issued before its lifetime was shortened in the settings."""

MAX_REVOKED = 4096
"""Limit of the list. Beyond it the entries that expire first are dropped; then only the leader refuses those nodes."""


def revoke(cluster: Cluster, node_id: str, now_ns: int) -> Cluster:
    """The cluster object with the node added to its revocations, and expired ones removed."""
    life_ns = max(cluster.spec.ca.node_cert_expiry_ns, MIN_LIFETIME_NS)
    until = max((now_ns + life_ns, *_ends_of_external_roots(cluster)))
    kept = [one for one in cluster.revoked if one.until_ns > now_ns and one.node_id != node_id]
    kept.append(RevokedNode(node_id=node_id, until_ns=until))
    kept.sort(key=lambda one: one.until_ns)
    return replace(cluster, revoked=tuple(kept[-MAX_REVOKED:]))


def _ends_of_external_roots(cluster: Cluster) -> list[int]:
    """Ends of roots that an external CA may sign with. It sets the lifetime of certificates, so only the end of the root is known."""
    root = cluster.root_ca
    outside = bool(cluster.spec.ca.external_cas)
    return [
        certificates.not_after_ns(one.cert)
        for one in (root, root.rotation)
        if one and one.cert and (outside or not one.key)
    ]


class Revocations:
    """The set of removed nodes that this manager knows. A test costs one lookup."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: tuple[RevokedNode, ...] = ()
        self._ids: frozenset[str] = frozenset()

    def __contains__(self, node_id: object) -> bool:
        for cluster in self._store.view().clusters:
            if cluster.revoked is not self._known:
                self._known = cluster.revoked
                self._ids = frozenset(one.node_id for one in self._known)
        return node_id in self._ids
