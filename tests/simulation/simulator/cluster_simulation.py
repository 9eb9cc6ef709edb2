"""Simulation of a small cluster without hosts: the leader's planners on a real store, agents that only move task states.

Everything happens in one coroutine in the order that the seed gives, so a seed repeats its run. Faults are injected, and
the invariants are checked at every commit.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from covey.clock import MILLISECOND, SECOND
from covey.objects import (
    IPAM,
    Annotations,
    Cluster,
    ClusterSpec,
    ContainerSpec,
    EndpointSpec,
    IPAMConfig,
    Network,
    NetworkAttachmentConfig,
    NetworkSpec,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    PortConfig,
    Resources,
    RestartPolicy,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    UpdateConfig,
    replace,
)
from covey.states import (
    NodeAvailability,
    NodeState,
    PublishMode,
    ServiceMode,
    TaskState,
    UpdateFailureAction,
    UpdateOrder,
    UpdateState,
)
from covey.task_predicates import creation_order, has_ended, should_run
from manager import health
from manager.allocator.index import AllocationIndex
from manager.allocator.planner import AllocatorPlanner
from manager.health import HeartbeatTracker
from manager.orchestrator.orphans import OrphanPlanner
from manager.orchestrator.reaper import ReaperPlanner
from manager.orchestrator.service_planner import ServicePlanner
from manager.scheduler.node_load import NodeLoadIndex
from manager.scheduler.planner import SchedulerPlanner
from manager.service_ports import endpoint_spec
from manager.store.memory_consensus import MemoryConsensus
from manager.store.store import Store

BEGIN = 1_000 * SECOND
HISTORY = 3
NETWORK = "net"


class PlannerLoop:
    """A planner with its watch, run one pass at a time."""

    def __init__(self, store: Store, planner) -> None:
        self.planner = planner
        self._store = store
        self._watch = store.watch()
        view, self._commits = self._watch.__enter__()
        planner.reset(view)
        self.wake_at_ns = 0

    def close(self) -> None:
        self._watch.__exit__(None, None, None)

    async def drain(self) -> None:
        while True:
            try:
                async with asyncio.timeout(0):
                    commit = await anext(self._commits)
            except TimeoutError:
                return
            for change in commit.changes:
                self.planner.observe(change.before, change.after)

    async def work(self, now_ns: int, *, lose: bool = False) -> int:
        """Runs one pass and returns the number of steps; ``lose`` stops in the middle, as a leader that crashes does."""
        await self.drain()
        plan = self.planner.plan(self._store.view(), now_ns)
        self.wake_at_ns = plan.wake_at_ns
        steps = plan.steps[: len(plan.steps) // 2] if lose else plan.steps
        await self._store.batch(steps)
        for step in plan.steps:
            for item in step.items():
                self.planner.observe(None, item)
        return len(plan.steps)


class SimulatedAgent:
    """An agent that only moves the states of its tasks. ``running`` are its containers."""

    def __init__(self, node_id: str) -> None:
        self.node_id = node_id
        self.up = True
        self.running: set[str] = set()


class ClusterSimulation:
    """``step`` runs one random event; ``settle`` ends the faults and waits until the desired state is reached."""

    def __init__(self, seed: int, nodes: int = 4) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_ns = BEGIN
        self.store = Store(MemoryConsensus, clock=lambda: self.now_ns)
        self.agents = {f"node{number}": SimulatedAgent(f"node{number}") for number in range(nodes)}
        self.beats = HeartbeatTracker(BEGIN)
        self.story: list[str] = []
        self._ids = 0
        self._next_beat_ns = BEGIN
        self._seen: dict[str, TaskState] = {}
        self._watch = self.store.watch(limit=1 << 20)
        _, self._commits = self._watch.__enter__()
        self.loops: list[PlannerLoop] = []

    def new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids:023d}"

    async def begin(self) -> None:
        def found(tx) -> None:
            tx.create(Cluster(id="cluster", spec=ClusterSpec(task_history=HISTORY)))
            ipam = IPAM(configs=(IPAMConfig(subnet="10.9.0.0/26"),))
            tx.create(Network(id=NETWORK, spec=NetworkSpec(annotations=Annotations(name=NETWORK), ipam=ipam)))
            ingress = NetworkSpec(annotations=Annotations(name="ingress"), ingress=True)
            tx.create(Network(id="ingress", spec=ingress))
            for node_id in self.agents:
                tx.create(
                    Node(
                        id=node_id,
                        status=NodeStatus(state=NodeState.READY),
                        description=NodeDescription(hostname=node_id, resources=Resources(nano_cpus=8 * 10**9)),
                    )
                )

        await self.store.update(found)
        self.elect()
        await self.create()

    def elect(self) -> None:
        """A new leader: all loops start from the store alone."""
        for loop in self.loops:
            loop.close()
        planners = (
            ServicePlanner(self.new_id),
            AllocatorPlanner(),
            SchedulerPlanner(),
            OrphanPlanner(),
            ReaperPlanner(),
        )
        self.loops = [PlannerLoop(self.store, planner) for planner in planners]
        self.beats = HeartbeatTracker(self.now_ns)

    # what may happen

    async def step(self) -> None:
        self.now_ns += self.random.randint(1, 400) * MILLISECOND
        if self.now_ns >= self._next_beat_ns:
            self._next_beat_ns = self.now_ns + SECOND // 2
            await self.beat()
        event = self.random.choices(
            [self.manage, self.serve, self.want, self.fault, self.elect_suddenly], [50, 50, 4, 4, 1]
        )[0]
        await event()
        await self.check()

    async def manage(self) -> None:
        for loop in self.random.sample(self.loops, k=self.random.randint(1, len(self.loops))):
            await loop.work(self.now_ns)

    async def elect_suddenly(self) -> None:
        await self.random.choice(self.loops).work(self.now_ns, lose=True)
        self.story.append("a new leader")
        self.elect()

    async def beat(self) -> None:
        for agent in self.agents.values():
            if agent.up:
                self.beats.record_heartbeat(agent.node_id, self.now_ns)
        await self.store.batch(health.plan_node_states(self.store.view(), self.beats, self.now_ns).steps)
        for agent in self.agents.values():
            node = self.store.view().nodes.get(agent.node_id)
            if agent.up and node is not None and node.status.state is not NodeState.READY:
                await self.resume(agent, node)

    async def resume(self, agent: SimulatedAgent, node: Node) -> None:
        """A session starts: the node first ends tasks that it should no longer run, then counts as ready."""
        while await self.move(agent, stop_only=True):
            pass
        status = replace(node.status, state=NodeState.READY, changed_at_ns=self.now_ns)
        await self.store.update(lambda tx: tx.update(replace(tx.nodes.get(node.id), status=status)))

    async def serve(self) -> None:
        for _ in range(self.random.randint(1, 8)):
            await self.move(self.random.choice(list(self.agents.values())))

    async def move(self, agent: SimulatedAgent, *, stop_only: bool = False) -> bool:
        """Moves one task of a node by one state."""
        if not agent.up:
            return False
        tasks = [task for task in self.store.view().tasks.by_node(agent.node_id) if self.next_state(task) is not None]
        if stop_only:
            tasks = [task for task in tasks if not should_run(task)]
        known = {task.id for task in self.store.view().tasks.by_node(agent.node_id) if not has_ended(task)}
        agent.running &= known
        if not tasks:
            return False
        task = self.random.choice(tasks)
        state = self.next_state(task)
        if state is TaskState.RUNNING:
            agent.running.add(task.id)
        elif state.terminal:
            agent.running.discard(task.id)
        status = replace(task.status, state=state, timestamp_ns=self.now_ns)
        await self.store.update(lambda tx: tx.update(replace(task, status=status)))
        return True

    def next_state(self, task: Task) -> TaskState | None:
        state = task.status.state
        if state.terminal or state < TaskState.ASSIGNED:
            return None
        if not should_run(task):
            return TaskState.SHUTDOWN
        order = [s for s in TaskState if TaskState.ASSIGNED <= s <= TaskState.RUNNING]
        if state is TaskState.RUNNING or (state >= TaskState.READY > task.desired_state):
            return None
        if state is TaskState.READY and task.desired_state < TaskState.RUNNING:
            return None
        if state is TaskState.STARTING and task.spec.container.image == "bad":
            return TaskState.FAILED
        return order[order.index(state) + 1]

    async def crash(self) -> None:
        """A container ends by itself."""
        agent = self.random.choice(list(self.agents.values()))
        running = [t for t in self.store.view().tasks.by_node(agent.node_id) if t.status.state is TaskState.RUNNING]
        if agent.up and running:
            task = self.random.choice(running)
            agent.running.discard(task.id)
            state = self.random.choice([TaskState.FAILED, TaskState.COMPLETE])
            status = replace(task.status, state=state, timestamp_ns=self.now_ns)
            await self.store.update(lambda tx: tx.update(replace(task, status=status)))

    async def fault(self) -> None:
        kind = self.random.choice(["kill", "cut", "back", "back", "crash", "crash", "drain", "active", "active"])
        agent = self.random.choice(list(self.agents.values()))
        if kind == "crash":
            await self.crash()
        elif kind in {"drain", "active"}:
            availability = NodeAvailability.DRAIN if kind == "drain" else NodeAvailability.ACTIVE
            await self.set_availability(agent.node_id, availability)
        elif kind == "back":
            agent.up = True
        else:
            agent.up = False
            if kind == "kill":
                agent.running.clear()
        self.story.append(f"{kind} {agent.node_id}")

    async def set_availability(self, node_id: str, availability: NodeAvailability) -> None:
        def change(tx) -> None:
            node = tx.nodes.get(node_id)
            tx.update(replace(node, spec=NodeSpec(annotations=node.spec.annotations, availability=availability)))

        await self.store.update(change)

    async def want(self) -> None:
        """A user changes a service."""
        services = list(self.store.view().services)
        kind = self.random.choice(["create", "scale", "scale", "update", "update", "publish", "label", "remove"])
        if kind == "create" or not services:
            if len(services) < 4:
                await self.create()
            return
        service = self.random.choice(services)
        self.story.append(f"{kind} {service.id}")
        if kind == "remove":
            await self.store.update(lambda tx: tx.remove(Service, service.id))
            return
        spec = service.spec
        if kind == "scale":
            spec = replace(spec, replicas=self.random.randint(0, 6))
        elif kind == "publish":
            spec = replace(spec, endpoint=self.endpoint())
        elif kind == "label":
            spec = replace(spec, annotations=replace(spec.annotations, labels={"n": str(self._ids)}))
        else:
            image = self.random.choice(["one", "two", "three", "bad"])
            spec = replace(spec, task=replace(spec.task, container=ContainerSpec(image=image)))
        await self.set_spec(service, spec)

    def endpoint(self) -> EndpointSpec:
        """Ports drawn by the allocator, and ports of the task's node that services contend for."""
        drawn = [PortConfig(target_port=80 + at) for at in range(self.random.randint(0, 2))]
        numbers = self.random.sample([9000, 9001], k=self.random.randint(0, 1))
        host = [PortConfig(target_port=90, published_port=at, publish_mode=PublishMode.HOST) for at in numbers]
        return EndpointSpec(ports=(*drawn, *host))

    async def set_spec(self, service: Service, spec: ServiceSpec) -> None:
        """Updates a spec as the control API does."""
        changed = spec.task != service.spec.task
        await self.store.update(
            lambda tx: tx.update(
                replace(
                    service,
                    spec=spec,
                    previous_spec=service.spec,
                    spec_version=service.meta.version if changed else service.spec_version,
                    update_status=None,
                )
            )
        )

    async def create(self, **changes) -> Service:
        draw = self.random
        update = UpdateConfig(
            parallelism=draw.randint(0, 2),
            delay_ns=draw.choice([0, SECOND]),
            monitor_ns=draw.choice([0, 2 * SECOND]),
            order=draw.choice(list(UpdateOrder)),
            failure_action=draw.choice(list(UpdateFailureAction)),
        )
        task = TaskSpec(
            container=ContainerSpec(image="one"),
            restart=RestartPolicy(delay_ns=draw.choice([0, SECOND])),
            networks=(NetworkAttachmentConfig(target=NETWORK),),
        )
        service_id = self.new_id()
        spec = ServiceSpec(
            annotations=Annotations(name=service_id),
            task=task,
            replicas=draw.randint(1, 5),
            update=update,
            rollback=replace(update, failure_action=UpdateFailureAction.PAUSE),
            mode=draw.choice([ServiceMode.REPLICATED] * 3 + [ServiceMode.GLOBAL]),
        )
        service = Service(id=service_id, spec=replace(spec, **changes))
        await self.store.update(lambda tx: tx.create(service))
        self.story.append(f"create {service_id}")
        return service

    # what must hold

    async def check(self) -> None:
        try:
            while True:
                async with asyncio.timeout(0):
                    commit = await anext(self._commits)
                for change in commit.changes:
                    self._check_states(change)
        except TimeoutError:
            pass
        self._check_addresses()
        self._check_host_ports()
        self._check_slots()

    def _check_states(self, change) -> None:
        before, after = change.before, change.after
        if not isinstance(change.item, Task):
            return
        if before is not None and after is not None:
            assert after.status.state >= before.status.state, self.tell(f"{after.id} went down")
            assert after.desired_state >= before.desired_state, self.tell(f"{after.id} is wanted again")
            moved = before.node_id and before.node_id != after.node_id
            assert not moved, self.tell(f"{after.id} moved")
        if after is None:
            assert has_ended(before), self.tell(f"{before.id} was deleted while it lived")

    def _check_endpoints(self) -> None:
        """Every task that runs has been told the endpoint of its service."""
        view = self.store.view()
        for service in view.services:
            told = [task.endpoint for task in view.tasks.by_service(service.id) if should_run(task)]
            assert all(endpoint == service.endpoint for endpoint in told), self.tell(f"{service.id} is not told")

    def _check_host_ports(self) -> None:
        """No two tasks of a node have one host-mode port."""
        held = Counter(
            (task.node_id, port.published_port)
            for task in self.store.view().tasks
            if task.node_id and task.endpoint and not has_ended(task) and task.status.state >= TaskState.ASSIGNED
            for port in task.endpoint.ports
            if port.publish_mode is PublishMode.HOST
        )
        twice = [key for key, count in held.items() if count > 1]
        assert not twice, self.tell(f"host ports held twice: {twice}")

    def _check_addresses(self) -> None:
        view = self.store.view()
        held = [vip.address for service in view.services if service.endpoint for vip in service.endpoint.virtual_ips]
        held += [given.address for task in view.tasks if not has_ended(task) for given in task.networks]
        held += [given.address for node in view.nodes for given in node.attachments]
        twice = [address for address, count in Counter(held).items() if count > 1]
        assert not twice, self.tell(f"held twice: {twice}")

    def _check_slots(self) -> None:
        view = self.store.view()
        live: Counter = Counter()
        for agent in self.agents.values():
            node = view.nodes.get(agent.node_id)
            if not agent.up or node.status.state is NodeState.DOWN:
                continue
            for task_id in agent.running:
                task = view.tasks.get(task_id)
                service = view.services.get(task.service_id) if task else None
                if service is not None:
                    key = task.slot or task.node_id
                    live[service.id, key] += 1
                    start_first = UpdateOrder.START_FIRST in {
                        (service.spec.update or UpdateConfig()).order,
                        (service.spec.rollback or UpdateConfig()).order,
                    }
                    most = 2 if start_first else 1
                    assert live[service.id, key] <= most, self.tell(f"slot {key} of {service.id} runs too often")

    def tell(self, what: str) -> str:
        return f"seed {self.seed}: {what}\n" + "\n".join(self.story[-20:])

    # the end

    async def settle(self, seconds: int = 400) -> None:
        """Without faults the cluster must reach the desired state, and then have nothing left to do."""
        for agent in self.agents.values():
            agent.up = True
            await self.set_availability(agent.node_id, NodeAvailability.ACTIVE)
        self.story.append("the faults end")
        for service in self.store.view().services:  # more replicas than nodes could never all have a port of their node
            ports = tuple([port for port in endpoint_spec(service).ports if port.publish_mode is PublishMode.INGRESS])
            await self.set_spec(service, replace(service.spec, endpoint=EndpointSpec(ports=ports)))
        deadline = self.now_ns + seconds * SECOND
        while not self.at_goal():
            assert self.now_ns < deadline, self.tell("did not converge: " + self.describe())
            self.now_ns += 300 * MILLISECOND
            await self.beat()
            for agent in self.agents.values():
                while await self.move(agent):
                    pass
            for loop in self.loops:
                await loop.work(self.now_ns)
            await self.check()
        await self.rest()
        self._check_endpoints()

    async def rest(self) -> None:
        """At the desired state another planning pass has no steps, also under a new leader."""
        for _ in range(20):
            work = [await loop.work(self.now_ns) for loop in self.loops]
            for agent in self.agents.values():
                while await self.move(agent):
                    work.append(1)
            if not any(work) and all(not loop.wake_at_ns for loop in self.loops):
                break
            self.now_ns += 10 * SECOND
            await self.beat()
        loops = [(type(loop.planner).__name__, await loop.work(self.now_ns)) for loop in self.loops]
        failing = any(service.spec.task.container.image == "bad" for service in self.store.view().services)
        assert failing or not any(count for _, count in loops), self.tell(f"still planning at the goal: {loops}")
        for loop in self.loops:
            await loop.drain()
        self._check_indexes()
        self.elect()
        again = [(type(loop.planner).__name__, await loop.work(self.now_ns)) for loop in self.loops]
        assert failing or not any(count for _, count in again), self.tell(f"a new leader would change: {again}")

    def _check_indexes(self) -> None:
        view = self.store.view()
        allocator, scheduler = self.loops[1].planner, self.loops[2].planner
        allocator.plan(view, self.now_ns)
        scheduler.plan(view, self.now_ns)
        assert allocator.index.address_holders() == AllocationIndex.from_view(view).address_holders(), self.tell(
            "addresses differ from the view"
        )
        mine = {key: load.as_tuple() for key, load in scheduler.index.loads.items()}
        fresh = {key: load.as_tuple() for key, load in NodeLoadIndex.from_view(view).loads.items()}
        assert mine == fresh, self.tell("loads differ from the view")

    def at_goal(self) -> bool:
        return not self.describe()

    def describe(self) -> str:
        """The differences from the desired state."""
        view = self.store.view()
        wrong = []
        for service in view.services:
            paused = service.update_status and service.update_status.state in {
                UpdateState.PAUSED,
                UpdateState.ROLLBACK_PAUSED,
            }
            running = service.update_status and service.update_status.state in {
                UpdateState.UPDATING,
                UpdateState.ROLLBACK_STARTED,
            }
            tasks = view.tasks.by_service(service.id)
            slots = Counter(task.slot or task.node_id for task in tasks if should_run(task))
            number = len(self.agents) if service.spec.mode is ServiceMode.GLOBAL else service.spec.replicas
            bad = service.spec.task.container.image == "bad"
            if len(slots) != number:
                wrong.append(f"{service.id} has {len(slots)} slots of {number}")
            good = [task for task in tasks if task.status.state is TaskState.RUNNING and should_run(task)]
            right = [task for task in good if task.spec == service.spec.task]
            if not bad and not paused and (len(right) != number or len(good) != number):
                wrong.append(f"{service.id} runs {len(right)} right, {len(good)} in all, of {number}")
            if running and not bad:
                wrong.append(f"{service.id} is still {service.update_status.state.name}")
            places = Counter(task.slot or task.node_id for task in tasks)
            if not bad and any(count > HISTORY + 1 for count in places.values()):
                wrong.append(f"{service.id} keeps too much: {places}")
        for task in sorted(view.tasks, key=creation_order):
            service = view.services.get(task.service_id)
            if service is None or (not should_run(task) and not has_ended(task)):
                wrong.append(f"{task.id} of {task.service_id} stays {task.status.state.name}")
        return "; ".join(wrong)
