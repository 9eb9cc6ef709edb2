"""Network configuration: assignments as changes for the network driver. Pure."""

from collections.abc import Sequence

from agent.network.model import NetworkChanges, OverlayNetwork, Subnet
from covey.network_options import carries_multicast, is_encrypted, requested_mtu
from covey.objects import Network
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, NodeEndpoint, VirtualService


def network_changes(changes: Sequence[AssignmentChange]) -> NetworkChanges:
    """The changes for the network driver: overlay networks only. The ingress network is apart, because it has no sandbox."""
    items = [change.item for change in changes]
    overlays = [item for item in items if isinstance(item, Network) and not item.node_local]
    removals = [change for change in changes if change.item is None]
    return NetworkChanges(
        networks=tuple(_overlay(item) for item in overlays if not item.spec.ingress),
        ingress=tuple(_overlay(item) for item in overlays if item.spec.ingress),
        endpoints=tuple(item for item in items if isinstance(item, NetworkEndpoint)),
        services=tuple(item for item in items if isinstance(item, VirtualService)),
        removed_networks=tuple(change.id for change in removals if change.kind is AssignmentKind.NETWORK),
        removed_endpoints=tuple(change.id for change in removals if change.kind is AssignmentKind.ENDPOINT),
        nodes=tuple(item for item in items if isinstance(item, NodeEndpoint)),
        removed_nodes=tuple(change.id for change in removals if change.kind is AssignmentKind.NODE_ENDPOINT),
        removed_services=tuple(change.id for change in removals if change.kind is AssignmentKind.VIRTUAL_SERVICE),
    )


def _overlay(network: Network) -> OverlayNetwork:
    subnets = [Subnet(each.subnet, each.gateway.partition("/")[0]) for each in network.ipam.configs]
    subnets.sort(key=lambda each: ":" in each.subnet)
    first = subnets[0] if subnets else Subnet("")
    return OverlayNetwork(
        id=network.id,
        name=network.spec.annotations.name,
        vni=network.vni,
        subnet=first.subnet,
        gateway=first.gateway,
        mtu=requested_mtu(network.spec.annotations.name, network.spec.driver.options),
        internal=network.spec.internal,
        more_subnets=tuple(subnets[1:]),
        encrypted=is_encrypted(network.spec.driver.options),
        multicast=carries_multicast(network.spec.annotations.name, network.spec.driver.options),
    )
