"""The role manager: promotes and demotes managers, and keeps each node's ManagerStatus in line with the consensus group.

Invariant: no member of the group is a worker. A node becomes a manager in the store first and then joins the group. It leaves the group
first and then becomes a worker in the store. Nodes that are demoted together leave together.
A leader that is demoted or drained hands over leadership, and its successor continues. One of the leader's loops.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from covey.errors import CoveyError
from covey.objects import ManagerStatus, Node, replace
from covey.states import NodeAvailability, NodeRole, Reachability
from manager.store import Leadership, Member, NotLeaderError, Operation, Store, Tx, View

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
_HAND_OVER_PAUSE_SECONDS = 15.0
"""Pause after a handover. Nothing is written during one, so a failed handover is not repeated at once."""


class ConsensusMembership(Protocol):
    """The consensus group, as far as the role manager uses it."""

    def members(self) -> tuple[Member, ...]: ...

    async def remove_members(self, node_ids: Collection[str]) -> None: ...

    async def transfer_leadership(self, among: Collection[str]) -> None: ...


class RolePlan(msgspec.Struct, frozen=True, kw_only=True):
    """``writes`` are node updates. Then leadership goes to one of ``successors``, if any, which continues. Otherwise the members in
    ``remove`` leave the group together, before they become workers.
    """

    writes: tuple[Node, ...] = ()
    successors: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def plan(view: View, members: Sequence[Member], leadership: Leadership) -> RolePlan:
    """Plans updates of roles and manager statuses. After the plan is applied, the next plan is empty."""
    by_node = {member.node_id: member for member in members}
    writes: list[Node] = []
    remove: list[str] = []
    for node in view.nodes:
        member = by_node.get(node.id)
        desired = replace(node, manager_status=_status(node, member, leadership))
        if node.spec.desired_role is NodeRole.MANAGER and node.role is NodeRole.WORKER:
            desired = replace(desired, role=NodeRole.MANAGER)
        elif node.spec.desired_role is NodeRole.WORKER and node.role is NodeRole.MANAGER:
            if member is not None:
                remove.append(node.id)
            else:
                desired = replace(desired, role=NodeRole.WORKER)
        if desired != node:
            writes.append(desired)
    return RolePlan(
        writes=tuple(writes), successors=_successors(view, members, leadership), remove=tuple(sorted(remove))
    )


def _successors(view: View, members: Sequence[Member], leadership: Leadership) -> tuple[str, ...]:
    """Managers that may replace a demoted or drained leader: reachable voters that stay managers and are not drained. A demoted leader
    hands over to a drained manager if there is no other.
    """
    leader = next((view.nodes.get(m.node_id) for m in members if m.raft_id == leadership.leader_id), None)
    if leader is None:
        return ()
    demoted = leader.spec.desired_role is NodeRole.WORKER and leader.role is NodeRole.MANAGER
    if not demoted and not _drained(leader):
        return ()
    nodes = [view.nodes.get(m.node_id) for m in members if m.voter and m.reachable and m.node_id != leader.id]
    staying = [node for node in nodes if node is not None and node.spec.desired_role is NodeRole.MANAGER]
    fit = [node for node in staying if not _drained(node)]
    if not fit and demoted:
        fit = staying
    return tuple(sorted(node.id for node in fit))


def _drained(node: Node) -> bool:
    return node.spec.availability is NodeAvailability.DRAIN


def _status(node: Node, member: Member | None, leadership: Leadership) -> ManagerStatus | None:
    """The ManagerStatus of a node. A manager whose membership ended (force new cluster, restore) is unreachable and has no address. A
    promoted node has no status before it joins.
    """
    if node.role is NodeRole.WORKER:
        return None
    if member is None:
        lost = node.manager_status is not None and node.spec.desired_role is NodeRole.MANAGER
        return ManagerStatus(reachability=Reachability.UNREACHABLE) if lost else None
    return ManagerStatus(
        raft_id=member.raft_id,
        addr=member.addr,
        leader=member.raft_id == leadership.leader_id,
        reachability=_reachability(member),
    )


def _reachability(member: Member) -> Reachability:
    """UNKNOWN until the member votes: REACHABLE means that the manager counts for the quorum."""
    if not member.reachable:
        return Reachability.UNREACHABLE
    return Reachability.REACHABLE if member.voter else Reachability.UNKNOWN


class RoleManager:
    """Compares nodes and members four times a second. Level-triggered."""

    def __init__(self, store: Store, group: ConsensusMembership) -> None:
        self._store = store
        self._group = group
        self._next_handover_at = 0.0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            try:
                await self._once()
            except NotLeaderError:
                log.debug("the role manager waits: this manager is no longer the leader")
                await asyncio.sleep(_PAUSE_SECONDS)
            except CoveyError as error:
                log.warning("the role manager retries: %s", error.message)
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_PERIOD_SECONDS)

    async def _once(self) -> None:
        planned = plan(self._store.view(), self._group.members(), self._store.consensus.leadership)
        if planned.writes:
            await self._store.batch([_write(node) for node in planned.writes])
        if planned.successors:
            await self._hand_over(planned.successors)
        elif planned.remove:
            log.info("demoted managers leave the group: %s", ", ".join(planned.remove))
            await self._group.remove_members(planned.remove)

    async def _hand_over(self, successors: tuple[str, ...]) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._next_handover_at:
            return
        self._next_handover_at = now + _HAND_OVER_PAUSE_SECONDS
        log.info("this manager is drained or demoted: handing leadership over to one of %s", ", ".join(successors))
        await self._group.transfer_leadership(successors)


def _write(node: Node) -> Operation:
    """Updates the node if it has not changed since the plan."""

    def apply(tx: Tx) -> None:
        tx.update(node)

    return apply
