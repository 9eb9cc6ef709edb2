"""Names per network and container."""

from __future__ import annotations

import socket

from agent.dns import wire
from agent.network.model import Attachment, NetworkChanges, OverlayNetwork
from agent.network.service_discovery import ServiceDiscovery
from agent.network.state import NetworkState
from covey.objects.assignment import NetworkEndpoint, VirtualService


def cluster() -> NetworkState:
    """Networks `n1` and `n2`, each with a service `web` of one ready task."""
    state = NetworkState()
    for number in (1, 2):
        key, subnet = f"n{number}", f"10.0.{number}"
        state.apply(
            NetworkChanges(
                networks=(OverlayNetwork(key, f"net{number}", 5000 + number, f"{subnet}.0/24", ""),),
                endpoints=(
                    NetworkEndpoint(id=f"t/{key}", network_id=key, address=f"{subnet}.5", service_id="s", ready=True),
                ),
                services=(
                    VirtualService(id=f"s/{key}", network_id=key, service_id="s", name="web", address=f"{subnet}.100"),
                ),
            )
        )
    return state


def discovered(state: NetworkState) -> ServiceDiscovery:
    discovery = ServiceDiscovery()
    for key in ("n1", "n2"):
        discovery.update(state, key, (Attachment(key, "10.0.1.77/24", "eth0", ("db",)),) if key == "n1" else ())
    return discovery


def address(discovery: ServiceDiscovery, name: bytes, *attachments: Attachment) -> str:
    answer = discovery.zone_of(attachments).find(name, wire.A)
    return "" if answer is None else socket.inet_ntoa(answer.addresses[0])


def test_a_container_resolves_the_names_of_its_own_networks_by_the_order_of_its_interfaces():
    discovery = discovered(cluster())
    one, two = Attachment("n1", "10.0.1.9/24", "eth10"), Attachment("n2", "10.0.2.9/24", "eth9")
    assert address(discovery, b"web", one, two) == "10.0.2.100"
    assert address(discovery, b"web.net1", one, two) == "10.0.1.100"
    assert address(discovery, b"web.net1", two) == ""


def test_an_alias_of_a_local_container_resolves_to_its_address():
    assert address(discovered(cluster()), b"db", Attachment("n1", "10.0.1.9/24", "eth0")) == "10.0.1.77"


def test_a_network_that_is_removed_has_no_names():
    state = cluster()
    discovery = discovered(state)
    state.apply(NetworkChanges(removed_networks=("n1",)))
    discovery.update(state, "n1", ())
    assert address(discovery, b"web", Attachment("n1", "10.0.1.9/24", "eth0")) == ""
