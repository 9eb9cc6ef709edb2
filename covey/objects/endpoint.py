"""Endpoints of services: VIP or DNSRR mode, virtual IPs, published ports."""

from covey.objects.base import Struct
from covey.states import EndpointMode, Protocol, PublishMode


class PortConfig(Struct, frozen=True, kw_only=True):
    name: str = ""
    protocol: Protocol = Protocol.TCP
    target_port: int = 0
    published_port: int = 0
    publish_mode: PublishMode = PublishMode.INGRESS


class EndpointSpec(Struct, frozen=True, kw_only=True):
    mode: EndpointMode = EndpointMode.VIP
    ports: tuple[PortConfig, ...] = ()


class VirtualIP(Struct, frozen=True, kw_only=True):
    """Addresses with their prefix lengths: ``10.0.1.2/24``, ``fd00::2/64``."""

    network_id: str = ""
    address: str = ""
    address6: str = ""


class Endpoint(Struct, frozen=True, kw_only=True):
    """The ports and virtual IPs that the allocator assigned to a service."""

    spec: EndpointSpec = EndpointSpec()
    ports: tuple[PortConfig, ...] = ()
    virtual_ips: tuple[VirtualIP, ...] = ()
