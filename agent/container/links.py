"""Links between containers and other names for /etc/hosts that only a start can resolve. Pure.

Invariant: a linked container must run. Its alias, its host name and its name lead to its address on the default bridge. Called by
`agent.container.lifecycle` at every start.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.container.model import Container, ContainerConfig, NetworkConnection, NetworkRequest
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, NotFoundError

HOST_GATEWAY = "host-gateway"
BRIDGE = "bridge"

Find = Callable[[str], Container]


def parse_link(link: str) -> tuple[str, str]:
    """The container and the alias of a link `NAME`, `NAME:ALIAS` or `/NAME:/OTHER/ALIAS`."""
    name, _, alias = link.partition(":")
    name = name.removeprefix("/")
    return name, alias.rpartition("/")[2] or name


def is_on_default_bridge(config: ContainerConfig) -> bool:
    """Whether the container's own network is the default bridge, where links need no network's DNS."""
    return config.network_mode in {"", BRIDGE, "default"}


def check_links(config: ContainerConfig, find: Find) -> None:
    """Raises InvalidArgumentError for a link to a container that does not exist."""
    for link in config.links:
        name, _ = parse_link(link)
        try:
            find(name)
        except NotFoundError as error:
            raise InvalidArgumentError(f"could not get container for {name}: {error.message}") from None


def extra_hosts(config: ContainerConfig, connection: NetworkConnection, find: Find) -> tuple[str, ...]:
    """The container's extra hosts as `NAME:ADDRESS`, with `host-gateway` and links resolved."""
    resolved = []
    for entry in config.extra_hosts:
        name, _, address = entry.partition(":")
        if address != HOST_GATEWAY:
            resolved.append(entry)
        elif connection.host_gateway:
            resolved.append(f"{name}:{connection.host_gateway}")
    for link in config.links if is_on_default_bridge(config) else ():
        resolved += _linked_names(config, link, find)
    resolved_by_name = {item.name for item in connection.endpoints if item.driver not in {"", "overlay"}}
    for request in config.requested_networks:
        for link in request.links if request.network not in resolved_by_name else ():
            resolved += _names_on_network(request, link, find)
    return tuple(dict.fromkeys(resolved))


def _names_on_network(request: NetworkRequest, link: str, find: Find) -> list[str]:
    """The alias of a container of this host that runs on the same network; any other name is left to the network's DNS."""
    name, alias = parse_link(link)
    try:
        other = find(name)
    except CoveyError:
        return []
    running = other.config.networks if other.state.running else ()
    return [f"{alias}:{item.ip}" for item in running if request.network in {item.name, item.network_id}]


def _linked_names(config: ContainerConfig, link: str, find: Find) -> list[str]:
    name, alias = parse_link(link)
    other = find(name)
    address = next((each.ip for each in other.config.networks if each.name == BRIDGE), "")
    if not other.state.running:
        raise ConflictError(f"Cannot link to a non running container: /{other.name} AS /{config.name}/{alias}")
    if not address:
        raise ConflictError(f"Cannot link to /{other.name}, as it does not belong to the default network")
    names = dict.fromkeys((alias, other.config.hostname or other.id[:12], other.name))
    return [f"{each}:{address}" for each in names]
