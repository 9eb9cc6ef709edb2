"""X.509 certificates: roots, cross-signed roots, node certificates and signing requests, in PEM. Pure but for new keys.

Invariant: a node certificate has CN = node id, OU = covey-manager or covey-worker, O = cluster id, and the node id as a DNS name. A
manager's certificate also has the DNS name ``covey``, which every client checks, so that a worker cannot pose as a manager. Only the public
key comes from the request, whose signature proves possession of the private key.
"""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from covey.clock import HOUR, SECOND
from covey.errors import InvalidArgumentError
from covey.objects.base import Struct
from covey.states import NodeRole

ROLE_UNITS = {NodeRole.MANAGER: "covey-manager", NodeRole.WORKER: "covey-worker"}
MANAGER_DNS_NAME = "covey"
MAX_REQUEST_BYTES = 16 * 1024
_BACKDATED_NS = HOUR
_ROOT_LIFETIME_NS = 20 * 365 * 24 * HOUR


class RootPair(Struct, frozen=True, kw_only=True):
    """PEM of the root certificate and of its key."""

    cert: bytes
    key: bytes


def dns_names(role: NodeRole, node_id: str) -> list[str]:
    """The DNS names that a node's certificate carries."""
    return [MANAGER_DNS_NAME, node_id] if role is NodeRole.MANAGER else [node_id]


def create_root(cluster_id: str, now_ns: int) -> RootPair:
    """A new self-signed ECDSA P-256 root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
            x509.NameAttribute(NameOID.COMMON_NAME, "covey-ca"),
        ]
    )
    usage = _usage(signs_certificates=True)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_datetime(now_ns - _BACKDATED_NS))
        .not_valid_after(_datetime(now_ns + _ROOT_LIFETIME_NS))
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=1), critical=True
        )  # 1: for its cross-signed successor
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return RootPair(cert=certificate.public_bytes(serialization.Encoding.PEM), key=key_pem(key))


def not_after_ns(pem: bytes) -> int:
    """The end of a certificate's validity, and of all certificates that it signed."""
    return int(x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()) * SECOND


def issue_certificate(
    root: RootPair,
    csr_pem: bytes,
    *,
    node_id: str,
    role: NodeRole,
    cluster_id: str,
    now_ns: int,
    lifetime_ns: int,
    chain: bytes = b"",
) -> bytes:
    """A node's certificate for the key of a signing request, followed by ``chain`` or else by the root, in PEM.

    Raises:
        InvalidArgumentError: the request cannot be parsed or is not signed by its own key, or the key is not ECDSA P-256.
    """
    public_key = csr_public_key(csr_pem)
    issuer = x509.load_pem_x509_certificate(root.cert)
    issuer_key = signing_key(root.key)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, node_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, ROLE_UNITS[role]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster_id),
        ]
    )
    ends = min(_datetime(now_ns + lifetime_ns), issuer.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_datetime(now_ns - _BACKDATED_NS))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names(role, node_id)]), critical=False
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, _digest(issuer_key))
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + (chain or root.cert)


def cross_sign(old: RootPair, new_cert: bytes) -> bytes:
    """The new root's name and public key, signed by the old root's key, in PEM. A node that trusts only the old root accepts certificates
    of the new one through it.
    """
    issuer, new = x509.load_pem_x509_certificate(old.cert), x509.load_pem_x509_certificate(new_cert)
    issuer_key = signing_key(old.key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(new.subject)
        .issuer_name(issuer.subject)
        .public_key(new.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(new.not_valid_before_utc)
        .not_valid_after(min(new.not_valid_after_utc, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(new.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return builder.sign(issuer_key, _digest(issuer_key)).public_bytes(serialization.Encoding.PEM)


SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def signing_key(pem: bytes) -> SigningKey:
    """Parses a root's private key. Raises InvalidArgumentError if it is neither ECDSA nor RSA."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, SigningKey):
        raise InvalidArgumentError("the CA key must be ECDSA or RSA")
    return key


def _digest(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """A hash as strong as the key."""
    bits = key.curve.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 256
    return hashes.SHA512() if bits > 384 else hashes.SHA384() if bits > 256 else hashes.SHA256()


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def new_csr() -> tuple[bytes, bytes]:
    """A new private key and its signing request, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return key_pem(key), request.public_bytes(serialization.Encoding.PEM)


def csr_for_root(root: RootPair) -> bytes:
    """A signing request with a root's name, signed by its key, in PEM: for another CA to cross-sign."""
    subject = x509.load_pem_x509_certificate(root.cert).subject
    key = signing_key(root.key)
    basic = x509.BasicConstraints(ca=True, path_length=0)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(basic, critical=True)
    return builder.sign(key, _digest(key)).public_bytes(serialization.Encoding.PEM)


def csr_public_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a node's signing request. Raises InvalidArgumentError as ``issue_certificate``."""
    if len(csr_pem) > MAX_REQUEST_BYTES:
        raise InvalidArgumentError(f"the certificate signing request is longer than {MAX_REQUEST_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        valid = request.is_signature_valid
        key = request.public_key()
    except Exception as error:  # the parser raises many classes of errors; all mean the same here
        raise InvalidArgumentError("the certificate signing request cannot be parsed") from error
    if not valid:
        raise InvalidArgumentError("the certificate signing request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgumentError("the certificate signing request's key must be ECDSA P-256")
    return key


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _datetime(time_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(time_ns // SECOND, dt.UTC)
