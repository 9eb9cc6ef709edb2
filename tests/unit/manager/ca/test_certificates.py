"""Node certificates: the manager chooses their content; only the public key comes from the request."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from covey.clock import HOUR, SECOND
from covey.errors import InvalidArgumentError
from covey.states import NodeRole
from manager.ca import certificates
from manager.caller import Caller, peer_of_subject

NOW = 1_800_000_000 * SECOND
LIFE = 90 * 24 * HOUR


def issue(csr: bytes, role: NodeRole = NodeRole.WORKER, life: int = LIFE) -> tuple[x509.Certificate, bytes]:
    root = certificates.create_root("cluster1", NOW)
    pem = certificates.issue_certificate(
        root, csr, node_id="node1", role=role, cluster_id="cluster1", now_ns=NOW, lifetime_ns=life
    )
    leaf, second = x509.load_pem_x509_certificates(pem)
    assert second == x509.load_pem_x509_certificate(root.cert), "the root follows the node's certificate"
    leaf.verify_directly_issued_by(second)
    return leaf, root.cert


def test_a_certificate_names_node_role_and_cluster() -> None:
    _, csr = certificates.new_csr()
    leaf, _ = issue(csr, NodeRole.MANAGER)
    peer = peer_of_subject(leaf.subject.rfc4514_string())
    assert (peer.caller, peer.node_id, peer.cluster_id) == (Caller.MANAGER, "node1", "cluster1")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["covey", "node1"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_only_a_managers_certificate_has_the_manager_dns_name() -> None:
    """1. A worker is compromised. 2. It answers at a manager's address. 3. With that name in its certificate, clients would accept it."""
    leaf, _ = issue(certificates.new_csr()[1])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node1"]


def test_it_is_backdated_an_hour_and_never_outlives_the_root() -> None:
    _, csr = certificates.new_csr()
    leaf, _ = issue(csr)
    assert leaf.not_valid_before_utc.timestamp() * SECOND == NOW - HOUR
    assert leaf.not_valid_after_utc.timestamp() * SECOND == NOW + LIFE
    leaf, root = issue(csr, life=100 * 365 * 24 * HOUR)
    assert leaf.not_valid_after_utc == x509.load_pem_x509_certificate(root).not_valid_after_utc


def test_the_subject_and_names_of_a_request_are_ignored() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "covey-manager")])
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    leaf, _ = issue(csr.public_bytes(serialization.Encoding.PEM))
    assert peer_of_subject(leaf.subject.rfc4514_string()).caller is Caller.WORKER
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def rsa_request() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM)


def test_a_forged_unsupported_or_too_long_request_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be parsed"):
        issue(b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
    with pytest.raises(InvalidArgumentError, match="P-256"):
        issue(rsa_request())
    with pytest.raises(InvalidArgumentError, match="longer than"):
        issue(b"x" * 20_000)
    _, csr = certificates.new_csr()
    der = bytearray(x509.load_pem_x509_csr(csr).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidArgumentError, match=r"own key|cannot be parsed"):
        issue(forged)
