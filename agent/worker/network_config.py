"""Network configuration: assignments as changes for the network driver, and the network interfaces of a task. Pure."""

from collections.abc import Mapping, Sequence

from agent.network.model import Attachment, NetworkChanges, OverlayNetwork
from covey.errors import NotFoundError, UnsupportedError
from covey.network_options import requested_mtu
from covey.objects import Network, Task
from covey.objects.assignment import AssignmentChange, AssignmentKind, NetworkEndpoint, VirtualService
from covey.objects.base import Struct

HOST_DRIVER = "host"


class InterfacePlan(Struct, frozen=True, kw_only=True):
    """How a task's container meets the world: on the host's own network, or in a namespace with these interfaces.

    ``egress`` names the interface with the way out, empty for none; ``isolated`` keeps it from other containers there.
    """

    on_host: bool = False
    attachments: tuple[Attachment, ...] = ()
    egress: str = ""
    isolated: bool = True


def network_changes(changes: Sequence[AssignmentChange], *, complete: bool) -> NetworkChanges:
    """What the driver is told of an assignment set or difference. Networks that are no overlays stay out of it."""
    items = [change.item for change in changes]
    gone = [change for change in changes if change.item is None]
    return NetworkChanges(
        networks=tuple(
            _overlay(item) for item in items if isinstance(item, Network) and item.spec.driver.name == "overlay"
        ),
        endpoints=tuple(item for item in items if isinstance(item, NetworkEndpoint)),
        services=tuple(item for item in items if isinstance(item, VirtualService)),
        removed_networks=tuple(change.id for change in gone if change.kind is AssignmentKind.NETWORK),
        removed_endpoints=tuple(change.id for change in gone if change.kind is AssignmentKind.ENDPOINT),
        removed_services=tuple(change.id for change in gone if change.kind is AssignmentKind.VIRTUAL_SERVICE),
        complete=complete,
    )


def plan_interfaces(task: Task, networks: Mapping[str, Network]) -> InterfacePlan:
    """The interfaces of a task. Raises NotFoundError for a network that was not told, UnsupportedError for an unknown kind."""
    attachments: list[Attachment] = []
    outward = not task.networks
    for wanted in task.networks:
        network = networks.get(wanted.network_id)
        if network is None:
            raise NotFoundError(f"network {wanted.network_id} of task {task.id} was not told to this node by a manager")
        driver = network.spec.driver.name
        if driver == HOST_DRIVER:
            return InterfacePlan(on_host=True)
        if driver != "overlay":
            raise UnsupportedError(
                f"the network {network.spec.annotations.name} of driver {driver} cannot carry tasks yet; use an overlay"
            )
        interface = f"eth{len(attachments)}"
        own = () if task.service_id else wanted.aliases  # a service's aliases are names of the service, not of one task
        attachments.append(Attachment(wanted.network_id, wanted.address, interface, own))
        outward = outward or not network.spec.internal
    egress = f"eth{len(attachments)}" if outward else ""
    return InterfacePlan(attachments=tuple(attachments), egress=egress, isolated=bool(attachments))


def _overlay(network: Network) -> OverlayNetwork:
    config = network.ipam.configs[0] if network.ipam.configs else None
    return OverlayNetwork(
        id=network.id,
        name=network.spec.annotations.name,
        vni=network.vni,
        subnet=config.subnet if config else "",
        gateway=config.gateway.partition("/")[0] if config else "",
        mtu=requested_mtu(network.spec.annotations.name, network.spec.driver.options),
        internal=network.spec.internal,
    )
