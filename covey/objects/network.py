"""Networks of the cluster: overlay networks that span the hosts."""

from covey.objects.base import Annotations, Driver, Meta, Struct


class IPAMConfig(Struct, frozen=True, kw_only=True):
    """A subnet in CIDR notation. The allocator fills in empty strings."""

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
    """``ipam`` and ``vni`` are set by the allocator. A network without a VNI cannot be used yet."""

    id: str
    meta: Meta = Meta()
    spec: NetworkSpec = NetworkSpec()
    ipam: IPAM = IPAM()
    vni: int = 0
