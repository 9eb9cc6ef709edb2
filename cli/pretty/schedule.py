"""Schedules and autoscaling in the text of ``service inspect --pretty``. Pure."""

from collections.abc import Mapping
from typing import Any

from cli.pretty.lines import Line

Item = Mapping[str, Any]


def schedule_lines(item: Item) -> list[Line]:
    """The schedule of a job for `inspect --pretty`."""
    found = item.get("Schedule") or {}
    if not found:
        return []
    skipped = found.get("SkippedRun")
    return [
        (0, "Schedule:", None),
        (1, "Expression", f"{found['Expression']} ({found['TimeZone']})"),
        (1, "Concurrency", found.get("Concurrency")),
        (
            1,
            "Missed runs",
            found.get("Missed", "") + (f", at most {found['Deadline']} late" * bool(found.get("Deadline"))),
        ),
        (1, "Runs kept", str(found.get("History", 0))),
        (1, "Next run", found.get("NextRun", "never")),
        (1, "Last run", f"{found['LastRun']} ({found.get('LastOutcome', '')})" if found.get("LastRun") else None),
        (1, "Skipped run", f"{skipped}: {found.get('SkippedReason', '')}" if skipped else None),
    ]


def autoscale_lines(item: Item) -> list[Line]:
    """The autoscaling of a service for `inspect --pretty`."""
    found = item.get("Autoscale") or {}
    if not found:
        return []
    query = f"{found.get('PrometheusTarget', 0):g} of {found.get('PrometheusQuery')} at {found.get('PrometheusURL')}"
    return [
        (0, "Autoscale:", None),
        (1, "Replicas", f"{found['Min']} to {found['Max']}"),
        (1, "CPU", f"{found['CPUPercent']:g} %" if found.get("CPUPercent") else None),
        (1, "Memory", f"{found['MemoryPercent']:g} %" if found.get("MemoryPercent") else None),
        (1, "Prometheus", query if found.get("PrometheusQuery") else None),
        (1, "Cooldown", f"{found.get('CooldownUp')} up, {found.get('CooldownDown')} down"),
        (1, "Last change", f"{found['Message']} ({found.get('ChangedAt')})" if found.get("Message") else None),
        (1, "Error", found.get("Error")),
    ]
