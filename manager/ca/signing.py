"""Signing of certificates: with the key of the cluster's root, or by an external CA if the cluster does not have that key.

Invariant: a key in the cluster always signs; external CAs are used only for roots without one. During a rotation the new root signs, and
the chain of every certificate has the new root cross-signed by the old one.

Called by the CA's servicer and the control API.
"""

import logging

from covey import trust
from covey.clock import Clock, wall_clock
from covey.errors import InvalidArgumentError, UnavailableError
from covey.objects import CASettings, Cluster, RootCA
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.certificates import RootPair
from manager.ca.cfssl import CfsslSigner
from manager.ca.root_rotation import cas_for_root, plan_root_change, with_rotation

_log = logging.getLogger("covey.certificates")


class CertificateSigner:
    """Signs node certificates. ``node_id`` is this manager's own; external CAs are tested with a certificate for it."""

    def __init__(self, external: CfsslSigner | None = None, node_id: str = "", clock: Clock = wall_clock) -> None:
        self._external = external or CfsslSigner()
        self._node_id = node_id
        self._clock = clock

    async def sign(self, cluster: Cluster, csr: bytes, node_id: str, role: NodeRole) -> bytes:
        """A node's certificate and its chain, in PEM.

        Raises:
            InvalidArgumentError: the request is invalid. UnavailableError: no external CA returned a valid certificate.
        """
        rotation = cluster.root_ca.rotation
        root = RootPair(cert=trust.issuing_root(cluster.root_ca), key=(rotation or cluster.root_ca).key)
        chain = rotation.cross_signed if rotation is not None else root.cert
        if root.key:
            return certificates.issue_certificate(
                root,
                csr,
                node_id=node_id,
                role=role,
                cluster_id=cluster.id,
                now_ns=self._clock(),
                lifetime_ns=cluster.spec.ca.node_cert_expiry_ns,
                chain=chain,
            )
        cas = cas_for_root(cluster.spec.ca.external_cas, root.cert, cluster.root_ca.cert)
        leaf = await self._external.sign(cas, root.cert, csr, node_id=node_id, role=role, cluster_id=cluster.id)
        return leaf + chain

    async def changed_root(self, cluster: Cluster, settings: CASettings) -> RootCA:
        """The root CA after a change of settings, once every external CA that it needs has signed a test certificate.

        Raises:
            InvalidArgumentError: the settings are invalid, or an external CA does not sign.
        """
        decision = plan_root_change(cluster, settings, self._clock())
        for root in decision.keyless_roots:
            await self._test_external_ca(cluster, settings, root)
        if decision.target is None:
            return decision.root_ca
        crossed = b""
        if not decision.root_ca.key:
            cas = cas_for_root(settings.external_cas, decision.root_ca.cert, decision.root_ca.cert)
            try:
                crossed = await self._external.cross_sign(cas, decision.root_ca.cert, decision.target)
            except UnavailableError as error:
                raise InvalidArgumentError(
                    "the new root must be cross-signed by the current one, whose key an external CA holds: "
                    f"{error.message}; or provide the current root's key first (--ca-cert, --ca-key)"
                ) from error
        _log.info("root rotation started")
        return with_rotation(decision.root_ca, decision.target, self._clock(), cross_signed=crossed)

    async def _test_external_ca(self, cluster: Cluster, settings: CASettings, root: bytes) -> None:
        """Asks the external CAs for a certificate that is then discarded, to detect one that would refuse every node."""
        cas = cas_for_root(settings.external_cas, root, cluster.root_ca.cert)
        _, csr = certificates.new_csr()
        try:
            await self._external.sign(
                cas, root, csr, node_id=self._node_id, role=NodeRole.MANAGER, cluster_id=cluster.id
            )
        except UnavailableError as error:
            which = "current" if root == cluster.root_ca.cert else "desired"
            raise InvalidArgumentError(
                f"there must be at least one valid, reachable external CA corresponding to the {which} CA certificate: "
                f"{error.message}"
            ) from error
