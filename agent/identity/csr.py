"""Private keys and certificate signing requests (CSR) of a node.

Invariant: pure but for the randomness of keys and signatures. Called by `agent.identity.join` and
`agent.identity.renewal_rpc`.
"""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def new_key() -> bytes:
    """A new ECDSA P-256 key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key_pem: bytes) -> bytes:
    """A signing request for this key in PEM. Its subject is empty: the CA fills it in."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("a node's key must be ECDSA P-256")
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)
