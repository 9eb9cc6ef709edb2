"""Root CA rotation: the change that new settings ask for, the nodes that must still renew, and completion. Pure.

Invariant: during a rotation the old root stays trusted, and every certificate of the new root comes with the new root cross-signed by the
old one, so no two nodes of the cluster reject each other. A rotation is complete when every node has reported a certificate of the new
root; a node that is down delays it until the node returns or is removed. A second rotation replaces the target of the first, and a
rotation to the old root cancels it.
"""

import logging
from collections.abc import Callable, Sequence

from covey import trust
from covey.cluster_settings import EXTERNAL_CA_HINT, check_external_cas
from covey.errors import InvalidArgumentError
from covey.objects import (
    CASettings,
    Cluster,
    ClusterSpec,
    ExternalCA,
    Node,
    Object,
    RootCA,
    RootRotation,
    TLSInfo,
    replace,
)
from covey.objects.base import Struct
from manager.ca.certificates import RootPair, create_root, cross_sign
from manager.ca.cluster_trust import new_root_ca
from manager.ca.operator_root import normalize_pem, parse_root
from manager.loop import EMPTY, Plan, Step
from manager.store import View

_log = logging.getLogger("covey.certificates")


class RootChange(Struct, frozen=True, kw_only=True):
    """The change that new settings ask for: ``root_ca`` takes effect at once, ``target`` starts a rotation. ``keyless_roots`` are roots
    whose key is not in the cluster; an external CA must prove that it signs for each of them before anything is stored.
    """

    root_ca: RootCA
    target: RootPair | None = None
    keyless_roots: tuple[bytes, ...] = ()


def plan_root_change(cluster: Cluster, settings: CASettings, now_ns: int) -> RootChange:
    """The change that new settings ask for.

    Raises:
        InvalidArgumentError: the settings are invalid; names the flag or field.
    """
    if settings.signing_key and not settings.signing_cert:
        raise InvalidArgumentError("if a signing CA key is provided, the signing CA cert must also be provided")
    check_external_cas(settings.external_cas)
    for ca in settings.external_cas:
        if ca.ca_cert:
            normalize_pem(ca.ca_cert)
    decision = _root_change(cluster, settings, now_ns)
    for ca in settings.external_cas:
        if ca not in cluster.spec.ca.external_cas:
            _refuse_unused_ca(ca, decision)
    return decision


def _root_change(cluster: Cluster, settings: CASettings, now_ns: int) -> RootChange:
    root_ca, before = cluster.root_ca, cluster.spec.ca
    if not settings.signing_cert:
        if settings.force_rotate != before.force_rotate:
            return _rotate(root_ca, create_root(cluster.id, now_ns))
        return RootChange(
            root_ca=root_ca,
            keyless_roots=() if settings.external_cas == before.external_cas else _keyless_roots(root_ca),
        )
    root = parse_root(settings.signing_cert, settings.signing_key, now_ns)
    keyless = () if root.key else (root.cert,)
    if root.cert == root_ca.cert:
        return RootChange(root_ca=replace(root_ca, key=root.key, rotation=None), keyless_roots=keyless)
    if trust.subject_and_key(root.cert)[1] == trust.subject_and_key(root_ca.cert)[1]:
        raise InvalidArgumentError("Cannot update to a cert with an identical key")
    if root_ca.rotation is not None and root.cert == root_ca.rotation.cert:
        again = replace(root_ca, rotation=replace(root_ca.rotation, key=root.key))
        return RootChange(root_ca=again, keyless_roots=keyless)
    return _rotate(root_ca, root)


def _rotate(root_ca: RootCA, target: RootPair) -> RootChange:
    if not root_ca.key and not target.key:
        raise InvalidArgumentError("rotating from one external CA to a different external CA is not supported")
    return RootChange(root_ca=root_ca, target=target, keyless_roots=() if target.key else (target.cert,))


def _refuse_unused_ca(ca: ExternalCA, decision: RootChange) -> None:
    """Refuses a new external CA that would sign for no root. A CA that is stored already is accepted with any change."""
    root_ca, target = decision.root_ca, decision.target
    held = [(root_ca.cert, root_ca.key)]
    if target is not None:
        held.append((target.cert, target.key))
    elif root_ca.rotation is not None:
        held.append((root_ca.rotation.cert, root_ca.rotation.key))
    keys = [key for cert, key in held if cas_for_root((ca,), cert, root_ca.cert)]
    if any(keys):
        raise InvalidArgumentError(
            f"the external CA {ca.url} would never be used: the key of the root that it signs for is in the cluster, and signs; "
            f"{EXTERNAL_CA_HINT}"
        )
    if not keys:
        raise InvalidArgumentError(
            f"the external CA {ca.url} would never be used: the cluster neither has the root that it signs for (cacert) nor "
            f"rotates to it; {EXTERNAL_CA_HINT}"
        )


