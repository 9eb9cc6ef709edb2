"""Validation of service specs; resolves the names of networks, secrets and configs to ids. No other part validates them.

Invariant: a spec that the cluster cannot carry out is refused with the field and the remedy; it is never stored.

Pure. Called in the transaction that creates or updates a service, so that everything the spec refers to exists when it is stored.
"""

from covey.errors import InvalidArgumentError, TooLargeError
from covey.log_driver import check_log_driver
from covey.objects import (
    Placement,
    ResourceRequirements,
    Resources,
    RestartPolicy,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
    replace,
)
from covey.service_options.hooks import hooks
from covey.service_options.labels import check_labels
from covey.service_options.rollout import rollout_options
from covey.states import ServiceMode
from manager import constraints
from manager.control.attachment_validation import require_fixed_addresses, resolved_networks
from manager.control.autoscale_validation import resolved_autoscale
from manager.control.container_validation import resolve_container
from manager.control.dependency_validation import resolved_dependencies
from manager.control.name_validation import require_service_name
from manager.control.placement_options import resolved_placement
from manager.control.port_validation import require_free_ports, require_valid_ports
from manager.control.privilege_validation import with_privileges
from manager.control.schedule_validation import resolved_schedule
from manager.store import View

MAX_REPLICAS = 100_000
_MIN_NANO_CPUS = 1_000_000
_MIN_MEMORY_BYTES = 4 * 1024 * 1024


def resolve_service(view: View, spec: ServiceSpec, service_id: str = "") -> ServiceSpec:
    """The valid spec in the form in which it is stored. ``service_id`` is empty for a new service.

    Raises:
        InvalidArgumentError, NotFoundError, UnsupportedError, TooLargeError, PreconditionError: the message names the field and the remedy.
    """
    require_service_name(spec.annotations)
    check_labels(spec.annotations.labels)
    _require_mode(spec)
    _require_update("update", spec.update)
    _require_update("rollback", spec.rollback)
    resolved = replace(
        spec,
        task=_resolved_task(view, spec),
        depends_on=resolved_dependencies(view, spec),
        schedule=resolved_schedule(spec),
        autoscale=resolved_autoscale(spec),
        rollout=rollout_options(spec.annotations.labels, is_job=spec.mode.is_job, is_global=spec.mode.is_global),
    )
    require_valid_ports(view, resolved)
    require_free_ports(view, resolved, service_id)
    require_fixed_addresses(view, resolved, service_id)
    return resolved


def _require_mode(spec: ServiceSpec) -> None:
    if spec.replicas < 0:
        raise InvalidArgumentError("Number of replicas must be non-negative")
    if spec.replicas > MAX_REPLICAS:
        raise TooLargeError(f"{spec.replicas} replicas are over the limit of {MAX_REPLICAS}")
    if spec.mode.is_job:
        _require_job(spec)


def _require_job(spec: ServiceSpec) -> None:
    if spec.update is not None:
        raise InvalidArgumentError("Jobs may not have an update config")
    if spec.rollback is not None:
        raise InvalidArgumentError("Jobs may not have a rollback config")
    if spec.max_concurrent < 0 or spec.total_completions < 0:
        raise InvalidArgumentError("ReplicatedJob: MaxConcurrent and TotalCompletions must be non-negative")
    if spec.total_completions > MAX_REPLICAS:
        raise TooLargeError(f"{spec.total_completions} completions are over the limit of {MAX_REPLICAS}")
    if spec.total_completions and not spec.max_concurrent and spec.mode is ServiceMode.REPLICATED_JOB:
        raise InvalidArgumentError(
            f"ReplicatedJob: with a MaxConcurrent of 0 none of {spec.total_completions} completions is reached; give at least 1"
        )


def _require_update(name: str, update: UpdateConfig | None) -> None:
    if update is None:
        return
    if update.parallelism < 0:
        raise InvalidArgumentError(f"TaskSpec: {name}-parallelism cannot be negative")
    if update.delay_ns < 0:
        raise InvalidArgumentError(f"TaskSpec: {name}-delay cannot be negative")
    if update.monitor_ns < 0:
        raise InvalidArgumentError(f"TaskSpec: {name}-monitor cannot be negative")
    if not 0 <= update.max_failure_ratio <= 1:
        raise InvalidArgumentError(f"TaskSpec: {name}-maxfailureratio cannot be less than 0 or bigger than 1")


def _resolved_task(view: View, spec: ServiceSpec) -> TaskSpec:
    task = spec.task
    _require_resources(task.resources)
    _require_restart(task.restart)
    _require_placement(task.placement)
    check_log_driver(task.log_driver, "TaskTemplate.LogDriver")
    container = resolve_container(view, task.container, spec.annotations)
    container = with_privileges(view, spec, container)
    post_start, pre_stop = hooks(spec.annotations.labels)
    container = replace(container, post_start=post_start, pre_stop=pre_stop)
    placement = resolved_placement(view, spec)
    return replace(task, container=container, networks=resolved_networks(view, task.networks), placement=placement)


def _require_resources(resources: ResourceRequirements | None) -> None:
    if resources is None:
        return
    _require_amounts(resources.limits)
    _require_amounts(resources.reservations)
    limits = resources.limits
    if limits is not None and (limits.generic or limits.named_generic):
        raise InvalidArgumentError("generic resources can be reserved, not limited")


def _require_amounts(amounts: Resources | None) -> None:
    if amounts is None:
        return
    if amounts.nano_cpus and amounts.nano_cpus < _MIN_NANO_CPUS:
        raise InvalidArgumentError(
            f"invalid cpu value {amounts.nano_cpus / 1e9:g}: Must be at least {_MIN_NANO_CPUS / 1e9:g}"
        )
    if amounts.memory_bytes and amounts.memory_bytes < _MIN_MEMORY_BYTES:
        raise InvalidArgumentError(f"invalid memory value {amounts.memory_bytes}: Must be at least 4MiB")
    if amounts.pids < 0:
        raise InvalidArgumentError(f"invalid pids value {amounts.pids}: Must not be negative")


def _require_restart(restart: RestartPolicy | None) -> None:
    if restart is None:
        return
    if restart.delay_ns < 0:
        raise InvalidArgumentError("TaskSpec: restart-delay cannot be negative")
    if restart.window_ns is not None and restart.window_ns < 0:
        raise InvalidArgumentError("TaskSpec: restart-window cannot be negative")
    if restart.max_attempts < 0:
        raise InvalidArgumentError("TaskSpec: restart-max-attempts cannot be negative")


def _require_placement(placement: Placement | None) -> None:
    if placement is None:
        return
    for text in placement.constraints:
        constraints.parse_constraint(text)
    if placement.max_replicas < 0:
        raise InvalidArgumentError("Placement: max-replicas-per-node cannot be negative")
