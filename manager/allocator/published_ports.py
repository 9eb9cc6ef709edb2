"""Published ports of services in ingress mode: which service holds which port, and which is free.

Invariant: an ingress port and protocol belong to one service. Host-mode ports belong to nodes; the scheduler handles them. Called by the
allocator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from covey.errors import ConflictError
from covey.objects import EndpointSpec, PortConfig, Service, ServiceSpec, replace
from covey.states import Protocol, PublishMode
from manager.store.view import View

FIRST_DYNAMIC, LAST_DYNAMIC = 30000, 32767

PublishedPort = tuple[Protocol, int]


def check_ports(view: View, spec: ServiceSpec, service_id: str = "") -> None:
    """Raises ConflictError when another service holds a port of the mesh that the spec asks for."""
    wished = {(port.protocol, port.published_port) for port in _ingress_ports((spec.endpoint or EndpointSpec()).ports)}
    for other in view.services if wished else ():
        if other.id == service_id:
            continue
        for protocol, number in held_ports(other):
            if number and (protocol, number) in wished:
                name = other.spec.annotations.name
                raise ConflictError(
                    f"port '{number}' is already in use by service '{name}' ({other.id}) as an ingress port"
                )


def held_ports(service: Service) -> set[PublishedPort]:
    """The ports of the mesh that a service has or asks for."""
    asked = (service.spec.endpoint or EndpointSpec()).ports
    given = service.endpoint.ports if service.endpoint else ()
    return {(port.protocol, port.published_port) for port in _ingress_ports((*asked, *given)) if port.published_port}


def assign_ports(service: Service, taken: Collection[PublishedPort]) -> tuple[PortConfig, ...] | None:
    """The spec's ports with numbers for those that left it open, the same as before where that is known; None: none is left."""
    before = {(port.protocol, port.target_port): port for port in (service.endpoint.ports if service.endpoint else ())}
    free = _free_ports(taken, held_ports(service))
    given = []
    for port in (service.spec.endpoint or EndpointSpec()).ports:
        if port.published_port or port.publish_mode is not PublishMode.INGRESS:
            given.append(port)
            continue
        earlier = before.get((port.protocol, port.target_port))
        number = earlier.published_port if earlier else next(free, 0)
        if not number:
            return None
        given.append(replace(port, published_port=number))
    return tuple(given)


def _free_ports(taken: Collection[PublishedPort], own: Collection[PublishedPort]) -> Iterator[int]:
    numbers = {number for _, number in taken} | {number for _, number in own}
    return (number for number in range(FIRST_DYNAMIC, LAST_DYNAMIC + 1) if number not in numbers)


def _ingress_ports(ports: Iterable[PortConfig]) -> list[PortConfig]:
    return [port for port in ports if port.publish_mode is PublishMode.INGRESS]
