"""The autoscaler: a background task of the leader that measures the load of services and writes what `decision` says.

Invariant: it starts from the store alone; what it remembers of loads only delays it. It writes a service only if the count or the reason
changes, and only if the service is unchanged. Queries and samples are bounded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from covey.clock import Clock, wall_clock
from covey.errors import CoveyError
from covey.objects import Author, Autoscale, AutoscaleStatus, ResourceRequirements, Service, Task, replace
from covey.states import TaskState
from covey.task_group import TaskGroup
from coveypb.v1 import dispatcher_pb2
from manager.autoscale.decision import Decision, LoadHistory, Measure, decide
from manager.autoscale.usage import UsageSample, UsageSamples, usage_measures
from manager.store import NotLeaderError, Store, Tx, View
from manager.store.author import acting_as

PERIOD_SECONDS = 3.0
MAX_QUERIES = 32
QUERIES_SECONDS = 6.0
"""For all queries of a decision together, so that servers that do not answer delay no other service for long."""
MAX_TASKS_PER_NODE = 512
MAX_ERROR = 400

Query = Callable[[str, str], Awaitable[float]]
"""The value of a query to a Prometheus server; raises CoveyError."""
SendCallback = Callable[[str, dispatcher_pb2.ManagerMessage], bool]

log = logging.getLogger("covey.autoscale")


class _Memory(msgspec.Struct):
    """What is remembered of a service: its load, and when its count was seen to change."""

    replicas: int
    changed_ns: int
    history: LoadHistory = LoadHistory()


class Autoscaler:
    """Decides every few seconds on all services with bounds."""

    def __init__(
        self, store: Store, query: Query, *, clock: Clock = wall_clock, period_seconds: float = PERIOD_SECONDS
    ) -> None:
        self._store = store
        self._query = query
        self._clock = clock
        self._period_seconds = period_seconds
        self._send: SendCallback = lambda _node_id, _message: False
        self._samples = UsageSamples()
        self._memories: dict[str, _Memory] = {}

    def bind(self, send: SendCallback) -> None:
        """Sets how to reach nodes."""
        self._send = send

    def take_usages(self, _node_id: str, usages: dispatcher_pb2.TaskUsages) -> None:
        """Takes what the tasks of a node use."""
        now_ns = self._clock()
        for usage in usages.usages:
            sample = UsageSample(usages.measured_ns, usage.cpu_ns, usage.memory_bytes, now_ns)
            self._samples.add(usage.task_id, sample)

    async def run(self) -> None:
        """Decides until cancelled. Its changes have it as their author."""
        self._samples, self._memories = UsageSamples(), {}
        with acting_as(Author(component="autoscaler")):
            while True:
                try:
                    await self.decide_all()
                except CoveyError as error:
                    log.info("autoscaling tries again: %s", error.message)
                await asyncio.sleep(self._period_seconds)

    async def decide_all(self) -> None:
        """One decision on each service, from what is known; then nodes are asked for the next."""
        view = self._store.view()
        services = [service for service in view.services if _is_scaled(service)]
        self._memories = {key: self._memories[key] for service in services if (key := service.id) in self._memories}
        running = {service.id: _running_tasks(view, service) for service in services}
        self._samples.keep([task.id for tasks in running.values() for task in tasks])
        queried = await self._query_all([service.spec.autoscale for service in services if service.spec.autoscale])
        for service in services:
            await self._decide(service, running[service.id], queried)
        self._ask_nodes([task for service in services if _counts_usage(service) for task in running[service.id]])

    async def _decide(
        self, service: Service, tasks: Sequence[Task], queried: dict[tuple[str, str], float | str]
    ) -> None:
        autoscale, now_ns = service.spec.autoscale, self._clock()
        if autoscale is None:
            return
        memory = self._memory(service, now_ns)
        requirements = service.spec.task.resources or ResourceRequirements()
        measures = usage_measures(autoscale, requirements, tasks, self._samples, now_ns)
        if autoscale.prometheus_query:
            measures.append(_query_measure(autoscale, queried))
        decision = decide(
            autoscale,
            service.spec.replicas,
            measures,
            memory.history,
            changed_ns=memory.changed_ns,
            now_ns=now_ns,
        )
        memory.history = decision.history
        changed = _with_decision(service, decision, now_ns)
        if changed == service:
            return
        await self._write(service, changed)
        if decision.message:
            memory.replicas, memory.changed_ns = decision.replicas, now_ns
            log.info("service %s: %s", service.spec.annotations.name, decision.message)

    def _memory(self, service: Service, now_ns: int) -> _Memory:
        """The memory of a service. A count that somebody else has changed rests for the cool-down too."""
        status, replicas = service.autoscale_status, service.spec.replicas
        memory = self._memories.get(service.id)
        if memory is None:
            memory = self._memories[service.id] = _Memory(replicas, status.changed_ns if status is not None else 0)
        elif memory.replicas != replicas:
            memory.replicas, memory.changed_ns = replicas, now_ns
        return memory

    async def _write(self, before: Service, after: Service) -> None:
        def write(tx: Tx) -> None:
            current = tx.services.get(before.id)
            if current is not None and current.meta.version == before.meta.version:
                tx.update(after)

        try:
            await self._store.update(write)
        except NotLeaderError:
            log.info("service %s was not scaled: another manager leads", before.spec.annotations.name)

    async def _query_all(self, wanted: Sequence[Autoscale]) -> dict[tuple[str, str], float | str]:
        """The values of all queries, each asked once, or why they are unknown."""
        found: dict[tuple[str, str], float | str] = {}
        limit = asyncio.Semaphore(MAX_QUERIES)

        async def ask(url: str, query: str) -> None:
            async with limit:
                try:
                    found[url, query] = await self._query(url, query)
                except CoveyError as error:
                    found[url, query] = error.message[:MAX_ERROR]

        with suppress(TimeoutError):
            async with asyncio.timeout(QUERIES_SECONDS), TaskGroup() as group:
                for key in {
                    (item.prometheus_url, item.prometheus_query): None for item in wanted if item.prometheus_query
                }:
                    group.create_task(ask(*key))
        return found

    def _ask_nodes(self, tasks: Sequence[Task]) -> None:
        by_node: dict[str, list[str]] = {}
        for task in tasks:
            by_node.setdefault(task.node_id, []).append(task.id)
        for node_id, task_ids in by_node.items():
            request = dispatcher_pb2.MeasureTasks(task_ids=task_ids[:MAX_TASKS_PER_NODE])
            self._send(node_id, dispatcher_pb2.ManagerMessage(measure_tasks=request))


def _running_tasks(view: View, service: Service) -> list[Task]:
    tasks = view.tasks.by_service(service.id)
    return [
        task
        for task in tasks
        if task.status.state is TaskState.RUNNING and task.desired_state is TaskState.RUNNING and task.node_id
    ]


def _is_scaled(service: Service) -> bool:
    """Whether the load decides on the service's replicas; a stopped service keeps those that it had."""
    return service.spec.autoscale is not None and not service.spec.rollout.stopped


def _counts_usage(service: Service) -> bool:
    autoscale = service.spec.autoscale
    return autoscale is not None and bool(autoscale.cpu_percent or autoscale.memory_percent)


def _query_measure(autoscale: Autoscale, queried: dict[tuple[str, str], float | str]) -> Measure:
    value = queried.get(
        (autoscale.prometheus_url, autoscale.prometheus_query), "too many servers of queries do not answer"
    )
    is_known = isinstance(value, float)
    return Measure(
        name="query",
        total=float(value) if is_known else 0.0,
        target=autoscale.prometheus_target,
        error="" if is_known else str(value),
    )


def _with_decision(service: Service, decision: Decision, now_ns: int) -> Service:
    """The service after a decision: a client that has read it before gets to know that its count has changed."""
    status = service.autoscale_status or AutoscaleStatus()
    status = replace(status, error=decision.error)
    if decision.replicas == service.spec.replicas:
        return (
            service
            if status == (service.autoscale_status or AutoscaleStatus())
            else replace(service, autoscale_status=status)
        )
    return replace(
        service,
        spec=replace(service.spec, replicas=decision.replicas),
        version_before_spec=service.meta.version,
        autoscale_status=replace(status, message=decision.message, changed_ns=now_ns),
    )