def _keyless_roots(root_ca: RootCA) -> tuple[bytes, ...]:
    roots = [] if root_ca.key else [root_ca.cert]
    if root_ca.rotation is not None and not root_ca.rotation.key:
        roots.append(root_ca.rotation.cert)
    return tuple(roots)


def with_rotation(root_ca: RootCA, target: RootPair, now_ns: int, *, cross_signed: bytes = b"") -> RootCA:
    """The root CA with a rotation to the target. ``cross_signed`` is needed if the old root's key is not in the cluster."""
    signed = cross_signed or cross_sign(RootPair(cert=root_ca.cert, key=root_ca.key), target.cert)
    return replace(
        root_ca,
        rotation=RootRotation(cert=target.cert, key=target.key, cross_signed=signed, started_at_ns=now_ns),
    )


def cas_for_root(cas: Sequence[ExternalCA], root_cert: bytes, current_root: bytes) -> tuple[ExternalCA, ...]:
    """The external CAs that sign for a root. A CA without a root of its own signs for the current one."""
    return tuple(ca for ca in cas if (normalize_pem(ca.ca_cert) if ca.ca_cert else current_root) == root_cert)


def without_unused_cas(spec: ClusterSpec, root_ca: RootCA) -> ClusterSpec:
    """The settings without external CAs whose root is gone or whose root's key is now in the cluster."""
    roots = _keyless_roots(root_ca)
    cas = tuple(ca for ca in spec.ca.external_cas if any(cas_for_root((ca,), root, root_ca.cert) for root in roots))
    return replace(spec, ca=replace(spec.ca, external_cas=cas))


# --- during a rotation ---


def nodes_to_renew(view: View, root_ca: RootCA) -> list[Node]:
    """The nodes whose certificate is not from the current issuer."""
    expected = trust.expected_tls_info(root_ca)
    return [node for node in view.nodes if not trust.same_issuer(node.description.tls, expected)]


def without_stale_tls(node: Node, root_ca: RootCA) -> Node:
    """The node as it is stored before it gets a certificate: without a TLS info that names another issuer. Otherwise the old info would
    count again if the cluster rotated back to that issuer.
    """
    reported = node.description.tls
    if reported == TLSInfo() or trust.same_issuer(reported, trust.expected_tls_info(root_ca)):
        return node
    return replace(node, description=replace(node.description, tls=TLSInfo()))


def complete_rotation(cluster: Cluster) -> Cluster:
    """The cluster with the new root only, tokens that carry its digest, and the external CAs that sign for it."""
    rotation = cluster.root_ca.rotation
    if rotation is None:
        return cluster
    cas = () if rotation.key else cas_for_root(cluster.spec.ca.external_cas, rotation.cert, cluster.root_ca.cert)
    spec = replace(cluster.spec, ca=replace(cluster.spec.ca, external_cas=cas))
    return replace(cluster, spec=spec, root_ca=new_root_ca(RootPair(cert=rotation.cert, key=rotation.key)))


class RootRotationPlanner:
    """A control loop of the leader: completes a rotation once every node has renewed."""

    def __init__(self) -> None:
        self._dirty = True

    def reset(self, _view: View) -> None:
        self._dirty = True

    def observe(self, before: Object | None, after: Object | None) -> None:
        self._dirty = self._dirty or any(isinstance(item, Cluster | Node) for item in (before, after))

    def plan(self, view: View, _now_ns: int) -> Plan:
        if not self._dirty:
            return EMPTY
        self._dirty = False
        decided = plan(view)
        if decided.steps:
            _log.info(
                "root rotation completed: every node has a certificate of the new root; the join tokens have changed"
            )
        return decided


def plan(view: View, complete: Callable[[Cluster], Cluster] = complete_rotation) -> Plan:
    """Completes each rotation that no node delays. Planning again after it is applied gives the empty plan."""
    return Plan(
        tuple(
            Step(updates=(complete(cluster),))
            for cluster in view.clusters
            if cluster.root_ca.rotation is not None and not nodes_to_renew(view, cluster.root_ca)
        )
    )
