"""``Schedule`` and ``Autoscale`` of a service: what its labels mean and what became of it, which Docker has no fields for. Pure."""

from typing import Any

from covey.objects import Service
from covey.quantities import go_duration
from covey.service_options.schedule import CONCURRENCIES, MISSED
from engine.translate.json_fields import omit_empty
from engine.translate.times import rfc3339


def write_schedule(service: Service) -> dict[str, Any] | None:
    """The schedule of a job with its next and its present run, or None."""
    schedule, status, run = service.spec.schedule, service.schedule_status, service.job_status
    if schedule is None or status is None:
        return None
    last_ns = run.last_execution_ns if run is not None else 0
    return {
        "Expression": schedule.expression,
        "TimeZone": schedule.timezone,
        "Concurrency": _name(CONCURRENCIES, schedule.concurrency),
        "History": schedule.history,
        "Missed": _name(MISSED, schedule.missed),
        **omit_empty(
            Deadline=go_duration(schedule.deadline_ns) if schedule.deadline_ns else "",
            NextRun=_time(status.next_run_ns),
            LastRun=_time(last_ns),
            LastScheduled=_time(status.scheduled_ns),
            LastFinished=_time(status.finished_ns),
            LastOutcome=status.outcome or ("running" if last_ns else ""),
            ConcurrentRuns=len(status.earlier),
            SkippedRun=_time(status.skipped_ns),
            SkippedReason=status.skipped_reason,
        ),
    }


def write_autoscale(service: Service) -> dict[str, Any] | None:
    """The bounds and targets of a service that is scaled by its load, with the last decision, or None."""
    autoscale, status = service.spec.autoscale, service.autoscale_status
    if autoscale is None:
        return None
    return {
        "Min": autoscale.min,
        "Max": autoscale.max,
        **omit_empty(
            CPUPercent=autoscale.cpu_percent,
            MemoryPercent=autoscale.memory_percent,
            PrometheusURL=autoscale.prometheus_url,
            PrometheusQuery=autoscale.prometheus_query,
            PrometheusTarget=autoscale.prometheus_target,
        ),
        "CooldownUp": go_duration(autoscale.cooldown_up_ns),
        "CooldownDown": go_duration(autoscale.cooldown_down_ns),
        "Stabilization": go_duration(autoscale.stabilization_ns),
        **omit_empty(
            ChangedAt=_time(status.changed_ns) if status is not None else "",
            Message=status.message if status is not None else "",
            Error=status.error if status is not None else "",
        ),
    }


def _time(time_ns: int) -> str:
    return rfc3339(time_ns) if time_ns else ""


def _name(names: dict[str, Any], value: Any) -> str:
    return next(name for name, item in names.items() if item == value)
