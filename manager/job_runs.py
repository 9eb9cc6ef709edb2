"""The runs of a job: which tasks belong to the present one, when an update starts another, and how it begins.

Invariant: the number of a run only goes up, and each task of a job carries that of its run. Pure; called by the control API, the
orchestrator and the reaper.
"""

from covey.objects import JobStatus, Service, ServiceSpec, Task, replace


def is_in_present_run(service: Service, task: Task) -> bool:
    """Whether a task of a job belongs to the job's present run."""
    return service.job_status is not None and task.job_iteration == service.job_status.iteration


def with_next_run(service: Service, now_ns: int) -> Service:
    """The job with its next run, which begins now; a service that is not a job as it is."""
    if not service.spec.mode.is_job:
        return service
    present = service.job_status
    iteration = present.iteration + 1 if present is not None and has_run(present) else 0
    schedule = service.schedule_status
    if schedule is not None:
        schedule = replace(schedule, scheduled_ns=0, finished_ns=0, outcome="", earlier=())
    status = JobStatus(iteration=iteration, last_execution_ns=now_ns)
    return replace(service, job_status=status, schedule_status=schedule)


def has_run(status: JobStatus) -> bool:
    """Whether the run has begun. The first run of a job with a schedule waits for its time."""
    return status.last_execution_ns > 0


def runs_again(before: ServiceSpec, after: ServiceSpec) -> bool:
    """Whether an update makes a job run again: anything but its name, labels, dependencies and registry credentials changed."""
    return _work(before) != _work(after)


def _work(spec: ServiceSpec) -> ServiceSpec:
    task = replace(spec.task, container=replace(spec.task.container, registry_auth=""))
    return ServiceSpec(
        task=task,
        mode=spec.mode,
        max_concurrent=spec.max_concurrent,
        total_completions=spec.total_completions,
        endpoint=spec.endpoint,
    )
