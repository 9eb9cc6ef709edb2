"""Assignment cache: the current assignments of every connected node, recomputed only where commits touch them.

Invariant: a cache that followed every commit equals one built from the view. All nodes on a network share one object for it, so a change
of a network is computed once. No I/O; fed by the dispatcher's term.
"""

from collections.abc import Iterable, Iterator

from covey.objects import Config, Network, Node, Secret, Service, Task
from covey.objects.assignment import AssignmentChange
from manager.dispatcher.assignments import AssignmentSet, difference, network_items, networks_of, node_facts, node_items
from manager.store import Change, View

AssignmentParts = dict[str, AssignmentSet]
"""Assignments of one node: its own items under "", those of each network under the network's id."""


class AssignmentCache:
    """Assignments of connected nodes by node and by network, made from the current view."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._networks: dict[str, AssignmentSet] = {}
        self._nodes: dict[str, AssignmentParts] = {}

    def reset(self, view: View) -> None:
        """Continues from a snapshot. Networks that are equal in it keep their objects."""
        self._view = view
        for network_id, before in list(self._networks.items()):
            self._replace_if_changed(network_id, before, network_items(view, network_id))
        self._nodes = {}

    def apply_changes(self, view: View, changes: Iterable[Change]) -> set[str]:
        """Continues from a later view, given the changes in between. Returns the nodes whose assignments may have changed."""
        self._view = view
        nodes: set[str] = set()
        networks: set[str] = set()
        for change in changes:
            _collect_affected(view, change, nodes, networks)
        for network_id in networks & self._networks.keys():
            before = self._networks[network_id]
            if self._replace_if_changed(network_id, before, network_items(view, network_id)):
                nodes |= {node_id for node_id, parts in self._nodes.items() if network_id in parts}
        for node_id in nodes:
            self._nodes.pop(node_id, None)
        return nodes

    def parts_for(self, node_id: str) -> AssignmentParts:
        """The current assignments of a node."""
        parts = self._nodes.get(node_id)
        if parts is None:
            parts = {"": node_items(self._view, node_id)}
            for network_id in networks_of(self._view, node_id):
                if network_id not in self._networks:
                    self._networks[network_id] = network_items(self._view, network_id)
                parts[network_id] = self._networks[network_id]
            self._nodes[node_id] = parts
        return parts

    def forget(self, node_id: str) -> None:
        """Drops what is cached for a node without a session, and networks that no other node uses."""
        self._nodes.pop(node_id, None)
        used = {network_id for parts in self._nodes.values() for network_id in parts}
        for network_id in self._networks.keys() - used:
            del self._networks[network_id]

    def _replace_if_changed(self, network_id: str, before: AssignmentSet, after: AssignmentSet) -> bool:
        """Stores the network's items if they changed, and returns whether they did. Equal items keep the same object."""
        if before == after:
            return False
        self._networks[network_id] = after
        return True


def changes_between(before: AssignmentParts, after: AssignmentParts) -> list[AssignmentChange]:
    """The assignment diff of two sets. Its cost depends on the parts that are not the same object."""
    old = _merge_named_parts(before, [name for name, items in before.items() if after.get(name) is not items])
    new = _merge_named_parts(after, [name for name, items in after.items() if before.get(name) is not items])
    return difference(old, new)


def merge_parts(parts: AssignmentParts) -> AssignmentSet:
    """All items of a node in one set."""
    return _merge_named_parts(parts, parts)


def _merge_named_parts(parts: AssignmentParts, names: Iterable[str]) -> AssignmentSet:
    return {key: item for name in names for key, item in parts[name].items()}


def _collect_affected(view: View, change: Change, nodes: set[str], networks: set[str]) -> None:
    """Adds the nodes and networks that a change may affect."""
    for item in (change.before, change.after):
        match item:
            case Task():
                if item.node_id:
                    nodes.add(item.node_id)
                    networks |= {attachment.network_id for attachment in item.networks}
            case Network():
                networks.add(item.id)
            case Service():
                networks |= set(_service_networks(item))
            case Secret():
                nodes |= {task.node_id for task in view.tasks.by_secret(item.id) if task.node_id}
            case Config():
                nodes |= {task.node_id for task in view.tasks.by_config(item.id) if task.node_id}
            case Node():
                if _endpoints_changed(change):
                    networks |= {a.network_id for task in view.tasks.by_node(item.id) for a in task.networks}
            case _:
                pass


def _service_networks(service: Service) -> Iterator[str]:
    yield from (attachment.target for attachment in service.spec.task.networks)
    yield from (vip.network_id for vip in (service.endpoint.virtual_ips if service.endpoint else ()))


def _endpoints_changed(change: Change) -> bool:
    """Whether a change of a node changes its endpoints."""
    before, after = change.before, change.after
    if not (isinstance(before, Node) and isinstance(after, Node)):
        return True
    return (
        before.status.addr != after.status.addr
        or before.description.data_path_addr != after.description.data_path_addr
        or before.status.state is not after.status.state
        or node_facts(before) != node_facts(after)
    )
