"""Plan of encrypted tunnels: addresses, peers and the changes that lead from one set of peers to another."""

from __future__ import annotations

from ipaddress import ip_address

from agent.network.namespace_state import HOST
from agent.network.plan import encryption
from agent.network.plan.encryption import PeerKey, TunnelDevice, TunnelHost, TunnelPeer

PEER = TunnelPeer(node_id="n2", host="192.0.2.2", public_key="new", port=51821, previous_key="old")
ONE, TWO = TunnelDevice(name="covey0-wg0", public_key="a"), TunnelDevice(name="covey0-wg1", public_key="b")
HOST_END = TunnelHost(
    prefix="covey0", kind="tun", mtu=1440, devices=(ONE, TWO), sender=ONE.name, vxlan_port=4789, node_id="n1"
)


def test_addresses_follow_from_node_and_key() -> None:
    found = {encryption.node_address("n1"), encryption.node_address("n2"), encryption.key_address("n1")}
    assert len(found) == 3
    assert all(ip_address(each) in encryption.SUBNET for each in found)
    assert encryption.node_address("n1") == encryption.node_address("n1")


def test_what_is_for_a_node_goes_to_its_present_key() -> None:
    keys = encryption.peer_keys(PEER)
    node = f"{encryption.node_address('n2')}/128"
    assert node in keys["new"].allowed
    assert keys["new"].endpoint == "192.0.2.2:51821"
    assert keys["old"] == PeerKey(allowed=frozenset({f"{encryption.key_address('old')}/128"}))


def test_an_endpoint_of_ipv6_is_in_brackets() -> None:
    peer = TunnelPeer(node_id="n2", host="2001:db8::2", public_key="new", port=1)
    assert encryption.peer_keys(peer)["new"].endpoint == "[2001:db8::2]:1"


def test_an_address_moves_to_a_new_key_in_one_step() -> None:
    before = encryption.peer_keys(TunnelPeer(node_id="n2", host="192.0.2.2", public_key="old", port=51820))
    changes = list(encryption.key_changes(before, encryption.peer_keys(PEER)))
    assert [change[1] for change in changes] == ["new"]
    after = encryption.peer_keys(TunnelPeer(node_id="n2", host="192.0.2.2", public_key="new", port=51821))
    assert list(encryption.key_changes(encryption.peer_keys(PEER), after)) == [("peer", "old", "remove")]
    assert list(encryption.key_changes(after, after)) == []


def test_a_new_key_is_known_before_addresses_move_to_it() -> None:
    before = encryption.peer_keys(TunnelPeer(node_id="n2", host="192.0.2.2", public_key="old", port=51820))
    wanted = encryption.peer_keys(PEER)
    node, key = f"{encryption.node_address('n2')}/128", f"{encryption.key_address('new')}/128"
    introduced = encryption.introductions(before, wanted)
    assert introduced == {"new": PeerKey(allowed=frozenset({key}), endpoint="192.0.2.2:51821")}
    known = {**before, **introduced}
    assert list(encryption.key_changes(before, known)) == [
        ("peer", "new", "endpoint", "192.0.2.2:51821", "allowed-ips", key)
    ]
    assert list(encryption.key_changes(known, wanted)) == [
        ("peer", "new", "allowed-ips", ",".join(sorted((node, key))))
    ]
    assert encryption.introductions({}, before) == before


def test_packets_leave_with_the_source_of_the_sending_key() -> None:
    routes = encryption.peer(HOST_END, PEER)[HOST].routes
    (sending,) = [route for route in routes if route.source]
    assert (sending.device, sending.source) == (ONE.name, encryption.key_address("a"))
    expected = {route.device for route in routes if route.destination == f"{encryption.key_address('old')}/128"}
    assert expected == {ONE.name, TWO.name}


def test_every_device_has_the_addresses_of_the_node_and_of_its_key() -> None:
    addresses = encryption.base(HOST_END)[HOST].addresses
    assert {device for device, address in addresses if address.startswith(encryption.node_address("n1"))} == {
        ONE.name,
        TWO.name,
    }
    assert (TWO.name, f"{encryption.key_address('b')}/128") in addresses
