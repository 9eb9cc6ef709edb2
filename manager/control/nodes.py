"""Node requests: update and remove. Pure functions on a transaction and the members of the Raft group, called by the servicer.

Invariant: a demotion never costs the group its quorum; the refusal gives the numbers.
"""

from collections.abc import Sequence

from covey.drain_timeout import drain_timeout_ns
from covey.errors import PreconditionError
from covey.objects import Node, NodeSpec, replace
from covey.states import NodeAvailability, NodeRole, NodeState
from manager.control.name_validation import require_labels
from manager.control.version_check import require_current_spec
from manager.revocation import revoke
from manager.store import Member, Tx


def update_node(tx: Tx, ref: str, version: int, spec: NodeSpec, members: Sequence[Member], *, now_ns: int) -> str:
    """Replaces the spec. The role manager changes the role later. A drain, or another timeout of one, begins now."""
    node = tx.nodes.find(ref)
    require_current_spec(node, version)
    require_labels(spec.annotations)
    if node.spec.desired_role is NodeRole.MANAGER and spec.desired_role is NodeRole.WORKER:
        require_demotable(tx, node, members)
    deadline_ns = _drain_deadline_ns(node, spec, now_ns)
    tx.update(replace(node, spec=spec, version_before_spec=node.meta.version, drain_deadline_ns=deadline_ns))
    return node.id


def _drain_deadline_ns(node: Node, spec: NodeSpec, now_ns: int) -> int:
    """Until when a drain waits for replacements; 0 for a node that is not drained."""
    timeout_ns = drain_timeout_ns(spec.annotations.labels)
    if spec.availability is not NodeAvailability.DRAIN:
        return 0
    before = node.spec
    if before.availability is NodeAvailability.DRAIN and timeout_ns == drain_timeout_ns(before.annotations.labels):
        return node.drain_deadline_ns
    return now_ns + timeout_ns


def require_demotable(tx: Tx, node: Node, members: Sequence[Member]) -> None:
    """Raises PreconditionError if the group would have no quorum without the node."""
    managers = [other for other in tx.nodes if other.spec.desired_role is NodeRole.MANAGER]
    if len(managers) <= 1:
        raise PreconditionError("attempting to demote the last manager of the swarm")
    staying = {other.id for other in managers if other.id != node.id}  # a member demoted earlier may not have left yet
    if not any(member.voter and member.node_id == node.id for member in members):
        return
    rest = [member for member in members if member.voter and member.node_id in staying]
    needed = len(rest) // 2 + 1
    reachable = sum(member.reachable for member in rest)
    if not rest or reachable < needed:
        raise PreconditionError(
            f"can't remove member from the raft: this would result in a loss of quorum: "
            f"{len(rest)} managers would be left, {needed} must be reachable, {reachable} are"
        )


def is_being_demoted(node: Node, members: Sequence[Member]) -> bool:
    """Whether the node is to be a worker and the role manager has not finished its demotion."""
    return node.spec.desired_role is NodeRole.WORKER and (node.role is NodeRole.MANAGER or _is_member(node, members))


def _is_member(node: Node, members: Sequence[Member]) -> bool:
    return any(member.node_id == node.id for member in members)


def remove_node(tx: Tx, ref: str, members: Sequence[Member], *, force: bool, now_ns: int) -> str:
    """Removes a node and revokes its certificate."""
    node = tx.nodes.find(ref)
    if is_being_demoted(node, members):
        raise PreconditionError(f"node {node.id} is being demoted; try again in a moment")
    if node.spec.desired_role is NodeRole.MANAGER:
        is_what = "is a cluster manager" + (" and is a member of the raft cluster" if _is_member(node, members) else "")
        raise PreconditionError(f"node {node.id} {is_what}. It must be demoted to worker before removal")
    if node.status.state is NodeState.READY and not force:
        raise PreconditionError(f"node {node.id} is not down and can't be removed")
    tx.remove(Node, node.id)
    for cluster in tx.clusters:
        tx.update(revoke(cluster, node.id, now_ns))
    return node.id
