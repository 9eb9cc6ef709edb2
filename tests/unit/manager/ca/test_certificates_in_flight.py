"""The CA servicer on a real store: changes during the signing of a certificate are detected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from covey import trust
from covey.clock import HOUR, SECOND
from covey.errors import PermissionDeniedError, UnauthenticatedError, UnavailableError
from covey.objects import Cluster, ClusterSpec, Node, NodeDescription, replace
from covey.states import NodeRole
from coveypb.v1 import ca_pb2
from manager.ca import certificates
from manager.ca.cluster_trust import new_cluster, with_new_tokens
from manager.ca.root_rotation import with_rotation
from manager.ca.servicer import CertificateAuthorityServicer
from manager.ca.signing import CertificateSigner
from manager.control.clusters import update_cluster
from manager.dispatcher.session_state import renewal_spread_ns, session_state
from manager.store import Store
from manager.store.memory_consensus import MemoryConsensus

NOW = 1_800_000_000 * SECOND
SOON = 10


class Waiting(CertificateSigner):
    """A slow external CA: it signs when the test lets it."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: NOW)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sign(self, *arguments: Any) -> bytes:
        self.asked.set()
        await self.go_on.wait()
        return await super().sign(*arguments)


class Local:
    """A call on the manager's own socket, without a client certificate."""

    def auth_context(self) -> dict[str, Any]:
        return {}


async def prepared() -> tuple[Store, Waiting, CertificateAuthorityServicer]:
    store, signer = Store(MemoryConsensus), Waiting()
    cluster = new_cluster(ClusterSpec(), NOW)
    node = Node(id="n1", description=NodeDescription(tls=trust.expected_tls_info(cluster.root_ca)))
    await store.update(lambda tx: [tx.create(cluster), tx.create(node)])
    return store, signer, CertificateAuthorityServicer(store, b"", "n1", signer)


def cluster_in(store: Store) -> Cluster:
    return next(iter(store.view().clusters))


async def begin_rotation(store: Store) -> None:
    cluster = cluster_in(store)
    root_ca = with_rotation(cluster.root_ca, certificates.create_root("next", NOW), NOW)
    await store.update(lambda tx: tx.update(replace(cluster, root_ca=root_ca)))


def issue(store: Store) -> ca_pb2.IssueCertificateRequest:
    token = cluster_in(store).root_ca.join_token_worker
    return ca_pb2.IssueCertificateRequest(csr=certificates.new_csr()[1], token=token)


async def test_a_join_during_the_start_of_a_rotation_must_be_retried_and_leaves_no_node() -> None:
    store, signer, authority = await prepared()
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        joining = group.create_task(_said(authority.IssueCertificate(issue(store), None)))
        await signer.asked.wait()
        await begin_rotation(store)
        signer.go_on.set()
        error = await joining
    assert isinstance(error, UnavailableError)
    assert "a rotation of the root certificate has started" in str(error)
    assert [node.id for node in store.view().nodes] == ["n1"]
    answer = await authority.IssueCertificate(issue(store), None)
    assert answer.root_certificate == trust.trusted_roots(cluster_in(store).root_ca)
    assert answer.certificate.endswith(cluster_in(store).root_ca.rotation.cross_signed)
    shown = await authority.GetRootCertificate(ca_pb2.GetRootCertificateRequest(), None)
    assert shown.certificate == cluster_in(store).root_ca.cert, "the one whose digest tokens carry"


async def test_a_token_that_is_rotated_while_a_host_waits_is_refused() -> None:
    store, signer, authority = await prepared()
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        joining = group.create_task(_said(authority.IssueCertificate(issue(store), None)))
        await signer.asked.wait()
        cluster = cluster_in(store)
        await store.update(lambda tx: tx.update(with_new_tokens(cluster, worker=True, manager=False)))
        signer.go_on.set()
        error = await joining
    assert isinstance(error, UnauthenticatedError)
    assert [node.id for node in store.view().nodes] == ["n1"]


