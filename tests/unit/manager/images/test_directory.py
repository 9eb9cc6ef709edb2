"""Image directory: a node is sent to a peer, to the registry, or told to wait."""

import pytest

from covey.clock import SECOND
from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.image_sharing import Access, Sharing, SharingPolicy, sharing_policy
from manager.images.directory import (
    FETCHES_PER_PEER,
    IMAGES_PER_NODE,
    LEASE_NS,
    SETTLE_NS,
    Action,
    ImageDirectory,
    Location,
    NodeImage,
)

ID = "sha256:" + "a" * 64
DIGEST = "sha256:" + "d" * 64
APP = NodeImage(id=ID, names=("app:1", f"app@{DIGEST}"), size_bytes=10)
DEFAULT = SharingPolicy()


def locate(
    directory: ImageDirectory, node: str, reference: str = "app:1", *, policy: SharingPolicy = DEFAULT, needed: bool = True,
    failed: bool = False, now: int = SECOND,
) -> Location:  # fmt: skip
    return directory.locate(node, reference, policy, needed=needed, registry_failed=failed, now_ns=now)


def test_a_node_is_sent_to_a_node_that_has_the_image() -> None:
    directory = ImageDirectory()
    directory.report("n1", "10.0.0.1:7946", [APP])
    found = locate(directory, "n2")
    assert (found.action, found.image_id) == (Action.PEERS, ID)
    assert [peer.addr for peer in found.peers] == ["10.0.0.1:7946"]


@pytest.mark.parametrize(
    "reference",
    [f"app@{DIGEST}", f"app:old@{DIGEST}", f"docker.io/library/app@{DIGEST}", ID, ID.removeprefix("sha256:"), "docker.io/library/app:1"],
)  # fmt: skip
def test_a_reference_finds_the_image_in_every_form(reference: str) -> None:
    directory = ImageDirectory()
    directory.report("n1", "10.0.0.1:7946", [APP])
    assert locate(directory, "n2", reference).image_id == ID
    assert directory.nodes_with(reference) == {"n1"}


def test_one_node_is_sent_to_the_registry_and_the_others_wait_for_it() -> None:
    directory = ImageDirectory()
    assert locate(directory, "n1").action is Action.REGISTRY
    assert locate(directory, "n2").action is Action.WAIT
    assert locate(directory, "n1").action is Action.REGISTRY, "a node that asks again keeps its turn"
    directory.report("n1", "10.0.0.1:7946", [APP])
    assert locate(directory, "n2").action is Action.PEERS


def test_waiting_nodes_try_the_registry_when_it_fails_for_the_first() -> None:
    directory = ImageDirectory()
    locate(directory, "n1")
    assert locate(directory, "n1", failed=True).action is Action.NONE
    assert locate(directory, "n2").action is Action.REGISTRY
    assert locate(directory, "n3").action is Action.REGISTRY, "the second failure is not waited for"


def test_a_node_that_vanishes_or_stalls_loses_its_turn() -> None:
    directory = ImageDirectory()
    locate(directory, "n1")
    directory.forget("n1")
    assert locate(directory, "n2").action is Action.REGISTRY
    assert locate(directory, "n3", now=2 * SECOND + LEASE_NS).action is Action.REGISTRY


def test_a_peer_gets_a_bounded_number_of_fetches_and_new_copies_serve_too() -> None:
    directory = ImageDirectory()
    directory.report("n0", "10.0.0.1:7946", [APP])
    for number in range(FETCHES_PER_PEER):
        assert locate(directory, f"a{number}").action is Action.PEERS
    assert locate(directory, "b").action is Action.WAIT
    directory.report("a0", "10.0.0.2:7946", [APP])
    found = locate(directory, "b")
    assert (found.action, found.peers[0].node_id) == (Action.PEERS, "a0"), "the least busy copy comes first"


def test_a_new_leader_waits_for_the_reports_of_the_nodes() -> None:
    directory = ImageDirectory()
    directory.begin_term(SECOND)
    assert locate(directory, "n2", now=2 * SECOND).action is Action.WAIT
    directory.report("n1", "10.0.0.1:7946", [APP])
    assert locate(directory, "n2", now=2 * SECOND).action is Action.PEERS
    assert locate(directory, "n2", "other:1", now=SECOND + SETTLE_NS).action is Action.REGISTRY


def test_only_nodes_whose_tasks_need_an_image_may_ask_unless_the_operator_opens_it() -> None:
    directory = ImageDirectory()
    directory.report("n1", "10.0.0.1:7946", [APP])
    with pytest.raises(PermissionDeniedError, match="no task of node n2 needs"):
        locate(directory, "n2", needed=False)
    with pytest.raises(PermissionDeniedError, match="may not fetch"):
        directory.authorize("n2", ID, DEFAULT, lambda _: False, SECOND)
    directory.authorize("n2", ID, DEFAULT, lambda name: name == "app:1", SECOND)
    opened = SharingPolicy(access=Access.CLUSTER)
    assert locate(directory, "n2", needed=False, policy=opened).action is Action.PEERS
    directory.authorize("n3", ID, opened, lambda _: False, SECOND)


def test_a_peer_that_did_not_deliver_is_not_named_again() -> None:
    directory = ImageDirectory()
    directory.report("n1", "10.0.0.1:7946", [APP])
    found = directory.locate(
        "n2", "app:1", DEFAULT, needed=True, registry_failed=False, now_ns=SECOND, failed_peers=["n1"]
    )
    assert found.action is Action.REGISTRY
    assert locate(directory, "n3").action is Action.PEERS


def test_a_node_that_was_sent_to_a_peer_may_fetch_until_it_has_the_image() -> None:
    directory = ImageDirectory()
    directory.report("n1", "10.0.0.1:7946", [APP])
    directory.grant("n2", ID, SECOND)
    directory.authorize("n2", ID, DEFAULT, lambda _: False, SECOND)
    directory.report("n2", "10.0.0.2:7946", [APP])
    with pytest.raises(PermissionDeniedError):
        directory.authorize("n2", ID, DEFAULT, lambda _: False, SECOND)
    with pytest.raises(NotFoundError, match="no other node"):
        directory.grant("n3", "sha256:" + "b" * 64, SECOND)


def test_the_policy_decides_between_nodes_and_registry() -> None:
    directory = ImageDirectory()
    directory.report("n1", "10.0.0.1:7946", [APP])
    fallback = locate(directory, "n2", policy=SharingPolicy(sharing=Sharing.FALLBACK))
    assert fallback.action is Action.REGISTRY
    assert fallback.peers
    assert locate(directory, "n2", policy=SharingPolicy(sharing=Sharing.OFF)) == Location(action=Action.REGISTRY)
    only = SharingPolicy(sharing=Sharing.ONLY)
    assert locate(directory, "n2", "other:1", policy=only).action is Action.NONE
    assert locate(directory, "n2", policy=only).action is Action.PEERS


def test_reports_are_bounded() -> None:
    many = [NodeImage(id=f"sha256:{number}") for number in range(IMAGES_PER_NODE + 1)]
    with pytest.raises(InvalidArgumentError, match="at most"):
        ImageDirectory().report("n1", "", many)


def test_the_policy_is_read_from_labels() -> None:
    labels = {"covey.images.sharing": "only", "covey.images.access": "cluster"}
    assert sharing_policy(labels) == SharingPolicy(sharing=Sharing.ONLY, access=Access.CLUSTER)
    with pytest.raises(InvalidArgumentError, match="covey.images.access.*tasks, cluster"):
        sharing_policy({"covey.images.access": "all"})
