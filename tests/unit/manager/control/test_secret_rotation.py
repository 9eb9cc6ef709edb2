"""Rotation of secrets and configs: what is stored, which services are updated, what a rollback brings back, and what is collected."""

from typing import Any

import pytest

from covey.errors import InvalidArgumentError, StaleVersionError
from covey.objects import (
    Annotations,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    SecretReference,
    SecretSpec,
    Service,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    replace,
)
from covey.states import ServiceMode, TaskState
from manager.control import secret_rotation, secrets, services
from manager.orchestrator.secret_versions import SecretVersionPlanner
from manager.store import Store, Tx


class Cluster:
    """A store, and what operators do with it. Ids are numbered."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids:02}"

    async def create(self, name: str = "pw", data: bytes = b"one", kind: str = "secret") -> str:
        spec = (SecretSpec if kind == "secret" else ConfigSpec)(annotations=Annotations(name=name), data=data)
        make: Any = secrets.create_secret if kind == "secret" else secrets.create_config
        return str(await self.store.update(lambda tx: make(tx, spec, self.new_id)))

    async def serve(self, name: str, container: ContainerSpec, mode: ServiceMode = ServiceMode.REPLICATED) -> str:
        spec = ServiceSpec(
            annotations=Annotations(name=name), mode=mode, replicas=1, task=TaskSpec(container=container)
        )
        return await self.store.update(lambda tx: services.create_service(tx, spec, self.new_id, 1))

    async def rotate(self, ref: str = "pw", data: bytes = b"two", kind: str = "secret") -> tuple[str, tuple[str, ...]]:
        rotate: Any = secret_rotation.rotate_secret if kind == "secret" else secret_rotation.rotate_config
        found: tuple[str, tuple[str, ...]] = await self.store.update(lambda tx: rotate(tx, ref, data, self.new_id, 2))
        return found

    async def roll_back(self, service_id: str) -> None:
        version = self.service(service_id).meta.version
        await self.store.update(lambda tx: services.roll_back_service(tx, service_id, version, 3))

    async def collect(self) -> None:
        planner = SecretVersionPlanner()
        planner.reset(self.store.view())
        await self.store.update(planner.plan(self.store.view(), 4).apply)

    def service(self, service_id: str) -> Service:
        found = self.store.view().services.get(service_id)
        assert found is not None
        return found

    def data_of(self, service_id: str) -> bytes:
        """What a new task of the service would read."""
        [reference] = self.service(service_id).spec.task.container.secrets
        secret = self.store.view().secrets.get(reference.secret_id)
        assert secret is not None
        return secret.spec.data

    @property
    def names(self) -> dict[str, bytes]:
        return {item.spec.annotations.name: item.spec.data for item in self.store.view().secrets}


@pytest.fixture
def cluster(store: Store) -> Cluster:
    return Cluster(store)


def using(secret: str) -> ContainerSpec:
    return ContainerSpec(image="i", secrets=(SecretReference(secret_name=secret),))


async def test_a_rotation_takes_the_name_and_updates_the_services_that_use_it(cluster: Cluster) -> None:
    await cluster.create()
    await cluster.create("other")
    web, other = await cluster.serve("web", using("pw")), await cluster.serve("other", using("other"))
    before = cluster.service(other)
    new, updated = await cluster.rotate()
    assert updated == (web,)
    assert cluster.names == {"pw": b"two", "pw@1": b"one", "other": b"one"}
    assert cluster.data_of(web) == b"two"
    assert cluster.store.view().secrets.find("pw").id == new
    [reference] = cluster.service(web).spec.task.container.secrets
    assert (reference.secret_name, reference.file.name) == ("pw", "pw")
    assert cluster.service(web).spec_version > 1  # its tasks are replaced
    assert cluster.service(other) == before


async def test_a_rollback_brings_back_the_version_before_and_the_next_rotation_goes_on(cluster: Cluster) -> None:
    await cluster.create()
    web = await cluster.serve("web", using("pw"))
    await cluster.rotate()
    await cluster.roll_back(web)
    await cluster.collect()
    assert cluster.data_of(web) == b"one"
    [reference] = cluster.service(web).spec.task.container.secrets
    assert reference.secret_name == "pw"
    await cluster.rotate(data=b"three")
    assert cluster.data_of(web) == b"three"
    assert cluster.names == {"pw@1": b"one", "pw@2": b"two", "pw": b"three"}
    await cluster.collect()
    assert cluster.names == {"pw@1": b"one", "pw": b"three"}  # the rollback needs the first, nothing the second


async def test_a_version_stays_while_a_task_may_run_with_it(cluster: Cluster) -> None:
    await cluster.create()
    web = await cluster.serve("web", using("pw"))
    spec = cluster.service(web).spec.task
    task = Task(id="t", service_id=web, spec=spec, node_id="n", status=TaskStatus(state=TaskState.RUNNING))
    await cluster.store.update(lambda tx: tx.create(task))
    await cluster.rotate()
    await cluster.rotate(data=b"three")
    await cluster.collect()
    assert cluster.names == {"pw@1": b"one", "pw@2": b"two", "pw": b"three"}

    def end(tx: Tx) -> None:
        running = tx.tasks.find("t")
        tx.update(replace(running, status=TaskStatus(state=TaskState.SHUTDOWN)))

    await cluster.store.update(end)
    await cluster.collect()
    assert cluster.names == {"pw@2": b"two", "pw": b"three"}


async def test_the_planner_looks_again_when_a_service_or_task_lets_a_version_go(cluster: Cluster) -> None:
    await cluster.create()
    web = await cluster.serve("web", using("pw"))
    first = cluster.service(web)
    await cluster.rotate()
    await cluster.rotate(data=b"three")
    [old] = [item for item in cluster.store.view().secrets if item.spec.annotations.name == "pw@1"]
    planner = SecretVersionPlanner()
    assert old.id in planner.keys_of(first, cluster.service(web))
    ended = Task(id="t", spec=first.spec.task, status=TaskStatus(state=TaskState.FAILED))
    assert old.id in planner.keys_of(ended, ended)


async def test_a_rotation_runs_no_job_again(cluster: Cluster) -> None:
    await cluster.create()
    job = await cluster.serve("job", using("pw"), ServiceMode.REPLICATED_JOB)
    before = cluster.service(job)
    await cluster.rotate()
    after = cluster.service(job)
    assert cluster.data_of(job) == b"two"
    assert (after.job_status, after.spec_version) == (before.job_status, before.spec_version)
    with pytest.raises(StaleVersionError):  # whoever read the service before must not bring back the old version
        await cluster.store.update(lambda tx: services.update_service(tx, job, before.meta.version, before.spec, 3))


async def test_configs_are_rotated_alike(cluster: Cluster) -> None:
    await cluster.create("motd", kind="config")
    container = ContainerSpec(image="i", configs=(ConfigReference(config_name="motd"),))
    web = await cluster.serve("web", container)
    new, updated = await cluster.rotate("motd", kind="config")
    assert updated == (web,)
    assert cluster.service(web).spec.task.container.configs[0].config_id == new
    assert sorted(item.spec.annotations.name for item in cluster.store.view().configs) == ["motd", "motd@1"]


@pytest.mark.parametrize(
    ("ref", "data", "message"),
    [
        ("pw@1", b"x", "secret pw@1 is an earlier version: update secret pw, which replaced it"),
        ("pw", b"two", "secret pw has this data already"),
        ("pw", b"", "secret data must be larger than 0"),
    ],
)
async def test_a_rotation_without_sense_is_refused_and_changes_nothing(
    cluster: Cluster, ref: str, data: bytes, message: str
) -> None:
    await cluster.create()
    await cluster.serve("web", using("pw"))
    await cluster.rotate()
    before = cluster.names
    with pytest.raises(InvalidArgumentError, match=message):
        await cluster.rotate(ref, data)
    assert cluster.names == before


async def test_a_secret_whose_earlier_version_is_in_use_cannot_be_removed(cluster: Cluster) -> None:
    await cluster.create()
    web = await cluster.serve("web", using("pw"))
    await cluster.rotate()
    await cluster.roll_back(web)
    with pytest.raises(InvalidArgumentError, match="secret 'pw' is in use by the following service: web"):
        await cluster.store.update(lambda tx: secrets.remove_secret(tx, "pw"))
    await cluster.store.update(lambda tx: services.remove_service(tx, web))
    await cluster.store.update(lambda tx: secrets.remove_secret(tx, "pw"))
    assert cluster.names == {}
