"""The error of a node whose certificate or key cannot be used. Reading it must not read the disk: ``docker info`` asks often."""

import asyncio
from pathlib import Path

import pytest

import node.certificate
from covey import unlockkey
from covey.clock import HOUR, wall_clock
from covey.states import NodeRole
from manager.ca import certificates
from manager.identity import write_identity
from manager.keys import data_keys, node_key
from node.certificate import NodeCertificate
from node.membership_state import MembershipState

NOW = wall_clock()
KEYS = data_keys.new_keys(unlockkey.generate())


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """The identity of a locked manager whose data keys are missing."""
    root, (pem, request) = certificates.create_root("c1", NOW), certificates.new_csr()
    certificate = certificates.issue_certificate(
        root, request, node_id="n1", role=NodeRole.MANAGER, cluster_id="c1", now_ns=NOW, lifetime_ns=HOUR
    )
    folder = tmp_path / "identity"
    write_identity(folder, certificate=certificate, key=node_key.seal(KEYS.ring, pem), root=root.cert)
    (tmp_path / "plain.key").write_bytes(pem)
    return folder


def certificate_of(identity: Path, now_ns: int = NOW) -> NodeCertificate:
    state = MembershipState(identity.parent)
    return NodeCertificate(state.identities, lambda: (), lambda: None, clock=lambda: now_ns)


def test_an_identity_that_cannot_be_read_is_reported(identity: Path) -> None:
    assert "keys is missing" in certificate_of(identity).error
    (identity / "node.key").unlink()
    assert "cannot read this node's identity" in certificate_of(identity).error
    (identity / "node.key").write_bytes((identity.parent / "plain.key").read_bytes())
    assert certificate_of(identity).error == ""
    (identity / "node.crt").write_bytes(b"damaged")
    assert "the node's certificate does not parse" in certificate_of(identity).error


def test_the_error_follows_the_files_only_when_they_are_checked(identity: Path) -> None:
    certificate = certificate_of(identity)
    before = certificate.error
    (identity / "node.key").write_bytes((identity.parent / "plain.key").read_bytes())
    assert certificate.error == before
    certificate.check()
    assert certificate.error == ""


def test_a_certificate_that_has_expired_is_reported(identity: Path) -> None:
    (identity / "node.key").write_bytes((identity.parent / "plain.key").read_bytes())
    assert "expired on" in certificate_of(identity, NOW + 3 * HOUR).error


async def test_a_running_session_notices_a_damaged_certificate(identity: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.certificate, "CHECK_SECONDS", 0.01)
    (identity / "node.key").write_bytes((identity.parent / "plain.key").read_bytes())
    certificate = certificate_of(identity)
    running = asyncio.create_task(certificate.run())
    try:
        (identity / "node.crt").write_bytes(b"damaged")
        async with asyncio.timeout(5):
            while not certificate.error:  # noqa: ASYNC110 - polls what has no event
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})
