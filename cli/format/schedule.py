"""What schedules and autoscaling say of themselves: lines for `service ls` and `service ps`. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from cli.format.units import ago, human_duration, parse_time

Item = Mapping[str, Any]


def replica_note(item: Item, now_ns: int) -> str:
    """What `service ls` says behind the replicas of a service; empty for one that has neither."""
    if found := item.get("Schedule"):
        return f" (next {_ahead(found.get('NextRun', ''), now_ns)})"
    if found := item.get("Autoscale"):
        return f" ({found['Min']} to {found['Max']}{', load unknown' * bool(found.get('Error'))})"
    return ""


def footer(services: Iterable[Item], now_ns: int) -> list[str]:
    """The lines that `service ps` writes below the tasks: of schedules and of autoscaling, with reasons."""
    lines: list[str] = []
    for item in services:
        name = item["Spec"]["Name"]
        if found := item.get("Schedule"):
            lines.append(f"{name}: next run {_ahead(found.get('NextRun', ''), now_ns)}{_last(found, now_ns)}")
            if found.get("SkippedRun"):
                lines.append(f"{name}: skipped the run of {found['SkippedRun']}: {found.get('SkippedReason', '')}")
        if found := item.get("Autoscale"):
            lines.append(f"{name}: {found['Min']} to {found['Max']} replicas{_change(found, now_ns)}")
            if found.get("Error"):
                lines.append(f"{name}: autoscaling knows no load: {found['Error']}")
    return lines


def _last(found: Item, now_ns: int) -> str:
    if not found.get("LastRun"):
        return ""
    return f", last {ago(parse_time(found['LastRun']), now_ns).lower()} ({found.get('LastOutcome', '')})"


def _change(found: Item, now_ns: int) -> str:
    if not found.get("Message"):
        return ""
    return f"; {found['Message']} {ago(parse_time(found.get('ChangedAt', '')), now_ns).lower()}"


def _ahead(text: str, now_ns: int) -> str:
    time_ns = parse_time(text)
    if not time_ns:
        return "never"
    return f"in {human_duration(time_ns - now_ns).lower()}" if time_ns > now_ns else "now"
