"""Revocations of removed nodes: how long they last, and the limit of the list."""

from covey.clock import HOUR
from covey.objects import CASettings, Cluster, ClusterSpec, ExternalCA, Node, RevokedNode, RootCA, RootRotation, replace
from manager.ca import certificates
from manager.control import nodes
from manager.revocation import MAX_REVOKED, MIN_LIFETIME_NS, Revocations, revoke
from manager.store import MemoryConsensus, Store

NOW = 1_800_000_000_000_000_000


async def test_a_removed_node_is_revoked_in_the_same_transaction() -> None:
    store = Store(MemoryConsensus)
    revoked = Revocations(store)
    assert "n1" not in revoked
    await store.update(lambda tx: tx.create(Cluster(id="c")))
    await store.update(lambda tx: tx.create(Node(id="n1")))
    assert "n1" not in revoked
    await store.update(lambda tx: nodes.remove_node(tx, "n1", (), force=True, now_ns=NOW))
    assert "n1" in revoked
    assert "n2" not in revoked


def test_a_revocation_lasts_as_long_as_any_certificate() -> None:
    short = Cluster(id="c", spec=ClusterSpec(ca=CASettings(node_cert_expiry_ns=1)))
    assert revoke(short, "n", NOW).revoked == (RevokedNode(node_id="n", until_ns=NOW + MIN_LIFETIME_NS),)
    long = replace(short, spec=ClusterSpec(ca=CASettings(node_cert_expiry_ns=3 * MIN_LIFETIME_NS)))
    assert revoke(long, "n", NOW).revoked[0].until_ns == NOW + 3 * MIN_LIFETIME_NS


def test_with_an_external_ca_a_revocation_lasts_as_long_as_the_root() -> None:
    own, outside = (certificates.create_root(name, NOW) for name in ("own", "outside"))
    ends = certificates.not_after_ns(outside.cert)
    assert ends > NOW + 19 * 365 * 24 * HOUR
    held = RootCA(cert=own.cert, key=own.key)
    beside = ClusterSpec(ca=CASettings(external_cas=(ExternalCA(url="https://192.0.2.9/"),)))
    for cluster, until in (
        (Cluster(id="c", root_ca=held), NOW + MIN_LIFETIME_NS),
        (Cluster(id="c", root_ca=RootCA(cert=outside.cert)), ends),
        (Cluster(id="c", root_ca=replace(held, rotation=RootRotation(cert=outside.cert))), ends),
        (Cluster(id="c", root_ca=held, spec=beside), certificates.not_after_ns(own.cert)),
    ):
        assert revoke(cluster, "n", NOW).revoked == (RevokedNode(node_id="n", until_ns=until),)


def test_a_full_list_drops_the_earliest_removals_with_the_same_end() -> None:
    cluster = Cluster(id="c", root_ca=RootCA(cert=certificates.create_root("outside", NOW).cert))
    for number in reversed(range(MAX_REVOKED + 1)):
        cluster = revoke(cluster, f"n{number:05}", NOW)
    assert cluster.revoked[-1].node_id == "n00000"
    assert len(cluster.revoked) == MAX_REVOKED


def test_expired_revocations_are_dropped_at_the_next_removal_and_the_list_is_bounded() -> None:
    cluster = revoke(Cluster(id="c"), "old", NOW)
    assert {one.node_id for one in revoke(cluster, "new", NOW + 2 * MIN_LIFETIME_NS).revoked} == {"new"}
    for number in range(MAX_REVOKED + 10):
        cluster = revoke(cluster, f"n{number:05}", NOW + number)
    assert len(cluster.revoked) == MAX_REVOKED
    assert cluster.revoked[-1].node_id == f"n{MAX_REVOKED + 9:05}"
