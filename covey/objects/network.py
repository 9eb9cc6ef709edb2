"""A network of the cluster: an overlay that spans the hosts."""

from covey.objects.base import Annotations, Driver, Meta, Struct


class IPAMConfig(Struct, frozen=True, kw_only=True):
    """CIDR notation; empty strings are filled in by the allocator."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = {}


class IPAM(Struct, frozen=True, kw_only=True):
    driver: Driver = Driver()
    configs: tuple[IPAMConfig, ...] = ()


class NetworkSpec(Struct, frozen=True, kw_only=True):
    annotations: Annotations = Annotations()
    driver: Driver = Driver(name="overlay")
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipam: IPAM = IPAM()


class Network(Struct, frozen=True, kw_only=True):
    """``ipam`` and ``vni`` are what the allocator gave; a network without a vni is not usable yet."""

    id: str
    meta: Meta = Meta()
    spec: NetworkSpec = NetworkSpec()
    ipam: IPAM = IPAM()
    vni: int = 0
