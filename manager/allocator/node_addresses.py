"""Addresses of nodes on the ingress network: given to every node that works, and taken back from nodes that are gone for long. Pure.

Invariant: a node that is DOWN for ``RELEASE_NS`` holds no address. Nodes that were removed hold none, because they are no objects.
"""

from __future__ import annotations

from covey.clock import SECOND
from covey.objects import NetworkAttachmentConfig, Node, replace
from covey.states import NodeState
from manager.allocator.addresses import AddressSource
from manager.loop import Step
from manager.store.view import View

RELEASE_NS = 60 * SECOND
"""As long as the tasks of a node that is DOWN keep their addresses."""


def plan_node(view: View, source: AddressSource, node_id: str, now_ns: int) -> Step | None:
    """The change of the node's attachments; None if they are right.

    Raises:
        AllocationBlocked: the ingress network has no free address, or no subnet yet.
    """
    node = view.nodes.get(node_id)
    if node is None:
        return None
    network = view.networks.ingress()
    kept = [item for item in node.attachments if network is not None and item.network_id == network.id]
    if network is None or is_gone(node, now_ns):
        wanted = []
    elif kept or node.status.state in {NodeState.UNKNOWN, NodeState.DOWN}:
        wanted = kept
    else:
        wanted = [source.attachment(NetworkAttachmentConfig(target=network.id), f"node {node_id}")]
    if tuple(wanted) == node.attachments:
        return None
    return Step(updates=(replace(node, attachments=tuple(wanted)),))


def is_gone(node: Node, now_ns: int) -> bool:
    """Whether the node has been DOWN for so long that its addresses are free."""
    return node.status.state is NodeState.DOWN and now_ns >= release_time_ns(node)


def release_time_ns(node: Node) -> int:
    """When a node that is DOWN gives its addresses back."""
    return node.status.changed_at_ns + RELEASE_NS
