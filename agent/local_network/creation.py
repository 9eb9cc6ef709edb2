"""Decision about a new local network: what Docker refuses, what a config-only network adds, and the complete network. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import msgspec

from agent.local_network import options, subnets
from agent.local_network.model import BRIDGE_NAME, PREDEFINED, LocalNetwork, NetworkRequirements, device_name
from agent.local_network.options import GatewayMode
from agent.network.model import HostRoute
from covey.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, PermissionDeniedError
from covey.ipam_validation import Subnet
from covey.network_pools import AddressPool
from covey.objects.network import IPAM, IPAMConfig

DRIVERS = ("bridge", "macvlan", "ipvlan")
_CONFIG_ONLY_DRIVER = "null"


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the decision needs to know of the host."""

    networks: Sequence[LocalNetwork] = ()
    routes: Sequence[HostRoute] = ()
    pools4: Sequence[AddressPool] = subnets.DEFAULT_POOLS
    pools6: Sequence[AddressPool] = ()


def plan_network(wanted: NetworkRequirements, facts: HostFacts, *, network_id: str, now_ns: int) -> LocalNetwork:
    """The network to create.

    Raises:
        CoveyError: in Docker's words, what is wrong.
    """
    check_name(wanted.name, facts.networks)
    if wanted.config_only:
        return _config_only(wanted, network_id, now_ns)
    if wanted.config_from:
        wanted = _with_configuration(wanted, facts.networks)
    driver = wanted.driver or "bridge"
    if driver in {"host", "null"}:
        raise PermissionDeniedError(f'only one instance of "{driver}" network is allowed')
    if driver not in DRIVERS:
        raise NotFoundError(f'plugin "{driver}" not found')
    if not wanted.ipv4 and not wanted.ipv6:
        raise InvalidArgumentError("IPv4 or IPv6 must be enabled")
    with_gateways = _check_options(driver, wanted)
    _check_parent(wanted, driver, facts.networks)
    if driver == "bridge":
        _check_bridge(wanted, network_id, facts.networks)
    if wanted.ipam.driver.name not in {"", "default"}:
        raise NotFoundError(f'plugin "{wanted.ipam.driver.name}" not found')
    subnets.check_ipam(wanted.ipam.configs, ipv6=wanted.ipv6)
    ipam, given = _complete_ipam(wanted, facts, with_gateways)
    return LocalNetwork(
        id=network_id,
        name=wanted.name,
        driver=driver,
        created_at_ns=now_ns,
        options=wanted.options,
        labels=wanted.labels,
        internal=wanted.internal,
        attachable=wanted.attachable,
        ipv4=wanted.ipv4,
        ipv6=wanted.ipv6,
        ipam=ipam,
        subnets_given=given,
        config_from=wanted.config_from,
    )


def check_name(name: str, networks: Sequence[LocalNetwork]) -> None:
    """Refuse a name that no new network may have."""
    if not name.strip():
        raise InvalidArgumentError(f"invalid name: {name or 'name is empty'}")
    if name in PREDEFINED or name == "default":
        raise PermissionDeniedError(f"operation is not permitted on predefined {name} network ")
    if name.startswith("container:"):
        raise InvalidArgumentError(f"invalid name: {name}: it is a network mode")
    if any(network.name == name for network in networks):
        raise AlreadyExistsError(f"network with name {name} already exists")


def network_subnets(networks: Sequence[LocalNetwork]) -> list[Subnet]:
    """The subnets in use; config-only networks use none."""
    used = [network for network in networks if not network.config_only]
    return [ip_network(config.subnet) for network in used for config in network.ipam.configs]


def _config_only(wanted: NetworkRequirements, network_id: str, now_ns: int) -> LocalNetwork:
    if wanted.config_from:
        raise PermissionDeniedError("a configuration network cannot depend on another configuration network")
    subnets.check_ipam(wanted.ipam.configs, ipv6=True)
    return LocalNetwork(
        id=network_id,
        name=wanted.name,
        driver=_CONFIG_ONLY_DRIVER,
        created_at_ns=now_ns,
        options=wanted.options,
        labels=wanted.labels,
        internal=wanted.internal,
        attachable=wanted.attachable,
        ipv4=wanted.ipv4,
        ipv6=wanted.ipv6,
        ipam=wanted.ipam,
        config_only=True,
    )


