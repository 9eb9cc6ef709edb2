"""Interface plan: the network namespace and interfaces that a container needs, from its configuration and the networks known here. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.container.model import ContainerConfig
from agent.network.model import Attachment
from covey.errors import NotFoundError, UnsupportedError
from covey.objects import Network

HOST_DRIVER = "host"
BRIDGE = "bridge"
PREDEFINED_BRIDGE = frozenset({BRIDGE, "default"})
PREDEFINED = PREDEFINED_BRIDGE | {HOST_DRIVER, "none"}


class InterfacePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The host's own network, a namespace with loopback alone, or a sandbox with these interfaces.

    ``outbound`` names the interface with the default route, empty for none; ``isolated`` separates it from other containers on its
    bridge. ``mac`` is its hardware address, empty for one that follows from the IP address.
    """

    on_host: bool = False
    loopback_only: bool = False
    attachments: tuple[Attachment, ...] = ()
    outbound: str = ""
    isolated: bool = True
    mac: str = ""


def plan_interfaces(config: ContainerConfig, networks: Mapping[str, Network]) -> InterfacePlan:
    """The interfaces of a container. Its requests name networks by id, each with the address that the managers allocated.

    Raises:
        NotFoundError: a network is not assigned to this node. UnsupportedError: its driver cannot run containers here.
    """
    mode = config.network_mode
    if mode == HOST_DRIVER:
        return InterfacePlan(on_host=True)
    if mode == "none" or config.network_disabled:
        return InterfacePlan(loopback_only=True)
    attachments: list[Attachment] = []
    bridge, mac = False, ""
    needs_outbound = not mode and not config.requested_networks  # a task without networks is on the bridge
    for request in config.requested_networks:
        if request.network in PREDEFINED_BRIDGE:
            bridge, mac = True, request.mac
            continue
        network = networks.get(request.network)
        if network is None:
            raise NotFoundError(f"network {request.network} not found: it left this node with its last task")
        driver = network.spec.driver.name
        if driver == HOST_DRIVER:
            return InterfacePlan(on_host=True)
        if driver == BRIDGE:  # the predefined network, named by a service
            bridge = True
            continue
        if driver != "overlay":
            raise UnsupportedError(
                f"the network {network.spec.annotations.name} with the driver {driver} cannot run containers (not supported yet): "
                "use an overlay network"
            )
        attachments.append(Attachment(network.id, request.ip, f"eth{len(attachments)}", request.aliases))
        needs_outbound = needs_outbound or not network.spec.internal
    outbound = f"eth{len(attachments)}" if needs_outbound or bridge else ""
    return InterfacePlan(
        attachments=tuple(attachments), outbound=outbound, isolated=bool(attachments) and not bridge, mac=mac
    )
