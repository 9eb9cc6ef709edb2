"""Differences in words."""

from __future__ import annotations

import pytest

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftTable,
    PolicyRule,
    Route,
)
from agent.network.plan.diff import difference
from agent.network.plan.difference_text import DifferenceText, difference_texts

BRIDGE = Link(kind="bridge", mtu=1400, master="", options={"mcast_snooping": 0})


def links(link: Link | None) -> NamespaceState:
    return NamespaceState(links={"br0": link} if link else {})


def text(wanted: NamespaceState, found: NamespaceState) -> DifferenceText:
    (only,) = difference_texts(difference(HOST, wanted, found))
    return only


def test_of_an_altered_device_only_what_differs_is_shown():
    found = Link(
        kind="bridge", mtu=1300, up=False, mac="02:00:00:00:00:01", options={"mcast_snooping": 1, "stp_state": 0}
    )
    shown = text(links(BRIDGE), links(found))
    assert shown == DifferenceText(
        "host", "altered", "device br0", "mtu 1400, mcast_snooping 0, up", "mtu 1300, mcast_snooping 1, down"
    )


def test_a_missing_device_is_shown_with_what_it_should_be():
    assert text(links(BRIDGE), links(None)) == DifferenceText(
        "host", "missing", "device br0", "kind bridge, mtu 1400", ""
    )


@pytest.mark.parametrize(
    ("state", "item", "value"),
    [
        (NamespaceState(addresses=frozenset({("br0", "10.0.0.1/24")})), "address 10.0.0.1/24 of br0", ""),
        (NamespaceState(routes=frozenset({Route(destination="10.1.0.0/16", gateway="10.0.0.9")})), "IPv4 route 10.1.0.0/16 in table 254", "gateway 10.0.0.9"),
        (NamespaceState(routes=frozenset({Route(destination="fd00::/64", kind="unreachable")})), "IPv6 route fd00::/64 in table 254", "kind unreachable"),
        (NamespaceState(rules=frozenset({PolicyRule(priority=70, table=77)})), "IPv4 rule 70 to table 77", "lookup 77"),
        (NamespaceState(rules=frozenset({PolicyRule(priority=70, goto=80)})), "IPv4 rule 70 to rule 80", "goto 80"),
        (NamespaceState(neighbours=frozenset({Neighbour("br0", "10.0.0.2", "02:00:00:00:00:02")})), "neighbour 10.0.0.2 of br0", "02:00:00:00:00:02"),
        (NamespaceState(fdb=frozenset({FdbEntry("vxlan0", "00:00:00:00:00:00", "10.0.0.2")})), "forwarding entry 00:00:00:00:00:00 to 10.0.0.2 of vxlan0", "10.0.0.2"),
        (NamespaceState(sysctls={"net/ipv4/ip_forward": "1"}), "sysctl net/ipv4/ip_forward", "1"),
    ],
)  # fmt: skip
def test_items_are_named_in_words(state, item, value):
    assert text(state, NamespaceState()) == DifferenceText("host", "missing", item, value, "")
    assert text(NamespaceState(), state) == DifferenceText("host", "stray", item, "", value)


def test_a_chain_is_shown_with_its_head_and_rules():
    def table(*rules: str) -> NamespaceState:
        return NamespaceState(
            tables={"inet t": NftTable(chains={"c": NftChain(hook="type nat hook output priority 0;", rules=rules)})}
        )

    shown = text(table("accept"), table("drop", "accept"))
    assert (shown.wanted, shown.found) == (
        "type nat hook output priority 0; accept",
        "type nat hook output priority 0; drop; accept",
    )
