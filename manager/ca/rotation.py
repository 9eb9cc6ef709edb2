"""Rotation of the root: what a change of settings demands, which nodes hold a rotation up, and when it is complete. Pure.

Law: while a rotation is open the old root stays trusted, and everything that the new one issues carries the new root cross-signed by the
old; so at no moment do two nodes of the cluster refuse each other. It is complete when every node of the cluster says that its
certificate comes from the new root; a node that is down holds it up until it is back or removed. A second rotation replaces the first
one's target, and rotating to the old root ends it.
"""

import logging
from collections.abc import Callable, Sequence

from covey import trust
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
from covey.settings import HAND_ROOT_OVER, check_external_cas
from manager.ca.certificates import RootPair, create_root, cross_sign
from manager.ca.cluster import trust_of
from manager.ca.given import normal_form, root_given
from manager.loop import EMPTY, Plan, Step
from manager.store import View

_log = logging.getLogger("covey.certificates")


class Decision(Struct, frozen=True, kw_only=True):
    """What settings make of the root: ``root_ca`` at once, or a rotation to ``target``; ``outside`` are roots without a key here, for
    which an external CA must be shown to sign before anything is stored.
    """

    root_ca: RootCA
    target: RootPair | None = None
    outside: tuple[bytes, ...] = ()


def decide(cluster: Cluster, wish: CASettings, now_ns: int) -> Decision:
    """What the new settings demand.

    Raises:
        InvalidArgumentError: they cannot be met; names the flag or field.
    """
    if wish.signing_key and not wish.signing_cert:
        raise InvalidArgumentError("if a signing CA key is provided, the signing CA cert must also be provided")
    check_external_cas(wish.external_cas)
    for ca in wish.external_cas:
        if ca.ca_cert:
            normal_form(ca.ca_cert)
    decision = _decided(cluster, wish, now_ns)
    for ca in wish.external_cas:
        if ca not in cluster.spec.ca.external_cas:
            _refuse_idle(ca, decision)
    return decision


def _decided(cluster: Cluster, wish: CASettings, now_ns: int) -> Decision:
    root_ca, before = cluster.root_ca, cluster.spec.ca
    if not wish.signing_cert:
        if wish.force_rotate != before.force_rotate:
            return _rotate(root_ca, create_root(cluster.id, now_ns))
        return Decision(
            root_ca=root_ca, outside=() if wish.external_cas == before.external_cas else _keyless_roots(root_ca)
        )
    given = root_given(wish.signing_cert, wish.signing_key, now_ns)
    outside = () if given.key else (given.cert,)
    if given.cert == root_ca.cert:
        return Decision(root_ca=replace(root_ca, key=given.key, rotation=None), outside=outside)
    if trust.name_and_key(given.cert)[1] == trust.name_and_key(root_ca.cert)[1]:
        raise InvalidArgumentError("Cannot update to a cert with an identical key")
    if root_ca.rotation is not None and given.cert == root_ca.rotation.cert:
        again = replace(root_ca, rotation=replace(root_ca.rotation, key=given.key))
        return Decision(root_ca=again, outside=outside)
    return _rotate(root_ca, given)


def _rotate(root_ca: RootCA, target: RootPair) -> Decision:
    if not root_ca.key and not target.key:
        raise InvalidArgumentError("rotating from one external CA to a different external CA is not supported")
    return Decision(root_ca=root_ca, target=target, outside=() if target.key else (target.cert,))


