"""External CA: a real cfssl with mutual TLS signs certificates for a cluster that does not have the root's key."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from covey import trust
from covey.clock import HOUR
from covey.errors import UnavailableError
from covey.objects import ExternalCA, replace
from manager.ca import certificates
from manager.ca.certificates import RootPair
from tests.support.certificate_members import (
    add_worker,
    cluster_of,
    cluster_with_renewal,
    is_rotation_complete,
    nodes,
    rotate,
    update,
)
from tests.support.external_ca import command, prepare
from tests.support.manager_processes import eventually
from tests.support.ports import free_port
from tests.support.restored_managers import backup, restore


@contextlib.asynccontextmanager
async def cfssl(
    folder: Path, root: RootPair, clients: bytes, *, usages: Sequence[str] = (), port: int = 0, mutual: bool = True
) -> AsyncIterator[str]:
    """Run a cfssl that signs with the root. It accepts clients with a certificate of the ``clients`` roots, or without ``mutual`` any
    client. Yields its URL.
    """
    prepare(folder, root, clients, usages)
    port = port or free_port("127.0.0.1")
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command(folder, "127.0.0.1", port, mutual=mutual), stderr=log)
    try:
        await eventually("cfssl to listen", lambda: b"Now listening" in (folder / "log").read_bytes())
        yield f"https://127.0.0.1:{port}/api/v1/cfssl/sign"
    finally:
        process.terminate()
        await process.wait()


def rotate_to(root: RootPair, *urls: str) -> Any:
    """Change of the CA settings that rotates to a root of an external CA."""
    cas = tuple(ExternalCA(url=url, ca_cert=root.cert) for url in urls)
    return lambda ca: replace(ca, signing_cert=root.cert, external_cas=cas)


async def test_a_cluster_rotates_to_an_external_ca_and_back(tmp_path: Path) -> None:
    """1. Rotate to cfssl's root; an unreachable CA is tried first. 2. Hosts join with it. 3. Rotate back to an internal root, which cfssl
    cross-signs with its profile "CA".
    """
    root = certificates.create_root("outside", time.time_ns())
    async with cluster_with_renewal() as (cluster, (host,), (first,), group):
        own = (await cluster_of(host)).root_ca.cert
        async with cfssl(tmp_path / "ca", root, own + root.cert) as url:
            await update(host, rotate_to(root, f"https://127.0.0.1:{free_port('127.0.0.1')}/", url))
            await eventually("the rotation to complete", lambda: is_rotation_complete(host))
            rotated = await cluster_of(host)
            assert rotated.root_ca.cert == root.cert
            assert rotated.spec.ca.external_cas[1:] == (ExternalCA(url=url, ca_cert=root.cert),)
            joined = await add_worker(cluster, host, group)
            for one in (first, joined):
                identity = one.identities.require()
                assert identity.issuer == trust.subject_and_key(root.cert)
                assert identity.not_after_ns - identity.not_before_ns == 48 * 3600 * 10**9, (
                    "the lifetime is not that of cfssl's policy"
                )

            rotation_back = (await rotate(host)).root_ca.rotation
            assert rotation_back is not None
            await eventually("the rotation back to complete", lambda: is_rotation_complete(host))
            done = await cluster_of(host)
            assert (done.root_ca.cert, done.spec.ca.external_cas) == (rotation_back.cert, ())
            for one in (first, joined):
                assert one.identities.require().issuer == trust.subject_and_key(rotation_back.cert)
                assert len({state.session_id for state in one.states}) == 1


async def test_an_external_ca_that_refuses_node_certificates_is_rejected_before_anything_changes(
    tmp_path: Path,
) -> None:
    root, other = (certificates.create_root(name, time.time_ns()) for name in ("outside", "other"))
    async with cluster_with_renewal() as (_, (host,), _members, _group):
        own = (await cluster_of(host)).root_ca
        async with (
            cfssl(tmp_path / "narrow", root, own.cert, usages=["digital signature", "server auth"]) as narrow,
            cfssl(tmp_path / "stranger", root, other.cert) as stranger,
            cfssl(tmp_path / "good", root, own.cert) as good,
        ):
            for change, message in (
                (rotate_to(root, narrow), "both usages"),
                (rotate_to(root, stranger), "corresponding to the desired CA certificate"),
                (rotate_to(root, good.replace("/sign", "/nothing")), "not cfssl's"),
                (rotate_to(root), "none is configured for this root"),
                (rotate_to(other, good), "corresponding to the desired CA certificate"),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
                    await update(host, change)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await cluster_of(host)).root_ca == own


async def test_while_the_external_ca_is_down_only_joining_fails_and_names_it(tmp_path: Path) -> None:
    root = certificates.create_root("outside", time.time_ns())
    async with cluster_with_renewal() as (cluster, (host,), (first,), group):
        own = (await cluster_of(host)).root_ca.cert
        async with cfssl(tmp_path / "ca", root, own + root.cert) as url:
            await update(host, rotate_to(root, url))
            await eventually("the rotation to complete", lambda: is_rotation_complete(host))
        before = len(await nodes(host))
        with pytest.raises(UnavailableError, match=f"no external CA signed: {url}"):
            await add_worker(cluster, host, group)
        assert len(await nodes(host)) == before, "a host without a certificate left a node"
        await update(host, lambda ca: replace(ca, node_cert_expiry_ns=5 * HOUR))
        with_key = await update(host, lambda ca: replace(ca, signing_cert=root.cert, signing_key=root.key))
        assert with_key.spec.ca.external_cas == (), "the external CA is still configured"
        joined = await add_worker(cluster, host, group)
        assert joined.identities.require().issuer == first.identities.require().issuer


async def test_a_restore_needs_an_external_ca_without_client_certificates_and_says_so(
    tmp_path: Path,
) -> None:
    """A host that is in no cluster has no client certificate, so a CA that is set up as the guide says refuses it."""
    root, port, path = certificates.create_root("outside", time.time_ns()), free_port("127.0.0.1"), tmp_path / "backup"
    async with cluster_with_renewal() as (cluster, (host,), (first,), group):
        own = (await cluster_of(host)).root_ca.cert
        async with cfssl(tmp_path / "ca", root, own + root.cert, port=port) as url:
            await update(host, rotate_to(root, url))
            await eventually("the rotation to complete", lambda: is_rotation_complete(host))
            key = await backup(host, path)
            await first.stop_session()
            await host.kill()
            with pytest.raises(AssertionError, match=r"without -mutual-tls-ca.*No changes were made"):
                await restore(cluster, path, key)
        async with cfssl(tmp_path / "open", root, b"", port=port, mutual=False):
            restored = await restore(cluster, path, key)
        assert (await cluster_of(restored)).root_ca.cert == root.cert
        async with cfssl(tmp_path / "again", root, root.cert, port=port):
            joined = await add_worker(cluster, restored, group)
            assert joined.identities.require().issuer == trust.subject_and_key(root.cert)
