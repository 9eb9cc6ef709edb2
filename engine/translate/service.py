"""Docker's Service and ServiceSpec: the field tables of a spec, and a service as clients see it."""

from collections.abc import Mapping
from typing import Any

from covey.errors import InvalidArgumentError
from covey.objects import (
    DNSConfig,
    EndpointSpec,
    JobStatus,
    Placement,
    PortConfig,
    ResourceRequirements,
    RestartPolicy,
    Service,
    ServiceSpec,
    UpdateConfig,
    UpdateStatus,
    replace,
)
from covey.objects.task import DEFAULT_STOP_GRACE_NS
from covey.states import ServiceMode, UpdateState
from engine.translate import enum_names
from engine.translate.base import ANNOTATIONS
from engine.translate.enum_names import enum_name
from engine.translate.field_table import (
    COUNT,
    INTEGER,
    NUMBER,
    TEXT,
    Custom,
    FieldTable,
    Inline,
    Row,
    choice,
    list_of,
    nested,
)
from engine.translate.json_fields import JsonFields, omit_empty
from engine.translate.service_dependency import DEPENDENCY, read_dependency, with_dependency_label
from engine.translate.service_options import with_option_labels
from engine.translate.service_schedule import write_autoscale, write_schedule
from engine.translate.task_spec import NETWORK_ATTACHMENT, TASK_SPEC
from engine.translate.times import rfc3339

_MODES = {
    "Replicated": ServiceMode.REPLICATED,
    "Global": ServiceMode.GLOBAL,
    "ReplicatedJob": ServiceMode.REPLICATED_JOB,
    "GlobalJob": ServiceMode.GLOBAL_JOB,
}

UPDATE_CONFIG = FieldTable(
    UpdateConfig,
    (
        Row(key="Parallelism", field="parallelism", codec=COUNT, default=0, always=True),
        Row(key="Delay", field="delay_ns", codec=INTEGER),
        Row(
            key="FailureAction",
            field="failure_action",
            codec=choice(enum_names.FAILURE_ACTIONS, "unrecognized update failure action {}"),
            always=True,
        ),
        Row(key="Monitor", field="monitor_ns", codec=INTEGER, always=True),
        Row(key="MaxFailureRatio", field="max_failure_ratio", codec=NUMBER, always=True),
        Row(
            key="Order",
            field="order",
            codec=choice(enum_names.UPDATE_ORDERS, "unrecognized update order {}"),
            always=True,
        ),
    ),
)

PORT_CONFIG = FieldTable(
    PortConfig,
    (
        Row(key="Name", field="name", codec=TEXT),
        Row(key="TargetPort", field="target_port", codec=COUNT),
        Row(key="PublishedPort", field="published_port", codec=COUNT),
        Row(key="Protocol", field="protocol", codec=choice(enum_names.PROTOCOLS), always=True),
        Row(key="PublishMode", field="publish_mode", codec=choice(enum_names.PUBLISH_MODES), always=True),
    ),
)

ENDPOINT_SPEC = FieldTable(
    EndpointSpec,
    (
        Row(
            key="Mode",
            field="mode",
            codec=choice(enum_names.ENDPOINT_MODES, 'invalid resolution mode: "{}"'),
            always=True,
        ),
        Row(key="Ports", field="ports", codec=list_of(PORT_CONFIG)),
    ),
)


def _read_mode(fields: JsonFields) -> Mapping[str, Any]:
    """The mode and its counts; a service without a mode is replicated."""
    mode = fields.child("Mode")
    named = [name for name in _MODES if mode is not None and mode.has(name)]
    if mode is None or not named:
        return {}
    if len(named) > 1:
        raise InvalidArgumentError(f"must specify only one service mode; given are {' and '.join(named)}")
    counts = mode.read(named[0], _COUNT_READERS[_MODES[named[0]]])
    mode.refuse_unsupported()
    return {"mode": _MODES[named[0]], **(counts or {})}


def _read_replicas(fields: JsonFields) -> Mapping[str, int]:
    return {"replicas": fields.count("Replicas", 1)}


def _read_completions(fields: JsonFields) -> Mapping[str, int]:
    concurrent = fields.count("MaxConcurrent", 1)
    return {"max_concurrent": concurrent, "total_completions": fields.count("TotalCompletions", concurrent)}


_COUNT_READERS = {
    ServiceMode.REPLICATED: _read_replicas,
    ServiceMode.REPLICATED_JOB: _read_completions,
    ServiceMode.GLOBAL: lambda _: {},
    ServiceMode.GLOBAL_JOB: lambda _: {},
}


def _write_mode(spec: ServiceSpec) -> Mapping[str, Any]:
    if spec.mode is ServiceMode.REPLICATED:
        return {"Mode": {"Replicated": {"Replicas": spec.replicas}}}
    if spec.mode is ServiceMode.REPLICATED_JOB:
        counts = {"MaxConcurrent": spec.max_concurrent, "TotalCompletions": spec.total_completions}
        return {"Mode": {"ReplicatedJob": counts}}
    return {"Mode": {"Global" if spec.mode is ServiceMode.GLOBAL else "GlobalJob": {}}}


