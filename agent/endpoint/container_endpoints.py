"""Endpoints of containers translated between configuration, attachments of the cluster and what is remembered. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

import msgspec

from agent.container.model import ContainerConfig, EndpointSettings, NetworkRequest
from agent.endpoint.attachments import HeldAttachment
from agent.endpoint.plan import BRIDGE
from agent.network.model import Attachment
from covey.ids import endpoint_id
from covey.objects import Network

_OVERLAY = "overlay"


def needs_resolver(
    config: ContainerConfig, endpoints: Iterable[EndpointSettings], host_nameservers: Sequence[str]
) -> bool:
    """Whether the container asks the sandbox's resolver. As in Docker, one on the default bridge asks the servers themselves.

    A nameserver on the host's loopback can be reached through the resolver alone.
    """
    if config.task_id or any(item.name != BRIDGE for item in endpoints):
        return True
    return not config.dns and all(ip_address(each.partition("%")[0]).is_loopback for each in host_nameservers)


def overlay_endpoint(
    config: ContainerConfig, attachment: Attachment, request: NetworkRequest, network: Network
) -> EndpointSettings:
    """The endpoint of a container on an overlay network."""
    address, _, prefix = attachment.address.partition("/")
    address6, _, prefix6 = attachment.address6.partition("/")
    return EndpointSettings(
        name=network.spec.annotations.name,
        driver=_OVERLAY,
        network_id=network.id,
        endpoint_id=endpoint_id(config.id, network.id),
        ip=address,
        prefix=int(prefix or 32),
        ip6=address6,
        prefix6=int(prefix6 or 0),
        mac=attachment.hardware_address,
        aliases=attachment.aliases,
        links=request.links,
        interface=attachment.interface,
    )


def host_gateway(endpoints: Iterable[EndpointSettings]) -> str:
    """The address by which a container reaches its host, "" if there is none."""
    return next((item.gateway for item in endpoints if item.gateway and item.driver == BRIDGE), "")


def held_attachment(container_id: str, item: EndpointSettings) -> HeldAttachment:
    """What a running container says that it holds on a network of the cluster."""
    address6 = f"{item.ip6}/{item.prefix6}" if item.ip6 else ""
    return HeldAttachment(container_id, item.network_id, f"{item.ip}/{item.prefix}", address6=address6, mac=item.mac)


def granted_request(request: NetworkRequest, held: HeldAttachment) -> NetworkRequest:
    """The request with the addresses that the managers gave."""
    return msgspec.structs.replace(request, network=held.network_id, ip=held.address, ip6=held.address6, mac=held.mac)


def is_local(endpoint: EndpointSettings) -> bool:
    """Whether this host makes the endpoint by itself, and not for an overlay network."""
    return endpoint.driver not in {"", _OVERLAY}


def overlay_attachments(config: ContainerConfig) -> tuple[Attachment, ...]:
    """The overlay interfaces that a running container has."""
    return tuple(
        Attachment(
            network_id=item.network_id,
            address=f"{item.ip}/{item.prefix}",
            interface=item.interface or f"eth{number}",
            aliases=item.aliases,
            address6=f"{item.ip6}/{item.prefix6}" if item.ip6 else "",
            mac=item.mac,
        )
        for number, item in enumerate(config.networks)
        if item.network_id and not is_local(item)
    )
