"""Control API requests on an in-memory store: validation messages, and that a refused request changes nothing."""

from typing import Any

import pytest

from covey import codec
from covey.errors import (
    AlreadyExistsError,
    CoveyError,
    InvalidArgumentError,
    NotFoundError,
    PreconditionError,
    StaleVersionError,
    UnsupportedError,
)
from covey.objects import (
    Annotations,
    ClusterSpec,
    ConfigSpec,
    ContainerSpec,
    DNSConfig,
    Driver,
    EndpointSpec,
    HealthConfig,
    Mount,
    NetworkAttachmentConfig,
    NetworkSpec,
    Placement,
    PortConfig,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    SecretReference,
    SecretSpec,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskStatus,
    UpdateConfig,
    UpdateStatus,
    replace,
)
from covey.states import MountType, ServiceMode, TaskState, UpdateState
from coveypb.v1 import control_pb2
from manager.ca.cluster_trust import new_cluster
from manager.control import services
from manager.control.servicer import ControlServicer
from manager.grpc_status import status_code
from manager.store import Store

NOW = 1_800_000_000_000_000_000


def service_spec(name: str = "web", **task: Any) -> ServiceSpec:
    container = task.pop("container", ContainerSpec(image="busybox"))
    return ServiceSpec(annotations=Annotations(name=name), task=TaskSpec(container=container, **task))


async def create(control: ControlServicer, spec: ServiceSpec) -> Any:
    return await control.CreateService(control_pb2.CreateServiceRequest(spec=codec.to_wire(spec)), None)


async def update(control: ControlServicer, ref: str, version: int, spec: ServiceSpec | None = None, **more: Any) -> Any:
    request = control_pb2.UpdateServiceRequest(ref=ref, version=version, **more)
    if spec is not None:
        codec.write(spec, request.spec)
    return await control.UpdateService(request, None)


async def network(control: ControlServicer, name: str, **spec: Any) -> Any:
    wanted = NetworkSpec(**({"annotations": Annotations(name=name)} | spec))
    return await control.CreateNetwork(control_pb2.CreateNetworkRequest(spec=codec.to_wire(wanted)), None)


async def secret(control: ControlServicer, name: str, data: bytes = b"x") -> Any:
    spec = SecretSpec(annotations=Annotations(name=name), data=data)
    return await control.CreateSecret(control_pb2.CreateSecretRequest(spec=codec.to_wire(spec)), None)


def remove(ref: str, *, force: bool = False) -> control_pb2.RemoveRequest:
    return control_pb2.RemoveRequest(ref=ref, force=force)


