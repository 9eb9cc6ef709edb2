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
"""Nothing is written while leadership is being handed over, so what failed is not tried again at once."""


class Group(Protocol):
    """The Raft group, as the role manager needs it."""

    def members(self) -> tuple[Member, ...]: ...

    async def remove_members(self, node_ids: Collection[str]) -> None: ...

    async def transfer_leadership(self, among: Collection[str]) -> None: ...


class RolePlan(msgspec.Struct, frozen=True, kw_only=True):
    """``writes`` may happen at once; then leadership goes to one of ``heirs``, if there are any, and what is left is its matter. Members in
    ``expel`` must leave the group, all together, before they may become workers.
    """

    writes: tuple[Node, ...] = ()
    heirs: tuple[str, ...] = ()
    expel: tuple[str, ...] = ()


def plan(view: View, members: Sequence[Member], leadership: Leadership) -> RolePlan:
    """What makes roles and manager states right. Applying it and planning again gives the empty plan."""
    by_node = {member.node_id: member for member in members}
    writes: list[Node] = []
    expel: list[str] = []
    for node in view.nodes:
        member = by_node.get(node.id)
        wanted = replace(node, manager_status=_status(node, member, leadership))
        if node.spec.desired_role is NodeRole.MANAGER and node.role is NodeRole.WORKER:
            wanted = replace(wanted, role=NodeRole.MANAGER)
        elif node.spec.desired_role is NodeRole.WORKER and node.role is NodeRole.MANAGER:
            if member is not None:
                expel.append(node.id)
            else:
                wanted = replace(wanted, role=NodeRole.WORKER)
        if wanted != node:
            writes.append(wanted)
    return RolePlan(writes=tuple(writes), heirs=_heirs(view, members, leadership), expel=tuple(sorted(expel)))


def _heirs(view: View, members: Sequence[Member], leadership: Leadership) -> tuple[str, ...]:
    """Those who may lead in the place of a leader that is demoted or drained: voters that answer, stay, and are not drained themselves.
    One that is demoted hands over to a drained one rather than to nobody.
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
    """Of a manager. One whose membership is over, as those are of whom a new group was founded or restored without, has no address to give
    to anybody; one that was promoted has no status before it joins.
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
    """UNKNOWN until it votes: whoever waits for REACHABLE knows that the manager counts."""
    if not member.reachable:
        return Reachability.UNREACHABLE
    return Reachability.REACHABLE if member.voter else Reachability.UNKNOWN


class RoleManager:
    """Level-triggered: looks at nodes and members four times a second, which costs nothing when all is right."""

    def __init__(self, store: Store, group: Group) -> None:
        self._store = store
        self._group = group
        self._hand_over_from = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._once()
            except NotLeaderError:
                log.debug("the role manager waits: this manager does not lead any more")
                await asyncio.sleep(_PAUSE_SECONDS)
            except CoveyError as error:
                log.warning("the role manager tries again: %s", error.message)
                await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.sleep(_PERIOD_SECONDS)

    async def _once(self) -> None:
        decided = plan(self._store.view(), self._group.members(), self._store.consensus.leadership)
        if decided.writes:
            await self._store.batch([_write(node) for node in decided.writes])
        if decided.heirs:
            await self._hand_over(decided.heirs)
        elif decided.expel:
            log.info("demoted managers leave the group: %s", ", ".join(decided.expel))
            await self._group.remove_members(decided.expel)

    async def _hand_over(self, heirs: tuple[str, ...]) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._hand_over_from:
            return
        self._hand_over_from = now + _HAND_OVER_PAUSE_SECONDS
        log.info("this manager is drained or demoted: it hands leadership over to one of %s", ", ".join(heirs))
        await self._group.transfer_leadership(heirs)


def _write(node: Node) -> Operation:
    """Only while the node is as it was planned from."""

    def apply(tx: Tx) -> None:
        tx.update(node)

    return apply
