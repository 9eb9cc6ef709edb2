"""Plans of the role manager: promotion, demotion, handover and manager statuses."""

from hypothesis import given
from hypothesis import strategies as st

from covey.objects import ManagerStatus, Node, NodeSpec, replace
from covey.states import NodeAvailability, NodeRole, Reachability
from manager.role_manager import plan
from manager.store import Leadership, Member, View
from manager.store.schema import NODES

LEADER = Leadership(is_leader=True, leader_id=1, leader_addr="a:1", term=3)
MANAGER, WORKER = NodeRole.MANAGER, NodeRole.WORKER


def view(*nodes: Node) -> View:
    found = View.empty()
    for node in nodes:
        found = found.put(NODES, node.id, node)
    return found


def node(name: str, desired: NodeRole, role: NodeRole, status: ManagerStatus | None = None) -> Node:
    return Node(id=name, spec=NodeSpec(desired_role=desired), role=role, manager_status=status)


def drain(one: Node) -> Node:
    return replace(one, spec=replace(one.spec, availability=NodeAvailability.DRAIN))


def member(name: str, raft_id: int, *, reachable: bool = True) -> Member:
    return Member(raft_id=raft_id, node_id=name, addr=f"{name}:1", reachable=reachable)


def test_a_promoted_node_becomes_a_manager_before_it_is_a_member() -> None:
    decided = plan(view(node("n2", MANAGER, WORKER)), [member("n1", 1)], LEADER)
    assert [(one.id, one.role, one.manager_status) for one in decided.writes] == [("n2", MANAGER, None)]
    assert decided.remove == ()


def test_a_demoted_node_leaves_the_group_before_it_becomes_a_worker() -> None:
    status = ManagerStatus(raft_id=2, addr="n2:1", reachability=Reachability.REACHABLE)
    demoted = node("n2", WORKER, MANAGER, status)
    first = plan(view(demoted), [member("n1", 1), member("n2", 2)], LEADER)
    assert (first.writes, first.remove) == ((), ("n2",))
    [after] = plan(view(demoted), [member("n1", 1)], LEADER).writes
    assert (after.role, after.manager_status) == (WORKER, None)


def test_managers_that_are_demoted_together_leave_together() -> None:
    nodes = view(node("n1", MANAGER, MANAGER), node("n2", WORKER, MANAGER), node("n3", WORKER, MANAGER))
    decided = plan(nodes, [member("n1", 1), member("n2", 2), member("n3", 3)], LEADER)
    assert (decided.successors, decided.remove) == ((), ("n2", "n3"))


def test_a_demoted_leader_hands_over_to_a_manager_that_stays() -> None:
    nodes = view(node("n1", WORKER, MANAGER), node("n2", WORKER, MANAGER), node("n3", MANAGER, MANAGER))
    decided = plan(nodes, [member("n1", 1), member("n2", 2), member("n3", 3)], LEADER)
    assert (decided.successors, decided.remove) == (("n3",), ("n1", "n2"))


def test_a_drained_leader_hands_over_to_a_reachable_voter_that_is_not_drained() -> None:
    drained = [drain(node(name, MANAGER, MANAGER)) for name in ("n1", "n2")]
    rest = [node(name, MANAGER, MANAGER) for name in ("n3", "n4", "n5")]
    learner = Member(raft_id=5, node_id="n5", addr="n5:1", voter=False)
    group = [member("n1", 1), member("n2", 2), member("n3", 3), member("n4", 4, reachable=False), learner]
    assert plan(view(*drained, *rest), group, LEADER).successors == ("n3",)
    assert plan(view(drained[0], *rest), group[:1], LEADER).successors == ()
    assert plan(view(node("n1", MANAGER, MANAGER), drained[1], *rest), group, LEADER).successors == ()


def test_if_all_managers_are_drained_only_a_demoted_leader_hands_over() -> None:
    others = [drain(node(name, MANAGER, MANAGER)) for name in ("n2", "n3")]
    group = [member("n1", 1), member("n2", 2), member("n3", 3)]
    assert plan(view(drain(node("n1", MANAGER, MANAGER)), *others), group, LEADER).successors == ()
    assert plan(view(node("n1", WORKER, MANAGER), *others), group, LEADER).successors == ("n2", "n3")


def test_manager_statuses_show_the_leader_and_reachability() -> None:
    nodes = view(node("n1", MANAGER, MANAGER), node("n2", MANAGER, MANAGER))
    decided = plan(nodes, [member("n1", 1), member("n2", 2, reachable=False)], LEADER)
    states = {one.id: one.manager_status for one in decided.writes}
    assert states == {
        "n1": ManagerStatus(raft_id=1, addr="n1:1", leader=True, reachability=Reachability.REACHABLE),
        "n2": ManagerStatus(raft_id=2, addr="n2:1", leader=False, reachability=Reachability.UNREACHABLE),
    }


def test_a_manager_whose_membership_ended_is_unreachable_and_has_no_address() -> None:
    """As when a new group was founded without it. A worker has no such state, nor has who was promoted and has not joined yet."""
    before = ManagerStatus(raft_id=2, addr="n2:1", leader=True, reachability=Reachability.REACHABLE)
    [after] = plan(view(node("n2", MANAGER, MANAGER, before)), [member("n1", 1)], LEADER).writes
    assert after.manager_status == ManagerStatus(reachability=Reachability.UNREACHABLE)
    assert plan(view(after), [member("n1", 1)], LEADER).writes == ()
    assert plan(view(node("n2", MANAGER, MANAGER)), [member("n1", 1)], LEADER).writes == ()
    [demoted] = plan(view(replace(after, spec=NodeSpec(desired_role=WORKER))), [member("n1", 1)], LEADER).writes
    assert (demoted.role, demoted.manager_status) == (WORKER, None)


def test_a_new_member_is_reachable_once_it_votes() -> None:
    learner = Member(raft_id=2, node_id="n2", addr="n2:1", voter=False)
    [after] = plan(view(node("n2", MANAGER, MANAGER)), [learner], LEADER).writes
    assert after.manager_status is not None
    assert after.manager_status.reachability is Reachability.UNKNOWN


NAMES = ("n1", "n2", "n3")


@given(
    st.dictionaries(st.sampled_from(NAMES), st.tuples(st.sampled_from(NodeRole), st.sampled_from(NodeRole))),
    st.sets(st.sampled_from(NAMES)),
)
def test_after_a_plan_is_applied_the_next_one_is_empty(
    roles: dict[str, tuple[NodeRole, NodeRole]], in_group: set[str]
) -> None:
    nodes = view(*(node(name, *pair) for name, pair in roles.items()))
    group = [member(name, number) for number, name in enumerate(NAMES, 1) if name in in_group]
    for _ in range(4):
        decided = plan(nodes, group, LEADER)
        if not decided.writes and not decided.remove:
            break
        nodes = view(*{one.id: one for one in (*nodes.nodes, *decided.writes)}.values())
        group = [one for one in group if one.node_id not in decided.remove]
    else:
        raise AssertionError("the role manager does not come to rest")
    for one in nodes.nodes:
        assert one.role is one.spec.desired_role
