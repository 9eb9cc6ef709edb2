"""Roots provided by an operator: valid ones are accepted, all others are refused with the reason."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from covey.clock import SECOND
from covey.errors import InvalidArgumentError
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.certificates import RootPair
from manager.ca.operator_root import parse_root

NOW = 1_800_000_000 * SECOND
MOMENT = dt.datetime.fromtimestamp(NOW // SECOND, dt.UTC)
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def root(key=EC, *, ca: bool | None = True, days: int = 4000, starts: int = -1, signer=None, extensions=()) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Our own root")])
    issuer = name if signer is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Another")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
        .serial_number(7).not_valid_before(MOMENT + dt.timedelta(days=starts)).not_valid_after(MOMENT + dt.timedelta(days=days))
    )  # fmt: skip
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    signing = signer or key
    digest = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signing, digest).public_bytes(serialization.Encoding.PEM)


def usage(**given: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "key_cert_sign",
        "crl_sign",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
    )
    names += ("key_agreement", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


@pytest.mark.parametrize(
    "key",
    [EC, ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1()), RSA],
    ids=["P-256", "P-384", "P-521", "RSA"],
)
def test_a_root_of_every_supported_kind_signs_nodes_and_its_successor(key) -> None:
    given = parse_root(b"a comment\n" + root(key), pem(key), NOW)
    assert given == parse_root(given.cert, given.key, NOW), "one form for one root"
    node_key, request = certificates.new_csr()
    issued = certificates.issue_certificate(
        given, request, node_id="n", role=NodeRole.WORKER, cluster_id="c", now_ns=NOW, lifetime_ns=10**15
    )
    leaf, behind = x509.load_pem_x509_certificates(issued)
    leaf.verify_directly_issued_by(behind)
    successor = certificates.create_root("c", NOW)
    crossed = x509.load_pem_x509_certificate(certificates.cross_sign(given, successor.cert))
    crossed.verify_directly_issued_by(behind)
    back = x509.load_pem_x509_certificate(certificates.cross_sign(successor, given.cert))
    assert back.public_key() == behind.public_key()
    assert node_key


def test_a_root_may_come_without_its_key() -> None:
    cert = root()
    assert parse_root(cert, b"", NOW) == RootPair(cert=parse_root(cert, pem(EC), NOW).cert, key=b"")


small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
REFUSED = {
    "nothing at all": (b"nonsense", b"", "could not parse the desired CA certificate"),
    "two certificates": (root() + root(), b"", "cannot contain multiple certificates"),
    "a leaf": (root(ca=False), b"", "lacks CA:TRUE"),
    "no constraints": (root(ca=None), b"", "lacks CA:TRUE"),
    "an intermediate": (root(signer=RSA), b"", "is not self-signed"),
    "expired": (root(starts=-20, days=-10), b"", "CA certificate expires too soon"),
    "soon to expire": (root(days=300), b"", "CA certificate expires too soon"),
    "not valid yet": (root(starts=5), b"", "is not valid before"),
    "no signing": (root(extensions=[usage(crl_sign=True)]), b"", "may not sign certificates"),
    "constrained names": (
        root(extensions=[x509.NameConstraints([x509.DNSName("example.com")], None)]), b"", "has name constraints",
    ),
    "a small RSA key": (root(small), b"", "RSA of 2048 to 8192 bits"),
    "a rare curve": (root(ec.generate_private_key(ec.SECP256K1())), b"", "must be ECDSA P-256, P-384 or P-521"),
    "Ed25519": (root(ed25519.Ed25519PrivateKey.generate()), b"", "must be ECDSA P-256, P-384 or P-521"),
    "another's key": (root(), pem(ec.generate_private_key(ec.SECP256R1())), "do not match"),
    "a key of another kind": (root(), pem(dsa.generate_private_key(2048)), "the desired CA key must be ECDSA or RSA"),
    "no key": (root(), b"nonsense", "could not parse the desired CA key"),
    "a locked key": (
        root(),
        EC.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        ),
        "is encrypted: give it without a passphrase",
    ),
    "too much": (root() + b" " * 70_000, b"", "16384 bytes each"),
}  # fmt: skip


@pytest.mark.parametrize(("cert", "key", "words"), REFUSED.values(), ids=REFUSED)
def test_a_root_that_cannot_sign_for_a_cluster_is_refused(cert: bytes, key: bytes, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        parse_root(cert, key, NOW)
