"""Node requests: a demotion never costs the quorum, and a removal waits for a demotion."""

import asyncio
from typing import Any

import pytest

from covey.errors import PreconditionError, StaleVersionError
from covey.objects import ManagerStatus, Node, NodeDescription, NodeSpec, NodeStatus, replace
from covey.states import NodeAvailability, NodeRole, NodeState
from coveypb.v1 import control_pb2
from manager.control import nodes
from manager.control.servicer import ControlServicer
from manager.store import Member, NotLeaderError, Store
from tests.support.no_logs import NoLogs

NOW = 1_800_000_000_000_000_000


def manager(name: str, **more: Any) -> Node:
    return Node(
        id=name,
        spec=NodeSpec(desired_role=NodeRole.MANAGER),
        role=NodeRole.MANAGER,
        manager_status=ManagerStatus(raft_id=1),
        status=NodeStatus(state=NodeState.READY),
        **more,
    )


def members(*names: str, down: tuple[str, ...] = ()) -> tuple[Member, ...]:
    return tuple(Member(raft_id=n + 1, node_id=name, reachable=name not in down) for n, name in enumerate(names))


async def demote(store: Store, name: str, group: tuple[Member, ...]) -> None:
    node = store.view().nodes.find(name)
    await store.update(lambda tx: nodes.update_node(tx, name, node.meta.version, NodeSpec(), group, now_ns=0))


async def test_a_status_change_does_not_make_a_node_update_stale_but_a_new_spec_does(store: Store) -> None:
    """Promotion of a node whose host has just failed: its status changes between the client's read and write."""
    await store.update(lambda tx: tx.create(Node(id="n")))
    read = store.view().nodes.find("n")
    await store.update(lambda tx: tx.update(replace(read, status=NodeStatus(state=NodeState.DOWN))))
    drained = NodeSpec(availability=NodeAvailability.DRAIN)
    await store.update(lambda tx: nodes.update_node(tx, "n", read.meta.version, drained, (), now_ns=0))
    with pytest.raises(StaleVersionError):
        await store.update(lambda tx: nodes.update_node(tx, "n", read.meta.version, NodeSpec(), (), now_ns=0))
    assert store.view().nodes.find("n").spec == drained


async def test_a_demotion_that_would_cost_the_quorum_is_refused_with_the_numbers(store: Store) -> None:
    for name in ("m1", "m2", "m3"):
        await store.update(lambda tx, name=name: tx.create(manager(name)))  # type: ignore[misc]
    with pytest.raises(PreconditionError, match="2 managers would be left, 2 must be reachable, 1 are"):
        await demote(store, "m1", members("m1", "m2", "m3", down=("m3",)))
    await demote(store, "m3", members("m1", "m2", "m3", down=("m3",)))
    await demote(store, "m2", members("m1", "m2"))
    with pytest.raises(PreconditionError, match="attempting to demote the last manager of the swarm"):
        await demote(store, "m1", members("m1"))


async def test_a_node_is_removed_only_when_it_is_down_or_by_force_and_never_a_manager(store: Store) -> None:
    await store.update(lambda tx: tx.create(manager("m1")))
    worker = Node(id="w1", status=NodeStatus(state=NodeState.READY), description=NodeDescription(hostname="w"))
    await store.update(lambda tx: tx.create(worker))
    with pytest.raises(PreconditionError, match="must be demoted to worker before removal"):
        await store.update(lambda tx: nodes.remove_node(tx, "m1", (), force=True, now_ns=NOW))
    with pytest.raises(PreconditionError, match="node w1 is not down and can't be removed"):
        await store.update(lambda tx: nodes.remove_node(tx, "w", (), force=False, now_ns=NOW))
    await store.update(lambda tx: nodes.remove_node(tx, "w", (), force=True, now_ns=NOW))
    assert "w1" not in store.view().nodes


async def test_the_refusal_to_remove_a_manager_gives_its_role_and_membership(store: Store) -> None:
    await store.update(lambda tx: tx.create(manager("m1")))
    with pytest.raises(
        PreconditionError, match="node m1 is a cluster manager and is a member of the raft cluster. It must be"
    ):
        await store.update(lambda tx: nodes.remove_node(tx, "m1", members("m1"), force=True, now_ns=NOW))
    with pytest.raises(
        PreconditionError, match="node m1 is a cluster manager. It must be demoted to worker before removal"
    ):
        await store.update(lambda tx: nodes.remove_node(tx, "m1", members("m2"), force=True, now_ns=NOW))


def being_demoted(name: str) -> Node:
    return replace(manager(name), spec=NodeSpec(desired_role=NodeRole.WORKER))


async def test_a_node_that_is_being_demoted_is_removed_once_it_is_a_worker(
    control: ControlServicer, store: Store
) -> None:
    """Both commands are pasted at once, so the removal arrives before the role manager has run."""
    await store.update(lambda tx: tx.create(being_demoted("m2")))
    removal = asyncio.create_task(control.RemoveNode(control_pb2.RemoveRequest(ref="m2", force=True), None))
    await asyncio.sleep(0)
    assert not removal.done()
    await store.update(lambda tx: tx.update(replace(tx.nodes.find("m2"), role=NodeRole.WORKER)))
    async with asyncio.timeout(5):
        assert (await removal).id == "m2"
    assert "m2" not in store.view().nodes


async def test_the_removal_of_a_node_is_refused_if_its_demotion_does_not_finish(store: Store) -> None:
    control = ControlServicer(store, NoLogs(), demotion_seconds=0.1)
    await store.update(lambda tx: tx.create(being_demoted("m2")))
    with pytest.raises(PreconditionError, match="node m2 is being demoted; try again in a moment"):
        await control.RemoveNode(control_pb2.RemoveRequest(ref="m2", force=True), None)


async def test_the_successor_removes_a_leader_that_is_being_demoted(store: Store) -> None:
    control = ControlServicer(store, NoLogs(), demotion_seconds=60)
    [own] = store.consensus.members()
    await store.update(lambda tx: tx.create(being_demoted(own.node_id)))
    with pytest.raises(NotLeaderError):
        await control.RemoveNode(control_pb2.RemoveRequest(ref=own.node_id, force=True), None)


async def test_a_deposed_leader_does_not_wait_for_a_demotion(store: Store) -> None:
    control = ControlServicer(store, NoLogs(), demotion_seconds=60)
    await store.update(lambda tx: tx.create(being_demoted("m2")))
    removal = asyncio.create_task(control.RemoveNode(control_pb2.RemoveRequest(ref="m2", force=True), None))
    await asyncio.sleep(0)
    store.consensus.lead(leading=False)  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        with pytest.raises(NotLeaderError):
            await removal
