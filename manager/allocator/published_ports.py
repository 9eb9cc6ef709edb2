"""Published ports of services in ingress mode: which service holds which port, and which is free.

Invariant: an ingress port and protocol belong to one service, and no service publishes them in host mode. Host-mode ports belong to nodes;
the scheduler handles them. Called by the allocator.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from covey.objects import PortConfig, Service, replace
from covey.states import PublishMode
from manager.service_ports import PublishedPort, endpoint_spec

FIRST_DYNAMIC, LAST_DYNAMIC = 30000, 32767


class PortOwners:
    """The services that have a port, by port and protocol: one in ingress mode, or any number in host mode."""

    def __init__(self) -> None:
        self._owners: dict[PublishedPort, dict[str, PublishMode]] = {}
        self._ports: dict[str, tuple[PublishedPort, ...]] = {}

    def set(self, service_id: str, ports: Iterable[PortConfig]) -> None:
        """Records the ports that a service has."""
        for key in self._ports.pop(service_id, ()):
            del self._owners[key][service_id]
            if not self._owners[key]:
                del self._owners[key]
        modes = {(port.protocol, port.published_port): port.publish_mode for port in ports if port.published_port}
        for key, mode in modes.items():
            self._owners.setdefault(key, {})[service_id] = mode
        if modes:
            self._ports[service_id] = tuple(modes)

    def conflict(self, service: Service) -> tuple[int, str] | None:
        """A port that the service asks for and the id of another that has it; None if there is none. The control API refuses such
        requests, but a rollback may come back to a port that was given away meanwhile.
        """
        for port in endpoint_spec(service).ports:
            for owner, mode in self._owners.get((port.protocol, port.published_port), {}).items():
                if owner != service.id and PublishMode.INGRESS in (mode, port.publish_mode):
                    return port.published_port, owner
        return None


def held_ports(service: Service) -> set[PublishedPort]:
    """The ports that a service has or requests, in both modes."""
    assigned = service.endpoint.ports if service.endpoint else ()
    return {
        (port.protocol, port.published_port)
        for port in (*endpoint_spec(service).ports, *assigned)
        if port.published_port
    }


def assign_ports(service: Service, taken: Collection[PublishedPort]) -> tuple[PortConfig, ...] | None:
    """The spec's ports, with a number for those without one: the previous number if there is one. None if no port is free."""
    spec = endpoint_spec(service)
    requested = {(port.protocol, port.published_port) for port in spec.ports}
    drawn = [
        port
        for port in (service.endpoint.ports if service.endpoint else ())
        if port.publish_mode is PublishMode.INGRESS and (port.protocol, port.published_port) not in requested
    ]
    free = _free_ports(taken, held_ports(service))
    ports = []
    for port in spec.ports:
        if port.published_port or port.publish_mode is not PublishMode.INGRESS:
            ports.append(port)
            continue
        previous = next((one for one in drawn if replace(one, published_port=0) == port), None)
        if previous is not None:
            drawn.remove(previous)
        number = previous.published_port if previous else next(free, 0)
        if not number:
            return None
        ports.append(replace(port, published_port=number))
    return tuple(ports)


def _free_ports(taken: Collection[PublishedPort], own: Collection[PublishedPort]) -> Iterator[int]:
    numbers = {number for _, number in taken} | {number for _, number in own}
    return (number for number in range(FIRST_DYNAMIC, LAST_DYNAMIC + 1) if number not in numbers)
