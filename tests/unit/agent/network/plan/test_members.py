"""Which hosts may send VXLAN of a network, as fragments of the host's namespace."""

from __future__ import annotations

import json

from agent.network.namespace_state import HOST
from agent.network.plan.dropped_packets import DroppedPackets, parse_dropped
from agent.network.plan.encryption import ANY_SOURCE
from agent.network.plan.overlay import Overlay, OverlayEndpoint, network, remote_endpoint
from agent.network.plan.wanted import WantedState

TABLE = "inet cv-members"


def overlay(**changes) -> Overlay:
    fields = {"id": "n", "prefix": "cv", "vni": 4097, "mtu": 1450, "host": "192.0.2.1", "port": 4789, "mac": ""}
    return Overlay(**fields | changes)


def endpoint(last: int, host: str) -> OverlayEndpoint:
    return OverlayEndpoint(address=f"10.0.1.{last}", mac=f"02:42:0a:00:01:{last:02}", host=host)


def test_a_host_is_a_member_until_its_last_endpoint_goes():
    wanted, element = WantedState(), ("element", TABLE, "members4", "192.0.2.2 . 4097")
    for last in (5, 6):
        wanted.replace(str(last), remote_endpoint(overlay(), endpoint(last, "192.0.2.2")))
        assert element in wanted.items(HOST)
    wanted.replace("5", None)
    assert element in wanted.items(HOST)
    wanted.replace("6", None)
    assert element not in wanted.items(HOST)


def test_a_tunnel_of_ipv6_has_members_of_ipv6():
    tables = remote_endpoint(overlay(host="fd00::1"), endpoint(5, "fd00:0::2"))[HOST].tables
    assert tables[TABLE].sets["members6"].elements == {"fd00::2 . 0x1001": ""}


def test_networks_share_the_rules_also_while_the_port_changes():
    wanted = WantedState()
    wanted.replace("a", network(overlay()))
    wanted.replace("b", network(overlay(id="m", vni=4098, port=5789)))
    items = wanted.items(HOST)
    assert {("element", TABLE, "ports", "4789"), ("element", TABLE, "ports", "5789")} <= items.keys()
    assert {("element", TABLE, "vnis", "4097"), ("element", TABLE, "vnis", "4098")} <= items.keys()


def test_encrypted_networks_are_guarded_elsewhere():
    sealed = overlay(source=ANY_SOURCE)
    assert HOST not in network(sealed)
    assert HOST not in remote_endpoint(sealed, endpoint(5, "fdc0:7e1d:5ec0::2"))


def test_counters_are_found_by_the_comments_of_their_rules():
    rules = [("not from a member", 3), ("not from a member", 4), ("unknown VXLAN id", 5), (None, 9)]
    listing = [
        {"rule": {"comment": comment, "expr": [{"counter": {"packets": count, "bytes": 1}}, {"drop": None}]}}
        for comment, count in rules
    ]
    found = parse_dropped(json.dumps({"nftables": [{"metainfo": {}}, *listing]}).encode())
    assert found == DroppedPackets(strangers=7, unknown=5)
