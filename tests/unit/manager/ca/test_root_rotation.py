"""Root rotation: changes of settings, nodes that must still renew, completion."""

import random

import pytest

from covey import jointoken, trust
from covey.clock import HOUR, SECOND
from covey.errors import InvalidArgumentError
from covey.objects import CASettings, Cluster, ClusterSpec, ExternalCA, Node, NodeDescription, RootCA, TLSInfo, replace
from covey.states import NodeRole
from manager.ca import certificates
from manager.ca.certificates import RootPair
from manager.ca.cluster_trust import new_cluster, role_of_token
from manager.ca.root_rotation import (
    RootRotationPlanner,
    cas_for_root,
    complete_rotation,
    nodes_to_renew,
    plan,
    plan_root_change,
    with_rotation,
    without_unused_cas,
)
from manager.control.clusters import redact_cluster
from manager.store import View
from manager.store.schema import CLUSTERS, NODES

NOW = 1_800_000_000 * SECOND
CLUSTER = new_cluster(ClusterSpec(), NOW)


def settings(**changes: object) -> CASettings:
    return replace(CLUSTER.spec.ca, **changes)


def given(root: RootPair) -> CASettings:
    return settings(signing_cert=root.cert, signing_key=root.key)


def rotating(cluster: Cluster = CLUSTER) -> Cluster:
    decision = plan_root_change(cluster, replace(cluster.spec.ca, force_rotate=cluster.spec.ca.force_rotate + 1), NOW)
    assert decision.target is not None
    return replace(cluster, root_ca=with_rotation(decision.root_ca, decision.target, NOW))


def node(number: int, root_ca: RootCA | None, *, roots: bytes | None = None) -> Node:
    """A node with a certificate of the given issuer; None: a node that has reported nothing yet."""
    tls = TLSInfo() if root_ca is None else trust.expected_tls_info(root_ca)
    if roots is not None:
        tls = replace(tls, trust_root=roots)
    return Node(id=f"n{number}", description=NodeDescription(tls=tls))


def view(cluster: Cluster, *nodes: Node) -> View:
    found = View.empty().put(CLUSTERS, cluster.id, cluster)
    for one in nodes:
        found = found.put(NODES, one.id, one)
    return found


def test_a_rotation_creates_a_new_root_that_the_old_one_cross_signs() -> None:
    after = rotating().root_ca
    assert after.rotation is not None
    assert (after.cert, after.key, after.join_token_worker) == (
        CLUSTER.root_ca.cert,
        CLUSTER.root_ca.key,
        CLUSTER.root_ca.join_token_worker,
    )
    assert trust.subject_and_key(after.rotation.cross_signed) == trust.subject_and_key(after.rotation.cert)
    assert trust.issuer_subject_and_key(after.rotation.cross_signed, after.cert) == trust.subject_and_key(after.cert)
    assert trust.trusted_roots(after) == after.cert + after.rotation.cert
    assert trust.issuing_root(after) == after.rotation.cert


def test_settings_without_a_root_do_not_change_it() -> None:
    decision = plan_root_change(CLUSTER, settings(node_cert_expiry_ns=2 * HOUR), NOW)
    assert decision.root_ca is CLUSTER.root_ca
    assert decision.target is None
    assert decision.keyless_roots == ()


def test_a_second_rotation_replaces_the_target_and_is_cross_signed_by_the_trusted_root() -> None:
    first = rotating()
    second = rotating(replace(first, spec=replace(first.spec, ca=settings(force_rotate=1))))
    one, two = first.root_ca.rotation, second.root_ca.rotation
    assert one is not None
    assert two is not None
    assert one.cert != two.cert
    assert trust.issuer_subject_and_key(two.cross_signed, CLUSTER.root_ca.cert) == trust.subject_and_key(
        CLUSTER.root_ca.cert
    )


def test_a_rotation_to_the_current_root_cancels_the_rotation() -> None:
    present = RootPair(cert=CLUSTER.root_ca.cert, key=CLUSTER.root_ca.key)
    decision = plan_root_change(rotating(), given(present), NOW)
    assert decision.target is None
    assert decision.root_ca == CLUSTER.root_ca


def test_the_same_target_again_continues_the_rotation() -> None:
    open_still = rotating()
    rotation = open_still.root_ca.rotation
    assert rotation is not None
    decision = plan_root_change(open_still, given(RootPair(cert=rotation.cert, key=rotation.key)), NOW)
    assert decision.target is None
    assert decision.root_ca == open_still.root_ca


