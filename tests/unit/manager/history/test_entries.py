"""Entries of the history: Docker's attributes of events, who made a change, and why tasks were created, placed and ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from covey.objects import (
    Annotations,
    Author,
    ContainerSpec,
    HistoryEntry,
    Network,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    Object,
    Secret,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    UpdateStatus,
    WatchedStack,
    WatchedStackSpec,
    WatchStatus,
    replace,
)
from covey.objects.network import NetworkSpec
from covey.states import NodeAvailability, NodeRole, NodeState, TaskState, UpdateState
from manager.history.entries import entries
from manager.store import Store
from manager.store.author import acting_as
from manager.store.commit import Commit
from manager.store.memory_consensus import MemoryConsensus

SERVICE = Service(
    id="s", spec=ServiceSpec(annotations=Annotations(name="web"), task=TaskSpec(container=ContainerSpec(image="a:1")))
)
NODES = [
    Node(id=f"n{number}", description=NodeDescription(hostname=f"w{number}"), status=NodeStatus(state=NodeState.READY))
    for number in (1, 2)
]


class World:
    """A store, and the entries of each write."""

    def __init__(self) -> None:
        self.store = Store(MemoryConsensus)

    async def write(self, *items: Object, author: Author | None = None) -> list[HistoryEntry]:
        """Create or update objects; the entries of that commit."""

        def apply(tx: object) -> None:
            for item in items:
                table = {Service: "services", Task: "tasks", Node: "nodes"}.get(type(item), "")
                current = getattr(tx, table).get(item.id) if table else None
                if current is None:
                    tx.create(item)  # type: ignore[attr-defined]
                else:
                    tx.update(replace(item, meta=current.meta))  # type: ignore[attr-defined]

        return await self._commit(apply, author)

    async def remove(self, item: Object) -> list[HistoryEntry]:
        return await self._commit(lambda tx: tx.remove(type(item), item.id), None)

    async def _commit(self, apply: Callable[[object], None], author: Author | None) -> list[HistoryEntry]:
        with self.store.watch() as (_, commits), acting_as(author or Author()):
            await self.store.update(apply)
            return entries(self.store.view(), await anext(commits))


@pytest.fixture
def world() -> World:
    return World()


def task(slot: int = 1, name: str = "t1", **changes: object) -> Task:
    made = Task(
        id=name,
        service_id="s",
        slot=slot,
        spec=SERVICE.spec.task,
        service_annotations=SERVICE.spec.annotations,
        desired_state=TaskState.RUNNING,
    )
    return replace(made, **changes)


def state(item: Task, reached: TaskState, error: str = "", **changes: object) -> Task:
    return replace(item, status=TaskStatus(state=reached, error=error), **changes)


async def test_updates_of_services_have_dockers_attributes(world: World) -> None:
    (created,) = await world.write(SERVICE)
    assert (created.kind, created.action, created.attributes) == ("service", "create", {"name": "web"})
    scaled = replace(SERVICE, spec=replace(SERVICE.spec, replicas=3))
    (entry,) = await world.write(scaled)
    assert entry.attributes == {"name": "web", "replicas.old": "1", "replicas.new": "3"}
    newer = replace(scaled, spec=replace(scaled.spec, task=TaskSpec(container=ContainerSpec(image="a:2"))))
    (entry,) = await world.write(newer)
    assert entry.attributes == {"name": "web", "image.old": "a:1", "image.new": "a:2"}
    updating = replace(newer, update_status=UpdateStatus(state=UpdateState.UPDATING, message="update in progress"))
    (entry,) = await world.write(updating)
    assert entry.attributes == {"name": "web", "updatestate.new": "updating"}
    status = UpdateStatus(state=UpdateState.ROLLBACK_STARTED, message="update rolled back due to x")
    (entry,) = await world.write(replace(newer, update_status=status))
    assert entry.attributes == {
        "name": "web",
        "updatestate.old": "updating",
        "updatestate.new": "rollback_started",
    }
    assert entry.text == "update rolled back due to x"


async def test_an_update_names_the_fields_that_it_changed(world: World) -> None:
    await world.write(SERVICE)
    changed = replace(SERVICE.spec, task=TaskSpec(container=ContainerSpec(image="a:1", env=("A=secret",))), replicas=2)
    (entry,) = await world.write(replace(SERVICE, spec=changed))
    assert entry.text == "replicas 1 -> 2; changed task.container.env"


async def test_updates_of_nodes_have_dockers_attributes(world: World) -> None:
    node = NODES[0]
    await world.write(node)
    (entry,) = await world.write(replace(node, spec=NodeSpec(availability=NodeAvailability.DRAIN)))
    assert entry.attributes == {"name": "w1", "availability.old": "active", "availability.new": "drain"}
    (entry,) = await world.write(
        replace(node, status=NodeStatus(state=NodeState.DOWN, message="heartbeat failure"), role=NodeRole.MANAGER)
    )
    assert {key: value for key, value in entry.attributes.items() if not key.startswith("availability")} == {
        "name": "w1",
        "role.old": "worker",
        "role.new": "manager",
        "state.old": "ready",
        "state.new": "down",
    }
    assert entry.text.endswith("; heartbeat failure")


async def test_other_objects_have_a_name_only(world: World) -> None:
    secret = Secret(id="x", spec=SecretSpec(annotations=Annotations(name="key"), data=b"hidden"))
    network = Network(id="y", spec=NetworkSpec(annotations=Annotations(name="net")))
    first, second = await world.write(secret, network)
    assert (first.kind, first.action, first.attributes) == ("secret", "create", {"name": "key"})
    assert (second.kind, second.action, second.attributes) == ("network", "create", {"name": "net"})
    (entry,) = await world.remove(secret)
    assert (entry.kind, entry.action, entry.attributes) == ("secret", "remove", {"name": "key"})


async def test_watched_stacks_tell_deployments_and_errors_but_no_checks(world: World) -> None:
    named = WatchedStackSpec(annotations=Annotations(name="shop"))
    stack = WatchedStack(id="k", spec=named, status=WatchStatus(deployed_commit="a", deployed_at_ns=1))
    await world.write(stack)

    async def told(**changes: object) -> list[dict[str, str]]:
        def apply(tx: object) -> None:
            current = tx.watched_stacks.get("k")  # type: ignore[attr-defined]
            tx.update(replace(current, status=replace(current.status, **changes)))  # type: ignore[attr-defined]

        return [entry.attributes for entry in await world._commit(apply, None)]

    assert await told(checked_at_ns=9, seen_commit="b") == []
    assert await told(deployed_commit="b", deployed_at_ns=2) == [{"name": "shop", "commit.old": "a", "commit.new": "b"}]
    assert await told(deploy_error="x", deploy_failures=1) == [{"name": "shop", "error": "x"}]


@pytest.mark.parametrize(
    ("author", "by"),
    [
        (Author(user="alice", node_id="n1"), "alice@w1"),
        (Author(user="alice"), "alice"),
        (Author(node_id="n2"), "w2"),
        (Author(component="scheduler"), "leader (scheduler)"),
        (Author(component="leader"), "leader"),
    ],
)
async def test_an_entry_names_who_made_the_change(world: World, author: Author, by: str) -> None:
    await world.write(*NODES)
    (entry,) = await world.write(SERVICE, author=author)
    assert (entry.by, entry.attributes["covey.by"]) == (by, by)


async def test_the_life_of_a_task_is_told_with_reasons(world: World) -> None:
    await world.write(SERVICE, *NODES)
    first = task()
    (entry,) = await world.write(first)
    assert (entry.action, entry.text) == ("create", "created: the slot had no task")
    waiting = replace(first, status=TaskStatus(state=TaskState.PENDING, error="no suitable node (x on 2 nodes)"))
    await world.write(state(first, TaskState.PENDING))
    (entry,) = await world.write(waiting)
    assert (entry.action, entry.text) == ("wait", "waits: no suitable node (x on 2 nodes)")
    placed = state(first, TaskState.ASSIGNED, node_id="n1")
    (entry,) = await world.write(placed)
    assert (entry.action, entry.text) == ("place", "placed on w1, which has no other task of the service")
    assert await world.write(state(placed, TaskState.PREPARING)) == []
    (entry,) = await world.write(state(placed, TaskState.RUNNING))
    assert (entry.action, entry.by, entry.service_id) == ("run", "w1", "s")
    failed = state(placed, TaskState.FAILED, "task: non-zero exit (1)")
    (entry,) = await world.write(failed)
    assert (entry.action, entry.text) == ("fail", "failed on w1: task: non-zero exit (1)")
    ended, successor = await world.write(replace(failed, desired_state=TaskState.SHUTDOWN), task(name="t2", restarts=1))
    assert ended.text == "not run again: it ended"
    assert successor.text == "created (restart 1): t1 failed on w1: task: non-zero exit (1)"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"node": replace(NODES[0], status=NodeStatus(state=NodeState.DOWN))}, "whose node w1 is down"),
        ({"node": replace(NODES[0], spec=NodeSpec(availability=NodeAvailability.DRAIN))}, "whose node w1 is drained"),
        (
            {"service": replace(SERVICE.spec, task=TaskSpec(container=ContainerSpec(image="a:2")))},
            "which has another spec than the service",
        ),
        ({"service": replace(SERVICE.spec, replicas=0)}, "the service wants 0 replicas"),
        ({"reason": "assigned node no longer meets constraints"}, "assigned node no longer meets constraints"),
    ],
)
async def test_a_task_that_is_told_to_end_says_why(world: World, changes: dict[str, object], reason: str) -> None:
    running = state(task(), TaskState.RUNNING, node_id="n1")
    await world.write(SERVICE, *NODES)
    await world.write(running)
    if "node" in changes:
        await world.write(changes["node"])  # type: ignore[arg-type]
    if "service" in changes:
        await world.write(replace(SERVICE, spec=changes["service"]))
    ending = replace(running, desired_state=TaskState.SHUTDOWN, end_reason=str(changes.get("reason", "")))
    (entry,) = await world.write(ending)
    assert (entry.action, entry.text) == ("end", f"ends: {reason}")


async def test_tasks_of_a_removed_service_say_so(world: World) -> None:
    running = state(task(), TaskState.RUNNING, node_id="n1")
    await world.write(SERVICE, *NODES)
    await world.write(running)
    await world.remove(SERVICE)
    (entry,) = await world.write(replace(running, desired_state=TaskState.REMOVE))
    assert entry.text == "ends: the service was removed"


async def test_entries_are_ordered_by_their_place_in_the_log(world: World) -> None:
    commit: Commit | None = None
    with world.store.watch() as (_, commits):
        await world.store.update(lambda tx: [tx.create(node) for node in NODES])
        commit = await anext(commits)
    found = entries(world.store.view(), commit)
    assert [entry.position for entry in found] == [(commit.version, 1), (commit.version, 2)]
    assert all(entry.timestamp_ns == commit.timestamp_ns for entry in found)