def _refuse_idle(ca: ExternalCA, decision: Decision) -> None:
    """One that would sign for no root is refused rather than shown as if it did. One that is stored already may come with any change."""
    root_ca, target = decision.root_ca, decision.target
    held = [(root_ca.cert, root_ca.key)]
    if target is not None:
        held.append((target.cert, target.key))
    elif root_ca.rotation is not None:
        held.append((root_ca.rotation.cert, root_ca.rotation.key))
    keys = [key for cert, key in held if signers((ca,), cert, root_ca.cert)]
    if any(keys):
        raise InvalidArgumentError(
            f"the external CA {ca.url} would never be asked: the key of the root that it signs for is in the cluster, and signs; "
            f"{HAND_ROOT_OVER}"
        )
    if not keys:
        raise InvalidArgumentError(
            f"the external CA {ca.url} would never be asked: the cluster neither has the root that it signs for (cacert) nor "
            f"rotates to it; {HAND_ROOT_OVER}"
        )


def _keyless_roots(root_ca: RootCA) -> tuple[bytes, ...]:
    roots = [] if root_ca.key else [root_ca.cert]
    if root_ca.rotation is not None and not root_ca.rotation.key:
        roots.append(root_ca.rotation.cert)
    return tuple(roots)


def begun(root_ca: RootCA, target: RootPair, now_ns: int, *, cross_signed: bytes = b"") -> RootCA:
    """With a rotation to the target open; ``cross_signed`` is given where the old root's key is not here."""
    signed = cross_signed or cross_sign(RootPair(cert=root_ca.cert, key=root_ca.key), target.cert)
    return replace(
        root_ca,
        rotation=RootRotation(cert=target.cert, key=target.key, cross_signed=signed, began_at_ns=now_ns),
    )


def signers(cas: Sequence[ExternalCA], root_cert: bytes, current_root: bytes) -> tuple[ExternalCA, ...]:
    """The external CAs that sign for a root; one that names none signs for the current root."""
    return tuple(ca for ca in cas if (normal_form(ca.ca_cert) if ca.ca_cert else current_root) == root_cert)


def without_idle_cas(spec: ClusterSpec, root_ca: RootCA) -> ClusterSpec:
    """The settings without external CAs that nobody asks any more: the key of their root came into the cluster, or the root is gone."""
    roots = _keyless_roots(root_ca)
    cas = tuple(ca for ca in spec.ca.external_cas if any(signers((ca,), root, root_ca.cert) for root in roots))
    return replace(spec, ca=replace(spec.ca, external_cas=cas))


# --- while it is open ---


def holders(view: View, root_ca: RootCA) -> list[Node]:
    """The nodes whose certificate is not from the root that issues now."""
    wanted = trust.wanted(root_ca)
    return [node for node in view.nodes if not trust.same_issuer(node.description.tls, wanted)]


def awaited(node: Node, root_ca: RootCA) -> Node:
    """The node as it must be stored before it gets a certificate: what it said of one from another root counts no more, lest it be taken
    for the present one when that root is wanted again.
    """
    said = node.description.tls
    if said == TLSInfo() or trust.same_issuer(said, trust.wanted(root_ca)):
        return node
    return replace(node, description=replace(node.description, tls=TLSInfo()))


def completed(cluster: Cluster) -> Cluster:
    """The new root alone, with tokens that carry its digest, and the external CAs that sign for it."""
    rotation = cluster.root_ca.rotation
    if rotation is None:
        return cluster
    cas = () if rotation.key else signers(cluster.spec.ca.external_cas, rotation.cert, cluster.root_ca.cert)
    spec = replace(cluster.spec, ca=replace(cluster.spec.ca, external_cas=cas))
    return replace(cluster, spec=spec, root_ca=trust_of(RootPair(cert=rotation.cert, key=rotation.key)))


class RotationPlanner:
    """One of the leader's loops: ends a rotation that nothing holds up."""

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
            _log.info("every node has a certificate of the new root: the rotation ends, and join tokens are new")
        return decided


def plan(view: View, complete: Callable[[Cluster], Cluster] = completed) -> Plan:
    """Applying it and planning again gives the empty plan."""
    return Plan(
        tuple(
            Step(updates=(complete(cluster),))
            for cluster in view.clusters
            if cluster.root_ca.rotation is not None and not holders(view, cluster.root_ca)
        )
    )
