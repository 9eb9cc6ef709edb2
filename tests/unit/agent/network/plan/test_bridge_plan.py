"""Fragments of bridge networks: devices, addresses, isolation, masquerade and the ports of containers."""

import pytest

from agent.network.namespace_state import HOST, Link, NftTable, Route, VethPeer, container_key
from agent.network.plan.bridge import (
    BridgeNetwork,
    BridgePort,
    DefaultGateway,
    plan_bridge,
    plan_default_routes,
    plan_port,
    table_name,
)
from agent.network.plan.names import port_name

ID = "c" * 64
PLAIN = BridgeNetwork(device="br-a", addresses=("10.0.0.1/24",), subnets=("10.0.0.0/24",))
DUAL = BridgeNetwork(device="br-a", addresses=("10.0.0.1/24", "fd00::1/64"), subnets=("10.0.0.0/24", "fd00::/64"), ipv6=True)  # fmt: skip


def table(**settings: object) -> NftTable:
    network = BridgeNetwork(device="br-a", subnets=("10.0.0.0/24", "fd00::/64"), **settings)  # type: ignore[arg-type]
    return plan_bridge(network, "covey0")[HOST].tables[table_name("covey0")]


def test_a_network_is_a_bridge_with_its_gateway_and_forwarding():
    host = plan_bridge(PLAIN, "covey0")[HOST]
    assert host.links == {"br-a": Link(kind="bridge", mtu=1500)}
    assert host.addresses == {("br-a", "10.0.0.1/24")}
    assert host.sysctls == {"net/ipv4/ip_forward": "1"}
    dual = plan_bridge(DUAL, "covey0")[HOST]
    assert ("br-a", "fd00::1/64") in dual.addresses
    assert dual.sysctls["net/ipv6/conf/all/forwarding"] == "1"


def test_networks_have_chains_of_their_own_and_share_the_rest():
    one = plan_bridge(PLAIN, "covey0")[HOST].tables["inet covey0-bridges"]
    other = plan_bridge(BridgeNetwork(device="br-b", subnets=("10.1.0.0/24",)), "covey0")[HOST].tables["inet covey0-bridges"]  # fmt: skip
    shared = one.chains.keys() & other.chains.keys()
    assert shared == {"forward", "postrouting"}
    assert all(one.chains[name] == other.chains[name] for name in shared)
    assert {name: found.head for name, found in one.sets.items()} == {name: found.head for name, found in other.sets.items()}  # fmt: skip
    assert one.sets["to"].elements == {'"br-a"': "jump to-br-a"}
    assert one.chains["forward"].rules.index("iifname vmap @from") < one.chains["forward"].rules.index("oifname vmap @to")  # fmt: skip


RULES = [
    ({}, ('iifname "br-a" accept', "ct status dnat accept", "drop")),
    ({"icc": False}, ('iifname "br-a" ct status dnat accept', 'iifname "br-a" drop', "ct status dnat accept", "drop")),
    ({"internal": True}, ('iifname "br-a" accept', "drop")),
    (
        {"mode4": "nat-unprotected"},
        ('iifname "br-a" accept', "ct status dnat accept", "meta nfproto ipv4 iifname != @bridges accept", "drop"),
    ),
    (
        {"mode6": "routed"},
        (
            'iifname "br-a" accept',
            "ct status dnat accept",
            "ip6 daddr . meta l4proto . th dport @open_ports6 accept",
            "meta nfproto ipv6 meta l4proto ipv6-icmp accept",
            "drop",
        ),
    ),
]


@pytest.mark.parametrize(("settings", "rules"), RULES)
def test_what_may_reach_a_network_follows_from_its_options(settings: dict[str, object], rules: tuple[str, ...]):
    assert table(**settings).chains["to-br-a"].rules == rules


def test_an_internal_network_lets_nothing_out():
    assert table(internal=True).chains["from-br-a"].rules == ('oifname != "br-a" drop',)
    assert table().chains["from-br-a"].rules == ()


@pytest.mark.parametrize(
    ("settings", "masqueraded"),
    [
        ({}, (1, 1)),
        ({"masquerade": False}, None),
        ({"internal": True}, None),
        ({"mode4": "routed"}, (0, 1)),
        ({"mode4": "nat-unprotected", "mode6": "routed"}, (1, 0)),
    ],
)
def test_masquerade_follows_from_the_options_by_family(
    settings: dict[str, object], masqueraded: tuple[int, int] | None
):
    found = table(**settings)
    if masqueraded is None:
        assert "postrouting" not in found.chains
    else:
        assert (len(found.sets["masquerade4"].elements), len(found.sets["masquerade6"].elements)) == masqueraded


def test_a_container_has_a_pair_whose_other_end_is_a_port_of_the_bridge():
    port = BridgePort(container_id=ID, interface="eth0", mac="02:42:0a:00:00:02", addresses=("10.0.0.2/24",))
    fragment = plan_port(port, PLAIN)
    outer = fragment[HOST].links[port_name(ID, "eth0")]
    assert outer.master == "br-a"
    assert outer.peer == VethPeer(namespace=container_key(ID), name="eth0", mac=port.mac, mtu=1500)
    assert outer.port_options == {"hairpin_mode": 1}
    inner = fragment[container_key(ID)]
    assert inner.links == {"eth0": Link(kind="veth", mac=port.mac, mtu=1500)}
    assert (inner.addresses, inner.sysctls) == ({("eth0", "10.0.0.2/24")}, {})
    isolated = plan_port(port, BridgeNetwork(device="br-a", icc=False))[HOST].links[port_name(ID, "eth0")]
    assert isolated.port_options == {"hairpin_mode": 1, "isolated": 1}


def test_ipv6_is_on_where_an_interface_has_an_address_and_waits_for_no_duplicates():
    port = BridgePort(container_id=ID, interface="eth0", mac="", addresses=("fd00::2/64",), sysctls={"net/ipv6/conf/eth0/x": "1"})  # fmt: skip
    sysctls = plan_port(port, DUAL)[container_key(ID)].sysctls
    assert sysctls["net/ipv6/conf/eth0/disable_ipv6"] == "0"
    assert sysctls["net/ipv6/conf/eth0/accept_dad"] == "0"
    assert sysctls["net/ipv6/conf/eth0/x"] == "1"


def test_default_routes_lead_through_a_gateway_or_the_link_itself():
    fragment = plan_default_routes(ID, (DefaultGateway(interface="eth0", gateway="10.0.0.1"), DefaultGateway(interface="eth1", gateway="", family=6)))  # fmt: skip
    assert fragment[container_key(ID)].routes == {
        Route(destination="default", gateway="10.0.0.1", device="eth0"),
        Route(destination="default", family=6, device="eth1"),
    }
