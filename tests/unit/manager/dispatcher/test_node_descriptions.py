"""Registration of nodes: their description and address are validated, because every manager stores them."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from covey.errors import InvalidArgumentError, PreconditionError
from covey.objects import Cluster, EngineDescription, Node, NodeDescription, NodeSpec, replace
from covey.states import NodeRole, NodeState
from manager.dispatcher.term import MAX_DESCRIPTION_BYTES, DispatcherTerm
from manager.role_manager import RoleManager
from manager.store import Member, MemoryConsensus, Store, Tx


class Group:
    """A managers' group whose members leave when they are told to."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = {member.node_id: member for member in members}

    def members(self) -> tuple[Member, ...]:
        return tuple(self._members.values())

    async def remove_members(self, node_ids: Collection[str]) -> None:
        for node_id in node_ids:
            del self._members[node_id]

    async def transfer_leadership(self, among: Collection[str]) -> None:
        raise AssertionError(among)


async def leading() -> tuple[Store, DispatcherTerm]:
    store = Store(MemoryConsensus)
    await store.update(lambda tx: tx.create(Cluster(id="c1")))
    await store.update(lambda tx: tx.create(Node(id="n1")))
    return store, DispatcherTerm(store, lambda: 1_000_000_000)


@pytest.mark.parametrize("addr", ["192.0.2.7", "2001:db8::7", ""])
async def test_a_node_registers_with_its_address(addr: str) -> None:
    store, term = await leading()
    await term.register_node("n1", NodeDescription(hostname="host"), addr)
    node = store.view().nodes.find("n1")
    assert (node.status.addr, node.description.hostname) == (addr, "host")


@pytest.mark.parametrize("addr", ["nonsense", "192.0.2.7:2378", "192.0.2.7\n"])
async def test_an_invalid_address_is_refused_and_not_stored(addr: str) -> None:
    """Other hosts would be told to send a tunnel's packets there."""
    store, term = await leading()
    with pytest.raises(InvalidArgumentError, match="is not an IP address"):
        await term.register_node("n1", NodeDescription(), addr)
    assert store.view().nodes.find("n1").status.addr == ""


async def test_an_address_belongs_to_the_node_that_is_ready_with_it() -> None:
    """Seen as: virtual machines that all call themselves 10.0.2.15 take each other's packets, and nothing says so."""
    store, term = await leading()
    await store.update(lambda tx: tx.create(Node(id="n2")))
    await term.register_node("n1", NodeDescription(hostname="east"), "10.0.2.15")
    await term.register_node("n1", NodeDescription(hostname="east"), "10.0.2.15")
    with pytest.raises(InvalidArgumentError, match=r"node n1 \(east\) has the address 10.0.2.15 already"):
        await term.register_node("n2", NodeDescription(), "10.0.2.15")
    assert store.view().nodes.find("n2").status.addr == ""
    await term.register_node("n2", NodeDescription(), "10.0.2.16")

    def lose(tx: Tx) -> None:
        node = tx.nodes.find("n1")
        tx.update(replace(node, status=replace(node.status, state=NodeState.DOWN)))

    await store.update(lose)
    await term.register_node("n2", NodeDescription(), "10.0.2.15")
    assert store.view().nodes.find("n2").status.addr == "10.0.2.15"


async def test_tunnels_of_all_nodes_end_at_addresses_of_one_family() -> None:
    store, term = await leading()
    await store.update(lambda tx: tx.create(Node(id="n2")))
    await term.register_node("n1", NodeDescription(hostname="east", data_path_addr="fd00::1"), "10.0.2.15")
    with pytest.raises(PreconditionError, match=r"fd00::1 of node n1 \(east\).*with an IPv6 address"):
        await term.register_node("n2", NodeDescription(), "10.0.2.16")
    await store.update(lambda tx: tx.create(Node(id="n2")))
    await term.register_node("n2", NodeDescription(data_path_addr="fd00::2"), "10.0.2.16")


