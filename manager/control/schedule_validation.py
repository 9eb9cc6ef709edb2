"""Validation of the labels `covey.schedule…` against the spec. Pure; called by the validation of services."""

from covey.errors import InvalidArgumentError
from covey.objects import JobSchedule, ServiceSpec
from covey.service_options.schedule import SCHEDULE_LABEL, read_schedule


def resolved_schedule(spec: ServiceSpec) -> JobSchedule | None:
    """The schedule that the labels of a spec name.

    Raises:
        InvalidArgumentError: a label is malformed, or the service is not a job; the message names the label.
    """
    schedule = read_schedule(spec.annotations.labels)
    if schedule is not None and not spec.mode.is_job:
        raise InvalidArgumentError(
            f"label {SCHEDULE_LABEL}: a {spec.mode.name.lower()} service runs all the time; schedules are for the modes replicated-job and "
            "global-job"
        )
    return schedule
