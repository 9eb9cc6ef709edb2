"""An external CA as people run one: Debian's cfssl, over mutual TLS, signs for a cluster that does not have the root's key."""

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
    """A real cfssl that signs for the root and takes requests from whoever the ``clients`` roots vouch for, or, not ``mutual``, from
    anybody; its URL.
    """
    prepare(folder, root, clients, usages)
    port = port or free_port("127.0.0.1")
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command(folder, "127.0.0.1", port, mutual=mutual), stderr=log)
    try:
        await eventually("cfssl serves", lambda: b"Now listening" in (folder / "log").read_bytes())
        yield f"https://127.0.0.1:{port}/api/v1/cfssl/sign"
    finally:
        process.terminate()
        await process.wait()


def to(root: RootPair, *urls: str) -> Any:
    """The change of settings that rotates to a root whose key an external CA holds."""
    cas = tuple(ExternalCA(url=url, ca_cert=root.cert) for url in urls)
    return lambda ca: replace(ca, signing_cert=root.cert, external_cas=cas)


async def test_a_cluster_rotates_to_an_external_ca_that_signs_all_from_then_on_and_back_again(tmp_path: Path) -> None:
    """To cfssl's root (an unreachable one is tried first); hosts join by it; back to a root of the cluster's own, which cfssl cross-signs
    with its profile "CA".
    """
    root = certificates.create_root("outside", time.time_ns())
    async with cluster_with_renewal() as (world, (host,), (first,), group):
        own = (await cluster_of(host)).root_ca.cert
        async with cfssl(tmp_path / "ca", root, own + root.cert) as url:
            await update(host, to(root, f"https://127.0.0.1:{free_port('127.0.0.1')}/", url))
            await eventually("the rotation is complete", lambda: is_rotation_complete(host))
            away = await cluster_of(host)
            assert away.root_ca.cert == root.cert
            assert away.spec.ca.external_cas[1:] == (ExternalCA(url=url, ca_cert=root.cert),)
            joined = await add_worker(world, host, group)
            for one in (first, joined):
                identity = one.identities.require()
                assert identity.issuer == trust.subject_and_key(root.cert)
                assert identity.not_after_ns - identity.not_before_ns == 48 * 3600 * 10**9, (
                    "cfssl's policy says how long"
                )

            back = (await rotate(host)).root_ca.rotation
            assert back is not None
            await eventually("the rotation back is complete", lambda: is_rotation_complete(host))
            done = await cluster_of(host)
            assert (done.root_ca.cert, done.spec.ca.external_cas) == (back.cert, ())
            for one in (first, joined):
                assert one.identities.require().issuer == trust.subject_and_key(back.cert)
                assert len({state.session_id for state in one.states}) == 1


async def test_an_external_ca_that_would_refuse_the_nodes_is_found_out_before_anything_changes(tmp_path: Path) -> None:
    root, other = (certificates.create_root(name, time.time_ns()) for name in ("outside", "other"))
    async with cluster_with_renewal() as (_, (host,), _members, _group):
        own = (await cluster_of(host)).root_ca
        async with (
            cfssl(tmp_path / "narrow", root, own.cert, usages=["digital signature", "server auth"]) as narrow,
            cfssl(tmp_path / "stranger", root, other.cert) as stranger,
            cfssl(tmp_path / "good", root, own.cert) as good,
        ):
            for change, words in (
                (to(root, narrow), "both usages"),
                (to(root, stranger), "corresponding to the desired CA certificate"),
                (to(root, good.replace("/sign", "/nothing")), "not cfssl's"),
                (to(root), "none is configured for this root"),
                (to(other, good), "corresponding to the desired CA certificate"),
            ):
                with pytest.raises(grpc.aio.AioRpcError, match=words) as caught:
                    await update(host, change)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await cluster_of(host)).root_ca == own


async def test_while_the_external_ca_is_away_joining_says_so_and_all_else_goes_on(tmp_path: Path) -> None:
    root = certificates.create_root("outside", time.time_ns())
    async with cluster_with_renewal() as (world, (host,), (first,), group):
        own = (await cluster_of(host)).root_ca.cert
        async with cfssl(tmp_path / "ca", root, own + root.cert) as url:
            await update(host, to(root, url))
            await eventually("the rotation is complete", lambda: is_rotation_complete(host))
        before = len(await nodes(host))
        with pytest.raises(UnavailableError, match=f"no external CA signed: {url}"):
            await add_worker(world, host, group)
        assert len(await nodes(host)) == before, "who got no certificate leaves no node"
        await update(host, lambda ca: replace(ca, node_cert_expiry_ns=5 * HOUR))
        home = await update(host, lambda ca: replace(ca, signing_cert=root.cert, signing_key=root.key))
        assert home.spec.ca.external_cas == (), "the key signs, and nobody asks the CA any more"
        joined = await add_worker(world, host, group)
        assert joined.identities.require().issuer == first.identities.require().issuer


async def test_a_restore_says_that_the_external_ca_must_ask_for_no_certificate_meanwhile_and_then_comes_up(
    tmp_path: Path,
) -> None:
    """A host that is in no cluster has none to show, so a CA that runs as the guide says refuses it."""
    root, port, path = certificates.create_root("outside", time.time_ns()), free_port("127.0.0.1"), tmp_path / "backup"
    async with cluster_with_renewal() as (world, (host,), (first,), group):
        own = (await cluster_of(host)).root_ca.cert
        async with cfssl(tmp_path / "ca", root, own + root.cert, port=port) as url:
            await update(host, to(root, url))
            await eventually("the rotation is complete", lambda: is_rotation_complete(host))
            key = await backup(host, path)
            await first.stop_session()
            await host.kill()
            with pytest.raises(AssertionError, match=r"without -mutual-tls-ca.*No changes were made"):
                await restore(world, path, key)
        async with cfssl(tmp_path / "open", root, b"", port=port, mutual=False):
            restored = await restore(world, path, key)
        assert (await cluster_of(restored)).root_ca.cert == root.cert
        async with cfssl(tmp_path / "again", root, root.cert, port=port):
            joined = await add_worker(world, restored, group)
            assert joined.identities.require().issuer == trust.subject_and_key(root.cert)
