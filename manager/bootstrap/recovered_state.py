"""State of a single-member Raft group after recovery: the first snapshot that ``force_new_cluster`` and ``restore`` write. Pure.

Invariant: no acknowledged write is lost. The uncommitted tail of a log counts too: the remaining manager cannot know which entries a
majority had, and the clients of those writes got no answer or a success.
Invariant: the new group is above everything before it in raft id, term and index, and so in the version of every object it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from covey.objects import Meta, Node, NodeDescription, NodeSpec, replace
from covey.states import NodeRole, NodeState
from manager.raft.core import ConfChange, Entry, EntryKind
from manager.store import Member, applier
from manager.store import log as store_log
from manager.store.schema import CLUSTERS, NODES
from manager.store.view import View

INDEX_GAP = 1 << 32
"""Distance of the new group's first index from the last known one. Entries that lost managers wrote later stay below it, so no object
version that a client or host remembers has two meanings.
"""


class SingleMemberState(msgspec.Struct, frozen=True, kw_only=True):
    """The first snapshot of a single-member group. ``retired`` are the raft ids of former memberships."""

    view: View
    member: Member
    retired: tuple[int, ...]
    index: int
    term: int

    @property
    def members(self) -> tuple[Member, ...]:
        """Members as a snapshot stores them: the only member, then the retired raft ids."""
        return (self.member, *[Member(raft_id=raft_id, node_id="", addr="") for raft_id in self.retired])


def replay(view: View, entries: Iterable[Entry]) -> View:
    """The view after all entries, applied like on every manager."""
    for entry in entries:
        if entry.kind is EntryKind.NORMAL and entry.data and entry.index > view.version:
            applied = applier.apply(view, entry.index, store_log.decode(entry.data))
            view = applied[0] if applied is not None else view
    return view


def raft_ids(members: Iterable[Member], entries: Iterable[Entry]) -> tuple[int, ...]:
    """The raft ids of all memberships in a snapshot and the log after it, oldest first."""
    found = {member.raft_id: None for member in members}
    for entry in entries:
        if entry.kind is EntryKind.CONF_CHANGE:
            found.update({one.node: None for one in ConfChange.decode(entry.data).changes})
    return tuple(found)


def single_member_state(
    view: View,
    *,
    node_id: str,
    hostname: str,
    addr: str,
    host: str,
    new_raft_id: int,
    retired: Sequence[int],
    last_index: int,
    last_term: int,
    now_ns: int,
) -> SingleMemberState:
    """State of a group whose only member is ``node_id``, with its manager at ``addr`` (HOST:PORT) on the host ``host``.

    The node becomes a manager, whatever its role was. Other nodes stay unchanged, except one with this host's address: it was this host
    under an earlier identity and cannot return, so it is DOWN. The Cluster object gets a version above all that former managers have seen.
    """
    index = last_index + INDEX_GAP
    for cluster in view.clusters:
        view = view.put(CLUSTERS, cluster.id, replace(cluster, meta=_new_version(cluster.meta, index, now_ns)))
    for node in view.nodes:
        if host and node.id != node_id and node.status.addr == host and node.status.state is not NodeState.DOWN:
            view = view.put(NODES, node.id, _down(node, index, now_ns))
    view = view.put(NODES, node_id, _as_manager(view.nodes.get(node_id), node_id, hostname, index, now_ns))
    member = Member(raft_id=new_raft_id, node_id=node_id, addr=addr)
    known = tuple(raft_id for raft_id in retired if raft_id != new_raft_id)
    return SingleMemberState(view=view.at(index), member=member, retired=known, index=index, term=last_term + 1)


def _down(node: Node, index: int, now_ns: int) -> Node:
    status = replace(
        node.status,
        state=NodeState.DOWN,
        message="its host joined the cluster again as another node",
        changed_at_ns=now_ns,
    )
    return replace(node, status=status, meta=_new_version(node.meta, index, now_ns))


def _as_manager(known: Node | None, node_id: str, hostname: str, index: int, now_ns: int) -> Node:
    if known is None:
        meta = Meta(version=index, created_at_ns=now_ns, updated_at_ns=now_ns)
        known = Node(id=node_id, meta=meta, description=NodeDescription(hostname=hostname), spec=NodeSpec())
    spec = replace(known.spec, desired_role=NodeRole.MANAGER)
    return replace(
        known,
        spec=spec,
        version_before_spec=known.meta.version,
        role=NodeRole.MANAGER,
        meta=_new_version(known.meta, index, now_ns),
    )


def _new_version(meta: Meta, index: int, now_ns: int) -> Meta:
    return replace(meta, version=index, updated_at_ns=now_ns)
