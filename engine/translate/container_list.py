"""The list of containers as Docker's JSON and the status column."""

from typing import Any

from agent.container.model import Container, HealthStatus, RunStatus
from covey.clock import HOUR, MINUTE, SECOND
from engine.translate import container_ports
from engine.translate.container_mounts import VolumePath, mount_point
from engine.translate.container_networks import network_mode, networks

_DAY, _WEEK, _MONTH, _YEAR = 24 * HOUR, 168 * HOUR, 720 * HOUR, 8760 * HOUR


def summary(container: Container, now_ns: int, engine_id: str, volume_path: VolumePath) -> dict[str, Any]:
    """A container as ``docker ps`` shows it."""
    config, state = container.config, container.state
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": config.image,
        "ImageID": config.image_id,
        "Command": " ".join(f"'{word}'" if " " in word else word for word in config.args),
        "Created": config.created_at_ns // SECOND,
        "Ports": container_ports.summary(container),
        "Labels": config.labels,
        "State": str(state.status),
        "Status": status_line(container, now_ns),
        "HostConfig": {"NetworkMode": network_mode(config)},
        "NetworkSettings": {"Networks": networks(container, engine_id)},
        "Mounts": [mount_point(mount, volume_path) for mount in config.mounts],
    }


def status_line(container: Container, now_ns: int) -> str:
    """The status column of ``docker ps``: ``Up 3 minutes (healthy)``."""
    state = container.state
    if state.status is RunStatus.CREATED:
        return "Created"
    if state.running:
        line = f"Up {human_duration(now_ns - state.started_at_ns)}"
        if state.status is RunStatus.PAUSED:
            return f"{line} (Paused)"
        if state.health.status is HealthStatus.STARTING:
            return f"{line} (health: starting)"
        return line if state.health.status is HealthStatus.NONE else f"{line} ({state.health.status})"
    if state.status is RunStatus.RESTARTING:
        return f"Restarting ({state.exit_code}) {human_duration(now_ns - state.finished_at_ns)} ago"
    if state.status is RunStatus.REMOVING:
        return "Removal In Progress"
    if state.status is RunStatus.DEAD:
        return "Dead"
    return f"Exited ({state.exit_code}) {human_duration(now_ns - state.finished_at_ns)} ago"


def human_duration(span_ns: int) -> str:
    """A duration in words, in its largest unit, as Docker writes it."""
    if span_ns < SECOND:
        return "Less than a second"
    for unit, name, limit, lone in (
        (SECOND, "second", 60, "1 second"),
        (MINUTE, "minute", 60, "About a minute"),
        (HOUR, "hour", 48, "About an hour"),
        (_DAY, "day", 14, "1 day"),
        (_WEEK, "week", 8, "1 week"),
        (_MONTH, "month", 24, "1 month"),
    ):
        count = span_ns // unit
        if count < limit:
            return lone if count == 1 else f"{count} {name}s"
    return f"{span_ns // _YEAR} years"
