"""Filters of the list of containers and of prune, checked once and then matched against each container."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent.container.model import Container, ContainerConfig, HealthStatus, RunStatus
from agent.local_network.model import PREDEFINED, predefined_id
from covey.errors import InvalidArgumentError, NotFoundError
from engine.translate import filters
from engine.translate.container_networks import network_mode
from engine.translate.container_ports import container_ports
from engine.translate.filters import Filters
from engine.translate.patterns import compile_pattern
from engine.translate.times import parse_moment

LIST_FILTERS = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name", "network", "publish",
    "since", "status", "volume",
)  # fmt: skip
PRUNE_FILTERS = ("label", "label!", "until")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?")
_MAX_PORT = 65535


class PortRange(NamedTuple):
    first: int
    last: int
    protocol: str


class ContainerFilter:
    """The filters of one request. Several values of a filter are alternatives, except for labels, which must all match.

    ``listed`` are all containers, for ``before`` and ``since``; ``image_ids`` are the ids of the images that ``ancestor`` names.
    """

    def __init__(
        self, active: Filters, listed: Sequence[Container], image_ids: Mapping[str, str], engine_id: str
    ) -> None:
        self._active = active
        self._images = set(image_ids.values())
        self._networks = _network_names(active.get("network", ()), engine_id)
        self._task = filters.filter_flag(active, "is-task")
        self._names = [compile_pattern(text) for text in active.get("name", ())]
        self._ids = [compile_pattern(text) for text in active.get("id", ())]
        self._statuses = _choices(active, "status", tuple(RunStatus))
        self._healths = _choices(active, "health", tuple(HealthStatus))
        self._exit_codes = {_exit_code(text) for text in active.get("exited", ())}
        self._published = [_ports("publish", text) for text in active.get("publish", ())]
        self._exposed = [_ports("expose", text) for text in active.get("expose", ())]
        self._before = [_created(listed, ref) for ref in active.get("before", ())]
        self._since = [_created(listed, ref) for ref in active.get("since", ())]

    @property
    def includes_stopped(self) -> bool:
        """Whether the filters ask for containers that do not run, as `--all` does."""
        return bool(self._statuses)

    def matches(self, container: Container) -> bool:
        config, state = container.config, container.state
        return (
            _any_matches(self._ids, container.id)
            and _any_matches(self._names, container.name, f"/{container.name}")
            and filters.match_labels(self._active.get("label", ()), config.labels)
            and (not self._statuses or str(state.status) in self._statuses)
            and (not self._healths or str(state.health.status) in self._healths)
            and (self._task is None or self._task is bool(config.task_id))
            and self._matches_exit(container)
            and self._matches_image(config)
            and self._matches_network(config)
            and self._matches_volume(config)
            and _matches_ports(self._published, container_ports(config))
            and _matches_ports(self._exposed, {*config.exposed_ports, *container_ports(config)})
            and all(config.created_at_ns < moment for moment in self._before)
            and all(config.created_at_ns > moment for moment in self._since)
        )

    def _matches_exit(self, container: Container) -> bool:
        state = container.state
        ended = state.start_count > 0 and not state.active
        return not self._exit_codes or (ended and state.exit_code in self._exit_codes)

    def _matches_image(self, config: ContainerConfig) -> bool:
        names = self._active.get("ancestor")
        return not names or config.image_id in self._images or config.image in names

    def _matches_network(self, config: ContainerConfig) -> bool:
        attached = {name for item in config.networks for name in (item.name, item.network_id)}
        attached |= {request.network for request in config.requested_networks} | {network_mode(config)}
        return not self._networks or any(
            wanted in attached or any(name and name.startswith(wanted) for name in attached if len(wanted) >= 12)
            for wanted in self._networks
        )

    def _matches_volume(self, config: ContainerConfig) -> bool:
        volumes = self._active.get("volume")
        mounted = {name.rstrip("/") or "/" for mount in config.mounts for name in (mount.source, mount.target)}
        return not volumes or any((volume.rstrip("/") or "/") in mounted for volume in volumes)


def matches_prune(active: Filters, container: Container, now_ns: int) -> bool:
    """Whether prune removes a container: it does not run, belongs to no task, and passes the filters."""
    config, state = container.config, container.state
    stopped = state.status in (RunStatus.CREATED, RunStatus.EXITED, RunStatus.DEAD)
    until = [parse_moment(text, now_ns) for text in active.get("until", ())]
    refused = active.get("label!", ())
    return (
        stopped
        and not config.task_id
        and all(config.created_at_ns < moment for moment in until)
        and filters.match_labels(active.get("label", ()), config.labels)
        and not (refused and filters.match_labels(refused, config.labels))
    )


def _any_matches(patterns: Sequence[re.Pattern[str] | None], *texts: str) -> bool:
    return not patterns or any(pattern is not None and pattern.search(text) for pattern in patterns for text in texts)


def _choices(active: Filters, name: str, known: Sequence[str]) -> frozenset[str]:
    values = active.get(name, ())
    for value in values:
        if value not in known:
            raise InvalidArgumentError(
                f"Unrecognised filter value for health: {value}"
                if name == "health"
                else f"invalid filter '{name}={value}'"
            )
    return frozenset(values)


def _exit_code(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgumentError(f"invalid filter 'exited={text}': it must be a number") from None


def _ports(name: str, text: str) -> PortRange:
    found = _PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if found is None or first > last or last > _MAX_PORT:
        raise InvalidArgumentError(f"error while looking up for {name} {text}: use PORT, FIRST-LAST or PORT/PROTOCOL")
    return PortRange(first, last, found[3] or "tcp")


def _matches_ports(wanted: Sequence[PortRange], ports: set[str]) -> bool:
    if not wanted:
        return True
    numbers = [(number, protocol or "tcp") for number, _, protocol in (port.partition("/") for port in ports)]
    return any(
        item.first <= int(number) <= item.last and protocol == item.protocol
        for item in wanted
        for number, protocol in numbers
        if number.isdecimal()
    )


def _created(listed: Sequence[Container], ref: str) -> int:
    """When the container with this name or id prefix was created."""
    for container in listed:
        if ref.removeprefix("/") == container.name or (ref and container.id.startswith(ref)):
            return container.config.created_at_ns
    raise NotFoundError(f"No such container: {ref}")


def _network_names(values: Sequence[str], engine_id: str) -> set[str]:
    """The networks of the filter; a predefined one may be given by its id."""
    ids = {predefined_id(name, engine_id): name for name in PREDEFINED}
    return {
        next((name for key, name in ids.items() if len(value) >= 12 and key.startswith(value)), value)
        for value in values
    }