def _with_configuration(wanted: NetworkRequirements, networks: Sequence[LocalNetwork]) -> NetworkRequirements:
    depends = "if the network depends on a configuration network"
    if wanted.ipam.configs or wanted.ipv6 or wanted.internal or not wanted.ipv4 or wanted.labels:
        raise PermissionDeniedError(f"user specified configurations are not supported {depends}")
    if wanted.options:
        raise PermissionDeniedError(f"network driver options are not supported {depends}")
    source = next((each for each in networks if each.config_only and each.name == wanted.config_from), None)
    if source is None:
        raise NotFoundError(f'configuration network "{wanted.config_from}" does not exist')
    return msgspec.structs.replace(
        wanted,
        options=source.options,
        labels=source.labels,
        internal=source.internal,
        ipv4=source.ipv4,
        ipv6=source.ipv6,
        ipam=source.ipam,
    )


def _check_options(driver: str, wanted: NetworkRequirements) -> tuple[bool, bool]:
    """Check the driver's options. Returns whether IPv4 and IPv6 subnets have a gateway."""
    if driver == "bridge":
        bridge = options.read_bridge_options(wanted.options, internal=wanted.internal)
        if wanted.ipv6 and 0 < bridge.mtu < options.MIN_MTU_IPV6:
            raise InvalidArgumentError(f"invalid MTU number: {bridge.mtu}: IPv6 needs at least {options.MIN_MTU_IPV6}")
        return bridge.mode4 is not GatewayMode.ISOLATED, bridge.mode6 is not GatewayMode.ISOLATED
    vlan = options.read_vlan_options(driver, wanted.options)
    has_gateway = not wanted.internal and (driver == "macvlan" or vlan.mode == "l2")
    return has_gateway, has_gateway


def _check_parent(wanted: NetworkRequirements, driver: str, networks: Sequence[LocalNetwork]) -> None:
    """A parent in mode passthru belongs to one network alone."""
    parent, mode = wanted.options.get(options.PARENT, ""), wanted.options.get(options.MACVLAN_MODE, "")
    for other in networks:
        if driver != "macvlan" or other.driver != driver or not parent or other.options.get(options.PARENT) != parent:
            continue
        if "passthru" in {mode, other.options.get(options.MACVLAN_MODE)}:
            raise PermissionDeniedError(
                f"cannot use mode passthru, macvlan network {other.name} is already using parent interface {parent}"
                if mode == "passthru"
                else f"macvlan network {other.name} is already using parent interface {parent} in mode passthru"
            )


def _check_bridge(wanted: NetworkRequirements, network_id: str, networks: Sequence[LocalNetwork]) -> None:
    """A bridge belongs to one network alone."""
    device = wanted.options.get(BRIDGE_NAME, "")
    for other in networks:
        if device and device == device_name(other):
            raise PermissionDeniedError(
                f"cannot create network {network_id} ({device}): conflicts with network {other.id} ({device}): "
                "networks have same bridge name"
            )


def _complete_ipam(
    wanted: NetworkRequirements, facts: HostFacts, with_gateways: tuple[bool, bool]
) -> tuple[IPAM, tuple[bool, bool]]:
    taken = network_subnets(facts.networks)
    configs = [
        config
        for config in wanted.ipam.configs
        if (wanted.ipv4 if ip_network(config.subnet).version == 4 else wanted.ipv6)
    ]
    subnets.check_free([ip_network(config.subnet) for config in configs], taken, _foreign_routes(wanted, facts.routes))
    versions = [ip_network(config.subnet).version for config in configs]
    for version, enabled, pools in ((4, wanted.ipv4, facts.pools4), (6, wanted.ipv6, facts.pools6)):
        if enabled and version not in versions:
            configs.append(IPAMConfig(subnet=str(subnets.choose_subnet(pools, taken, facts.routes))))
    completed = tuple(
        subnets.complete(config, with_gateway=with_gateways[ip_network(config.subnet).version == 6])
        for config in configs
    )
    return IPAM(driver=wanted.ipam.driver, configs=completed), (4 in versions, 6 in versions)


def _foreign_routes(wanted: NetworkRequirements, routes: Sequence[HostRoute]) -> list[HostRoute]:
    """The routes that a user's subnet may not contain: not those of the bridge or parent that the network itself names."""
    own = {wanted.options.get(BRIDGE_NAME, ""), wanted.options.get(options.PARENT, "")}
    return [route for route in routes if route.device not in own]
