"""Docker's Service and ServiceSpec and ours. What the cluster cannot do yet is refused here by name."""

from typing import Any

from agent.image import reference
from covey.errors import InvalidArgumentError, UnsupportedError
from covey.objects import (
    Driver,
    Endpoint,
    EndpointSpec,
    PortConfig,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    Service,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    UpdateStatus,
    replace,
)
from covey.objects.base import Annotations
from covey.states import (
    EndpointMode,
    MountType,
    Protocol,
    PublishMode,
    ServiceMode,
    UpdateFailureAction,
    UpdateOrder,
    UpdateState,
)
from engine.translate import enum_names, task_spec
from engine.translate.enum_names import enum_name
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.times import rfc3339

_DEFAULT_GRACE_NS = 10_000_000_000
_MODES = {
    "Replicated": ServiceMode.REPLICATED,
    "Global": ServiceMode.GLOBAL,
    "ReplicatedJob": ServiceMode.REPLICATED_JOB,
    "GlobalJob": ServiceMode.GLOBAL_JOB,
}


def read_spec(body: Any) -> ServiceSpec:
    """The spec of a request's body.

    Raises:
        InvalidArgumentError: a field has the wrong type or an impossible value.
        UnsupportedError: a field is set that Covey does not have; the message names it.
    """
    fields = JsonFields(body)
    task = fields.read("TaskTemplate", task_spec.read)
    if task is None:
        raise InvalidArgumentError("TaskTemplate is missing: say what the service's tasks run")
    networks = fields.read_all("Networks", task_spec.read_attachment)
    if networks and not task.networks:
        task = replace(task, networks=networks)
    mode, replicas, concurrent, completions = fields.read("Mode", _read_mode) or (ServiceMode.REPLICATED, 1, 0, 0)
    spec = ServiceSpec(
        annotations=Annotations(name=fields.text("Name"), labels=fields.text_map("Labels")),
        task=task,
        mode=mode,
        replicas=replicas,
        max_concurrent=concurrent,
        total_completions=completions,
        update=fields.read("UpdateConfig", _read_update),
        rollback=fields.read("RollbackConfig", _read_update),
        endpoint=fields.read("EndpointSpec", _read_endpoint),
    )
    fields.refuse_unknown()
    return spec


def write_spec(spec: ServiceSpec) -> dict[str, Any]:
    return {
        "Name": spec.annotations.name,
        "Labels": spec.annotations.labels,
        "TaskTemplate": task_spec.write(spec.task),
        "Mode": _write_mode(spec),
        **omit_empty(
            UpdateConfig=None if spec.update is None else _write_update(spec.update),
            RollbackConfig=None if spec.rollback is None else _write_update(spec.rollback),
            EndpointSpec=None if spec.endpoint is None else _write_endpoint_spec(spec.endpoint),
        ),
    }


def write(service: Service, *, defaults: bool = False) -> dict[str, Any]:
    """``defaults``: show what applies where the user set nothing."""
    return {
        "ID": service.id,
        "Version": {"Index": service.meta.version},
        "CreatedAt": rfc3339(service.meta.created_at_ns),
        "UpdatedAt": rfc3339(service.meta.updated_at_ns),
        "Spec": write_spec(with_defaults(service.spec) if defaults else service.spec),
        "Endpoint": _write_endpoint(service.endpoint),
        **omit_empty(
            PreviousSpec=None if service.previous_spec is None else write_spec(service.previous_spec),
            UpdateStatus=None if service.update_status is None else _write_update_status(service.update_status),
        ),
    }


def with_defaults(spec: ServiceSpec) -> ServiceSpec:
    """The spec with the values that apply where it says nothing."""
    task = spec.task
    container = task.container
    if container.stop_grace_ns is None:
        container = replace(container, stop_grace_ns=_DEFAULT_GRACE_NS)
    task = replace(
        task,
        container=container,
        resources=task.resources or ResourceRequirements(limits=Resources(), reservations=Resources()),
        restart=task.restart or RestartPolicy(),
    )
    return replace(
        spec,
        task=task,
        update=spec.update or UpdateConfig(),
        rollback=spec.rollback or UpdateConfig(),
        endpoint=spec.endpoint or EndpointSpec(),
    )


def refuse_unsupported(spec: ServiceSpec) -> None:
    """Name the first thing this spec asks for that the cluster cannot do (yet), or that no node could."""
    if spec.mode in (ServiceMode.REPLICATED_JOB, ServiceMode.GLOBAL_JOB):
        raise UnsupportedError("job services (Mode.ReplicatedJob, Mode.GlobalJob) are not supported by Covey yet")
    if spec.endpoint is not None and spec.endpoint.ports:
        raise UnsupportedError(
            "published ports (EndpointSpec.Ports) are not supported by Covey yet; create the service without --publish"
        )
    _refuse_task(spec.task)


def _refuse_task(task: TaskSpec) -> None:
    if not reference.is_image_id(task.container.image):
        reference.parse(task.container.image)
    for index, mount in enumerate(task.container.mounts):
        if mount.type in (MountType.NPIPE, MountType.CLUSTER):
            where = f"TaskTemplate.ContainerSpec.Mounts[{index}].Type"
            raise UnsupportedError(
                f"{where} = {enum_name(mount.type)!r} is not supported by Covey yet; use bind, volume or tmpfs"
            )
    if task.log_driver is not None:
        _refuse_log_driver(task.log_driver)
    for index, network in enumerate(task.networks):
        if network.addresses or network.driver_options:
            field = "Addresses" if network.addresses else "DriverOpts"
            raise UnsupportedError(f"TaskTemplate.Networks[{index}].{field} is not supported by Covey yet; remove it")


