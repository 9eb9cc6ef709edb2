"""Nodes that got a certificate and never joined."""

from covey.objects import Cluster, ManagerStatus, Node, NodeDescription, NodeSpec, NodeStatus, replace
from covey.states import NodeRole, NodeState, Reachability
from manager.health import HeartbeatTracker, plan_abandoned_joins
from manager.health.abandoned_joins import ABANDONED_AFTER_NS
from manager.loop import Plan, Step
from tests.support.planning import NOW, applied, view_of

MANAGER = NodeSpec(desired_role=NodeRole.MANAGER)
KNOWN = (
    Node(id="ready", description=NodeDescription(hostname="a"), status=NodeStatus(state=NodeState.READY)),
    Node(id="down", description=NodeDescription(hostname="b"), status=NodeStatus(state=NodeState.DOWN)),
    Node(
        id="manager",
        role=NodeRole.MANAGER,
        spec=MANAGER,
        manager_status=ManagerStatus(reachability=Reachability.REACHABLE),
    ),
    Node(id="promoted", spec=MANAGER, description=NodeDescription(hostname="c")),
)


def test_workers_that_never_began_a_session_go_one_after_the_other_and_are_revoked() -> None:
    """A host that lost its way between its certificate and its first session was a node without a name for ever."""
    view = view_of(Cluster(id="c"), *KNOWN, Node(id="lost"), Node(id="lost2", status=NodeStatus(state=NodeState.DOWN)))
    heartbeats, late = HeartbeatTracker(NOW), NOW + ABANDONED_AFTER_NS
    assert not list(plan_abandoned_joins(view, heartbeats, late - 1))
    for _ in range(2):
        view = applied(view, Plan(tuple(plan_abandoned_joins(view, heartbeats, late))))
    assert {node.id for node in view.nodes} == {node.id for node in KNOWN}
    assert {one.node_id for one in view.cluster.revoked} == {"lost", "lost2"}
    assert not list(plan_abandoned_joins(view, heartbeats, late))


def test_a_node_has_its_time_from_when_it_got_its_certificate() -> None:
    view, heartbeats = view_of(Cluster(id="c"), Node(id="new")), HeartbeatTracker(NOW)
    heartbeats.record_heartbeat("new", NOW + ABANDONED_AFTER_NS)
    assert not list(plan_abandoned_joins(view, heartbeats, NOW + ABANDONED_AFTER_NS))


def test_managers_that_never_began_a_session_are_demoted_and_go_once_they_are_workers() -> None:
    """Seen as: a node without a name in `node ls`, for ever, after a manager's join that broke off."""
    learner = ManagerStatus(raft_id=7, reachability=Reachability.UNKNOWN)
    lost = Node(id="lost", role=NodeRole.MANAGER, spec=MANAGER, manager_status=learner)
    view, heartbeats, late = view_of(Cluster(id="c"), *KNOWN, lost), HeartbeatTracker(NOW), NOW + ABANDONED_AFTER_NS
    assert not list(plan_abandoned_joins(view, heartbeats, late - 1))
    view = applied(view, Plan(tuple(plan_abandoned_joins(view, heartbeats, late))))
    demoted = view.nodes.find("lost")
    assert (demoted.role, demoted.spec.desired_role) == (NodeRole.MANAGER, NodeRole.WORKER)
    assert not list(
        plan_abandoned_joins(view, heartbeats, late)
    )  # it is in the group until the role manager says otherwise
    view = applied(view, Plan((Step(updates=(replace(demoted, role=NodeRole.WORKER),)),)))
    view = applied(view, Plan(tuple(plan_abandoned_joins(view, heartbeats, late))))
    assert {node.id for node in view.nodes} == {node.id for node in KNOWN}
