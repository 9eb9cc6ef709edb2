"""External CAs: every certificate in a response is verified."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from covey.clock import SECOND
from covey.errors import UnavailableError
from covey.objects import ExternalCA
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.cfssl import MAX_RESPONSE_BYTES, CfsslSigner, parse_response, verify_node_certificate

NOW = 1_800_000_000 * SECOND
ROOT = certificates.create_root("c", NOW)
OTHER = certificates.create_root("c", NOW)
KEY, REQUEST = certificates.new_csr()
PUBLIC = certificates.csr_public_key(REQUEST)


def issued(**changes: object) -> bytes:
    wanted = {
        "node_id": "n",
        "role": NodeRole.WORKER,
        "cluster_id": "c",
        "now_ns": NOW,
        "lifetime_ns": 10**15,
        **changes,
    }
    return certificates.issue_certificate(wanted.pop("root", ROOT), wanted.pop("request", REQUEST), **wanted)


def made(build: Callable[[x509.CertificateBuilder], x509.CertificateBuilder]) -> bytes:
    """A certificate with the right names and key, and with the given extensions."""
    good = x509.load_pem_x509_certificate(issued())
    builder = (
        x509.CertificateBuilder().subject_name(good.subject).issuer_name(good.issuer).public_key(good.public_key())
        .serial_number(3).not_valid_before(good.not_valid_before_utc).not_valid_after(good.not_valid_after_utc)
    )  # fmt: skip
    key = certificates.signing_key(ROOT.key)
    return build(builder).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
BOTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
OWN = x509.SubjectAlternativeName([x509.DNSName("n")])
MANAGERS = x509.SubjectAlternativeName([x509.DNSName("covey"), x509.DNSName("n")])
WRONG = {
    "another root": (issued(root=OTHER), "signed with a key other than that of the cluster's root"),
    "another node": (issued(node_id="m"), "says CN=m where n was requested"),
    "a better role": (issued(role=NodeRole.MANAGER), "says OU=covey-manager where covey-worker was requested"),
    "another cluster": (issued(cluster_id="d"), "says O=d where c was requested"),
    "another key": (issued(request=certificates.new_csr()[1]), "signed a key other than the request's"),
    "one end": (made(lambda b: b.add_extension(SERVER, False).add_extension(OWN, False)), "must have both usages"),
    "no name": (
        made(lambda b: b.add_extension(BOTH, False).add_extension(x509.SubjectAlternativeName([x509.DNSName("x")]), False)),
        "lacks the requested name n",
    ),
    "a manager's name": (
        made(lambda b: b.add_extension(BOTH, False).add_extension(MANAGERS, False)),
        "has the name covey, which is a manager's",
    ),
    "no extensions": (made(lambda b: b), "lacks an extension"),
    "a CA": (
        made(
            lambda b: b.add_extension(BOTH, False).add_extension(OWN, False)
            .add_extension(x509.BasicConstraints(True, None), True)
        ),
        "makes the node a CA",
    ),
    "the past": (issued(now_ns=NOW - 2 * 10**15), "not valid now"),
    "nonsense": (b"nonsense", "cannot be parsed"),
}  # fmt: skip


@pytest.mark.parametrize(("pem", "words"), WRONG.values(), ids=WRONG)
def test_a_certificate_that_differs_from_the_request_is_refused(pem: bytes, words: str) -> None:
    with pytest.raises(UnavailableError, match=words):
        verify_node_certificate(pem, ROOT.cert, PUBLIC, node_id="n", role=NodeRole.WORKER, cluster_id="c", now_ns=NOW)


def test_a_managers_certificate_without_the_manager_dns_name_is_refused() -> None:
    good = issued(role=NodeRole.MANAGER)
    wanted = {"node_id": "n", "role": NodeRole.MANAGER, "cluster_id": "c", "now_ns": NOW}
    assert good.startswith(verify_node_certificate(good, ROOT.cert, PUBLIC, **wanted))
    key = certificates.signing_key(ROOT.key)
    leaf = x509.load_pem_x509_certificate(good)
    nameless = (
        x509.CertificateBuilder().subject_name(leaf.subject).issuer_name(leaf.issuer).public_key(leaf.public_key())
        .serial_number(3).not_valid_before(leaf.not_valid_before_utc).not_valid_after(leaf.not_valid_after_utc)
        .add_extension(BOTH, False).add_extension(OWN, False).sign(key, hashes.SHA256())
    )  # fmt: skip
    with pytest.raises(UnavailableError, match="lacks the requested name covey"):
        verify_node_certificate(nameless.public_bytes(serialization.Encoding.PEM), ROOT.cert, PUBLIC, **wanted)


def test_a_valid_certificate_is_used_without_its_chain() -> None:
    pem = issued() + OTHER.cert
    used = verify_node_certificate(
        pem, ROOT.cert, PUBLIC, node_id="n", role=NodeRole.WORKER, cluster_id="c", now_ns=NOW
    )
    (leaf,) = x509.load_pem_x509_certificates(used)
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "n"
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", r"\(HTTP 200\) is not cfssl's"),
        (502, b"", r"\(HTTP 502\) is not cfssl's"),
        (400, json.dumps({"success": False, "errors": [{"code": 5200, "message": "Policy violation"}]}).encode(),
         r"refused \(HTTP 400\): Policy violation"),
        (200, b'{"success":true,"result":{"certificate":5}}', "holds no certificate"),
        (200, b'{"success":true,"result":null}', "without a reason"),
        (200, b" " * (MAX_RESPONSE_BYTES + 1), "more than 262144 bytes"),
    ],
)  # fmt: skip
def test_an_invalid_response_is_described_in_the_error(status: int, body: bytes, words: str) -> None:
    with pytest.raises(UnavailableError, match=words):
        parse_response(status, body)


async def test_without_an_external_ca_the_error_gives_the_reason() -> None:
    with pytest.raises(UnavailableError, match="none is configured for this root"):
        await CfsslSigner().sign((), ROOT.cert, REQUEST, node_id="n", role=NodeRole.WORKER, cluster_id="c")


async def test_all_external_cas_are_tried_and_the_error_lists_their_answers() -> None:
    cas = [ExternalCA(url=f"https://127.0.0.1:{port}/", ca_cert=ROOT.cert) for port in (9, 11)]
    with pytest.raises(UnavailableError, match=r"127.0.0.1:9/.*127.0.0.1:11/"):
        await CfsslSigner().sign(cas, ROOT.cert, REQUEST, node_id="n", role=NodeRole.WORKER, cluster_id="c")


def test_a_manager_that_signs_for_itself_does_not_import_an_http_client() -> None:
    check = "import sys, manager.main; assert 'aiohttp' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
