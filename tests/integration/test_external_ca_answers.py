"""Answers of an external CA: one that arrives in several pieces, and one with an invalid certificate."""

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
CERTIFICATE_FIELDS: dict[str, Any] = {"node_id": "n", "role": NodeRole.WORKER, "cluster_id": "c"}


@contextlib.asynccontextmanager
async def fake_ca(folder: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> AsyncIterator[ExternalCA]:
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


def issue(request: dict[str, Any]) -> str:
    csr = request["certificate_request"].encode()
    return certificates.issue_certificate(
        ROOT, csr, now_ns=time.time_ns(), lifetime_ns=10**15, **CERTIFICATE_FIELDS
    ).decode()


async def test_an_answer_in_several_pieces_is_read_completely(tmp_path: Path) -> None:
    """The answer is longer than one read of a socket. Formerly only its first piece was parsed, which is no JSON."""
    async with fake_ca(tmp_path, lambda request: {"bundle": "x" * 200_000, "certificate": issue(request)}) as ca:
        signed = await CfsslSigner().sign((ca,), ROOT.cert, REQUEST, **CERTIFICATE_FIELDS)
    assert x509.load_pem_x509_certificate(signed).issuer == x509.load_pem_x509_certificate(ROOT.cert).subject


def without_extensions(request: dict[str, Any]) -> dict[str, Any]:
    """Answer with a certificate of the right root, name and key that is no CA certificate."""
    new = x509.load_pem_x509_csr(request["certificate_request"].encode())
    root = x509.load_pem_x509_certificate(ROOT.cert)
    signed = (
        x509.CertificateBuilder().subject_name(new.subject).issuer_name(root.subject).public_key(new.public_key())
        .serial_number(3).not_valid_before(root.not_valid_before_utc).not_valid_after(root.not_valid_after_utc)
        .sign(certificates.signing_key(ROOT.key), hashes.SHA256())
    )  # fmt: skip
    return {"certificate": signed.public_bytes(serialization.Encoding.PEM).decode()}


async def test_a_cross_signed_root_without_extensions_is_refused_and_the_ca_is_named(tmp_path: Path) -> None:
    target = certificates.create_root("c", time.time_ns())
    async with fake_ca(tmp_path, without_extensions) as ca:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:.*cannot be parsed"):
            await CfsslSigner().cross_sign((ca,), ROOT.cert, target)
