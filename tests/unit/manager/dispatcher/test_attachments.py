"""Network attachments of single containers: who may have one, which address it gets, and when it ends."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from covey.errors import AlreadyExistsError, ConflictError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.mac_address import derived_mac
from covey.objects import Annotations, Cluster, Network, NetworkSpec, Node, NodeStatus, TaskStatus, replace
from covey.states import NodeState, TaskState
from coveypb.v1 import dispatcher_pb2
from manager.allocator.planner import AllocatorPlanner
from manager.dispatcher import attachments
from manager.loop.control_loop import ControlLoop
from manager.orchestrator.orphans import ORPHAN_AFTER_NS, plan_node
from manager.orchestrator.reaper import plan_slot
from manager.store import MemoryConsensus, Store
from tests.support.planning import NOW, applied

TASK, CONTAINER = "a" * 25, "c" * 64


def request(**changes: object) -> dispatcher_pb2.AttachNetworkRequest:
    given = {
        "task_id": TASK,
        "container_id": CONTAINER,
        "container_name": "web",
        "hostname": "h",
        "network_ref": "open",
    }
    return dispatcher_pb2.AttachNetworkRequest(**{**given, **changes})  # type: ignore[arg-type]


def network(name: str, *, attachable: bool = True) -> Network:
    return Network(id=name.ljust(25, "0"), spec=NetworkSpec(annotations=Annotations(name=name), attachable=attachable))


@pytest.fixture
async def store() -> Store:
    made = Store(MemoryConsensus)
    node = Node(id="n1", status=NodeStatus(state=NodeState.READY, addr="192.0.2.1"))
    for item in (Cluster(id="c"), network("open"), network("closed", attachable=False), node):
        await made.update(lambda tx, item=item: tx.create(item))
    return made


@asynccontextmanager
async def allocating(store: Store):
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(ControlLoop("allocator", store, AllocatorPlanner(), lambda: NOW).run())
        yield
        loop.cancel()


async def attach(store: Store, **changes: object) -> dispatcher_pb2.AttachNetworkResponse:
    async with asyncio.timeout(10):
        return await attachments.attach(store, lambda: NOW, "n1", request(**changes))


async def test_an_attachment_is_a_task_of_the_node_with_an_address_and_the_same_for_a_repeated_call(
    store: Store,
) -> None:
    async with allocating(store):
        first = await attach(store, aliases=["alias"])
        assert await attach(store, aliases=["alias"]) == first
        other = await attach(store, task_id="b" * 25, container_id="d" * 64)
    task = store.view().tasks.find(TASK)
    assert (task.node_id, task.attached_container_id, task.status.state) == ("n1", CONTAINER, TaskState.ASSIGNED)
    assert (task.networks[0].address, task.networks[0].aliases) == (first.address, ("alias",))
    assert first.address != other.address


async def test_a_container_may_ask_for_an_address_that_is_free(store: Store) -> None:
    async with allocating(store):
        assert (await attach(store, address="10.0.2.77")).address == "10.0.2.77/24"
        with pytest.raises(ConflictError, match=r"Address already in use: 10\.0\.2\.77"):
            await attach(store, task_id="b" * 25, container_id="d" * 64, address="10.0.2.77")
        with pytest.raises(ConflictError, match=r"invalid address 10\.9\.9\.9: It does not belong"):
            await attach(store, task_id="b" * 25, container_id="d" * 64, address="10.9.9.9")
    assert len(store.view().tasks) == 1, "a call that fails leaves nothing"


async def test_a_container_may_ask_for_addresses_of_both_families_and_a_mac(store: Store) -> None:
    dual = NetworkSpec(annotations=Annotations(name="dual"), attachable=True, ipv6=True)
    await store.update(lambda tx: tx.create(Network(id="dual".ljust(25, "0"), spec=dual)))
    async with allocating(store):
        drawn = await attach(store, network_ref="dual")
        assert (drawn.address6.endswith("/64"), drawn.mac) == (True, derived_mac(drawn.address))
        wanted = drawn.address6.replace("::2/64", "::99")
        asked = {"task_id": "b" * 25, "container_id": "d" * 64, "network_ref": "dual"}
        given = await attach(store, **asked, address6=wanted, mac="06-00-00-00-00-0A")
        assert (given.address6, given.mac) == (f"{wanted}/64", "06:00:00:00:00:0a")
        again = {**asked, "task_id": "e" * 25, "container_id": "f" * 64}
        with pytest.raises(ConflictError, match="the MAC address 06:00:00:00:00:0a is used by container web"):
            await attach(store, **again, mac="06:00:00:00:00:0a")
        with pytest.raises(ConflictError, match="invalid address fd00::1: It does not belong"):
            await attach(store, **{**again, "network_ref": "open"}, address6="fd00::1")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"address6": "10.0.0.1"}, InvalidArgumentError, "an IPv6 address is needed"),
        ({"mac": "01:00:00:00:00:01"}, InvalidArgumentError, "give a unicast address"),
        ({"mac": "nonsense"}, InvalidArgumentError, "invalid MAC address nonsense"),
        ({"mac": "02:42:0a:00:02:05"}, InvalidArgumentError, "follow from IPv4 addresses"),
        ({"network_ref": "closed"}, PermissionDeniedError, "network closed not manually attachable"),
        ({"network_ref": "nowhere"}, NotFoundError, "network nowhere not found"),
        ({"task_id": "../x"}, InvalidArgumentError, "task id"),
        ({"container_id": ""}, InvalidArgumentError, "container id"),
        ({"hostname": "x" * 256}, InvalidArgumentError, "longer than 255"),
        ({"address": "::1"}, InvalidArgumentError, "an IPv4 address is needed"),
    ],
)
async def test_what_cannot_be_attached_is_refused_and_leaves_nothing(
    store: Store, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await attach(store, **changes)
    assert len(store.view().tasks) == 0


async def test_a_node_cannot_take_over_the_task_of_another(store: Store) -> None:
    await store.update(lambda tx: attachments.create_attachment(tx, "n1", request(), NOW))
    with pytest.raises(AlreadyExistsError):
        await store.update(lambda tx: attachments.create_attachment(tx, "n2", request(), NOW))


async def test_a_call_that_is_given_up_before_there_is_an_address_leaves_nothing(store: Store) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await attachments.attach(store, lambda: NOW, "n1", request())
    assert len(store.view().tasks) == 0


async def test_an_attachment_ends_with_its_node_or_its_container_and_its_address_is_free(store: Store) -> None:
    async with allocating(store):
        await attach(store)
    view = store.view()
    down = replace(view.nodes.find("n1"), status=NodeStatus(state=NodeState.DOWN, changed_at_ns=NOW))
    await store.update(lambda tx: tx.update(down))
    view = store.view()
    assert plan_node(view, "n1", NOW).steps == ()
    orphaned = applied(view, plan_node(view, "n1", NOW + ORPHAN_AFTER_NS))
    assert orphaned.tasks.find(TASK).status.state is TaskState.ORPHANED
    assert len(applied(orphaned, plan_slot(orphaned, "", 0)).tasks) == 0
    ended = replace(view.tasks.find(TASK), status=TaskStatus(state=TaskState.SHUTDOWN))
    await store.update(lambda tx: tx.update(ended))
    view = store.view()
    assert len(applied(view, plan_slot(view, "", 0)).tasks) == 0
