"""An hour of a cluster in seconds: hosts that come and go, services that change, leaders that change, and what must hold meanwhile.

The clock moves in steps of a tenth of a second, or to the next event if nothing is to be done before it. Every decision is the real
planners'; nodes, start times and disturbances are drawn from the seed.
"""

from __future__ import annotations

import random
from collections import Counter

from covey.clock import MILLISECOND, SECOND
from covey.objects import Cluster, Service, Task, UpdateStatus, replace
from covey.states import NodeAvailability, ServiceMode, TaskState, UpdateOrder, UpdateState
from covey.task_predicates import should_run
from manager.store.commit import Commit
from manager.store.view import View
from tests.simulation.simulator.orchestration import workload
from tests.simulation.simulator.orchestration.event_queue import EventQueue
from tests.simulation.simulator.orchestration.hosts import SimulatedHost
from tests.simulation.simulator.orchestration.invariants import OrchestrationInvariants
from tests.simulation.simulator.orchestration.leader import Operation, SimulatedLeader
from tests.support.planning import NOW

TICK_NS = 100 * MILLISECOND
_JUDGE_EVERY_TICKS = 2
_PERIOD_NS = SECOND


class SimulatedCluster:
    """``commits`` and ``invariants.placements`` say how much happened."""

    def __init__(self, seed: int, *, nodes: int, services: int, tasks: int) -> None:
        self.random = random.Random(seed)
        self.events = EventQueue(NOW)
        self.invariants = OrchestrationInvariants()
        self.leader = SimulatedLeader([self.invariants.watch, self._tell_hosts])
        self._reports: list[Operation] = []
        self.hosts: dict[str, SimulatedHost] = {}
        self._usual_sizes: dict[str, int] = {}
        self._created = 0
        self._versions = 0
        self.leader.elect(NOW)
        self._create_nodes(nodes)
        for size in self._sizes(services, tasks - nodes):
            self._create_service(size)
        everywhere = workload.make_global_service("everywhere")
        self.leader.commit([lambda tx: tx.create(everywhere)], NOW)

    @property
    def view(self) -> View:
        return self.leader.view

    @property
    def now_ns(self) -> int:
        return self.events.now_ns

    def run(self, seconds: float, *, disturbed_every: float = 0) -> None:
        """Lets cluster time pass. Something goes wrong or is changed about every ``disturbed_every`` seconds; 0 for never."""
        share = TICK_NS / SECOND / disturbed_every if disturbed_every else 0
        end_ns = self.now_ns + int(seconds * SECOND)
        ticks = 0
        while self.now_ns < end_ns:
            self.events.run_until(self.now_ns + TICK_NS)
            ticks += 1
            if share and self.random.random() < share:
                self.disturb()
            if ticks % _JUDGE_EVERY_TICKS == 0:
                self._judge_nodes()
            self._write_reports()
            self.leader.plan(self.now_ns)

    def heal(self) -> None:
        """Every host returns, and every node takes tasks."""
        for host in self.hosts.values():
            if not host.connected:
                self._connect(host)
            self._set_availability(host.node_id, NodeAvailability.ACTIVE)

    def disturb(self) -> None:
        """One thing that happens in a cluster's life."""
        host = self.random.choice(list(self.hosts.values()))
        match self.random.randrange(10):
            case 0 | 1:
                self._lose(host, power=True, seconds=self.random.uniform(20, 600))
            case 2:
                self._lose(host, power=False, seconds=self.random.uniform(0.5, 120))
            case 3:
                for other in self.random.sample(list(self.hosts.values()), len(self.hosts) // 20 + 1):
                    self._lose(other, power=False, seconds=self.random.uniform(1, 30))
            case 4:
                self._set_availability(host.node_id, NodeAvailability.DRAIN)
                self.events.after(
                    self.random.uniform(10, 300) * SECOND,
                    lambda: self._set_availability(host.node_id, NodeAvailability.ACTIVE),
                )
            case 5:
                self.leader.elect(self.now_ns)
            case 6:
                self._scale(self._any_service())
            case _:
                self._update(self._any_service())

    def unsettled(self) -> dict[str, str]:
        """What each service lacks that is not in its desired state."""
        found = {}
        for service in self.view.services:
            lacks = self._lacks(service)
            if lacks:
                found[service.id] = lacks
        return found

    def check_containers(self) -> None:
        """No two reachable hosts run the same slot of a service, but for one that was told to end or whose updates start first."""
        seen: Counter[tuple[str, int]] = Counter()
        for host in self.hosts.values():
            seen.update(
                (task.service_id, task.slot) for task in host.running() if host.connected and self._is_alone(task)
            )
        doubled = [slot for slot, number in seen.items() if number > 1]
        assert not doubled, f"more than one container runs in {doubled}"

    def _is_alone(self, task: Task) -> bool:
        """Whether nothing else may run in the task's slot."""
        service = self.view.services.get(task.service_id)
        policies = (service.spec.update, service.spec.rollback) if service is not None else ()
        starts_first = any(policy is not None and policy.order is UpdateOrder.START_FIRST for policy in policies)
        return bool(task.slot) and should_run(task) and not starts_first

    def _lacks(self, service: Service) -> str:
        if service.spec.task.container.labels.get("fails"):
            return ""  # its tasks never stop to fail
        status = service.update_status or UpdateStatus()
        if status.state is UpdateState.UPDATING:
            return f"its update is in progress: {status.message}"
        tasks = [task for task in self.view.tasks.by_service(service.id) if should_run(task)]
        running = [task for task in tasks if task.status.state is TaskState.RUNNING]
        is_global = service.spec.mode is ServiceMode.GLOBAL
        wanted = len(self.hosts) if is_global else service.spec.replicas
        if len(running) == wanted == len({task.node_id if is_global else task.slot for task in running}):
            return ""
        errors = Counter(task.status.error for task in tasks if task.status.state < TaskState.RUNNING)
        return f"{len(running)} of {wanted} tasks run; {dict(errors)}"

    def _create_nodes(self, number: int) -> None:
        made = [workload.make_node(index) for index in range(number)]
        self.leader.commit([lambda tx: tx.create(Cluster(id="cluster"))], NOW)
        self.leader.commit([lambda tx, item=item: tx.create(item) for item in made], NOW)
        for item in made:
            self.hosts[item.id] = SimulatedHost(item.id, self.events, self.random, self._reports.append)
        self._hear()

    def _sizes(self, services: int, tasks: int) -> list[int]:
        """Service sizes that add up to about ``tasks``: many small ones and a few large ones."""
        weights = [self.random.paretovariate(1.2) for _ in range(services)]
        return [max(1, min(int(weight / sum(weights) * tasks), tasks // 10)) for weight in weights]

    def _create_service(self, replicas: int) -> None:
        self._created += 1
        made = workload.make_service(self.random, f"s{self._created:03d}", replicas, nodes=len(self.hosts))
        self._usual_sizes[made.id] = replicas
        self.leader.commit([lambda tx: tx.create(made)], self.now_ns)

    def _any_service(self) -> Service:
        return self.random.choice([service for service in self.view.services if service.id != "everywhere"])

    def _scale(self, service: Service) -> None:
        usual = self._usual_sizes[service.id]
        replicas = self.random.randint(max(1, usual // 2), usual + usual // 5)
        self.leader.put(
            replace(service, spec=replace(service.spec, replicas=replicas), update_status=None), self.now_ns
        )

    def _update(self, service: Service) -> None:
        """Another image, as the control API stores an update."""
        self._versions += 1
        changed = workload.with_container(service, image=f"image:{self._versions}")
        updated = replace(
            changed,
            previous_spec=service.spec,
            previous_spec_version=service.spec_version,
            spec_version=service.meta.version + 1,
            version_before_spec=service.meta.version,
            update_status=None,
        )
        self.leader.put(updated, self.now_ns)

    def _lose(self, host: SimulatedHost, *, power: bool, seconds: float) -> None:
        if not host.connected:
            return
        if power:
            host.lose_power()
        else:
            host.cut()
        self.leader.heartbeats.record_disconnect(host.node_id, self.now_ns)
        self.events.after(seconds * SECOND, lambda: None if host.connected else self._connect(host))

    def _connect(self, host: SimulatedHost) -> None:
        self.leader.heartbeats.record_heartbeat(host.node_id, self.now_ns, _PERIOD_NS)
        node = self.view.nodes.get(host.node_id)
        if node is not None:
            self.leader.welcome(node, self.now_ns)
        host.connect(self.view)

    def _set_availability(self, node_id: str, availability: NodeAvailability) -> None:
        node = self.view.nodes.get(node_id)
        if node is not None and node.spec.availability is not availability:
            self.leader.put(replace(node, spec=replace(node.spec, availability=availability)), self.now_ns)

    def _hear(self) -> None:
        for host in self.hosts.values():
            if host.connected:
                self.leader.heartbeats.record_heartbeat(host.node_id, self.now_ns, _PERIOD_NS)

    def _judge_nodes(self) -> None:
        self._hear()
        if not all(host.connected for host in self.hosts.values()):
            self.leader.judge_nodes(self.now_ns)
        else:
            self.leader.heartbeats.record_check(self.now_ns)

    def _write_reports(self) -> None:
        reports, self._reports[:] = list(self._reports), []
        self.leader.commit(reports, self.now_ns)

    def _tell_hosts(self, _view: View, commit: Commit) -> None:
        for change in commit.changes:
            task = change.after
            if isinstance(task, Task) and task.node_id in self.hosts:
                self.hosts[task.node_id].assign(task)
            elif isinstance(change.before, Task) and task is None and change.before.node_id in self.hosts:
                self.hosts[change.before.node_id].forget(change.before.id)