def test_a_root_without_its_key_needs_an_external_ca_and_removes_the_key_from_the_cluster() -> None:
    decision = plan_root_change(CLUSTER, settings(signing_cert=CLUSTER.root_ca.cert), NOW)
    assert decision.keyless_roots == (CLUSTER.root_ca.cert,)
    assert decision.root_ca.key == b""
    other = certificates.create_root("other", NOW)
    there = plan_root_change(CLUSTER, settings(signing_cert=other.cert), NOW)
    assert there.keyless_roots == (other.cert,)
    assert there.target == RootPair(cert=other.cert, key=b"")
    outside = replace(CLUSTER, root_ca=decision.root_ca)
    with pytest.raises(InvalidArgumentError, match="from one external CA to a different external CA is not supported"):
        plan_root_change(outside, settings(signing_cert=other.cert), NOW)
    with_key = plan_root_change(outside, given(RootPair(cert=CLUSTER.root_ca.cert, key=CLUSTER.root_ca.key)), NOW)
    assert with_key.root_ca == CLUSTER.root_ca, "the key is back, and nothing rotates"


def test_external_cas_cannot_be_removed_while_a_root_needs_them() -> None:
    outside = replace(CLUSTER, root_ca=replace(CLUSTER.root_ca, key=b""))
    cas = (ExternalCA(url="https://ca.example/sign"),)
    had = replace(outside, spec=replace(outside.spec, ca=settings(external_cas=cas)))
    assert plan_root_change(had, settings(external_cas=cas, node_cert_expiry_ns=HOUR), NOW).keyless_roots == ()
    assert plan_root_change(had, settings(), NOW).keyless_roots == (CLUSTER.root_ca.cert,)


def test_an_external_ca_that_would_never_be_used_is_refused_with_the_remedy() -> None:
    """It was accepted and listed as if it signed, although the cluster's key signed."""
    other = certificates.create_root("other", NOW)
    plain = ExternalCA(url="https://ca.example/sign")
    named, foreign = replace(plain, ca_cert=CLUSTER.root_ca.cert), replace(plain, ca_cert=other.cert)
    remedy = "swarm ca --rotate --ca-cert ROOT --external-ca"
    for wish, words in (
        (settings(external_cas=(plain,)), "key of the root that it signs for is in the cluster"),
        (settings(external_cas=(named,)), "key of the root that it signs for is in the cluster"),
        (settings(external_cas=(foreign,)), "neither has the root that it signs for"),
        (settings(external_cas=(foreign,), signing_cert=other.cert, signing_key=other.key), "is in the cluster"),
        (settings(external_cas=(plain,), signing_cert=other.cert), "is in the cluster"),
    ):
        with pytest.raises(
            InvalidArgumentError, match=f"CA https://ca.example/sign would never be used: .*{words}.*{remedy}"
        ):
            plan_root_change(CLUSTER, wish, NOW)


def test_an_external_ca_is_accepted_if_it_has_a_root_to_sign_for() -> None:
    other = certificates.create_root("other", NOW)
    plain = ExternalCA(url="https://ca.example/sign")
    foreign = replace(plain, ca_cert=other.cert)
    there = settings(external_cas=(foreign,), signing_cert=other.cert)
    assert plan_root_change(CLUSTER, there, NOW).keyless_roots == (other.cert,), "to a root whose key is elsewhere"
    taken_out = plan_root_change(CLUSTER, settings(external_cas=(plain,), signing_cert=CLUSTER.root_ca.cert), NOW)
    assert taken_out.root_ca.key == b"", "the present root, whose key leaves"
    outside = replace(CLUSTER, root_ca=taken_out.root_ca)
    more = settings(external_cas=(plain, replace(plain, url="https://two.example/")))
    assert plan_root_change(outside, more, NOW).keyless_roots == (CLUSTER.root_ca.cert,), (
        "one more for a root that has one"
    )
    had = replace(outside, spec=replace(outside.spec, ca=settings(external_cas=(plain,))))
    home = settings(external_cas=(plain,), signing_cert=CLUSTER.root_ca.cert, signing_key=CLUSTER.root_ca.key)
    assert plan_root_change(had, home, NOW).root_ca == CLUSTER.root_ca, "clients send what is stored with every change"
    assert plan_root_change(had, replace(there, external_cas=(plain,), signing_key=other.key), NOW).target == other


