"""The log broker between a reader and nodes: who may publish what, and that every reader comes to an end."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from covey.errors import CoveyError, InvalidArgumentError, NotFoundError, PermissionDeniedError, UnavailableError
from covey.objects import Annotations, Node, NodeDescription, Service, ServiceSpec, Task, TaskStatus
from covey.states import TaskState
from coveypb.v1 import control_pb2, dispatcher_pb2
from manager.logbroker.broker import LogBroker
from manager.logbroker.log_reader import ROOM_LINES, LogReader, NodeSubscription
from manager.store import MemoryConsensus, Store


class Nodes:
    """What the broker sends, by node; a node that is not ``up`` has no session."""

    def __init__(self, *up: str) -> None:
        self.up = set(up)
        self.asked: list[tuple[str, dispatcher_pb2.LogSubscription]] = []
        self.closed: list[str] = []

    def send(self, node_id: str, message: dispatcher_pb2.ManagerMessage) -> bool:
        if node_id not in self.up:
            return False
        subscription = message.log_subscription
        if subscription.close:
            self.closed.append(subscription.subscription_id)
        else:
            self.asked.append((node_id, subscription))
        return True

    def connected(self, node_id: str) -> bool:
        return node_id in self.up


async def world(*up: str) -> tuple[Store, LogBroker, Nodes]:
    store = Store(MemoryConsensus)
    await store.update(lambda tx: tx.create(Service(id="s1", spec=ServiceSpec(annotations=Annotations(name="web")))))
    for name in ("n1", "n2"):
        node = Node(id=name, description=NodeDescription(hostname=f"host-{name}"))
        await store.update(lambda tx, node=node: tx.create(node))  # type: ignore[misc]
        await add_task(store, f"t-{name}", name)
    nodes = Nodes(*up)
    broker = LogBroker(store)
    broker.bind(nodes.send, nodes.connected)
    return store, broker, nodes


async def add_task(store: Store, name: str, node_id: str) -> None:
    task = Task(
        id=name,
        service_id="s1",
        slot=4,
        node_id=node_id,
        service_annotations=Annotations(name="web"),
        status=TaskStatus(state=TaskState.RUNNING),
    )
    await store.update(lambda tx: tx.create(task))


def request(*, follow: bool = False, services: Iterable[str] = ("web",)) -> control_pb2.LogsRequest:
    options = dispatcher_pb2.LogOptions(stdout=True, stderr=True, follow=follow, tail=-1)
    return control_pb2.LogsRequest(service_refs=list(services), options=options)


async def batches(*given: dispatcher_pb2.LogBatch) -> AsyncIterator[dispatcher_pb2.LogBatch]:
    for batch in given:
        yield batch


def batch(part: str, *task_ids: str, closed: bool = False, error: str = "") -> dispatcher_pb2.LogBatch:
    lines = [dispatcher_pb2.LogLine(task_id=task_id, data=b"line\n") for task_id in task_ids]
    return dispatcher_pb2.LogBatch(subscription_id=part, lines=lines, closed=closed, error=error)


async def collected(broker: LogBroker, wanted: control_pb2.LogsRequest) -> list[dispatcher_pb2.LogBatch]:
    return [one async for one in broker.logs(wanted)]


async def until_asked(nodes: Nodes, count: int) -> None:
    async with asyncio.timeout(5):
        while len(nodes.asked) < count:  # noqa: ASYNC110 - the broker tells nobody what it sent
            await asyncio.sleep(0.01)


async def test_lines_of_all_nodes_are_merged_and_named() -> None:
    _, broker, nodes = await world("n1", "n2")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(collected(broker, request()))
        await until_asked(nodes, 2)
        for node_id, subscription in nodes.asked:
            part, [task_id] = subscription.subscription_id, subscription.task_ids
            await broker.publish(node_id, batches(batch(part, task_id), batch(part, closed=True)))
    lines = [line for one in reading.result() for line in one.lines]
    assert sorted((line.node_id, line.node_hostname, line.service_name, line.slot) for line in lines) == [
        ("n1", "host-n1", "web", 4),
        ("n2", "host-n2", "web", 4),
    ]


async def test_a_node_without_a_session_is_an_error_line_at_once() -> None:
    _, broker, nodes = await world("n1")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(collected(broker, request()))
        await until_asked(nodes, 1)
        await broker.publish("n1", batches(batch(nodes.asked[0][1].subscription_id, closed=True)))
    assert [one.error for one in reading.result()] == [
        "error from node host-n2 for web.4.t-n2: it has no session with the leader"
    ]
    [line] = reading.result()[0].lines
    assert (line.stream, line.service_id, line.node_hostname) == (3, "s1", "host-n2"), "it is said in the task's place"


async def test_a_stream_that_breaks_or_a_session_that_ends_is_an_error_line() -> None:
    _, broker, nodes = await world("n1", "n2")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(collected(broker, request()))
        await until_asked(nodes, 2)
        (first, subscription), (second, _) = nodes.asked
        await broker.publish(first, batches(batch(subscription.subscription_id)))  # ends without saying so
        nodes.up.discard(second)
    assert sorted(one.error.split(": ")[1].split(";")[0] for one in reading.result()) == [
        "its session with the leader ended",
        "its stream of log lines broke",
    ]


async def test_the_error_of_a_node_ends_its_subscription_and_no_other() -> None:
    _, broker, nodes = await world("n1", "n2")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(collected(broker, request()))
        await until_asked(nodes, 2)
        (first, one), (second, other) = nodes.asked
        await broker.publish(first, batches(batch(one.subscription_id, error="its log cannot be read")))
        await broker.publish(
            second, batches(batch(other.subscription_id, "t-n2"), batch(other.subscription_id, closed=True))
        )
    assert [line.stream for one in reading.result() for line in one.lines] == [0, 3], "what is missing comes last"
    assert reading.result()[-1].error == "error from node host-n1 for web.4.t-n1: its log cannot be read"


async def test_a_new_task_of_a_followed_service_joins() -> None:
    store, broker, nodes = await world("n1", "n2")
    reading = asyncio.create_task(collected(broker, request(follow=True)))
    try:
        await until_asked(nodes, 2)
        await add_task(store, "t-new", "n1")
        await until_asked(nodes, 3)
        assert (nodes.asked[2][0], list(nodes.asked[2][1].task_ids)) == ("n1", ["t-new"])
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert len(nodes.closed) == 3, "a reader that goes tells every node"


async def test_a_node_publishes_only_what_it_was_asked_for() -> None:
    _, broker, nodes = await world("n1", "n2")
    reading = asyncio.create_task(collected(broker, request(follow=True)))
    try:
        await until_asked(nodes, 2)
        (first, subscription), (second, _) = nodes.asked
        part = subscription.subscription_id
        with pytest.raises(PermissionDeniedError):
            await broker.publish(second, batches(batch(part)))
        with pytest.raises(PermissionDeniedError):
            await broker.publish(first, batches(batch(part, "t-of-somebody-else")))
        with pytest.raises(NotFoundError):
            await broker.publish(first, batches(batch("unheard")))
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (request(services=["gone"]), NotFoundError),
        (request(services=[]), InvalidArgumentError),
        (control_pb2.LogsRequest(service_refs=["web"]), InvalidArgumentError),
    ],
)
async def test_a_request_for_nothing_is_refused(wanted: control_pb2.LogsRequest, error: type[CoveyError]) -> None:
    _, broker, _ = await world()
    with pytest.raises(error):
        await collected(broker, wanted)


async def test_lines_of_nodes_are_in_order_of_time() -> None:
    _, broker, nodes = await world("n1", "n2")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        reading = group.create_task(collected(broker, request()))
        await until_asked(nodes, 2)
        for (node_id, subscription), times in zip(nodes.asked, ((10, 30, 50), (20, 40, 60)), strict=True):
            sent = timed(subscription, *times)
            await broker.publish(node_id, batches(sent, batch(subscription.subscription_id, closed=True)))
    assert [line.timestamp_ns for one in reading.result() for line in one.lines] == [10, 20, 30, 40, 50, 60]


async def test_a_followed_node_that_lost_its_session_goes_on_after_the_lines_that_it_sent() -> None:
    _, broker, nodes = await world("n1", "n2")
    reading = asyncio.create_task(collected(broker, request(follow=True)))
    try:
        await until_asked(nodes, 2)
        (node_id, subscription), _ = nodes.asked
        sender = asyncio.create_task(broker.publish(node_id, held(timed(subscription, 5, 7, 7))))
        await asyncio.sleep(0)
        nodes.up.discard(node_id)
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        assert len(nodes.asked) == 2, "without a session there is nobody to ask"
        nodes.up.add(node_id)
        await until_asked(nodes, 3)
        [cursor] = nodes.asked[2][1].options.cursors
        assert (cursor.task_id, cursor.time_ns, cursor.lines) == (f"t-{node_id}", 7, 2)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_reader_of_a_former_leader_is_told_to_ask_again() -> None:
    store, broker, nodes = await world("n1", "n2")
    reading = asyncio.create_task(collected(broker, request(follow=True)))
    await until_asked(nodes, 2)
    assert isinstance(store.consensus, MemoryConsensus)
    store.consensus.lead(leading=False)
    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError, match="the leader changed"):
            await reading


def timed(subscription: dispatcher_pb2.LogSubscription, *times_ns: int) -> dispatcher_pb2.LogBatch:
    [task_id] = subscription.task_ids
    lines = [dispatcher_pb2.LogLine(task_id=task_id, timestamp_ns=time_ns, data=b"line") for time_ns in times_ns]
    return dispatcher_pb2.LogBatch(subscription_id=subscription.subscription_id, lines=lines)


async def held(first: dispatcher_pb2.LogBatch) -> AsyncIterator[dispatcher_pb2.LogBatch]:
    """One batch on a stream that stays open."""
    yield first
    await asyncio.Event().wait()


async def test_a_slow_reader_slows_the_node_down_and_a_closed_one_releases_it() -> None:
    reader = LogReader(dispatcher_pb2.LogOptions())
    reader.open("p", NodeSubscription("n1", ["t"], 0.0))
    line = dispatcher_pb2.LogLine(task_id="t", data=b"line")
    async with asyncio.timeout(5):
        await reader.put("p", [line] * ROOM_LINES)
        waiting = asyncio.create_task(reader.put("p", [line]))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert reader.take() is not None
        await waiting
        stuck = asyncio.create_task(reader.put("p", [line] * ROOM_LINES))
        await asyncio.sleep(0)
        reader.close()
        with pytest.raises(NotFoundError, match="the reader of these logs is gone"):
            await stuck
