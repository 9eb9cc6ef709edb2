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
    """The network interfaces of a task: the host's own network, or a namespace with these interfaces.

    ``outbound`` names the interface with the default route, empty for none; ``isolated`` separates it from other containers on its bridge.
    """

    on_host: bool = False
    attachments: tuple[Attachment, ...] = ()
    outbound: str = ""
    isolated: bool = True


def network_changes(changes: Sequence[AssignmentChange]) -> NetworkChanges:
    """The changes for the network driver. Networks other than overlays are left out."""
    items = [change.item for change in changes]
    removals = [change for change in changes if change.item is None]
    return NetworkChanges(
        networks=tuple(
            _overlay(item) for item in items if isinstance(item, Network) and item.spec.driver.name == "overlay"
        ),
        endpoints=tuple(item for item in items if isinstance(item, NetworkEndpoint)),
        services=tuple(item for item in items if isinstance(item, VirtualService)),
        removed_networks=tuple(change.id for change in removals if change.kind is AssignmentKind.NETWORK),
        removed_endpoints=tuple(change.id for change in removals if change.kind is AssignmentKind.ENDPOINT),
        removed_services=tuple(change.id for change in removals if change.kind is AssignmentKind.VIRTUAL_SERVICE),
    )


def plan_interfaces(task: Task, networks: Mapping[str, Network]) -> InterfacePlan:
    """The interfaces of a task. Raises NotFoundError for a network that is not assigned, UnsupportedError for another driver."""
    attachments: list[Attachment] = []
    needs_outbound = not task.networks
    for attachment in task.networks:
        network = networks.get(attachment.network_id)
        if network is None:
            raise NotFoundError(f"network {attachment.network_id} of task {task.id} is not assigned to this node")
        driver = network.spec.driver.name
        if driver == HOST_DRIVER:
            return InterfacePlan(on_host=True)
        if driver != "overlay":
            raise UnsupportedError(
                f"the network {network.spec.annotations.name} with the driver {driver} cannot run tasks (not supported yet): "
                "use an overlay network"
            )
        interface = f"eth{len(attachments)}"
        own = () if task.service_id else attachment.aliases  # aliases of a service lead to the service, not to one task
        attachments.append(Attachment(attachment.network_id, attachment.address, interface, own))
        needs_outbound = needs_outbound or not network.spec.internal
    outbound = f"eth{len(attachments)}" if needs_outbound else ""
    return InterfacePlan(attachments=tuple(attachments), outbound=outbound, isolated=bool(attachments))


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
