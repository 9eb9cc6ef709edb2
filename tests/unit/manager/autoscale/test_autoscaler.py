"""The autoscaler on a store: it asks nodes and Prometheus, writes what was decided, and respects what users set."""

from __future__ import annotations

from typing import Any

import pytest

from covey.clock import SECOND
from covey.errors import StaleVersionError, UnavailableError
from covey.objects import Annotations, Autoscale, ResourceRequirements, Resources, Service, replace
from coveypb.v1 import dispatcher_pb2
from manager.autoscale.autoscaler import Autoscaler
from manager.control.services import update_service
from manager.store import MemoryConsensus, Store
from tests.support.planning import service, task


class World:
    """A store, a clock, one node that answers, and a Prometheus whose value is set."""

    def __init__(self) -> None:
        self.store = Store(MemoryConsensus)
        self.now_ns = 1_000_000 * SECOND
        self.value: float | str = 0.0
        self.asked: list[tuple[str, list[str]]] = []
        self.autoscaler = Autoscaler(self.store, self.query, clock=lambda: self.now_ns)
        self.autoscaler.bind(self.send)

    async def query(self, url: str, query: str) -> float:
        assert (url, query) == ("http://p", "load")
        if isinstance(self.value, str):
            raise UnavailableError(self.value)
        return self.value

    def send(self, node_id: str, message: dispatcher_pb2.ManagerMessage) -> bool:
        self.asked.append((node_id, list(message.measure_tasks.task_ids)))
        return True

    def answer(self, cpu_seconds: float) -> None:
        for node_id, task_ids in self.asked:
            usages = [dispatcher_pb2.TaskUsage(task_id=one, cpu_ns=int(cpu_seconds * SECOND)) for one in task_ids]
            self.autoscaler.take_usages(node_id, dispatcher_pb2.TaskUsages(measured_ns=self.now_ns, usages=usages))
        self.asked.clear()

    async def create(self, **scale: Any) -> None:
        reserved = ResourceRequirements(reservations=Resources(nano_cpus=10**8))
        autoscale = Autoscale(**{"min": 1, "max": 8} | scale)
        web = service("web", replicas=2, autoscale=autoscale, resources=reserved)
        await self.store.update(lambda tx: tx.create(web))
        for slot in (1, 2):
            await self.store.update(lambda tx, slot=slot: tx.create(task(web, slot)))

    async def tick(self, seconds: int = 5) -> Service:
        self.now_ns += seconds * SECOND
        await self.autoscaler.decide_all()
        return self.web

    @property
    def web(self) -> Service:
        found = self.store.view().services.get("web")
        assert found is not None
        return found


QUERY = {"prometheus_url": "http://p", "prometheus_query": "load", "prometheus_target": 10.0}


async def test_cpu_use_that_nodes_tell_adds_replicas_with_the_reason() -> None:
    world = World()
    await world.create(cpu_percent=50.0)
    assert (await world.tick()).autoscale_status.error == "no task has told its cpu use yet"
    assert world.asked == [("n1", ["web-1", "web-2"])]
    world.answer(0)
    await world.tick()
    world.answer(0.75)  # 0.15 CPU of 0.1 that are reserved
    web = await world.tick()
    assert web.spec.replicas == 6
    assert web.autoscale_status.message == "2 to 6 replicas: cpu 150 % of each, the target is 50 %"
    assert web.autoscale_status.error == ""


async def test_a_failing_query_is_told_once_and_changes_nothing() -> None:
    world = World()
    await world.create(**QUERY)
    world.value = "Prometheus does not answer"
    told = await world.tick()
    assert (told.spec.replicas, told.autoscale_status.error) == (2, "Prometheus does not answer")
    assert (await world.tick()).meta.version == told.meta.version
    world.value = 20.0
    assert (await world.tick()).autoscale_status.error == ""


async def test_a_count_that_a_user_sets_rests_for_the_cool_down() -> None:
    world = World()
    await world.create(**QUERY, cooldown_up_ns=30 * SECOND)
    world.value = 20.0
    web = await world.tick()
    by_hand = replace(web, spec=replace(web.spec, replicas=1))
    await world.store.update(lambda tx: tx.update(by_hand))
    world.value = 80.0
    assert (await world.tick()).spec.replicas == 1
    assert (await world.tick(25)).spec.replicas == 1
    assert (await world.tick(5)).spec.replicas == 5


async def test_a_client_that_read_the_service_before_learns_of_the_change() -> None:
    world = World()
    await world.create(**QUERY)
    stale = world.web
    world.value = 40.0
    assert (await world.tick()).spec.replicas == 4
    spec = replace(stale.spec, annotations=Annotations(name="web", labels={"a": "b"}), autoscale=None)
    with pytest.raises(StaleVersionError):
        await world.store.update(lambda tx: update_service(tx, "web", stale.meta.version, spec, world.now_ns))


async def test_services_without_bounds_cost_no_question() -> None:
    world = World()
    await world.store.update(lambda tx: tx.create(service("web")))
    await world.store.update(lambda tx: tx.create(task(service("web"), 1)))
    await world.tick()
    assert world.asked == []
