"""Validation of a root certificate and key that an operator provides (``--ca-cert``, ``--ca-key``). Pure.

Invariant: a root that passes can sign node certificates that every node accepts.

Called when a cluster is created and when its settings change.
"""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from covey.clock import SECOND
from covey.errors import InvalidArgumentError
from manager.ca.certificates import RootPair, SigningKey

MIN_REMAINING_DAYS = 365
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
MAX_PEM_BYTES = 16 * 1024
"""Every node reports the roots that it trusts, and the size of those reports is limited."""
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def parse_root(cert: bytes, key: bytes, now_ns: int) -> RootPair:
    """The pair in normal form, so that equal roots are equal bytes. ``key`` may be empty if an external CA holds it.

    Raises:
        InvalidArgumentError: says which of the two is invalid, and why.
    """
    if max(len(cert), len(key)) > MAX_PEM_BYTES:
        raise InvalidArgumentError(f"the desired CA certificate and key may have {MAX_PEM_BYTES} bytes each")
    certificate = _certificate(cert)
    _require_root(certificate)
    _require_time(certificate, now_ns)
    if not _is_strong(certificate.public_key()):
        raise InvalidArgumentError(
            "the desired CA certificate's key must be ECDSA P-256, P-384 or P-521, or RSA of "
            f"{MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
        )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    if not key:
        return RootPair(cert=pem, key=b"")
    private = _key(key)
    if private.public_key() != certificate.public_key():
        raise InvalidArgumentError(
            "the desired CA certificate and key do not match: the key belongs to another certificate"
        )
    return RootPair(
        cert=pem,
        key=private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def normalize_pem(cert: bytes) -> bytes:
    """The normal form of a certificate's PEM. Raises InvalidArgumentError."""
    return _certificate(cert).public_bytes(serialization.Encoding.PEM)


def _certificate(cert: bytes) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificates(cert)
    except ValueError as error:
        raise InvalidArgumentError("could not parse the desired CA certificate: it must be PEM") from error
    if len(found) != 1:
        raise InvalidArgumentError("the desired CA certificate cannot contain multiple certificates")
    return found[0]


def _require_root(certificate: x509.Certificate) -> None:
    try:
        extensions = certificate.extensions
        basic = extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ValueError, x509.ExtensionNotFound):
        raise InvalidArgumentError("the desired CA certificate is not a CA: it lacks CA:TRUE") from None
    if not basic.ca:
        raise InvalidArgumentError("the desired CA certificate is not a CA: it lacks CA:TRUE")
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.key_cert_sign:
            raise InvalidArgumentError("the desired CA certificate may not sign certificates: its key usage forbids it")
        if isinstance(extension.value, x509.NameConstraints):
            raise InvalidArgumentError(
                "the desired CA certificate has name constraints, which node certificates would not meet: "
                "use a certificate without them"
            )
    try:
        certificate.verify_directly_issued_by(certificate)
    except Exception as error:  # names, algorithms and signatures each raise errors of their own
        raise InvalidArgumentError(
            "the desired CA certificate is not self-signed: an intermediate cannot be the root of a cluster"
        ) from error


def _require_time(certificate: x509.Certificate, now_ns: int) -> None:
    now = dt.datetime.fromtimestamp(now_ns / SECOND, dt.UTC)
    if certificate.not_valid_before_utc > now:
        raise InvalidArgumentError(
            f"the desired CA certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
        )
    if certificate.not_valid_after_utc < now + dt.timedelta(days=MIN_REMAINING_DAYS):
        raise InvalidArgumentError(
            f"CA certificate expires too soon: on {certificate.not_valid_after_utc:%Y-%m-%d}, "
            f"but it must be valid for {MIN_REMAINING_DAYS} days more"
        )


def _key(pem: bytes) -> SigningKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise InvalidArgumentError("the desired CA key is encrypted: give it without a passphrase") from error
    except Exception as error:  # the parser raises many classes of errors; all mean the same here
        raise InvalidArgumentError("could not parse the desired CA key: it must be PEM") from error
    if not isinstance(key, SigningKey):
        raise InvalidArgumentError("the desired CA key must be ECDSA or RSA")
    return key


def _is_strong(key: object) -> bool:
    if isinstance(key, rsa.RSAPublicKey):
        return MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES)
