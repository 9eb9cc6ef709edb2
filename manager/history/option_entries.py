"""What entries of services say about schedules and autoscaling. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from covey.clock import SECOND
from covey.objects import AutoscaleStatus, ScheduleStatus, Service


def option_changes(before: Service, after: Service) -> tuple[dict[str, str], list[str]]:
    """The attributes and sentences for a run that began, finished or was skipped, and for what the autoscaler decided."""
    attributes, told = _schedule_changes(before, after)
    old, new = before.autoscale_status or AutoscaleStatus(), after.autoscale_status or AutoscaleStatus()
    if new.changed_ns != old.changed_ns and new.message:
        attributes["autoscale.reason"] = new.message
        told.append(new.message)
    if new.error != old.error:
        attributes["autoscale.error"] = new.error
        told.append(f"load unknown: {new.error}" if new.error else "load known again")
    return attributes, told


def _schedule_changes(before: Service, after: Service) -> tuple[dict[str, str], list[str]]:
    old, new = before.schedule_status or ScheduleStatus(), after.schedule_status or ScheduleStatus()
    attributes: dict[str, str] = {}
    told: list[str] = []
    if new.scheduled_ns and before.job_status != after.job_status:
        attributes["schedule.run"] = _time(new.scheduled_ns)
        told.append(f"began the run of {_time(new.scheduled_ns)}")
    if new.finished_ns and not old.finished_ns:
        attributes["schedule.outcome"] = new.outcome
        told.append(f"the run is over: {new.outcome}")
    if new.skipped_ns != old.skipped_ns:
        attributes |= {"schedule.skipped": _time(new.skipped_ns), "schedule.reason": new.skipped_reason}
        told.append(f"skipped the run of {_time(new.skipped_ns)}: {new.skipped_reason}")
    return attributes, told


def _time(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // SECOND, UTC):%Y-%m-%dT%H:%M:%SZ}"
