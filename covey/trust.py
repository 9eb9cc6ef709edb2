"""Trusted roots and the current issuer of a cluster, from its root CA and an unfinished rotation. Pure.

Invariant: during a rotation both roots are trusted and the new one issues certificates; afterwards only the new one does both.

Called by the managers (session state, nodes that must still renew), by the agent (its own TLS info) and by the engine (``swarm inspect``).
"""

from functools import lru_cache

from covey.objects.cluster import RootCA
from covey.objects.node import TLSInfo

_CACHED = 64


def trusted_roots(root_ca: RootCA) -> bytes:
    """PEM of all roots that nodes must trust, the current one first."""
    return root_ca.cert + (root_ca.rotation.cert if root_ca.rotation is not None else b"")


def issuing_root(root_ca: RootCA) -> bytes:
    """PEM of the root whose key signs new certificates."""
    return root_ca.rotation.cert if root_ca.rotation is not None else root_ca.cert


def expected_tls_info(root_ca: RootCA) -> TLSInfo:
    """The TLS info of a node that has nothing left to renew."""
    subject, public_key = subject_and_key(issuing_root(root_ca))
    return TLSInfo(trust_root=trusted_roots(root_ca), issuer_subject=subject, issuer_public_key=public_key)


def same_issuer(one: TLSInfo, other: TLSInfo) -> bool:
    """Whether both certificates have the same issuer, by name and key: a cross-signed root is the same issuer."""
    return (one.issuer_subject, one.issuer_public_key) == (other.issuer_subject, other.issuer_public_key)


@lru_cache(_CACHED)
def subject_and_key(pem: bytes) -> tuple[bytes, bytes]:
    """The subject and public key of a certificate in DER; both empty for an empty text.

    Raises:
        ValueError: the text is not a certificate.
    """
    if not pem:
        return b"", b""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    certificate = x509.load_pem_x509_certificate(pem)
    return certificate.subject.public_bytes(), certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


@lru_cache(_CACHED)
def issuer_subject_and_key(chain: bytes, roots: bytes) -> tuple[bytes, bytes]:
    """The subject and key of the signer of a chain's first certificate, found in the chain or among the roots; both empty if not found."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    leaf, *others = x509.load_pem_x509_certificates(chain)
    for candidate in (
        *x509.load_pem_x509_certificates(roots),
        *others,
    ):  # a cross-signed root may encode its name differently
        try:
            leaf.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        from cryptography.hazmat.primitives.serialization import Encoding

        return subject_and_key(candidate.public_bytes(Encoding.PEM))
    return b"", b""