async def test_a_worker_whose_join_is_refused_for_good_leaves_no_node_and_others_stay() -> None:
    """Seen as: each attempt to join with a wrong address was one more node in `node ls`, unknown and without a name."""
    store, term = await leading()
    await term.register_node("n1", NodeDescription(hostname="east", data_path_addr="fd00::1"), "10.0.2.15")
    for node in (Node(id="n2"), Node(id="n4"), Node(id="n5")):
        await store.update(lambda tx, node=node: tx.create(node))
    await term.register_node("n4", NodeDescription(hostname="west", data_path_addr="fd00::4"), "10.0.2.18")
    for node_id in ("n2", "n4"):
        with pytest.raises(PreconditionError, match="with an IPv6 address"):
            await term.register_node(node_id, NodeDescription(hostname=node_id), "10.0.2.16")
    with pytest.raises(InvalidArgumentError, match="has the address"):  # it may become free
        await term.register_node("n5", NodeDescription(data_path_addr="fd00::5"), "10.0.2.15")
    assert {node.id for node in store.view().nodes} == {"n1", "n4", "n5"}
    assert [one.node_id for one in store.view().cluster.revoked] == ["n2"]


async def test_a_manager_whose_join_is_refused_leaves_the_group_before_it_is_told() -> None:
    """Seen as: the only manager of a cluster lost its quorum when another one joined with a wrong address."""
    store, term = await leading()
    await term.register_node("n1", NodeDescription(hostname="east", data_path_addr="fd00::1"), "10.0.2.15")
    manager = NodeSpec(desired_role=NodeRole.MANAGER)
    await store.update(lambda tx: tx.create(Node(id="n3", role=NodeRole.MANAGER, spec=manager)))
    group = Group([Member(raft_id=3, node_id="n3", addr="10.0.2.16:2378", voter=True, reachable=True)])
    roles = asyncio.create_task(RoleManager(store, group).run())
    with pytest.raises(PreconditionError, match="with an IPv6 address"):
        await term.register_node("n3", NodeDescription(hostname="west"), "10.0.2.16")
    assert not group.members()
    assert [node.id for node in store.view().nodes] == ["n1"]
    assert [one.node_id for one in store.view().cluster.revoked] == ["n3"]
    roles.cancel()


async def test_after_a_recovery_a_host_takes_the_address_of_the_node_that_it_was_before() -> None:
    store, _ = await leading()
    await store.update(lambda tx: tx.create(Node(id="n2")))
    for node_id in ("n1", "n2"):
        await DispatcherTerm(store, lambda: 1).register_node(
            node_id, NodeDescription(hostname="east"), f"10.0.2.{node_id[1]}"
        )
    now = [1_000]
    term = DispatcherTerm(store, lambda: now[0], recovery_grace_ends_ns=2_000)
    await store.update(lambda tx: tx.create(Node(id="n3")))
    await term.register_node("n3", NodeDescription(), "10.0.2.1")
    assert store.view().nodes.find("n1").status.state is NodeState.DOWN
    term.record_heartbeat("n2")
    await store.update(lambda tx: tx.create(Node(id="n4")))
    with pytest.raises(InvalidArgumentError, match="has the address"):
        await term.register_node("n4", NodeDescription(), "10.0.2.2")
    now[0] = 2_000
    with pytest.raises(InvalidArgumentError, match="has the address"):
        await term.register_node("n4", NodeDescription(), "10.0.2.1")


async def test_several_nodes_may_have_no_address() -> None:
    store, term = await leading()
    await store.update(lambda tx: tx.create(Node(id="n2")))
    for node_id in ("n1", "n2"):
        await term.register_node(node_id, NodeDescription(), "")


async def test_a_description_over_the_bound_is_refused() -> None:
    _, term = await leading()
    large = NodeDescription(engine=EngineDescription(labels={"a": "x" * MAX_DESCRIPTION_BYTES}))
    with pytest.raises(InvalidArgumentError, match="the limit is 65536"):
        await term.register_node("n1", large, "192.0.2.7")
    with pytest.raises(InvalidArgumentError, match="the limit is 65536"):
        await term.update_description("n1", large)
