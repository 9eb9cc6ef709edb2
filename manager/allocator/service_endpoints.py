"""Endpoints of services: their virtual IPs, one on each network, and on the ingress network if they publish ports there. Pure.

Called by ``allocation``.
"""

from __future__ import annotations

from covey.objects import Network, Service, VirtualIP
from covey.states import EndpointMode
from manager.allocator.addresses import AddressSource, AllocationBlocked
from manager.service_ports import endpoint_spec, needs_ingress
from manager.store.view import View


def vip_networks(view: View, service: Service) -> tuple[str, ...]:
    """The networks on which the service has a virtual IP. A missing network is in the result, so that somebody waits for it.

    Raises:
        AllocationBlocked: it publishes ports and the cluster has no ingress network.
    """
    spec = endpoint_spec(service)
    if spec.mode is not EndpointMode.VIP:
        return ()
    targets = dict.fromkeys(config.target for config in service.spec.task.networks)
    found = [target for target in targets if not _is_node_local(view.networks.get(target))]
    return (*found, ingress_network(view).id) if needs_ingress(spec) else tuple(found)


def ingress_network(view: View) -> Network:
    """The ingress network.

    Raises:
        AllocationBlocked: there is none.
    """
    network = view.networks.ingress()
    if network is None:
        raise AllocationBlocked("service needs ingress network, but no ingress network is present", ("networks", ""))
    return network


def virtual_ips(view: View, service: Service, source: AddressSource) -> tuple[VirtualIP, ...]:
    """The service's virtual IPs. It keeps those that it has.

    Raises:
        AllocationBlocked: one cannot be given now.
    """
    before = {vip.network_id: vip for vip in (service.endpoint.virtual_ips if service.endpoint else ())}
    found = []
    for network_id in vip_networks(view, service):
        vip = before.get(network_id)
        if vip is None:
            given = source.draw(network_id)
            vip = VirtualIP(network_id=network_id, address=given.address, address6=given.address6)
        found.append(vip)
    return tuple(found)


def _is_node_local(network: Network | None) -> bool:
    return network is not None and network.node_local
