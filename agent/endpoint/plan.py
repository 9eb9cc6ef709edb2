"""Interface plan: the network namespace and interfaces that a container needs, from its configuration and the networks known here. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from agent.container.model import ContainerConfig, NetworkRequest
from agent.local_network.model import LocalNetwork
from agent.local_network.options import read_bridge_options, read_vlan_options
from agent.network.model import Attachment
from covey.errors import InvalidArgumentError, NotFoundError, PermissionDeniedError, UnsupportedError
from covey.objects import Network

HOST_DRIVER, NULL_DRIVER = "host", "null"
BRIDGE = "bridge"
NODE_DRIVERS = frozenset({"macvlan", "ipvlan"})
"""Drivers of networks of the cluster of which each node makes its own part."""
IFNAME_OPTION = "com.docker.network.endpoint.ifname"
_DEFAULT_NAMES = {"default": BRIDGE, "": BRIDGE}
_MAX_DEVICE_NAME = 15

FindLocal = Callable[[str], LocalNetwork | None]


class PlannedInterface(msgspec.Struct, frozen=True, kw_only=True):
    """An interface on an overlay network, if it has an `attachment`, else on the network of this host `local`."""

    name: str
    request: NetworkRequest
    attachment: Attachment | None = None
    local: LocalNetwork | None = None


class InterfacePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The host's own network, a namespace with loopback alone, or a sandbox with these interfaces.

    `gateway` names the interface of the way out that overlay networks need, empty for none.
    """

    on_host: bool = False
    loopback_only: bool = False
    interfaces: tuple[PlannedInterface, ...] = ()
    gateway: str = ""


def plan_interfaces(config: ContainerConfig, networks: Mapping[str, Network], find_local: FindLocal) -> InterfacePlan:
    """The interfaces of a container. Requests name networks of the cluster by id, each with the address that the managers allocated.

    Raises:
        NotFoundError: a network is neither of this host nor assigned to this node. UnsupportedError: its driver cannot run here.
    """
    mode = config.network_mode
    if mode == HOST_DRIVER:
        return InterfacePlan(on_host=True)
    if mode == "none" or config.network_disabled:
        return InterfacePlan(loopback_only=True)
    requests = config.requested_networks
    if not mode and not requests and not config.in_mesh:  # a task without networks is on the bridge
        requests = (NetworkRequest(network=BRIDGE),)
    interfaces: dict[str, PlannedInterface] = {}
    for request in requests:
        local = _local_network(request, networks, find_local)
        if local is not None:
            if local.driver in {HOST_DRIVER, NULL_DRIVER} and not local.config_only:
                return InterfacePlan(on_host=local.driver == HOST_DRIVER, loopback_only=local.driver == NULL_DRIVER)
            if local.id in interfaces:
                continue
            name = interface_name(request, local, (each.name for each in interfaces.values()))
            interfaces[local.id] = PlannedInterface(name=name, request=request, local=usable(local))
            continue
        network = networks.get(request.network)
        if network is None:
            raise NotFoundError(f"network {request.network} not found")
        if network.spec.driver.name == HOST_DRIVER:
            return InterfacePlan(on_host=True)
        if network.spec.driver.name != "overlay":
            raise UnsupportedError(
                f"the network {network.spec.annotations.name} with the driver {network.spec.driver.name} cannot run containers "
                "(not supported yet): use an overlay network"
            )
        name = interface_name(request, None, (each.name for each in interfaces.values()))
        attachment = Attachment(network.id, request.ip, name, request.aliases, request.ip6, request.mac)
        interfaces[network.id] = PlannedInterface(name=name, request=request, attachment=attachment)
    planned = tuple(interfaces.values())
    gateway = (
        interface_name(None, None, (each.name for each in planned)) if _needs_gateway(config, planned, networks) else ""
    )
    return InterfacePlan(interfaces=planned, gateway=gateway)


def _local_network(
    request: NetworkRequest, networks: Mapping[str, Network], find_local: FindLocal
) -> LocalNetwork | None:
    """The network of this host that a request means: by its name, or through the predefined network that a service names."""
    network = networks.get(request.network)
    if network is not None and network.spec.driver.name == BRIDGE:
        return find_local(BRIDGE)
    if network is not None and network.spec.driver.name in NODE_DRIVERS:
        return find_local(network.id)
    return find_local(network_name(request.network))


def network_name(name: str) -> str:
    """The name of the network that a request names."""
    return _DEFAULT_NAMES.get(name, name)


def usable(network: LocalNetwork) -> LocalNetwork:
    """The network, if containers can be on it."""
    if network.config_only:
        raise PermissionDeniedError("cannot create endpoint on configuration-only network")
    return network


def leads_out(network: LocalNetwork) -> bool:
    """Whether the network gives its containers a default route."""
    return network.driver in {BRIDGE, "macvlan", "ipvlan"} and not network.internal and not network.config_only


def interface_name(request: NetworkRequest | None, local: LocalNetwork | None, used: Iterable[str]) -> str:
    """The name that the request gives to its interface, else the network's prefix with the first free number."""
    taken = set(used)
    wanted = request.driver_options.get(IFNAME_OPTION, "") if request is not None else ""
    if wanted:
        if (
            len(wanted) > _MAX_DEVICE_NAME
            or not wanted.isascii()
            or set(wanted) & set("/: ")
            or wanted in {"lo", ".", ".."}
        ):
            raise InvalidArgumentError(f"invalid interface name {wanted!r} in {IFNAME_OPTION}")
        if wanted in taken:
            raise InvalidArgumentError(f"the interface name {wanted} of {IFNAME_OPTION} is in use in this container")
        return wanted
    prefix = "eth" if local is None else _prefix(local)
    return next(name for number in range(len(taken) + 1) if (name := f"{prefix}{number}") not in taken)


def _prefix(network: LocalNetwork) -> str:
    if network.driver == BRIDGE:
        return read_bridge_options(network.options, internal=network.internal).iface_prefix
    return read_vlan_options(network.driver, network.options).iface_prefix


def _needs_gateway(
    config: ContainerConfig, interfaces: Iterable[PlannedInterface], networks: Mapping[str, Network]
) -> bool:
    """Whether an overlay network lets its containers out, or the mesh must reach them, and no network of the host does."""
    planned = tuple(interfaces)
    if any(each.local is not None and leads_out(each.local) for each in planned):
        return False
    attached = [networks[each.attachment.network_id] for each in planned if each.attachment is not None]
    return config.in_mesh or any(not network.spec.internal for network in attached)