REFUSED: list[tuple[str, ServiceSpec, type[CoveyError], str]] = [
    ("no name", service_spec(""), InvalidArgumentError, "name must be provided"),
    ("bad name", service_spec("a b"), InvalidArgumentError, "name must be valid as a DNS name component"),
    ("long name", service_spec("a" * 64), InvalidArgumentError, "63 characters or fewer"),
    ("no image", service_spec(container=ContainerSpec()), InvalidArgumentError, "image reference must be provided"),
    ("negative", replace(service_spec(), replicas=-1), InvalidArgumentError, "must be non-negative"),
    (
        "job without concurrent tasks",
        replace(service_spec(), mode=ServiceMode.REPLICATED_JOB, total_completions=3),
        InvalidArgumentError,
        "MaxConcurrent of 0",
    ),
    (
        "job with updates",
        replace(service_spec(), mode=ServiceMode.GLOBAL_JOB, update=UpdateConfig()),
        InvalidArgumentError,
        "Jobs may not have an update config",
    ),
    (
        "ports",
        replace(service_spec(), endpoint=EndpointSpec(ports=(PortConfig(target_port=80, published_port=8080),))),
        PreconditionError,
        "service needs ingress network, but no ingress network is present",
    ),
    (
        "constraint",
        service_spec(placement=Placement(constraints=("node.role=x",))),
        InvalidArgumentError,
        "one operator",
    ),
    (
        "network",
        service_spec(networks=(NetworkAttachmentConfig(target="gone"),)),
        NotFoundError,
        "network gone not found",
    ),
    (
        "no network",
        service_spec(networks=(NetworkAttachmentConfig(target="none"),)),
        NotFoundError,
        "network none not found",
    ),
    (
        "image",
        service_spec(container=ContainerSpec(image="Bad:Name:")),
        InvalidArgumentError,
        "invalid reference format",
    ),
    (
        "log driver",
        service_spec(log_driver=Driver(name="gelf")),
        InvalidArgumentError,
        "TaskTemplate.LogDriver: .*gelf",
    ),
    (
        "log option",
        service_spec(log_driver=Driver(name="json-file", options={"max-size": "big"})),
        InvalidArgumentError,
        "TaskTemplate.LogDriver: invalid size: 'big'",
    ),
    (
        "volume driver",
        service_spec(
            container=ContainerSpec(
                image="i", mounts=(Mount(type=MountType.VOLUME, target="/a", volume_driver=Driver(name="rexray")),)
            )
        ),
        UnsupportedError,
        "volume driver rexray is not supported: use local",
    ),
    (
        "restart",
        service_spec(restart=RestartPolicy(delay_ns=-1)),
        InvalidArgumentError,
        "restart-delay cannot be negative",
    ),
    (
        "update",
        replace(service_spec(), update=UpdateConfig(max_failure_ratio=2)),
        InvalidArgumentError,
        "maxfailureratio",
    ),
    (
        "memory",
        service_spec(resources=ResourceRequirements(limits=Resources(memory_bytes=1024))),
        InvalidArgumentError,
        "Must be at least 4MiB",
    ),
    (
        "cpu",
        service_spec(resources=ResourceRequirements(reservations=Resources(nano_cpus=10))),
        InvalidArgumentError,
        "invalid cpu value",
    ),
    (
        "secret",
        service_spec(container=ContainerSpec(image="i", secrets=(SecretReference(secret_name="pw"),))),
        InvalidArgumentError,
        "secret not found: pw",
    ),
    (
        "mount twice",
        service_spec(
            container=ContainerSpec(
                image="i",
                mounts=(Mount(type=MountType.TMPFS, target="/a"), Mount(type=MountType.TMPFS, target="/a/")),
            )
        ),
        InvalidArgumentError,
        "duplicate mount point",
    ),
    (
        "health",
        service_spec(container=ContainerSpec(image="i", healthcheck=HealthConfig(interval_ns=5))),
        InvalidArgumentError,
        "cannot be less than 1ms",
    ),
    (
        "health kind",
        service_spec(container=ContainerSpec(image="i", healthcheck=HealthConfig(test=("NOPE", "true")))),
        InvalidArgumentError,
        "Unknown healthcheck type 'NOPE'",
    ),
    (
        "health without a command",
        service_spec(container=ContainerSpec(image="i", healthcheck=HealthConfig(test=("CMD-SHELL",)))),
        InvalidArgumentError,
        "the healthcheck's CMD-SHELL has no command",
    ),
    (
        "nameserver",
        service_spec(container=ContainerSpec(image="i", dns=DNSConfig(nameservers=("nope",)))),
        InvalidArgumentError,
        "the nameserver 'nope' is not an IP address",
    ),
    (
        "open template",
        service_spec(container=ContainerSpec(image="i", env=("A={{.Node.ID",))),
        InvalidArgumentError,
        "Env .*unclosed action",
    ),
]