def test_external_cas_are_removed_with_the_root_that_they_sign_for() -> None:
    """They used to stay in the settings."""
    other = certificates.create_root("other", NOW)
    plain = ExternalCA(url="https://ca.example/sign")
    foreign = replace(plain, ca_cert=other.cert)
    outside = replace(CLUSTER, root_ca=replace(CLUSTER.root_ca, key=b""))
    spec = replace(CLUSTER.spec, ca=settings(external_cas=(plain, foreign)))
    for root_ca, left in (
        (CLUSTER.root_ca, ()),
        (outside.root_ca, (plain,)),
        (with_rotation(CLUSTER.root_ca, RootPair(cert=other.cert, key=b""), NOW), (foreign,)),
        (with_rotation(CLUSTER.root_ca, other, NOW), ()),
    ):
        assert without_unused_cas(spec, root_ca).ca.external_cas == left
    away = replace(CLUSTER, spec=spec, root_ca=with_rotation(CLUSTER.root_ca, RootPair(cert=other.cert, key=b""), NOW))
    assert complete_rotation(away).spec.ca.external_cas == (foreign,)
    home = replace(away, root_ca=with_rotation(CLUSTER.root_ca, other, NOW))
    assert complete_rotation(home).spec.ca.external_cas == ()


def test_what_cannot_be_is_refused_by_name() -> None:
    same_key = certificates.create_root("x", NOW)
    renewed = certificates.cross_sign(same_key, same_key.cert)  # another certificate of the same key, self-signed
    cluster = replace(CLUSTER, root_ca=replace(CLUSTER.root_ca, cert=same_key.cert, key=same_key.key))
    for wish, words in (
        (settings(signing_key=b"k"), "the signing CA cert must also be provided"),
        (
            settings(external_cas=(ExternalCA(protocol="acme", url="https://a/"),)),
            "unrecognized external CA protocol acme",
        ),
        (settings(external_cas=(ExternalCA(url="http://a/"),)), "must begin with https"),
        (
            settings(external_cas=(ExternalCA(url="https://a/", options={"label": "x"}),)),
            "options are not supported.*label",
        ),
        (settings(external_cas=(ExternalCA(url="https://a/"),) * 17), "16 external CAs, not 17"),
        (settings(external_cas=(ExternalCA(url="https://a/", ca_cert=b"junk"),)), "could not parse"),
        (settings(signing_cert=renewed, signing_key=same_key.key), "Cannot update to a cert with an identical key"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            plan_root_change(cluster, wish, NOW)


def test_an_external_ca_signs_for_the_root_that_it_names_or_else_for_the_present_one() -> None:
    other = certificates.create_root("other", NOW)
    plain, named = ExternalCA(url="https://a/"), ExternalCA(url="https://b/", ca_cert=b"\n" + other.cert)
    assert cas_for_root((plain, named), CLUSTER.root_ca.cert, CLUSTER.root_ca.cert) == (plain,)
    assert cas_for_root((plain, named), other.cert, CLUSTER.root_ca.cert) == (named,)


def test_a_rotation_is_complete_when_every_node_has_renewed() -> None:
    cluster = rotating()
    old, new = node(1, CLUSTER.root_ca), node(1, cluster.root_ca)
    silent, other = node(2, None), node(2, cluster.root_ca)
    assert nodes_to_renew(view(cluster, old, silent), cluster.root_ca) == [old, silent]
    assert not plan(view(cluster, old, other)).steps
    assert not plan(view(cluster, new, silent)).steps, "a node that has said nothing may hold an old certificate"
    assert not plan(view(CLUSTER, old)).steps, "nothing rotates"
    (step,) = plan(view(cluster, new, other)).steps
    (after,) = step.updates
    assert isinstance(after, Cluster)
    assert after.root_ca.rotation is None
    assert not plan(view(after, new, other)).steps


def test_a_complete_rotation_leaves_the_new_root_with_new_tokens() -> None:
    cluster = rotating()
    rotation = cluster.root_ca.rotation
    assert rotation is not None
    after = complete_rotation(cluster)
    assert (after.root_ca.cert, after.root_ca.key) == (rotation.cert, rotation.key)
    assert trust.trusted_roots(after.root_ca) == rotation.cert
    for token, role in (
        (after.root_ca.join_token_worker, NodeRole.WORKER),
        (after.root_ca.join_token_manager, NodeRole.MANAGER),
    ):
        assert jointoken.parse(token).digest == jointoken.root_digest(rotation.cert)
        assert role_of_token(after, token) is role
    assert trust.same_issuer(trust.expected_tls_info(after.root_ca), trust.expected_tls_info(cluster.root_ca)), (
        "nobody renews once more"
    )


def test_no_key_of_a_rotation_leaves_the_managers() -> None:
    cluster = rotating()
    told = replace(cluster, spec=replace(cluster.spec, ca=replace(cluster.spec.ca, signing_key=b"secret")))
    seen = redact_cluster(told)
    assert seen.root_ca.rotation is not None
    assert (seen.root_ca.key, seen.root_ca.rotation.key, seen.spec.ca.signing_key) == (b"", b"", b"")
    assert seen.root_ca.rotation.cert == cluster.root_ca.rotation.cert  # type: ignore[union-attr]


def test_a_new_cluster_takes_the_operators_root_and_keeps_its_key_out_of_the_settings() -> None:
    own = certificates.create_root("ours", NOW)
    cluster = new_cluster(ClusterSpec(ca=given(own)), NOW)
    assert (cluster.root_ca.cert, cluster.root_ca.key) == (own.cert, own.key)
    assert cluster.spec == ClusterSpec()
    assert jointoken.parse(cluster.root_ca.join_token_worker).digest == jointoken.root_digest(own.cert)
    with pytest.raises(InvalidArgumentError, match="needs the key of its root"):
        new_cluster(ClusterSpec(ca=settings(signing_cert=own.cert)), NOW)
    with pytest.raises(InvalidArgumentError, match="the signing CA cert must also be provided"):
        new_cluster(ClusterSpec(ca=settings(signing_key=own.key)), NOW)


class World:
    """Nodes that renew at random times, and an operator who rotates at random times."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.cluster = CLUSTER
        self.nodes: dict[str, Node] = {}
        self.planner = RootRotationPlanner()
        self.planner.reset(self.view)

    @property
    def view(self) -> View:
        return view(self.cluster, *self.nodes.values())

    def put(self, one: Node) -> None:
        self.planner.observe(self.nodes.get(one.id), one)
        self.nodes[one.id] = one

    def rotate(self) -> None:
        before = self.cluster
        spec = replace(before.spec, ca=replace(before.spec.ca, force_rotate=before.spec.ca.force_rotate + 1))
        self.cluster = replace(rotating(before), spec=spec)
        self.planner.observe(before, self.cluster)

    def step(self) -> None:
        root_ca = self.cluster.root_ca
        number = self.random.randrange(5)
        match self.random.choice(("rotate", "join", "join", "renew", "renew", "renew", "leave", "abort")):
            case "rotate":
                self.rotate()
            case "join":
                self.put(node(number, root_ca if self.random.random() < 0.5 else None))
            case "renew" if f"n{number}" in self.nodes:
                self.put(node(number, root_ca))
            case "leave" if f"n{number}" in self.nodes:
                self.planner.observe(self.nodes.pop(f"n{number}"), None)
            case "abort" if self.random.random() < 0.2:
                ended = replace(self.cluster, root_ca=replace(root_ca, rotation=None))
                self.planner.observe(self.cluster, ended)
                self.cluster = ended
            case _:
                pass

    def plan(self) -> None:
        before = self.cluster
        for step in self.planner.plan(self.view, NOW).steps:
            (after,) = step.updates
            assert isinstance(after, Cluster)
            assert before.root_ca.rotation is not None
            assert not nodes_to_renew(self.view, before.root_ca), "a node would be left behind"
            self.cluster = after
            self.planner.observe(before, after)
        assert not self.planner.plan(self.view, NOW).steps, "planning again gives nothing"


@pytest.mark.parametrize("seed", range(20))
def test_random_rotations_miss_no_node_and_end_once_all_have_renewed(seed: int) -> None:
    world = World(seed)
    for _ in range(60):
        world.step()
        world.plan()
    for one in list(world.nodes.values()):
        world.put(replace(node(0, world.cluster.root_ca), id=one.id))
    world.planner.observe(None, world.cluster)
    world.plan()
    assert world.cluster.root_ca.rotation is None, seed