@pytest.mark.parametrize("what", ["rotation", "removal"])
async def test_a_renewal_fails_if_the_issuer_changes_meanwhile(what: str) -> None:
    store, signer, authority = await prepared()
    await begin_rotation(store)
    request = ca_pb2.RenewCertificateRequest(csr=certificates.new_csr()[1])
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        renewing = group.create_task(_said(authority.RenewCertificate(request, Local())))
        await signer.asked.wait()
        if what == "rotation":
            await begin_rotation(store)
        else:
            await store.update(lambda tx: tx.remove(Node, "n1"))
        signer.go_on.set()
        error = await renewing
    assert isinstance(error, UnavailableError if what == "rotation" else PermissionDeniedError)


@pytest.mark.parametrize("what", ["demotion", "removal"])
async def test_a_certificate_is_not_issued_if_the_nodes_role_changes_meanwhile(what: str) -> None:
    """1. A manager renews with a slow external CA. 2. Its node is demoted or removed. 3. The signed certificate says manager."""
    store, signer, authority = await prepared()
    node = store.view().nodes.get("n1")
    assert node is not None
    await store.update(lambda tx: tx.update(replace(node, role=NodeRole.MANAGER)))
    manager = store.view().nodes.get("n1")
    assert manager is not None
    request = ca_pb2.RenewCertificateRequest(csr=certificates.new_csr()[1])
    async with asyncio.timeout(SOON), asyncio.TaskGroup() as group:
        renewing = group.create_task(_said(authority.RenewCertificate(request, Local())))
        await signer.asked.wait()
        if what == "demotion":
            await store.update(lambda tx: tx.update(replace(manager, role=NodeRole.WORKER)))
        else:
            await store.update(lambda tx: tx.remove(Node, "n1"))
        signer.go_on.set()
        error = await renewing
    assert isinstance(error, UnavailableError if what == "demotion" else PermissionDeniedError)


async def test_the_reported_tls_info_is_cleared_before_another_certificate_is_issued() -> None:
    store, signer, authority = await prepared()
    signer.go_on.set()
    request = ca_pb2.RenewCertificateRequest(csr=certificates.new_csr()[1])
    before = store.view().nodes.get("n1")
    await authority.RenewCertificate(request, Local())
    assert store.view().nodes.get("n1") == before, "from the same root it says the same"
    await begin_rotation(store)
    await authority.RenewCertificate(request, Local())
    after = store.view().nodes.get("n1")
    assert after is not None
    assert after.description == NodeDescription()


async def test_session_state_has_both_roots_the_issuer_and_the_lifetime_during_a_rotation() -> None:
    store, _, _ = await prepared()
    cluster, node = cluster_in(store), store.view().nodes.get("n1")
    assert node is not None
    await begin_rotation(store)
    rotating = cluster_in(store)
    assert rotating.root_ca.rotation is not None
    state = session_state(store.view(), rotating, node, "s")
    assert state.root_certificates == cluster.root_ca.cert + rotating.root_ca.rotation.cert
    issuer = (state.issuer_subject, state.issuer_public_key)
    assert issuer == trust.subject_and_key(rotating.root_ca.rotation.cert)
    assert state.certificate_life_ns == cluster.spec.ca.node_cert_expiry_ns
    outside = replace(cluster, root_ca=replace(cluster.root_ca, key=b""))
    assert session_state(store.view(), outside, node, "s").certificate_life_ns == 0, "others decide"


def test_the_renewal_spread_grows_with_the_nodes_in_coarse_steps() -> None:
    assert renewal_spread_ns(1) == renewal_spread_ns(16) == SECOND // 2
    assert renewal_spread_ns(513) == renewal_spread_ns(1024) > 20 * SECOND
    assert renewal_spread_ns(100_000) == 60 * SECOND


async def test_settings_are_stored_without_the_signing_certificate_and_key() -> None:
    store, _, _ = await prepared()
    cluster = cluster_in(store)
    spec = replace(cluster.spec, ca=replace(cluster.spec.ca, signing_key=b"k", node_cert_expiry_ns=HOUR))
    await store.update(
        lambda tx: update_cluster(tx, cluster.meta.version, spec, rotate_worker=False, rotate_manager=False)
    )
    assert cluster_in(store).spec.ca == replace(cluster.spec.ca, node_cert_expiry_ns=HOUR)


async def _said(call: Any) -> BaseException | None:
    try:
        await call
    except (UnavailableError, UnauthenticatedError, PermissionDeniedError) as error:
        return error
    return None