SERVICE_SPEC = FieldTable(
    ServiceSpec,
    (
        Inline(field="annotations", table=ANNOTATIONS),
        Row(key="TaskTemplate", field="task", codec=nested(TASK_SPEC), always=True),
        Custom(fields=("mode", "replicas", "max_concurrent", "total_completions"), read=_read_mode, write=_write_mode),
        Row(key="UpdateConfig", field="update", codec=nested(UPDATE_CONFIG)),
        Row(key="RollbackConfig", field="rollback", codec=nested(UPDATE_CONFIG)),
        Row(key="EndpointSpec", field="endpoint", codec=nested(ENDPOINT_SPEC)),
        Custom(
            fields=("service_networks",), read=lambda _: {}, write=lambda _: {}
        ),  # read_spec and write_spec move them
        Custom(
            fields=("depends_on",),
            read=lambda fields: {"depends_on": fields.read_all("DependsOn", read_dependency)},
            write=lambda _: {},
        ),  # clients see them beside the spec, which so stays as they sent it
        Custom(
            fields=("schedule", "autoscale", "rollout"), read=lambda _: {}, write=lambda _: {}
        ),  # the managers read them from labels
    ),
)


def read_spec(body: Any) -> ServiceSpec:
    """The spec of a request's body; whether the cluster can carry it out is judged by the manager.

    Raises:
        InvalidArgumentError: a field has the wrong type or an impossible value.
        UnsupportedError: a field is set that Covey does not have; the message names its path.
    """
    fields = JsonFields(body)
    networks = fields.read_all("Networks", NETWORK_ATTACHMENT.read)  # where clients of API 1.24 write them
    spec = with_option_labels(with_dependency_label(SERVICE_SPEC.read(fields)), fields)
    fields.refuse_unsupported()
    if not JsonFields(fields.raw("TaskTemplate")).has("ContainerSpec"):
        raise InvalidArgumentError("mismatched Runtime and *Spec fields; give TaskTemplate.ContainerSpec")
    if spec.task.networks or not networks:
        return spec
    return replace(spec, task=replace(spec.task, networks=networks), service_networks=True)


def write_spec(spec: ServiceSpec) -> dict[str, Any]:
    written = SERVICE_SPEC.write(spec)
    networks = written["TaskTemplate"].pop("Networks", None) if spec.service_networks else None
    return {**written, "Networks": networks} if networks else written


def write(service: Service, *, defaults: bool = False) -> dict[str, Any]:
    """A service as clients see it. ``defaults`` shows the values that apply where the user set none."""
    return {
        "ID": service.id,
        "Version": {"Index": service.meta.version},
        "CreatedAt": rfc3339(service.meta.created_at_ns),
        "UpdatedAt": rfc3339(service.meta.updated_at_ns),
        "Spec": write_spec(with_defaults(service.spec) if defaults else service.spec),
        "Endpoint": _write_endpoint(service),
        **omit_empty(
            PreviousSpec=None if service.previous_spec is None else write_spec(service.previous_spec),
            DependsOn=[DEPENDENCY.write(item) for item in service.spec.depends_on],
            WaitingFor=service.waiting_for,
            Schedule=write_schedule(service),
            Autoscale=write_autoscale(service),
            UpdateStatus=None if service.update_status is None else _write_update_status(service.update_status),
            JobStatus=None if service.job_status is None else _write_job_status(service.job_status),
        ),
    }


def with_defaults(spec: ServiceSpec) -> ServiceSpec:
    """The spec with the values that apply where it has none."""
    task = spec.task
    container = replace(task.container, dns=task.container.dns or DNSConfig())
    if container.stop_grace_ns is None:
        container = replace(container, stop_grace_ns=DEFAULT_STOP_GRACE_NS)
    task = replace(
        task,
        container=container,
        resources=task.resources or ResourceRequirements(),
        restart=task.restart or RestartPolicy(),
        placement=task.placement or Placement(),
    )
    if spec.mode.is_job:  # it has no updates; a client that sends back what it was shown must not be refused
        return replace(spec, task=task)
    return replace(spec, task=task, update=spec.update or UpdateConfig(), rollback=spec.rollback or UpdateConfig())


def _write_job_status(status: JobStatus) -> dict[str, Any]:
    return {
        "JobIteration": omit_empty(Index=status.iteration),
        "LastExecution": rfc3339(status.last_execution_ns),
    }


def _write_endpoint(service: Service) -> dict[str, Any]:
    """The endpoint as it was assigned. As in Docker, its spec is shown where one was given and the allocator had something to assign."""
    endpoint = service.endpoint
    if endpoint is None:
        return {"Spec": {}}
    has_spec = service.spec.endpoint is not None and bool(endpoint.virtual_ips or endpoint.ports)
    return {
        "Spec": ENDPOINT_SPEC.write(endpoint.spec) if has_spec else {},
        **omit_empty(
            Ports=[PORT_CONFIG.write(port) for port in endpoint.ports],
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
        **omit_empty(AwaitsPromotion=status.awaits_promotion, Rebalancing=status.rebalancing),
    }
