"""An external CA whose answers are right, but come as networks and programs make them: in pieces, or after one that makes no sense."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from covey.errors import UnavailableError
from covey.objects import ExternalCA
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.cfssl import CfsslSigner
from tests.support.external_ca import server_certificate

ROOT = certificates.create_root("c", time.time_ns())
_, REQUEST = certificates.new_csr()
WANTED: dict[str, Any] = {"node_id": "n", "role": NodeRole.WORKER, "cluster_id": "c"}


@contextlib.asynccontextmanager
async def answering(folder: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> AsyncIterator[ExternalCA]:
    async def sign(request: web.Request) -> web.Response:
        return web.json_response({"success": True, "result": answer(await request.json()), "errors": []})

    certificate, key = server_certificate(ROOT, "127.0.0.1")
    (folder / "pair.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    app = web.Application()
    app.router.add_post("/sign", sign)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield ExternalCA(url=f"https://{host}:{port}/sign", ca_cert=ROOT.cert)
    finally:
        await runner.cleanup()


def issued(request: dict[str, Any]) -> str:
    csr = request["certificate_request"].encode()
    return certificates.issue_certificate(ROOT, csr, now_ns=time.time_ns(), lifetime_ns=10**15, **WANTED).decode()


async def test_an_answer_that_comes_in_several_pieces_is_read_to_its_end(tmp_path: Path) -> None:
    """1. The answer carries more than fits one read of a socket. 2. Only its first piece was looked at, which is no JSON."""
    async with answering(tmp_path, lambda request: {"bundle": "x" * 200_000, "certificate": issued(request)}) as ca:
        signed = await CfsslSigner().sign((ca,), ROOT.cert, REQUEST, **WANTED)
    assert x509.load_pem_x509_certificate(signed).issuer == x509.load_pem_x509_certificate(ROOT.cert).subject


def without_extensions(request: dict[str, Any]) -> dict[str, Any]:
    """Signed by the right root, for the right name and key, and yet no CA."""
    new = x509.load_pem_x509_csr(request["certificate_request"].encode())
    root = x509.load_pem_x509_certificate(ROOT.cert)
    signed = (
        x509.CertificateBuilder().subject_name(new.subject).issuer_name(root.subject).public_key(new.public_key())
        .serial_number(3).not_valid_before(root.not_valid_before_utc).not_valid_after(root.not_valid_after_utc)
        .sign(certificates.signing_key(ROOT.key), hashes.SHA256())
    )  # fmt: skip
    return {"certificate": signed.public_bytes(serialization.Encoding.PEM).decode()}


async def test_a_cross_signed_root_without_any_extension_is_refused_with_the_name_of_the_ca(tmp_path: Path) -> None:
    target = certificates.create_root("c", time.time_ns())
    async with answering(tmp_path, without_extensions) as ca:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:.*not understood"):
            await CfsslSigner().cross_sign((ca,), ROOT.cert, target)
