"""Overlay networks as fragments."""

from __future__ import annotations

from agent.network.namespace_state import HOST, FdbEntry, Neighbour, Route, VethPeer, container_key, network_key
from agent.network.plan.names import port_name
from agent.network.plan.overlay import (
    Overlay,
    OverlayEndpoint,
    OverlayInterface,
    interface,
    network,
    remote_endpoint,
)
from agent.network.plan.resolver import TABLE, plan_resolver
from agent.network.plan.wanted import WantedState

MAC = "02:42:0a:00:01:05"


def overlay(**changes) -> Overlay:
    fields = {
        "id": "n",
        "prefix": "cv",
        "vni": 4097,
        "mtu": 1450,
        "host": "192.0.2.1",
        "port": 4789,
        "mac": "02:42:0a:00:01:01",
    }
    return Overlay(**fields | {"gateways": ("10.0.1.1/24",)} | changes)


def test_the_tunnel_is_made_on_the_host_and_neither_learns_nor_floods():
    state = network(overlay())[network_key("n")]
    tunnel = state.links["vxlan0"]
    assert (tunnel.made_in, tunnel.master, tunnel.mtu) == (HOST, "br0", 1450)
    assert tunnel.options["vxlan_id"] == 4097
    assert (tunnel.options["vxlan_learning"], tunnel.options["vxlan_proxy"]) == (0, 1)
    assert tunnel.port_options == {"learning": 0, "unicast_flood": 0}
    assert state.addresses == {("br0", "10.0.1.1/24")}
    assert state.sysctls == {"net/ipv6/conf/default/disable_ipv6": "1"}


def test_a_network_with_ipv6_has_it_on_its_own_devices_alone():
    state = network(overlay(gateways=("10.0.1.1/24", "fd00::1/64")))[network_key("n")]
    assert state.sysctls["net/ipv6/conf/default/disable_ipv6"] == "1"
    for device in ("br0", "vxlan0"):
        assert state.sysctls[f"net/ipv6/conf/{device}/disable_ipv6"] == "0"
        assert state.sysctls[f"net/ipv6/conf/{device}/accept_dad"] == "0"


def test_a_subnet_without_gateway_is_reached_over_the_bridge():
    state = network(overlay(gateways=(), subnets=("10.0.1.0/24",)))[network_key("n")]
    assert state.routes == {Route(destination="10.0.1.0/24", device="br0")}


def test_a_remote_endpoint_is_known_to_the_tunnel_and_to_the_bridge_in_both_families():
    found = remote_endpoint(
        overlay(), OverlayEndpoint(address="10.0.1.5", address6="fd00::5", mac=MAC, host="192.0.2.2")
    )
    state = found[network_key("n")]
    assert state.fdb == {FdbEntry("vxlan0", MAC, "192.0.2.2"), FdbEntry("vxlan0", MAC)}
    assert state.neighbours == {
        Neighbour(device, address, MAC) for device in ("vxlan0", "br0") for address in ("10.0.1.5", "fd00::5")
    }


def test_copies_for_everybody_go_to_the_hosts_of_endpoints_until_the_last_one_leaves():
    casting, entry = overlay(multicast=True), ("fdb", "vxlan0", "00:00:00:00:00:00", "192.0.2.2")
    wanted = WantedState()
    for last in (5, 6):
        endpoint = OverlayEndpoint(address=f"10.0.1.{last}", mac=f"02:42:0a:00:01:0{last}", host="192.0.2.2")
        wanted.replace(str(last), remote_endpoint(casting, endpoint))
        assert entry in wanted.items(network_key("n"))
    wanted.replace("5", None)
    assert entry in wanted.items(network_key("n"))
    wanted.replace("6", None)
    assert entry not in wanted.items(network_key("n"))


def test_a_network_with_multicast_keeps_unknown_unicast_from_the_tunnel_and_no_group_from_a_port():
    links = network(overlay(multicast=True))[network_key("n")].links
    assert links["vxlan0"].port_options["unicast_flood"] == 0
    assert links["br0"].options == {"mcast_snooping": 0}
    assert network(overlay())[network_key("n")].links["br0"].options == {}


def test_an_interface_is_a_pair_between_the_bridge_and_the_container():
    attached = OverlayInterface(container_id="c", name="eth0", mac=MAC, addresses=("10.0.1.5/24", "fd00::5/64"))
    fragment = interface(overlay(), attached)
    port = port_name("c", "eth0")
    outside, inside = fragment[network_key("n")], fragment[container_key("c")]
    assert outside.links[port].peer == VethPeer(namespace=container_key("c"), name="eth0", mac=MAC, mtu=1450)
    assert outside.fdb == {FdbEntry(port, MAC)}
    assert outside.neighbours == {Neighbour("br0", "10.0.1.5", MAC), Neighbour("br0", "fd00::5", MAC)}
    assert inside.addresses == {("eth0", "10.0.1.5/24"), ("eth0", "fd00::5/64")}
    assert inside.sysctls["net/ipv6/conf/eth0/disable_ipv6"] == "0"
    plain = interface(overlay(), OverlayInterface(container_id="c", name="eth0", mac=MAC, addresses=("10.0.1.5/24",)))
    assert plain[container_key("c")].sysctls == {}


def test_a_container_has_the_way_to_its_resolver_and_nothing_of_vips():
    (state,) = plan_resolver("c", "127.0.0.11", udp_port=41053, tcp_port=41054).values()
    (chain,) = state.tables[TABLE].chains.values()
    assert chain.rules == (
        "ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:41053",
        "ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:41054",
    )
