"""Networks of the cluster: overlay networks that span the hosts, and networks of drivers that work on each node by itself."""

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
    """``config_from`` names the config-only network of each node that has the rest of the configuration."""

    annotations: Annotations = Annotations()
    driver: Driver = Driver(name="overlay")
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    ipam: IPAM = IPAM()
    config_from: str = ""


class Network(Struct, frozen=True, kw_only=True):
    """``ipam``, ``vni`` and ``allocated`` are set by the allocator, together. A network cannot be used before."""

    id: str
    meta: Meta = Meta()
    spec: NetworkSpec = NetworkSpec()
    ipam: IPAM = IPAM()
    vni: int = 0
    allocated: bool = False

    @property
    def usable(self) -> bool:
        """Whether the allocator is done with it. Networks of earlier versions say so by their VNI alone."""
        return self.allocated or bool(self.vni)

    @property
    def node_local(self) -> bool:
        """Whether each node gives the addresses by itself, as with macvlan: the managers give none."""
        return self.spec.driver.name not in ("", "overlay")
