"""The list of containers as Docker's JSON, the status column, and the filters of the list."""

from typing import Any

from agent.container.model import Container, ContainerConfig, HealthStatus, RunStatus
from covey.clock import HOUR, MINUTE, SECOND
from covey.errors import InvalidArgumentError
from engine.translate import filters
from engine.translate.container import published_ports
from engine.translate.container_mounts import VolumePath, mount_point
from engine.translate.container_networks import network_mode, networks
from engine.translate.filters import Filters

FILTERS = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network", "publish",
    "since", "status", "volume",
)  # fmt: skip
_DAY, _WEEK, _MONTH, _YEAR = 24 * HOUR, 168 * HOUR, 720 * HOUR, 8760 * HOUR


def summary(container: Container, now_ns: int, engine_id: str, volume_path: VolumePath) -> dict[str, Any]:
    """A container as ``docker ps`` shows it."""
    config, state = container.config, container.state
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": config.image,
        "ImageID": config.image_id,
        "Command": " ".join(config.args),
        "Created": config.created_at_ns // SECOND,
        "Ports": _summary_ports(config),
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


def matches(active: Filters, container: Container, listed: list[Container]) -> bool:
    """Whether a container passes the filters. ``listed`` are all containers, for ``before`` and ``since``."""
    config, state = container.config, container.state
    task = filters.filter_flag(active, "is-task")
    named = active.get("name")
    statuses, healths = active.get("status"), active.get("health")
    for status in statuses or ():
        if status not in (*tuple(RunStatus), "restarting"):
            raise filters.invalid_filter("status", (status,), f"use one of {', '.join(RunStatus)}")
    return (
        filters.match_prefix(active.get("id"), container.id)
        and (not named or any(name.strip("^/$") in container.name for name in named))
        and filters.match_labels(active.get("label", ()), config.labels)
        and (not statuses or str(state.status) in statuses)
        and (not healths or str(state.health.status) in healths)
        and (task is None or task is bool(config.task_id))
        and _matches_image(active, config)
        and _matches_exit(active, container)
        and _matches_attachments(active, config)
        and _matches_age(active, container, listed)
    )


def _matches_image(active: Filters, config: ContainerConfig) -> bool:
    images = active.get("ancestor")
    return not images or any(
        item in (config.image, config.image.split("@")[0], config.image_id)
        or config.image == f"{item}:latest"
        or config.image_id.removeprefix("sha256:").startswith(item.removeprefix("sha256:"))
        for item in images
    )


def _matches_exit(active: Filters, container: Container) -> bool:
    codes = active.get("exited")
    if not codes:
        return True
    for code in codes:
        if not code.lstrip("-").isdecimal():
            raise filters.invalid_filter("exited", (code,), "use an exit code")
    state = container.state
    return state.start_count > 0 and not state.running and str(state.exit_code) in codes


def _matches_attachments(active: Filters, config: ContainerConfig) -> bool:
    networks, volumes = active.get("network"), active.get("volume")
    attached = {name for item in config.networks for name in (item.name, item.network_id)} | {network_mode(config)}
    mounted = {name for mount in config.mounts for name in (mount.source, mount.target)}
    published = {key for item in config.networks for key in item.ports}
    ports = (*active.get("publish", ()), *active.get("expose", ()))
    return (
        (not networks or not attached.isdisjoint(networks))
        and (not volumes or not mounted.isdisjoint(volumes))
        and (not ports or not published.isdisjoint(port if "/" in port else f"{port}/tcp" for port in ports))
    )


def _matches_age(active: Filters, container: Container, listed: list[Container]) -> bool:
    for name, sign in (("before", 1), ("since", -1)):
        for ref in active.get(name, ()):
            other = next((item for item in listed if item.name == ref or item.id.startswith(ref)), None)
            if other is None:
                raise InvalidArgumentError(f"invalid filter '{name}={ref}': no such container")
            if sign * (other.config.created_at_ns - container.config.created_at_ns) <= 0:
                return False
    return True


def _summary_ports(config: ContainerConfig) -> list[dict[str, Any]]:
    result = []
    for port, address, number in published_ports(config):
        private, _, protocol = port.partition("/")
        result.append(
            {"IP": address, "PrivatePort": int(private), "PublicPort": int(number or 0), "Type": protocol or "tcp"}
        )
    return result
