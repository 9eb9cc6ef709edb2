"""The role manager: a node's role follows its desired role, and its ManagerStatus the members of the Raft group.

Law: a node becomes a manager in the store first and joins the group by itself; it leaves the group first and becomes a worker in the
store then, so that no member is ever a worker. A leader that is demoted hands over, and its successor goes on. One of the leader's loops.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from covey.errors import CoveyError
from covey.objects import ManagerStatus, Node, replace
from covey.states import NodeRole, Reachability
from manager.store import Leadership, Member, NotLeaderError, Operation, Store, Tx, View

log = logging.getLogger(__name__)

_PERIOD_SECONDS = 0.25
_PAUSE_SECONDS = 1.0


class Group(Protocol):
    """The Raft group, as the role manager needs it."""

    def members(self) -> tuple[Member, ...]: ...

    async def remove_member(self, node_id: str) -> None: ...


class RolePlan(msgspec.Struct, frozen=True, kw_only=True):
    """``writes`` may happen at once; members in ``expel`` must leave the group before they may become workers."""

    writes: tuple[Node, ...] = ()
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
    leader = next((member.node_id for member in members if member.raft_id == leadership.leader_id), "")
    return RolePlan(writes=tuple(writes), expel=tuple(sorted(expel, key=lambda node_id: (node_id == leader, node_id))))


def _status(node: Node, member: Member | None, leadership: Leadership) -> ManagerStatus | None:
    if member is None or node.role is NodeRole.WORKER:
        return None
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
        for node_id in decided.expel:
            log.info("manager %s is demoted: it leaves the group", node_id)
            await self._group.remove_member(node_id)


def _write(node: Node) -> Operation:
    """Only while the node is as it was planned from."""

    def apply(tx: Tx) -> None:
        tx.update(node)

    return apply
