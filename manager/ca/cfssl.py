"""Client of external CAs that speak cfssl's signing API (a POST of JSON).

Invariant: every certificate of an external CA is verified: it must be signed by the requested root, have the key of the request, and name
exactly the requested node, role and cluster. Every call has a deadline and every response a size limit. aiohttp is imported with the first
call, because most clusters sign for themselves.
"""

import asyncio
import datetime as dt
import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from covey.clock import SECOND, Clock, wall_clock
from covey.errors import CoveyError, InvalidArgumentError, UnavailableError
from covey.objects import ExternalCA
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.certificates import MANAGER_DNS_NAME, ROLE_UNITS, RootPair

ATTEMPT_SECONDS = 4.0
TOTAL_SECONDS = 9.0
"""Less than the time that a node waits for its certificate."""
MAX_RESPONSE_BYTES = 256 * 1024
MAX_CONCURRENT_REQUESTS = 16
CROSS_SIGN_PROFILE = "CA"


class ClientCredentials(Protocol):
    """This manager's certificate and key in PEM, for TLS client authentication at the external CA."""

    @property
    def certificate(self) -> bytes: ...

    @property
    def key(self) -> bytes: ...


class _CfsslResponse(msgspec.Struct):
    """The JSON envelope of cfssl's responses."""

    success: bool = False
    result: dict[str, Any] | None = None
    errors: list[dict[str, Any]] | None = None


