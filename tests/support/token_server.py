"""A token server for tests: issues the bearer tokens that docker-registry verifies, for one user with a password."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.support.ports import free_port
from tests.support.registry import PASSWORD, USER, certificates


class TokenServer(msgspec.Struct):
    """A running token server. `requests` are the query parameters it was asked with, `identity_token` opens the door too."""

    realm: str
    bundle: Path
    requests: list[dict[str, object]]
    identity_token: str
    lifetime_seconds: int = 300


@contextlib.asynccontextmanager
async def token_server(folder: Path) -> AsyncIterator[TokenServer]:
    """Run a token server over HTTP on loopback. `realm` is its URL, `bundle` the certificate of its signatures."""
    _, certificate, key_file = certificates(folder)
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    port = free_port()
    made = TokenServer(f"http://127.0.0.1:{port}/token", certificate, [], secrets.token_hex(16))

    async def issue(request: web.Request) -> web.Response:
        if request.method == "POST":
            form = await request.post()
            made.requests.append({"grant": form.get("grant_type"), "scope": form.get("scope")})
            allowed, scopes = form.get("refresh_token") == made.identity_token, str(form.get("scope", "")).split()
        else:
            made.requests.append({"scope": request.query.getall("scope", []), **_credentials(request)})
            allowed, scopes = _credentials(request).get("user") == USER, request.query.getall("scope", [])
            if "Authorization" in request.headers and not allowed:
                return web.json_response({"details": "incorrect username or password"}, status=401)
        access = [_access(scope, allowed) for scope in scopes]
        answer = {"token": _token(key, certificate, access, made.lifetime_seconds), "expires_in": made.lifetime_seconds}
        if request.query.get("offline_token") == "true" and allowed:
            answer["refresh_token"] = made.identity_token
        return web.json_response(answer)

    app = web.Application()
    app.router.add_route("*", "/token", issue)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield made
    finally:
        await runner.cleanup()


def server_tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A CA, and a server context with a certificate for loopback that it signed."""
    ca, certificate, key = certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return ca, context


def _credentials(request: web.Request) -> dict[str, object]:
    header = request.headers.get("Authorization", "")
    if not header.startswith("Basic "):
        return {}
    user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
    return {"user": user if password == PASSWORD else "", "password": password}


def _access(scope: str, allowed: bool) -> dict[str, object]:
    """What a scope grants: everything to the user, and pulls below `public/` to everybody."""
    kind, name, actions = scope.split(":")
    wanted = actions.split(",")
    granted = wanted if allowed else [action for action in wanted if action == "pull" and name.startswith("public/")]
    return {"type": kind, "name": name, "actions": granted}


def _token(
    key: ec.EllipticCurvePrivateKey, certificate: Path, access: list[dict[str, object]], lifetime_seconds: int
) -> str:
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    now = int(time.time())
    claims = {
        "iss": "test-issuer", "sub": USER, "aud": "test-registry", "jti": secrets.token_hex(8),
        "nbf": now - 10, "iat": now, "exp": now + lifetime_seconds, "access": access,
    }  # fmt: skip
    head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    signed = f"{_b64(json.dumps(head).encode())}.{_b64(json.dumps(claims).encode())}"
    r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
