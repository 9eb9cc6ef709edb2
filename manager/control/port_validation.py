"""Validation of published ports: within one service, and against those of the other services. Pure; called by ``services``.

Invariant: one service at most has a port and protocol in ingress mode, and then none has it in host mode.
"""

from covey.errors import InvalidArgumentError, PreconditionError
from covey.objects import EndpointSpec, PortConfig, Service, ServiceSpec
from covey.states import EndpointMode, PublishMode
from manager.service_ports import PublishedPort, endpoint_spec, ingress_ports, needs_ingress
from manager.store import View

MAX_PORT = 65_535
MAX_PORTS = 4_096


def require_valid_ports(view: View, spec: ServiceSpec) -> None:
    """Refuses ports that no service could publish.

    Raises:
        InvalidArgumentError: names the port. PreconditionError: the cluster has no ingress network.
    """
    endpoint = spec.endpoint or EndpointSpec()
    if len(endpoint.ports) > MAX_PORTS:
        raise InvalidArgumentError(f"EndpointSpec: {len(endpoint.ports)} ports are over the limit of {MAX_PORTS}")
    seen: set[tuple[int, int]] = set()
    for port in endpoint.ports:
        _require_valid_port(endpoint, port)
        key = (port.protocol, port.published_port)
        if port.published_port and key in seen:
            raise InvalidArgumentError("EndpointSpec: duplicate published ports provided")
        seen.add(key)
    if needs_ingress(endpoint) and view.networks.ingress() is None:
        raise PreconditionError("service needs ingress network, but no ingress network is present")
    if needs_ingress(endpoint) and any(_is_host(view, item.target) for item in spec.task.networks):
        raise InvalidArgumentError(
            "EndpointSpec: port published with ingress mode can't be used with the network host: publish with mode=host"
        )


def require_free_ports(view: View, spec: ServiceSpec, service_id: str = "") -> None:
    """Refuses ports that another service publishes. ``service_id`` is the service itself if it exists.

    Raises:
        InvalidArgumentError: names the port and its owner.
    """
    ports = (spec.endpoint or EndpointSpec()).ports
    wanted = {(port.protocol, port.published_port): port for port in ports if port.published_port}
    if not wanted:
        return
    for other in view.services:
        if other.id != service_id:
            _require_no_conflict(wanted, other)


def _require_no_conflict(wanted: dict[PublishedPort, PortConfig], other: Service) -> None:
    assigned = other.endpoint.ports if other.endpoint else ()
    for held in (*endpoint_spec(other).ports, *ingress_ports(assigned)):
        port = wanted.get((held.protocol, held.published_port))
        if port is None or (port.publish_mode is PublishMode.HOST and held.publish_mode is PublishMode.HOST):
            continue
        how = "an ingress" if held.publish_mode is PublishMode.INGRESS else "a host-published"
        name = other.spec.annotations.name
        raise InvalidArgumentError(
            f"port '{held.published_port}' is already in use by service '{name}' ({other.id}) as {how} port"
        )


def _require_valid_port(endpoint: EndpointSpec, port: PortConfig) -> None:
    if not 1 <= port.target_port <= MAX_PORT:
        raise InvalidArgumentError(
            f"EndpointSpec: invalid target port {port.target_port}: must be from 1 to {MAX_PORT}"
        )
    if not 0 <= port.published_port <= MAX_PORT:
        raise InvalidArgumentError(
            f"EndpointSpec: invalid published port {port.published_port}: must be from 1 to {MAX_PORT}, or 0 for any"
        )
    if endpoint.mode is EndpointMode.DNSRR and port.publish_mode is PublishMode.INGRESS:
        raise InvalidArgumentError("EndpointSpec: port published with ingress mode can't be used with dnsrr mode")


def _is_host(view: View, network_id: str) -> bool:
    network = view.networks.get(network_id)
    return network is not None and network.spec.driver.name == "host"