class CfsslSigner:
    """Signs through external CAs. ``credentials`` are read again for each call, because they are renewed; None: no client certificate."""

    def __init__(self, credentials: Callable[[], ClientCredentials] | None = None, clock: Clock = wall_clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)

    async def sign(
        self, cas: Sequence[ExternalCA], root: bytes, csr: bytes, *, node_id: str, role: NodeRole, cluster_id: str
    ) -> bytes:
        """A node's certificate from the first CA that returns a valid one, in PEM, without a chain.

        Raises:
            UnavailableError: no CA did; says what each of them answered.
        """
        key = certificates.csr_public_key(csr)
        request = {
            "certificate_request": csr.decode(),
            "hosts": certificates.dns_names(role, node_id),
            "subject": {"CN": node_id, "names": [{"O": cluster_id, "OU": ROLE_UNITS[role]}]},
        }

        def check(pem: bytes) -> bytes:
            return verify_node_certificate(
                pem, root, key, node_id=node_id, role=role, cluster_id=cluster_id, now_ns=self._clock()
            )

        return await self._sign_with_first(cas, root, request, check)

    async def cross_sign(self, cas: Sequence[ExternalCA], root: bytes, target: RootPair) -> bytes:
        """The target's name and key, signed by the root whose key an external CA holds, in PEM. Uses the profile "CA"."""
        certificate = x509.load_pem_x509_certificate(target.cert)
        names = {_SHORT_NAMES[name.oid]: str(name.value) for name in certificate.subject if name.oid in _SHORT_NAMES}
        request = {
            "certificate_request": certificates.csr_for_root(target).decode(),
            "profile": CROSS_SIGN_PROFILE,
            "subject": {
                "CN": names.pop("CN", ""),
                "names": [{key: value} for key, value in names.items()],
            },
        }

        def check(pem: bytes) -> bytes:
            crossed = _leaf(pem)
            _require_signed_by(crossed, root)
            if crossed.public_key() != certificate.public_key() or crossed.subject != certificate.subject:
                raise InvalidArgumentError("it cross-signed a name or key other than the new root's")
            if not crossed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
                raise InvalidArgumentError(
                    f"it cross-signed the new root without CA:TRUE: its profile {CROSS_SIGN_PROFILE!r} must set it"
                )
            return crossed.public_bytes(serialization.Encoding.PEM)

        return await self._sign_with_first(cas, root, request, check)

    async def _sign_with_first(
        self, cas: Sequence[ExternalCA], root: bytes, request: dict[str, Any], check: Callable[[bytes], bytes]
    ) -> bytes:
        failures: list[str] = []
        try:
            async with asyncio.timeout(TOTAL_SECONDS), self._slots:
                for ca in cas:
                    try:
                        return check(await self._request(ca, root, request))
                    except CoveyError as error:
                        failures.append(f"{ca.url}: {error.message}")
                    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
                        failures.append(f"{ca.url}: the certificate in the answer cannot be parsed: {error}")
        except TimeoutError:
            failures.append(f"no other CA was tried after {TOTAL_SECONDS:g} s")
        raise UnavailableError(f"no external CA signed: {'; '.join(failures) or 'none is configured for this root'}")

    async def _request(self, ca: ExternalCA, root: bytes, request: dict[str, Any]) -> bytes:
        import aiohttp

        context = await asyncio.to_thread(tls_context, self._credentials and self._credentials(), ca.ca_cert or root)
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.post(ca.url, json=request, ssl=context, allow_redirects=False) as response,
            ):
                body = await _body(response.content)
                status = response.status
        except TimeoutError:
            raise UnavailableError(f"no answer within {ATTEMPT_SECONDS:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(str(error) or type(error).__name__) from error
        return parse_response(status, body)


async def _body(content: Any) -> bytes:
    """The body of a response, read in pieces, up to one byte more than the limit."""
    body = bytearray()
    while len(body) <= MAX_RESPONSE_BYTES and (piece := await content.read(MAX_RESPONSE_BYTES + 1 - len(body))):
        body += piece
    return bytes(body)


def parse_response(status: int, body: bytes) -> bytes:
    """The certificate in a response of cfssl, in PEM.

    Raises:
        UnavailableError: the response is a refusal or not one of cfssl.
    """
    if len(body) > MAX_RESPONSE_BYTES:
        raise UnavailableError(f"the answer has more than {MAX_RESPONSE_BYTES} bytes")
    try:
        answer = msgspec.json.decode(body, type=_CfsslResponse)
    except (msgspec.ValidationError, msgspec.DecodeError):
        raise UnavailableError(f"the answer (HTTP {status}) is not cfssl's") from None
    if not answer.success or answer.result is None:
        messages = "; ".join(str(error.get("message", error)) for error in answer.errors or [])
        raise UnavailableError(f"it refused (HTTP {status}): {messages or 'without a reason'}")
    pem = answer.result.get("certificate")
    if not isinstance(pem, str):
        raise UnavailableError("the answer holds no certificate")
    return pem.encode()


def tls_context(credentials: ClientCredentials | None, root: bytes) -> ssl.SSLContext:
    """A TLS context that trusts the root and has this manager's certificate. The key is never written to a disk."""
    context = ssl.create_default_context(cadata=root.decode())
    if credentials is None:
        return context
    memory = os.memfd_create("covey-tls", os.MFD_CLOEXEC)
    with open(memory, "wb") as file:  # noqa: PTH123 - a file descriptor
        file.write(credentials.key + b"\n" + credentials.certificate)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{memory}")
    return context


def _leaf(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise UnavailableError("the certificate in the answer cannot be parsed") from None


def _require_signed_by(leaf: x509.Certificate, root: bytes) -> None:
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(root))
    except (ValueError, TypeError, InvalidSignature):
        raise UnavailableError("it signed with a key other than that of the cluster's root certificate") from None


def verify_node_certificate(
    pem: bytes,
    root: bytes,
    key: ec.EllipticCurvePublicKey,
    *,
    node_id: str,
    role: NodeRole,
    cluster_id: str,
    now_ns: int,
) -> bytes:
    """The first certificate of a response, once it is verified to be the requested one.

    Raises:
        UnavailableError: says in which respect it differs.
    """
    leaf = _leaf(pem)
    _require_signed_by(leaf, root)
    if leaf.public_key() != key:
        raise UnavailableError("it signed a key other than the request's")
    for oid, name, expected in (
        (NameOID.COMMON_NAME, "CN", node_id),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "OU", ROLE_UNITS[role]),
        (NameOID.ORGANIZATION_NAME, "O", cluster_id),
    ):
        actual = [str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(oid)]
        if actual != [expected]:
            raise UnavailableError(f"its certificate says {name}={','.join(actual)} where {expected} was requested")
    extensions = leaf.extensions
    try:
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise UnavailableError(f"its certificate lacks an extension: {error}") from None
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= usages:
        raise UnavailableError('its certificates must have both usages "server auth" and "client auth"')
    found = names.get_values_for_type(x509.DNSName)
    for name in certificates.dns_names(role, node_id):
        if name not in found:
            raise UnavailableError(f"its certificate lacks the requested name {name}")
    if role is not NodeRole.MANAGER and MANAGER_DNS_NAME in found:
        raise UnavailableError(
            f"its certificate has the name {MANAGER_DNS_NAME}, which is a manager's, but a worker's was requested"
        )
    _require_not_ca(leaf)
    now = dt.datetime.fromtimestamp(now_ns / SECOND, dt.UTC)
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise UnavailableError(
            "its certificate is not valid now: check the clocks and the lifetime of its certificates"
        )
    return leaf.public_bytes(serialization.Encoding.PEM)


def _require_not_ca(leaf: x509.Certificate) -> None:
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            raise UnavailableError("its certificate makes the node a CA")


_SHORT_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.COUNTRY_NAME: "C",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
}
