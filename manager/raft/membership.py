"""Group membership: builds configuration changes, derives the member list, and checks quorums. Pure functions.

Invariant: a removal that leaves fewer reachable voters than a majority is refused, with the numbers. A learner becomes
a voter only when its log has almost caught up, so that it does not hold up commits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from covey.errors import ConflictError
from coveypb.v1 import raft_pb2
from manager.raft.core import ChangeKind, ConfChange, ConfState, SingleChange, Status
from manager.raft.wire import member_from_wire, member_to_wire
from manager.store.consensus import Member

CAUGHT_UP_ENTRIES = 256
"""The maximum lag of a learner that becomes a voter."""


def add_change(kind: ChangeKind, member: Member) -> ConfChange:
    """The change that adds a member or updates its address. The member travels in the change's context."""
    return ConfChange.of(kind, member.raft_id, member_to_wire(member).SerializeToString())


def remove_change(raft_ids: Iterable[int]) -> ConfChange:
    """The change that removes members."""
    return multi_change((), raft_ids)


def multi_change(added: Sequence[tuple[ChangeKind, Member]], removed: Iterable[int]) -> ConfChange:
    """One change that adds and removes several members. The core uses joint consensus if it affects more than one voter."""
    changes = [SingleChange(ChangeKind.REMOVE, raft_id) for raft_id in sorted(removed)]
    if not changes and len(added) == 1:
        return add_change(*added[0])
    changes += [SingleChange(kind, member.raft_id) for kind, member in added]
    context = raft_pb2.RaftMembers(members=[member_to_wire(member) for _, member in added])
    return ConfChange(tuple(changes), context.SerializeToString())


def members_after(members: Mapping[int, Member], change: ConfChange, conf: ConfState) -> dict[int, Member]:
    """The members after a change that led to ``conf``. Every node computes the same, also if the change was refused."""
    known = dict(members)
    for member in _members_in_context(change):
        known[member.raft_id] = member
    return members_in(known.values(), conf)


def _members_in_context(change: ConfChange) -> list[Member]:
    """The members in a change's context: a single one as it is, several in a list."""
    if not change.context:
        return []
    if len(change.changes) == 1:
        return [member_from_wire(raft_pb2.RaftMember.FromString(change.context))]
    return [member_from_wire(wire) for wire in raft_pb2.RaftMembers.FromString(change.context).members]


def members_in(members: Iterable[Member], conf: ConfState) -> dict[int, Member]:
    """The members that are part of the configuration, each marked as voter or learner."""
    voters = {*conf.voters, *conf.voters_outgoing}
    ids = voters | {*conf.learners, *conf.learners_next}
    return {
        member.raft_id: msgspec.structs.replace(member, voter=member.raft_id in voters)
        for member in members
        if member.raft_id in ids
    }


def learner_to_promote(status: Status) -> int | None:
    """A reachable learner whose log has almost caught up, or None."""
    for raft_id, peer in sorted(status.peers.items()):
        if (
            peer.is_learner
            and peer.recent_active
            and peer.match + CAUGHT_UP_ENTRIES >= status.last_index
            and peer.match
        ):
            return raft_id
    return None


def transfer_target(status: Status, among: Collection[int]) -> int | None:
    """The raft id to transfer leadership to: the reachable voter with the longest log among the given ones, or None."""
    candidates = [
        (peer.match, raft_id)
        for raft_id, peer in status.peers.items()
        if raft_id != status.id and raft_id in among and not peer.is_learner and peer.recent_active
    ]
    return max(candidates)[1] if candidates else None


def require_quorum_without(conf: ConfState, reachable: AbstractSet[int], leaving: Mapping[int, str]) -> None:
    """Refuses a removal that would leave no majority of reachable voters. ``leaving`` maps raft ids to node names.

    Raises:
        ConflictError: with the numbers.
    """
    remaining = remaining_voters(conf, leaving)
    if len(remaining) == len(conf.voters):
        return
    name = ", ".join(leaving.values())
    if not remaining:
        raise ConflictError(
            f"manager {name} is the last one; promote another node first, or use --force to end the cluster"
        )
    if not has_quorum(remaining, reachable):
        reachable_count = sum(voter in reachable for voter in remaining)
        raise ConflictError(
            f"removing manager {name} would leave {len(remaining)} managers of which {reachable_count} are reachable, "
            f"but {majority(remaining)} are needed for a quorum; bring unreachable managers back or remove those first",
        )


def remaining_voters(conf: ConfState, leaving: Collection[int]) -> list[int]:
    """The voters without the leaving ones."""
    return [voter for voter in conf.voters if voter not in leaving]


def majority(voters: Collection[int]) -> int:
    """The size of a majority."""
    return len(voters) // 2 + 1


def has_quorum(voters: Collection[int], able: AbstractSet[int]) -> bool:
    """Whether a majority of the voters is among ``able``."""
    return sum(voter in able for voter in voters) >= majority(voters)
