"""Certificate renewal: its time, and the roots that the node trusts meanwhile."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.identity import CertificateRenewer, DesiredCertificate, IdentityStore, NodeIdentity
from agent.identity.certificate_renewer import renewal_due_ns, roots_to_trust
from agent.identity.csr import new_key, signing_request
from covey import trust
from covey.clock import HOUR, SECOND
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.certificates import RootPair

NOW = 1_800_000_000 * SECOND
LIFE = 90 * 24 * HOUR
OLD = certificates.create_root("c", NOW)
NEW = certificates.create_root("c", NOW)
CROSSED = certificates.cross_sign(OLD, NEW.cert)
KEY = new_key()


def identity(
    root: RootPair = OLD, *, chain: bytes = b"", roots: bytes = b"", life_ns: int = LIFE, at_ns: int = NOW
) -> NodeIdentity:
    pem = certificates.issue_certificate(
        root,
        signing_request(KEY),
        node_id="n",
        role=NodeRole.WORKER,
        cluster_id="c",
        now_ns=at_ns,
        lifetime_ns=life_ns,
        chain=chain,
    )
    return NodeIdentity.parse(certificate=pem, key=KEY, root=roots or root.cert)


MINE = identity()


def desired(
    root: RootPair = OLD, *, roots: bytes = b"", life_ns: int = LIFE, spread_ns: int = SECOND
) -> DesiredCertificate:
    return DesiredCertificate(
        roots=roots or root.cert, issuer=trust.subject_and_key(root.cert), validity_ns=life_ns, spread_ns=spread_ns
    )


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([HOUR, 24 * HOUR, LIFE]))
def test_a_certificate_is_renewed_at_50_to_80_percent_of_its_validity_however_short(
    fraction: float, life_ns: int
) -> None:
    due = renewal_due_ns(identity(life_ns=life_ns), desired(life_ns=life_ns), NOW, fraction)
    assert NOW + life_ns * 0.5 - SECOND <= due <= NOW + life_ns * 0.8 + SECOND


@given(st.floats(0, 1, exclude_max=True))
def test_another_issuer_is_taken_up_soon_but_not_by_all_nodes_at_once(fraction: float) -> None:
    since = NOW + 5 * HOUR
    assert since <= renewal_due_ns(MINE, desired(NEW, spread_ns=10 * SECOND), since, fraction) < since + 10 * SECOND


def test_a_shorter_validity_is_taken_up_at_once_and_a_longer_one_at_the_usual_time() -> None:
    since = NOW + HOUR
    assert renewal_due_ns(MINE, desired(life_ns=24 * HOUR), since, 0.5) == since + SECOND // 2
    assert renewal_due_ns(identity(life_ns=24 * HOUR), desired(), NOW, 0.5) > NOW + 10 * HOUR
    assert renewal_due_ns(MINE, desired(life_ns=0), since, 0.5) > since + 1000 * HOUR, (
        "an external CA gives what it gives"
    )


def test_without_a_desired_certificate_the_usual_time_applies() -> None:
    assert NOW + LIFE * 0.5 - HOUR <= renewal_due_ns(MINE, DesiredCertificate(), NOW, 0.0) <= NOW + LIFE * 0.5


def test_both_roots_are_trusted_during_a_rotation() -> None:
    both = OLD.cert + NEW.cert
    assert roots_to_trust(MINE, desired(NEW, roots=both)) == both
    renewed = identity(NEW, chain=CROSSED, roots=both)
    assert roots_to_trust(renewed, desired(NEW, roots=both)) == both
    assert roots_to_trust(renewed, desired(NEW)) == NEW.cert


def test_the_old_root_is_trusted_until_the_certificate_has_the_new_issuer() -> None:
    assert roots_to_trust(MINE, desired(NEW)) == NEW.cert + OLD.cert
    assert roots_to_trust(MINE, DesiredCertificate()) == OLD.cert


def test_the_issuer_is_identified_by_name_and_key_whether_self_signed_or_cross_signed() -> None:
    for one in (
        identity(NEW, chain=CROSSED, roots=OLD.cert),
        identity(NEW),
        identity(NEW, chain=CROSSED, roots=NEW.cert),
    ):
        assert one.issuer == trust.subject_and_key(NEW.cert)
    assert MINE.issuer == trust.subject_and_key(OLD.cert)
    assert identity(NEW, chain=OLD.cert, roots=OLD.cert).issuer == (b"", b""), "nobody known signed it"
    assert MINE.tls_info.trust_root == OLD.cert


def test_a_cached_identity_notices_that_only_the_roots_changed(tmp_path: Path) -> None:
    writer, reader = IdentityStore(tmp_path), IdentityStore(tmp_path)
    writer.save(MINE)
    assert reader.require().root == OLD.cert
    writer.save_roots(OLD.cert + NEW.cert)
    assert reader.require().root == OLD.cert + NEW.cert
    assert reader.require().certificate == MINE.certificate


def test_the_same_desired_certificate_again_does_not_delay_a_renewal() -> None:
    times = iter((NOW, NOW + SECOND, NOW + 9 * SECOND))
    renewer = CertificateRenewer(IdentityStore(Path("/nowhere")), tuple, lambda: None, clock=lambda: next(times))
    renewer.set_desired(desired(NEW))
    renewer.set_desired(desired(NEW))
    assert next(times) == NOW + 9 * SECOND, "the clock was read once for both"