@pytest.mark.parametrize(("spec", "error", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_an_invalid_service_spec_is_refused_and_not_stored(
    control: ControlServicer, store: Store, spec: ServiceSpec, error: type[CoveyError], words: str
) -> None:
    with pytest.raises(error, match=words):
        await create(control, spec)
    assert len(store.view().services) == 0


async def test_a_stored_service_refers_to_networks_and_secrets_by_id(control: ControlServicer, store: Store) -> None:
    net, pw = await network(control, "front"), await secret(control, "pw")
    container = ContainerSpec(image="i", secrets=(SecretReference(secret_name="pw"),))
    await create(control, service_spec(container=container, networks=(NetworkAttachmentConfig(target="front"),)))
    stored = store.view().services.find("web").spec.task
    assert stored.networks[0].target == net.id
    [reference] = stored.container.secrets
    assert (reference.secret_id, reference.secret_name, reference.file.name) == (pw.id, "pw", "pw")
    with pytest.raises(PreconditionError, match="network front is in use by service web"):
        await control.RemoveNetwork(remove("front"), None)
    with pytest.raises(InvalidArgumentError, match="secret 'pw' is in use by the following service: web"):
        await control.RemoveSecret(remove("pw"), None)
    await create(control, service_spec("api", container=container))
    with pytest.raises(InvalidArgumentError, match="in use by the following services: api, web"):
        await control.RemoveSecret(remove("pw"), None)


async def test_names_in_use_are_refused_in_dockers_words(control: ControlServicer) -> None:
    await create(control, service_spec())
    await secret(control, "pw")
    await network(control, "front")
    with pytest.raises(AlreadyExistsError, match="name conflicts with an existing object: service web already exists"):
        await create(control, service_spec())
    with pytest.raises(AlreadyExistsError, match="secret pw already exists"):
        await secret(control, "pw")
    with pytest.raises(AlreadyExistsError, match="network with name front already exists"):
        await network(control, "front")


async def test_an_update_from_a_stale_version_is_out_of_sequence(control: ControlServicer) -> None:
    created = await create(control, service_spec())
    after = await update(control, "web", created.meta.version, replace(service_spec(), replicas=3))
    with pytest.raises(StaleVersionError, match="update out of sequence"):
        await update(control, "web", created.meta.version, replace(service_spec(), replicas=4))
    assert after.spec.replicas == 3
    assert status_code(StaleVersionError("")).name == "ABORTED"


async def test_a_change_by_the_cluster_itself_does_not_make_an_update_stale(
    control: ControlServicer, store: Store
) -> None:
    """1. A client reads the service. 2. A running update makes progress. 3. The client sends its own update."""
    created = await create(control, service_spec())
    for _ in range(2):
        noted = store.view().services.get(created.id)
        status = UpdateStatus(state=UpdateState.UPDATING)
        await store.update(lambda tx, noted=noted, status=status: tx.update(replace(noted, update_status=status)))
    after = await update(control, "web", created.meta.version, replace(service_spec(), replicas=3))
    assert after.spec.replicas == 3
    for unseen in (created.meta.version - 1, after.meta.version + 1):
        with pytest.raises(StaleVersionError):
            await update(control, "web", unseen, service_spec())


async def test_only_changes_of_the_task_spec_increase_the_spec_version_and_a_rollback_restores_it(
    control: ControlServicer,
) -> None:
    first = await create(control, service_spec())
    scaled = await update(control, "web", first.meta.version, replace(service_spec(), replicas=3))
    assert scaled.spec_version == first.spec_version
    changed = await update(
        control, "web", scaled.meta.version, replace(service_spec(container=ContainerSpec(image="new")), replicas=3)
    )
    assert changed.spec_version > scaled.spec_version
    back = await update(control, "web", changed.meta.version, rollback=True)
    assert (back.spec.task.container.image, back.spec.replicas) == ("busybox", 3)
    assert back.spec_version == scaled.spec_version
    assert back.previous_spec.task.container.image == "new"


async def test_the_name_and_mode_of_a_service_cannot_change(control: ControlServicer) -> None:
    created = await create(control, service_spec())
    with pytest.raises(UnsupportedError, match="renaming services is not supported"):
        await update(control, created.id, created.meta.version, service_spec("other"))
    with pytest.raises(UnsupportedError, match="service mode change is not allowed"):
        await update(control, created.id, created.meta.version, replace(service_spec(), mode=ServiceMode.GLOBAL))
    with pytest.raises(PreconditionError, match="does not have a previous spec"):
        await update(control, created.id, created.meta.version, rollback=True)


@pytest.mark.parametrize("data", [b"", b"x" * 512_000])
async def test_an_empty_or_too_large_secret_is_refused(control: ControlServicer, data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="secret data must be larger than 0 and less than 512000 bytes"):
        await secret(control, "pw", data)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 65, "a."])
async def test_an_invalid_secret_name_is_refused(control: ControlServicer, name: str) -> None:
    with pytest.raises(InvalidArgumentError, match="name"):
        await secret(control, name)


async def test_the_data_of_a_secret_is_never_returned_and_only_its_labels_can_change(
    control: ControlServicer, store: Store
) -> None:
    created = await secret(control, "pw", b"hunter2")
    listed = (await control.ListSecrets(control_pb2.ListRequest(), None)).secrets
    assert [bytes(one.spec.data) for one in (created, *listed)] == [b"", b""]
    spec = SecretSpec(annotations=Annotations(name="pw", labels={"a": "b"}))
    request = control_pb2.UpdateSecretRequest(ref="pw", version=created.meta.version, spec=codec.to_wire(spec))
    await control.UpdateSecret(request, None)
    stored = store.view().secrets.find("pw").spec
    assert (stored.annotations.labels, stored.data) == ({"a": "b"}, b"hunter2")
    request.version = store.view().secrets.find("pw").meta.version
    request.spec.data = b"other"
    with pytest.raises(InvalidArgumentError, match="only updates to Labels are allowed"):
        await control.UpdateSecret(request, None)


