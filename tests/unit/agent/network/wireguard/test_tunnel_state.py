"""Encrypted networks as a host knows them: its peers, and where others' endpoints are."""

from __future__ import annotations

from agent.network.model import NetworkChanges, OverlayNetwork
from agent.network.plan.encryption import node_address
from agent.network.wireguard.tunnel_state import TunnelState
from covey.objects.assignment import NetworkEndpoint, NodeEndpoint
from covey.objects.node import WireGuardDescription

SECRET = OverlayNetwork("net1", "web", 4097, "10.0.1.0/24", "10.0.1.1", encrypted=True)
PLAIN = OverlayNetwork("net2", "plain", 4098, "10.0.2.0/24", "10.0.2.1")
KEY = WireGuardDescription(public_key="k", port=51820, implementation="kernel")
NODES = (
    NodeEndpoint(id="n1/net1", network_id="net1", node_id="n1", host="192.0.2.1", wireguard=KEY),
    NodeEndpoint(id="n2/net1", network_id="net1", node_id="n2", host="192.0.2.2", wireguard=KEY),
    NodeEndpoint(id="n3/net1", network_id="net1", node_id="n3", host="192.0.2.3"),
)


def known() -> TunnelState:
    state = TunnelState()
    state.apply(NetworkChanges((SECRET, PLAIN), nodes=NODES))
    return state


def test_peers_are_the_other_nodes_that_encrypt() -> None:
    state = known()
    assert list(state.peers("192.0.2.1")) == ["n2"]
    assert (state.own_id("192.0.2.1"), state.own_key("192.0.2.1")) == ("n1", "k")


def test_no_network_no_peers() -> None:
    state = known()
    state.apply(NetworkChanges(removed_networks=("net1",)))
    assert (state.vnis, state.peers("192.0.2.1"), state.own_id("192.0.2.1")) == ({}, {}, "")


def test_endpoints_of_encrypted_networks_are_inside_the_tunnels() -> None:
    def endpoint(network: str, host: str, node: str) -> NetworkEndpoint:
        return NetworkEndpoint(id=f"t/{network}", network_id=network, node_id=node, host=host, address="10.0.1.2")

    changes = NetworkChanges(
        endpoints=(
            endpoint("net1", "192.0.2.2", "n2"),
            endpoint("net1", "192.0.2.1", "n1"),
            endpoint("net2", "192.0.2.2", "n2"),
            endpoint("net1", "", "n2"),
        )
    )
    moved = known().through_tunnels(changes, "192.0.2.1")
    assert [each.host for each in moved.endpoints] == [node_address("n2"), "192.0.2.1", "192.0.2.2", ""]