def _refuse_log_driver(driver: Driver) -> None:
    if driver.name not in ("", "json-file"):
        raise UnsupportedError(
            f"TaskTemplate.LogDriver.Name = {driver.name!r} is not supported by Covey yet; use json-file"
        )
    if driver.options:
        raise UnsupportedError(
            f"TaskTemplate.LogDriver.Options[{min(driver.options)!r}] is not supported by Covey yet; remove it"
        )


def _read_mode(fields: JsonFields) -> tuple[ServiceMode, int, int, int]:
    named = [name for name in _MODES if fields.has(name)]
    if len(named) > 1:
        raise InvalidArgumentError(f"must specify only one service mode, not {' and '.join(named)}")
    for name in _MODES:
        fields.raw(name)
    if not named:
        return ServiceMode.REPLICATED, 1, 0, 0
    mode = _MODES[named[0]]
    counts = fields.read(named[0], _read_counts(mode))
    return (mode, *(counts or (1, 0, 0)))


def _read_counts(mode: ServiceMode) -> Any:
    def read(fields: JsonFields) -> tuple[int, int, int]:
        if mode is ServiceMode.REPLICATED:
            return fields.count("Replicas", 1), 0, 0
        if mode is ServiceMode.REPLICATED_JOB:
            concurrent = fields.count("MaxConcurrent", 1)
            return 1, concurrent, fields.count("TotalCompletions", concurrent)
        return 1, 0, 0

    return read


def _write_mode(spec: ServiceSpec) -> dict[str, Any]:
    if spec.mode is ServiceMode.REPLICATED:
        return {"Replicated": {"Replicas": spec.replicas}}
    if spec.mode is ServiceMode.REPLICATED_JOB:
        return {"ReplicatedJob": {"MaxConcurrent": spec.max_concurrent, "TotalCompletions": spec.total_completions}}
    return {"Global": {}} if spec.mode is ServiceMode.GLOBAL else {"GlobalJob": {}}


def _read_update(fields: JsonFields) -> UpdateConfig:
    ratio = fields.ratio("MaxFailureRatio")
    if not 0 <= ratio <= 1:
        raise InvalidArgumentError(f"{fields.path_of('MaxFailureRatio')} must be between 0 and 1, not {ratio}")
    return UpdateConfig(
        parallelism=fields.count("Parallelism"),
        delay_ns=fields.count("Delay"),
        failure_action=fields.choice("FailureAction", enum_names.FAILURE_ACTIONS, UpdateFailureAction.PAUSE),
        monitor_ns=fields.count("Monitor", UpdateConfig().monitor_ns),
        max_failure_ratio=ratio,
        order=fields.choice("Order", enum_names.UPDATE_ORDERS, UpdateOrder.STOP_FIRST),
    )


def _write_update(update: UpdateConfig) -> dict[str, Any]:
    return {
        "Parallelism": update.parallelism,
        **omit_empty(Delay=update.delay_ns),
        "FailureAction": enum_name(update.failure_action),
        "Monitor": update.monitor_ns,
        "MaxFailureRatio": update.max_failure_ratio,
        "Order": enum_name(update.order),
    }


def _read_endpoint(fields: JsonFields) -> EndpointSpec:
    return EndpointSpec(
        mode=fields.choice("Mode", enum_names.ENDPOINT_MODES, EndpointMode.VIP),
        ports=fields.read_all("Ports", _read_port),
    )


def _write_endpoint_spec(spec: EndpointSpec) -> dict[str, Any]:
    return {"Mode": enum_name(spec.mode), **omit_empty(Ports=[_write_port(port) for port in spec.ports])}


def _read_port(fields: JsonFields) -> PortConfig:
    return PortConfig(
        name=fields.text("Name"),
        protocol=fields.choice("Protocol", enum_names.PROTOCOLS, Protocol.TCP),
        target_port=fields.count("TargetPort"),
        published_port=fields.count("PublishedPort"),
        publish_mode=fields.choice("PublishMode", enum_names.PUBLISH_MODES, PublishMode.INGRESS),
    )


def _write_port(port: PortConfig) -> dict[str, Any]:
    return {
        **omit_empty(Name=port.name, TargetPort=port.target_port, PublishedPort=port.published_port),
        "Protocol": enum_name(port.protocol),
        "PublishMode": enum_name(port.publish_mode),
    }


def _write_endpoint(endpoint: Endpoint | None) -> dict[str, Any]:
    if endpoint is None:
        return {"Spec": {}}
    return {
        "Spec": _write_endpoint_spec(endpoint.spec),
        **omit_empty(
            Ports=[_write_port(port) for port in endpoint.ports],
            VirtualIPs=[{"NetworkID": vip.network_id, "Addr": vip.address} for vip in endpoint.virtual_ips],
        ),
    }


def _write_update_status(status: UpdateStatus) -> dict[str, Any] | None:
    if status.state is UpdateState.UNKNOWN:
        return None
    return {
        "State": enum_name(status.state),
        **omit_empty(
            StartedAt=rfc3339(status.started_at_ns) if status.started_at_ns else None,
            CompletedAt=rfc3339(status.completed_at_ns) if status.completed_at_ns else None,
        ),
        "Message": status.message,
    }
