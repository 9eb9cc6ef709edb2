"""Assignment cache: the current assignments of every connected node, changed only where commits touch them.

Invariant: a cache that followed every commit equals one built from the view. All nodes on a network share one part for it, so the cost of a
change of a network is that of the items that it affects, and of telling each node. No I/O; fed by the dispatcher's term.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from covey.objects import Config, Network, Secret, Task
from covey.objects.assignment import AssignmentChange
from manager.dispatcher.assignment_wire import EncodedChange, encode_change
from manager.dispatcher.assignments import AssignmentSet, change_order, difference, networks_of, node_items
from manager.dispatcher.network_items import affected_items, network_item, network_items
from manager.dispatcher.network_part import MAX_LOG, NetworkPart
from manager.store import Change, View


class NodeAssignments(NamedTuple):
    """Assignments of one node: its own items, and the parts of its networks by id, which change in place."""

    own: AssignmentSet
    networks: dict[str, NetworkPart]

    def all_items(self) -> AssignmentSet:
        """All items in one set."""
        return dict(self.own) | {key: item for part in self.networks.values() for key, item in part.items.items()}


class AssignmentCache:
    """Assignments of connected nodes by node and by network, made from the current view."""

    def __init__(self, view: View, max_log: int = MAX_LOG) -> None:
        """``max_log`` is the number of changes of a network after which a session that has not read them gets a complete set."""
        self._view = view
        self._max_log = max_log
        self._parts: dict[str, NetworkPart] = {}
        self._nodes: dict[str, NodeAssignments] = {}
        self._told: dict[str, dict[str, NetworkPart]] = {}

    def reset(self, view: View) -> None:
        """Continues from a snapshot, with the same parts."""
        self._view = view
        for network_id, part in self._parts.items():
            part.replace_all(network_items(view, network_id))
            part.end_batch()
        self._nodes = {}

    def apply_changes(self, view: View, changes: Iterable[Change]) -> set[str]:
        """Continues from a later view, given the changes in between. Returns the nodes whose assignments may have changed."""
        self._view = view
        own: set[str] = set()
        touched: dict[str, NetworkPart] = {}
        for change in changes:
            own |= self._nodes_with_own_changes(change)
            touched |= dict(self._update_parts(change))
        told = {node_id for part in touched.values() if part.end_batch() for node_id in part.nodes}
        for node_id in own:
            self._nodes.pop(node_id, None)
        return own | told

    def assignments_of(self, node_id: str) -> NodeAssignments:
        """The current assignments of a node."""
        found = self._nodes.get(node_id)
        if found is None:
            networks = {network_id: self._part(network_id) for network_id in networks_of(self._view, node_id)}
            found = self._nodes[node_id] = NodeAssignments(node_items(self._view, node_id), networks)
            self._set_told(node_id, networks)
        return found

    def forget(self, node_id: str) -> None:
        """Drops what is cached for a node without a session, and networks that no other node is told."""
        self._nodes.pop(node_id, None)
        self._set_told(node_id, {})

    def _set_told(self, node_id: str, networks: dict[str, NetworkPart]) -> None:
        """Notes the networks that a node is told, and drops those that none is told."""
        before = self._told.pop(node_id, {})
        for network_id, part in before.items():
            if network_id not in networks:
                part.nodes.discard(node_id)
                if not part.nodes and self._parts.get(network_id) is part:
                    del self._parts[network_id]
        for part in networks.values():
            part.nodes.add(node_id)
        if networks:
            self._told[node_id] = networks

    def _part(self, network_id: str) -> NetworkPart:
        if network_id not in self._parts:
            self._parts[network_id] = NetworkPart(network_items(self._view, network_id), self._max_log)
        return self._parts[network_id]

    def _nodes_with_own_changes(self, change: Change) -> set[str]:
        """The nodes whose own items or networks a change may affect."""
        found: set[str] = set()
        for item in (change.before, change.after):
            match item:
                case Task():
                    found |= {item.node_id} if item.node_id else set()
                case Secret():
                    found |= {task.node_id for task in self._view.tasks.by_secret(item.id) if task.node_id}
                case Config():
                    found |= {task.node_id for task in self._view.tasks.by_config(item.id) if task.node_id}
                case Network():
                    found |= set(self._nodes) if item.spec.ingress else set()
                case _:
                    pass
        return found

    def _update_parts(self, change: Change) -> Iterable[tuple[str, NetworkPart]]:
        """Brings the items that a change affects up to date. Returns the parts that have them."""
        item = change.after or change.before
        if isinstance(item, Network):
            part = self._parts.get(item.id)
            if part is not None:
                part.replace_all(network_items(self._view, item.id))
                yield item.id, part
            return
        for network_id, key in affected_items(self._view, change.before, change.after):
            part = self._parts.get(network_id)
            network = self._view.networks.get(network_id) if part is not None else None
            if part is not None and network is not None and network.usable:
                part.put(key, network_item(self._view, network, key))
                yield network_id, part


class AssignmentUpdate(NamedTuple):
    """What a node must be told: a complete set, or a difference from what it was told before."""

    complete: bool
    changes: list[EncodedChange]


class SentAssignments:
    """What one session was told. ``advance`` returns the update to the current assignments, and counts it as told."""

    def __init__(self) -> None:
        self._own: AssignmentSet | None = None
        self._networks: dict[str, tuple[NetworkPart, int]] = {}

    def advance(self, now: NodeAssignments) -> AssignmentUpdate:
        """The update, in the order in which a node can apply it. Its cost depends on what changed, unless the set is complete."""
        complete = self._own is None or not self._can_follow(now)
        before: AssignmentSet = {} if complete or self._own is None else self._own
        changes = [] if before is now.own else [encode_change(change) for change in difference(before, now.own)]
        for network_id, part in now.networks.items():
            if complete or network_id not in self._networks:
                changes += part.all_changes()
            elif self._networks[network_id][1] != part.version:
                changes += part.changes_since(self._networks[network_id][1])
        if not complete:
            changes += self._removals(now)
        self._own = now.own
        self._networks = {network_id: (part, part.version) for network_id, part in now.networks.items()}
        if len(changes) > 1:
            changes.sort(key=lambda encoded: change_order(encoded.change))
        return AssignmentUpdate(complete, changes)

    def _can_follow(self, now: NodeAssignments) -> bool:
        """Whether the parts that were told lead on to the present ones."""
        return all(
            part.knows(version) and now.networks.get(network_id, part) is part
            for network_id, (part, version) in self._networks.items()
        )

    def _removals(self, now: NodeAssignments) -> list[EncodedChange]:
        return [
            encode_change(AssignmentChange(kind=kind, id=item_id))
            for network_id, (part, version) in self._networks.items()
            if network_id not in now.networks
            for kind, item_id in part.keys_at(version)
        ]