async def test_the_data_of_a_config_is_returned(control: ControlServicer) -> None:
    spec = ConfigSpec(annotations=Annotations(name="c"), data=b"plain")
    created = await control.CreateConfig(control_pb2.CreateConfigRequest(spec=codec.to_wire(spec)), None)
    assert created.spec.data == b"plain"
    await control.RemoveConfig(remove("c"), None)


async def test_join_tokens_rotate_and_the_root_key_is_never_returned(control: ControlServicer, store: Store) -> None:
    cluster = new_cluster(ClusterSpec(), NOW)
    await store.update(lambda tx: tx.create(cluster))
    seen = await control.GetCluster(control_pb2.GetClusterRequest(), None)
    assert not seen.root_ca.key
    assert seen.root_ca.cert == cluster.root_ca.cert
    request = control_pb2.UpdateClusterRequest(version=seen.meta.version, rotate_worker_token=True)
    after = await control.UpdateCluster(request, None)
    assert after.root_ca.join_token_worker != cluster.root_ca.join_token_worker
    assert after.root_ca.join_token_manager == cluster.root_ca.join_token_manager
    with pytest.raises(StaleVersionError):
        await control.UpdateCluster(request, None)


async def test_the_unlock_key_follows_autolock_and_is_returned_by_its_own_method_only(
    control: ControlServicer, store: Store
) -> None:
    await store.update(lambda tx: tx.create(new_cluster(ClusterSpec(), NOW)))

    async def key() -> str:
        return (await control.GetUnlockKey(control_pb2.GetUnlockKeyRequest(), None)).unlock_key

    async def update(*, auto_lock: bool, rotate: bool = False) -> Any:
        version = next(iter(store.view().clusters)).meta.version
        spec = codec.to_wire(ClusterSpec(auto_lock=auto_lock))
        request = control_pb2.UpdateClusterRequest(version=version, spec=spec, rotate_unlock_key=rotate)
        return await control.UpdateCluster(request, None)

    assert await key() == ""
    assert (await update(auto_lock=True)).unlock_key == ""
    first = await key()
    assert first.startswith("SWMKEY-1-")
    await update(auto_lock=True)
    assert await key() == first
    assert (await update(auto_lock=True, rotate=True)).unlock_key == ""
    second = await key()
    assert second not in {"", first}
    assert (await control.GetCluster(control_pb2.GetClusterRequest(), None)).unlock_key == ""
    with pytest.raises(InvalidArgumentError, match="autolock is not turned on"):
        await update(auto_lock=False, rotate=True)
    assert await key() == second
    await update(auto_lock=False)
    assert await key() == ""


async def test_values_of_one_filter_are_alternatives_and_all_filters_must_match(
    control: ControlServicer, store: Store
) -> None:
    for name, labels in (("web", {"tier": "front"}), ("api", {"tier": "back"}), ("db", {"tier": "back", "disk": ""})):
        spec = service_spec(name)
        await create(control, replace(spec, annotations=Annotations(name=name, labels=labels)))

    async def names(**filters: Any) -> set[str]:
        listed = await control.ListServices(control_pb2.ListRequest(**filters), None)
        return {service.spec.annotations.name for service in listed.services}

    assert await names() == {"web", "api", "db"}
    assert await names(names=["web", "db"]) == {"web", "db"}
    assert await names(name_prefixes=["d"]) == {"db"}
    assert await names(labels=["tier=back"]) == {"api", "db"}
    assert await names(labels=["tier=back", "disk"]) == {"db"}
    assert await names(names=["web"], labels=["tier=back"]) == set()
    web = store.view().services.find("web")
    assert await names(id_prefixes=[web.id[:8]]) == {"web"}


async def test_task_counts_give_running_and_desired_tasks(control: ControlServicer, store: Store) -> None:
    created = await create(control, replace(service_spec(), replicas=3))

    def task(number: int, state: TaskState, desired: TaskState = TaskState.RUNNING) -> Task:
        return Task(
            id=f"t{number}", service_id=created.id, slot=number, status=TaskStatus(state=state), desired_state=desired
        )

    await store.update(lambda tx: tx.create(task(1, TaskState.RUNNING)))
    await store.update(lambda tx: tx.create(task(2, TaskState.PREPARING)))
    await store.update(lambda tx: tx.create(task(3, TaskState.RUNNING, TaskState.SHUTDOWN)))
    counts = services.task_counts(store.view(), store.view().services.find("web"))
    assert (counts.running, counts.desired) == (1, 3)
