"""Service requests: create, update, roll back, remove, task counts. Pure functions on a transaction or view, called by the servicer."""

from covey.errors import AlreadyExistsError, PreconditionError, UnsupportedError
from covey.ids import IdSource
from covey.objects import Service, ServiceSpec, UpdateStatus, replace
from covey.objects.base import Struct
from covey.states import ServiceMode, TaskState, UpdateState
from covey.task_predicates import should_run
from manager import job_schedule
from manager.control.autoscale_validation import with_bounded_replicas
from manager.control.service_validation import resolve_service
from manager.control.version_check import require_current_spec
from manager.job_runs import is_in_present_run
from manager.store import Tx, View


class ServiceTaskCounts(Struct, frozen=True, kw_only=True):
    """Numbers of a service's tasks that run, should run and have completed."""

    running: int = 0
    desired: int = 0
    completed: int = 0


def create_service(tx: Tx, spec: ServiceSpec, new_id: IdSource, now_ns: int) -> str:
    """Stores a new service and returns its id. The first run of a job without a schedule begins now."""
    stored = with_bounded_replicas(resolve_service(tx, spec))
    name = spec.annotations.name
    if tx.services.by_name(name) is not None:
        raise AlreadyExistsError(f"name conflicts with an existing object: service {name} already exists")
    service = Service(id=new_id(), spec=stored, spec_version=1, version_before_spec=tx.version)
    tx.create(job_schedule.created(service, now_ns))
    return service.id


def update_service(tx: Tx, ref: str, version: int, spec: ServiceSpec, now_ns: int) -> str:
    """Replaces the spec. Tasks are replaced, and a job runs again, if the part of the spec that they are made from has changed."""
    service = _find_current(tx, ref, version)
    before = service.spec
    if spec.annotations.name != before.annotations.name:
        raise UnsupportedError("renaming services is not supported; create a service with the new name")
    if spec.mode is not before.mode:
        raise UnsupportedError("service mode change is not allowed; create another service")
    after = with_bounded_replicas(resolve_service(tx, spec, service.id), before)
    replaces_tasks = after.task != before.task or _endpoint_mode(after) != _endpoint_mode(before)
    updated = replace(
        service,
        spec=after,
        version_before_spec=service.meta.version,
        previous_spec=before,
        previous_spec_version=service.spec_version,
        spec_version=service.meta.version + 1 if replaces_tasks else service.spec_version,
        update_status=None,
    )
    tx.update(job_schedule.updated(service, updated, now_ns))
    return service.id


def roll_back_service(tx: Tx, ref: str, version: int, now_ns: int) -> str:
    """Swaps the present and the previous spec. A job runs again at once, so nothing of it is rolled back step by step."""
    service = _find_current(tx, ref, version)
    if service.previous_spec is None:
        raise PreconditionError(f"service {service.spec.annotations.name} does not have a previous spec")
    status = UpdateStatus(
        state=UpdateState.ROLLBACK_STARTED, started_at_ns=now_ns, message="manually requested rollback"
    )
    rolled_back = replace(
        service,
        spec=with_bounded_replicas(resolve_service(tx, service.previous_spec, service.id), service.spec),
        version_before_spec=service.meta.version,
        spec_version=service.previous_spec_version,
        previous_spec=service.spec,
        previous_spec_version=service.spec_version,
        update_status=None if service.spec.mode.is_job else status,
    )
    tx.update(job_schedule.rolled_back(service, rolled_back, now_ns))
    return service.id


def remove_service(tx: Tx, ref: str) -> str:
    """Removes the service. The orchestrator removes its tasks later."""
    service = tx.services.find(ref)
    tx.remove(Service, service.id)
    return service.id


def task_counts(view: View, service: Service) -> ServiceTaskCounts:
    """The task counts of a service, of a job those of its present run."""
    if service.spec.mode.is_job:
        return _job_task_counts(view, service)
    tasks = view.tasks.by_service(service.id)
    active = [task for task in tasks if task.desired_state <= TaskState.RUNNING and not task.status.state.terminal]
    running = sum(task.status.state is TaskState.RUNNING for task in active)
    desired = service.spec.replicas if service.spec.mode is ServiceMode.REPLICATED else len(active)
    completed = sum(task.status.state is TaskState.COMPLETE for task in tasks)
    return ServiceTaskCounts(running=running, desired=desired, completed=completed)


def _job_task_counts(view: View, service: Service) -> ServiceTaskCounts:
    """As in Swarm, a replicated job always wants its concurrent tasks, and a global one those that have not completed."""
    tasks = [task for task in view.tasks.by_service(service.id) if is_in_present_run(service, task)]
    active = [task for task in tasks if should_run(task) and not task.status.state.terminal]
    is_global = service.spec.mode.is_global
    complete = {task.node_id if is_global else task.slot for task in tasks if task.status.state is TaskState.COMPLETE}
    return ServiceTaskCounts(
        running=sum(task.status.state is TaskState.RUNNING for task in active),
        desired=len(active) if is_global else service.spec.max_concurrent,
        completed=len(complete),
    )


def _find_current(tx: Tx, ref: str, version: int) -> Service:
    service = tx.services.find(ref)
    require_current_spec(service, version)
    return service


def _endpoint_mode(spec: ServiceSpec) -> int:
    return spec.endpoint.mode if spec.endpoint else 0
