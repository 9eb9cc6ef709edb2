"""Published ports of services in ingress mode: which service holds which port, and which is free.

Invariant: an ingress port and protocol belong to one service. Host-mode ports belong to nodes; the scheduler handles them. Called by the
allocator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from covey.objects import EndpointSpec, PortConfig, Service, replace
from covey.states import Protocol, PublishMode

FIRST_DYNAMIC, LAST_DYNAMIC = 30000, 32767

PublishedPort = tuple[Protocol, int]


def held_ports(service: Service) -> set[PublishedPort]:
    """The ingress ports that a service has or requests."""
    requested = (service.spec.endpoint or EndpointSpec()).ports
    assigned = service.endpoint.ports if service.endpoint else ()
    return {
        (port.protocol, port.published_port) for port in _ingress_ports((*requested, *assigned)) if port.published_port
    }


def assign_ports(service: Service, taken: Collection[PublishedPort]) -> tuple[PortConfig, ...] | None:
    """The spec's ports, with a number for those without one: the previous number if there is one. None if no port is free."""
    before = {(port.protocol, port.target_port): port for port in (service.endpoint.ports if service.endpoint else ())}
    free = _free_ports(taken, held_ports(service))
    ports = []
    for port in (service.spec.endpoint or EndpointSpec()).ports:
        if port.published_port or port.publish_mode is not PublishMode.INGRESS:
            ports.append(port)
            continue
        previous = before.get((port.protocol, port.target_port))
        number = previous.published_port if previous else next(free, 0)
        if not number:
            return None
        ports.append(replace(port, published_port=number))
    return tuple(ports)


def _free_ports(taken: Collection[PublishedPort], own: Collection[PublishedPort]) -> Iterator[int]:
    numbers = {number for _, number in taken} | {number for _, number in own}
    return (number for number in range(FIRST_DYNAMIC, LAST_DYNAMIC + 1) if number not in numbers)


def _ingress_ports(ports: Iterable[PortConfig]) -> list[PortConfig]:
    return [port for port in ports if port.publish_mode is PublishMode.INGRESS]
