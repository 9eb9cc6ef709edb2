"""Validation of a service's networks: names become ids, and fixed addresses fit the slots. Pure; called by ``service_validation``."""

import ipaddress

from covey.errors import InvalidArgumentError, NotFoundError, TooLargeError
from covey.network_options import ADDRESSES_OPTION, MAC_OPTION
from covey.objects import Network, NetworkAttachmentConfig, ServiceSpec, replace
from covey.states import ServiceMode, UpdateOrder
from manager.store import View

MAX_NETWORKS = 64


def resolved_networks(
    view: View, attachments: tuple[NetworkAttachmentConfig, ...]
) -> tuple[NetworkAttachmentConfig, ...]:
    """The attachments as they are stored, with the ids of their networks.

    Raises:
        InvalidArgumentError, NotFoundError, TooLargeError: names the network.
    """
    if len(attachments) > MAX_NETWORKS:
        raise TooLargeError(f"{len(attachments)} networks are over the limit of {MAX_NETWORKS} per service")
    found: dict[str, NetworkAttachmentConfig] = {}
    for attachment in attachments:
        network = _network(view, attachment.target)
        if network.id in found:
            raise InvalidArgumentError(
                f"network {network.spec.annotations.name} is named twice; name each network once"
            )
        if MAC_OPTION in attachment.driver_options:
            raise InvalidArgumentError(f"the option {MAC_OPTION} is for single containers: remove it from the service")
        found[network.id] = _with_fixed_addresses(replace(attachment, target=network.id), network.spec.annotations.name)
    if len(found) > 1 and any(_driver(view, network_id) == "host" for network_id in found):
        raise InvalidArgumentError("a service on the network host has no other network: remove the others")
    return tuple(found.values())


def _with_fixed_addresses(attachment: NetworkAttachmentConfig, network: str) -> NetworkAttachmentConfig:
    """The attachment with its fixed addresses both as such and as an option, which is all that Docker's clients carry."""
    option = attachment.driver_options.get(ADDRESSES_OPTION, "")
    named = tuple([text.strip() for text in option.split(";") if text.strip()])
    if named and attachment.addresses and named != attachment.addresses:
        raise InvalidArgumentError(
            f"the fixed addresses on network {network} differ from the option {ADDRESSES_OPTION}: change both, or leave one out"
        )
    addresses = named or attachment.addresses
    if not addresses:
        return attachment
    options = attachment.driver_options | {ADDRESSES_OPTION: ";".join(addresses)}
    return replace(attachment, addresses=addresses, driver_options=options)


def require_fixed_addresses(view: View, spec: ServiceSpec, service_id: str = "") -> None:
    """Refuses fixed addresses that do not give each slot one of its own. The attachments are resolved.

    Raises:
        InvalidArgumentError: names the address or the network, and the remedy.
    """
    for attachment in spec.task.networks:
        if not attachment.addresses:
            continue
        network = view.networks.get(attachment.target)
        if network is not None:
            _require_slots(spec, attachment, network)
            _require_own_addresses(view, attachment, network, service_id)


def _require_slots(spec: ServiceSpec, attachment: NetworkAttachmentConfig, network: Network) -> None:
    name = network.spec.annotations.name
    if spec.mode is not ServiceMode.REPLICATED:
        raise InvalidArgumentError(
            f"fixed addresses on network {name} need a replicated service: its slots have numbers"
        )
    if network.node_local:
        raise InvalidArgumentError(
            f"fixed addresses on network {name} are not possible: each node gives the addresses itself"
        )
    if spec.update is not None and spec.update.order is UpdateOrder.START_FIRST:
        raise InvalidArgumentError(
            f"fixed addresses on network {name} exclude the update order start-first: the old task has the address; use stop-first"
        )
    for family in (4, 6):
        count = sum(_parsed(text, name).version == family for text in attachment.addresses)
        if count and count < spec.replicas:
            raise InvalidArgumentError(
                f"{spec.replicas} replicas need as many fixed IPv{family} addresses on network {name}, given are {count}"
            )


def _require_own_addresses(view: View, attachment: NetworkAttachmentConfig, network: Network, service_id: str) -> None:
    name, seen = network.spec.annotations.name, set()
    reserved = {
        text: f"service {other.spec.annotations.name}"
        for other in view.services.by_network(network.id)
        if other.id != service_id
        for config in other.spec.task.networks
        if config.target == network.id
        for text in config.addresses
    }
    configs = network.ipam.configs or network.spec.ipam.configs
    for config in configs:
        reserved |= dict.fromkeys((config.gateway, *config.auxiliary_addresses.values()), f"network {name}")
    for text in attachment.addresses:
        address = _parsed(text, name)
        if str(address) in seen:
            raise InvalidArgumentError(f"the fixed address {text} on network {name} is given twice")
        seen.add(str(address))
        if network.usable and not any(_admits(config.subnet, address) for config in configs):
            raise InvalidArgumentError(
                f"invalid address {text}: It does not belong to any of this network's subnets: network {name}"
            )
        if str(address) in reserved:
            raise InvalidArgumentError(
                f"Address already in use: {text} on network {name} belongs to {reserved[str(address)]}"
            )


def _admits(subnet: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    network = ipaddress.ip_network(subnet, strict=False)
    edges = {network.network_address} | ({network.broadcast_address} if network.version == 4 else set())
    return address in network and address not in edges


def _parsed(text: str, network: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgumentError(
            f"invalid fixed address {text!r} on network {network}: give it without a prefix"
        ) from None


def _network(view: View, name: str) -> Network:
    if not name:
        raise InvalidArgumentError("a network attachment must name its target")
    try:
        network = view.networks.find(name)
    except NotFoundError:
        raise NotFoundError(f"network {name} not found") from None
    if network.spec.ingress:
        raise InvalidArgumentError(
            f'Service cannot be explicitly attached to the ingress network "{network.spec.annotations.name}"'
        )
    return network


def _driver(view: View, network_id: str) -> str:
    network = view.networks.get(network_id)
    return network.spec.driver.name if network is not None else ""
