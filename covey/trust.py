"""What the nodes of a cluster must trust and who issues their certificates now, told from the cluster's root and its rotation. Pure.

Law: while a rotation is open both roots are trusted and the new one issues; afterwards the new one alone does both. Called by the managers
(what nodes are told, who holds a rotation up), by the agent (what it says of itself) and by the engine (what people are shown).
"""

from functools import lru_cache

from covey.objects.cluster import RootCA
from covey.objects.node import TLSInfo

_CACHED = 64


def trusted_roots(root_ca: RootCA) -> bytes:
    """PEM of every root that nodes must trust, the present one first."""
    return root_ca.cert + (root_ca.rotation.cert if root_ca.rotation is not None else b"")


def issuing_root(root_ca: RootCA) -> bytes:
    """PEM of the root whose key signs certificates now."""
    return root_ca.rotation.cert if root_ca.rotation is not None else root_ca.cert


def expected_tls_info(root_ca: RootCA) -> TLSInfo:
    """What a node says of itself once there is nothing left for it to renew."""
    subject, public_key = subject_and_key(issuing_root(root_ca))
    return TLSInfo(trust_root=trusted_roots(root_ca), issuer_subject=subject, issuer_public_key=public_key)


def same_issuer(one: TLSInfo, other: TLSInfo) -> bool:
    """Whether both certificates come from one issuer: by name and key, since a cross-signed root is the same issuer."""
    return (one.issuer_subject, one.issuer_public_key) == (other.issuer_subject, other.issuer_public_key)


@lru_cache(_CACHED)
def subject_and_key(pem: bytes) -> tuple[bytes, bytes]:
    """Subject and public key of a certificate, both DER; empty for no certificate.

    Raises:
        ValueError: it does not parse.
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
    """Name and key of whoever signed the first certificate of a chain, found in the rest of it or among the roots; empty if nobody is."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    leaf, *others = x509.load_pem_x509_certificates(chain)
    for candidate in (
        *x509.load_pem_x509_certificates(roots),
        *others,
    ):  # a cross-signed root may write its name another way
        try:
            leaf.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        from cryptography.hazmat.primitives.serialization import Encoding

        return subject_and_key(candidate.public_bytes(Encoding.PEM))
    return b"", b""
