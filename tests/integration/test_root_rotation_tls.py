"""Root CA rotation: TLS handshakes and certificate renewals with real manager processes and members."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from agent.identity import CertificateRenewer, DesiredCertificate, NodeIdentity
from agent.identity.csr import new_key, signing_request
from covey import trust
from covey.clock import HOUR, wall_clock
from covey.errors import UnauthenticatedError
from covey.objects import replace
from covey.states import NodeRole
from coveypb.v1 import control_pb2
from manager.ca import certificates
from manager.ca.certificates import RootPair
from manager.identity import ManagerIdentity, write_identity
from tests.support.certificate_members import (
    add_worker,
    all_nodes_report_tls,
    cluster_of,
    cluster_with_renewal,
    is_rotation_complete,
    root_count,
    rotate,
    update,
)
from tests.support.manager_processes import eventually

NOW = time.time_ns()
OLD = certificates.create_root("c", NOW)
NEW = certificates.create_root("c", NOW)
CROSSED = certificates.cross_sign(OLD, NEW.cert)
BOTH = OLD.cert + NEW.cert


def identity_of(root: RootPair, trusted: bytes, chain: bytes = b"") -> NodeIdentity:
    key = new_key()
    pem = certificates.issue_certificate(
        root, signing_request(key), node_id="n", role=NodeRole.MANAGER, cluster_id="c", now_ns=NOW,
        lifetime_ns=24 * HOUR, chain=chain,
    )  # fmt: skip
    return NodeIdentity.parse(certificate=pem, key=key, root=trusted)


BEFORE = identity_of(OLD, OLD.cert)
RENEWED = identity_of(NEW, BOTH, CROSSED)
RENEWED_TRUSTING_OLD_ROOT = identity_of(NEW, OLD.cert, CROSSED)
AFTER = identity_of(NEW, NEW.cert)
RENEWED_TRUSTING_NEW_ROOT = identity_of(NEW, NEW.cert, CROSSED)
HANDSHAKES = [
    (BEFORE, BEFORE, True),
    (BEFORE, RENEWED, True),
    (BEFORE, RENEWED_TRUSTING_OLD_ROOT, True),
    (RENEWED, RENEWED, True),
    (RENEWED, AFTER, True),
    (RENEWED, RENEWED_TRUSTING_NEW_ROOT, True),
    (AFTER, RENEWED_TRUSTING_NEW_ROOT, True),
    (BEFORE, AFTER, False),
    (BEFORE, RENEWED_TRUSTING_NEW_ROOT, False),
]


def write(folder: Path, one: NodeIdentity) -> None:
    write_identity(folder, certificate=one.certificate, key=one.key, root=one.root)


@contextlib.asynccontextmanager
async def serving(identity: ManagerIdentity) -> AsyncIterator[str]:
    class Echo(grpc.GenericRpcHandler):
        def service(self, _details: grpc.HandlerCallDetails) -> Any:
            async def answer(request: bytes, _context: Any) -> bytes:
                return request

            return grpc.unary_unary_rpc_method_handler(answer)

    server = aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_secure_port("127.0.0.1:0", identity.server_credentials(mutual=True))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def can_connect(one: NodeIdentity, addr: str) -> bool:
    async with one.channel(addr) as channel:
        try:
            return bool(await channel.unary_unary("/a/b")(b"x", timeout=10))
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False


async def test_members_accept_each_other_at_every_step_of_a_rotation(tmp_path: Path) -> None:
    """Every pair that can connect during or after the rotation, with either as the server, which reloads its files."""
    write(tmp_path, BEFORE)
    async with serving(ManagerIdentity(tmp_path)) as addr:
        for one, other, accepted in HANDSHAKES:
            for server, client in ((one, other), (other, one)):
                write(tmp_path, server)
                assert await can_connect(client, addr) is accepted


async def test_a_server_loads_new_roots_without_a_new_certificate(tmp_path: Path) -> None:
    write(tmp_path, BEFORE)
    async with serving(ManagerIdentity(tmp_path)) as addr:
        client = replace(AFTER, root=BOTH)
        assert not await can_connect(client, addr)
        (tmp_path / "root.crt").write_bytes(BOTH)
        assert await can_connect(client, addr)


async def test_a_member_that_does_not_renew_delays_the_rotation_while_others_join() -> None:
    """One member is off while the others renew, and a host joins with the old root's token.

    When the member returns, the rotation completes, and only tokens with the new root's digest are valid.
    """
    async with cluster_with_renewal() as (cluster, (host,), (first,), group):
        absent = await add_worker(cluster, host, group, renews=False)
        await absent.stop_session()
        token = (await host.tokens())[NodeRole.WORKER]
        rotating = await rotate(host)
        assert rotating.root_ca.rotation is not None
        assert rotating.root_ca.rotation.key == b""
        await eventually(
            "the manager to renew", lambda: first.identities.require().issuer != absent.identities.require().issuer
        )
        joined = await add_worker(cluster, host, group, token)
        assert (root_count(first), root_count(joined)) == (2, 2)
        assert joined.identities.require().issuer == first.identities.require().issuer
        assert (await cluster_of(host)).root_ca.rotation is not None
        ids = {first.node_id, joined.node_id}
        wanted = first.identities.require().tls_info
        await eventually("both to report their certificates", lambda: all_nodes_report_tls(host, ids, wanted))

        absent.start_renewal([host.mtls_addr], group)
        await eventually("the rotation to complete", lambda: is_rotation_complete(host))
        for one in (first, joined, absent):
            await eventually("only the new root trusted", lambda one=one: root_count(one) == 1)
        with pytest.raises(UnauthenticatedError, match="does not match"):
            await add_worker(cluster, host, group, token)
        assert root_count(await add_worker(cluster, host, group)) == 1
        assert len({state.session_id for state in first.states}) == 1, "a session ended because of the rotation"


async def test_a_second_rotation_replaces_the_first_and_setting_the_old_root_ends_it() -> None:
    own = certificates.create_root("ours", time.time_ns())
    async with cluster_with_renewal() as (cluster, (host,), (first,), group):

        async def set_own_root() -> None:
            await update(host, lambda ca: replace(ca, signing_cert=own.cert, signing_key=own.key))

        await set_own_root()
        await eventually("our root to be in use", lambda: is_rotation_complete(host))
        absent = await add_worker(cluster, host, group, renews=False)
        await absent.stop_session()
        one = (await rotate(host)).root_ca.rotation
        await eventually("the first target trusted", lambda: one.cert in first.identities.require().root)
        two = (await rotate(host)).root_ca.rotation
        assert two.cert != one.cert
        await eventually(
            "only the second target trusted", lambda: first.identities.require().root == own.cert + two.cert
        )
        await set_own_root()
        wanted = trust.subject_and_key(own.cert)
        await eventually("the old issuer again", lambda: first.identities.require().issuer == wanted)
        await eventually("only our root trusted", lambda: first.identities.require().root == own.cert)
        after = await cluster_of(host)
        assert (after.root_ca.cert, after.root_ca.rotation) == (own.cert, None)
        assert (after.spec.ca.signing_cert, after.spec.ca.signing_key) == (b"", b"")
        absent.start_renewal([host.mtls_addr], group)
        await eventually("the other node to reconnect", lambda: len(absent.states) > 1)


async def test_a_removed_node_that_missed_rotations_gets_a_helpful_error() -> None:
    async with cluster_with_renewal() as (cluster, (host,), _members, group):
        absent = await add_worker(cluster, host, group, renews=False)
        await absent.stop_session()
        await host.call("RemoveNode", control_pb2.RemoveRequest(ref=absent.node_id, force=True))
        for _ in range(2):
            await rotate(host)
            await eventually("the rotation to complete", lambda: is_rotation_complete(host))
        absent.start_session([host.mtls_addr])
        await eventually(
            "the reason of the refusal", lambda: any("the root was rotated" in said for said in absent.refusals)
        )


async def test_a_shorter_validity_applies_at_once_and_certificates_are_renewed_in_time() -> None:
    async with cluster_with_renewal() as (_, (host,), (first,), _group):
        before = first.identities.require()
        await update(host, lambda ca: replace(ca, node_cert_expiry_ns=2 * HOUR))
        await eventually(
            "a certificate with the shorter validity",
            lambda: first.identities.require().not_after_ns < before.not_after_ns,
        )
        short = first.identities.require()
        assert short.not_after_ns - short.not_before_ns == 3 * HOUR, "not two hours and one hour of backdating"
        assert short.key == before.key
        renewed: list[int] = []
        desired = DesiredCertificate(
            roots=short.root,
            issuer=short.issuer,
            validity_ns=2 * HOUR,
        )
        renewer = CertificateRenewer(
            first.identities,
            lambda: [host.mtls_addr],
            lambda: renewed.append(first.identities.require().not_before_ns),
            clock=lambda: wall_clock() + 96 * HOUR // 60,
        )
        renewer.set_desired(desired)
        task = asyncio.create_task(renewer.run())
        await eventually("the certificate renewed at four fifths of its validity", lambda: renewed)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
