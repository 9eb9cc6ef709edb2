"""Netlink messages without a kernel: attributes, devices, and what a monitor makes of notifications."""

from __future__ import annotations

import errno
import struct

import pytest

from agent.network.kernel import entry_messages, link_messages
from agent.network.kernel.link_options import pack_options, parse_options
from agent.network.kernel.netlink import attribute, attributes, message, messages, nested, text, u32
from agent.network.kernel.refusal import nft_refusal, place, refusal
from agent.network.kernel.sysctls import device_of_sysctl
from agent.network.namespace_state import HOST, FdbEntry, Link, PolicyRule, Route
from agent.network.plan.items import fdb_item, route_item, rule_item
from covey.errors import InvalidArgumentError, UnavailableError, UnsupportedError

DEVICES = {3: "br0"}


def body(packed: bytes) -> bytes:
    ((_, _, _, found),) = list(messages(packed))
    return found


def test_attributes_are_padded_and_found_again():
    packed = text(3, "eth0") + u32(4, 1500) + nested(18, text(1, "veth"))
    assert len(packed) % 4 == 0
    found = attributes(packed)
    assert (found[3], found[4]) == (b"eth0\0", struct.pack("=I", 1500))
    assert attributes(found[18]) == {1: b"veth\0"}


@pytest.mark.parametrize("cut", [0, 1, 3, 5, 7])
def test_cut_off_attributes_and_messages_are_left_out(cut):
    packed = u32(1, 7)
    assert attributes(packed + packed[:cut]).keys() <= {1}
    whole = message(16, 0, packed)
    assert len(list(messages(whole + whole[:cut]))) == 1


def test_attributes_of_length_zero_end_the_list():
    assert attributes(struct.pack("=HH", 0, 1) + u32(2, 1)) == {}


@pytest.mark.parametrize(
    "route",
    [
        Route(destination="default", gateway="10.0.0.1", device="br0"),
        Route(destination="10.1.0.0/16", device="br0", table=1000, metric=7, mtu=1300, source="10.0.0.1"),
        Route(destination="fd00::/64", device="br0"),
        Route(destination="default", family=6, gateway="fd00::1", device="br0", onlink=True),
        Route(destination="10.9.0.0/16", kind="unreachable"),
        Route(destination="fd09::/64", kind="blackhole", table=77),
    ],
)
def test_routes_come_back_as_they_were_sent(route):
    item, normal = route_item(route)
    sent = body(entry_messages.route_message(normal, 3 if route.device else 0, add=True))
    assert entry_messages.parse_route(sent, DEVICES) == (item, normal, 192)


@pytest.mark.parametrize(
    "rule",
    [
        PolicyRule(priority=70, table=77),
        PolicyRule(priority=71, table=5000, mark=5, mask=0xFF, input_device="br0"),
        PolicyRule(priority=72, table=77, family=6, source="fd00::/64"),
        PolicyRule(priority=72, goto=80, mark=0xC000_0000, mask=0xFF00_0000),
    ],
)
def test_rules_come_back_as_they_were_sent(rule):
    item, normal = rule_item(rule)
    assert entry_messages.parse_rule(body(entry_messages.rule_message(normal, add=True))) == (item, normal, 192)


@pytest.mark.parametrize("host", ["10.1.1.1", "fd00::1"])
@pytest.mark.parametrize("mac", ["02:42:0a:00:00:05", "00:00:00:00:00:00"])
def test_entries_of_a_tunnel_come_back_as_they_were_sent(mac, host):
    item, value = fdb_item(FdbEntry("br0", mac, host))
    sent = body(entry_messages.forwarding_message(item, value, 3, add=True))
    assert entry_messages.parse_forwarding(sent, DEVICES) == (item, value)


def test_entries_of_devices_that_are_gone_are_left_out():
    item = ("neighbour", "br0", "10.0.0.5")
    sent = body(entry_messages.neighbour_message(item, "02:42:0a:00:00:05", 3, add=True))
    assert entry_messages.parse_neighbour(sent, DEVICES) == (item, "02:42:0a:00:00:05")
    assert entry_messages.parse_neighbour(sent, {}) is None


@pytest.mark.parametrize(
    ("kind", "options", "found"),
    [
        (
            "vxlan",
            {"vxlan_id": 7, "local": "10.0.0.1", "port": 4789},
            {"id": 7, "vxlan_local": "10.0.0.1", "port": 4789},
        ),
        ("vxlan", {"id": 7, "local": "fd00::1"}, {"vxlan_id": 7, "local": "fd00::1"}),
        ("macvlan", {"mode": "private"}, {"mode": "private"}),
        ("ipvlan", {"mode": "l3", "flag": "vepa"}, {"mode": "l3", "flag": "vepa"}),
        ("bridge", {"vlan_filtering": 1, "ageing_time": 0}, {"vlan_filtering": 1, "ageing_time": 0}),
    ],
)
def test_options_come_back_under_the_names_by_which_they_may_be_wanted(kind, options, found):
    parsed = parse_options(kind, attributes(pack_options(kind, options)))
    assert found.items() <= parsed.items()
    assert options.items() <= parsed.items()


def test_an_unknown_option_or_kind_is_refused_by_name():
    with pytest.raises(UnsupportedError, match="devices of kind vxlan have no option colour"):
        pack_options("vxlan", {"colour": 1})
    with pytest.raises(UnsupportedError, match="routes have no kind throw: it is one of unicast"):
        entry_messages.route_message(Route(destination="10.0.0.0/8", kind="throw"), 0, add=True)


def test_masters_and_parents_are_named():
    def link(index: int, name: str, *more: bytes) -> bytes:
        head = link_messages.IFINFO.pack(0, 0, index, 1, 0)
        return head + text(3, name) + b"".join(more)

    found = link_messages.with_names(
        link_messages.parse_link(one)
        for one in (
            link(2, "br0"),
            link(3, "cv1", u32(10, 2), u32(5, 9), nested(18, text(1, "veth"))),
            link(4, "m0", u32(5, 2), nested(18, text(1, "macvlan"))),
            link(5, "m1", u32(5, 2), attribute(37, bytes(4)), nested(18, text(1, "macvlan"))),
        )
    )
    assert (found["cv1"].link.master, found["cv1"].link.parent) == ("br0", "")
    assert found["m0"].link.parent == "br0"
    assert (found["m1"].link.parent, found["m1"].below_elsewhere) == ("", True)


@pytest.mark.parametrize(
    ("item", "value", "number", "kind", "words"),
    [
        (
            ("link", "m0"),
            Link(kind="ipvlan"),
            errno.EOPNOTSUPP,
            UnsupportedError,
            "ipvlan device m0 on this host.*modprobe ipvlan",
        ),
        (
            ("link", "v0"),
            Link(kind="vxlan", options={"vxlan_id": 9}),
            errno.EEXIST,
            UnavailableError,
            "VXLAN id 9 .* in use",
        ),
        (
            ("link", "m0"),
            Link(kind="macvlan", parent="eth0"),
            errno.EBUSY,
            UnavailableError,
            "its parent eth0 is in use",
        ),
        (
            ("link", "m0"),
            Link(kind="macvlan", parent="eth9"),
            errno.ENODEV,
            InvalidArgumentError,
            "there is no parent device eth9 on this host",
        ),
        (
            ("sysctl", "net/x"),
            "1",
            errno.ENOENT,
            UnavailableError,
            "sysctl net/x on this host: No such file.*load the kernel module",
        ),
        (
            ("address", "br0", "10.0.0.1/24"),
            "",
            errno.EPERM,
            UnavailableError,
            "address 10.0.0.1/24 of br0.*run coveyd as root",
        ),
    ],
)
def test_a_refusal_names_the_item_the_reason_and_the_remedy(item, value, number, kind, words):
    with pytest.raises(kind, match=words):
        raise refusal(HOST, item, value, number)


def test_a_refusal_of_nftables_names_the_chain_and_the_namespace():
    error = nft_refusal(
        "container/0123456789abcdef", ("chain", "inet t", "c"), "Could not process rule: Operation not supported"
    )
    assert isinstance(error, UnsupportedError)
    assert str(error).startswith(
        "nftables refused the chain inet t c of container 0123456789ab: Could not process rule"
    )


def test_places_are_named_for_people():
    assert place(HOST) == "on this host"
    assert place("network/0123456789abcdef") == "of network 0123456789ab"


@pytest.mark.parametrize(
    ("path", "device"),
    [
        ("net/ipv4/conf/eth0.10/rp_filter", "eth0.10"),
        ("net/ipv6/neigh/br0/gc_stale_time", "br0"),
        ("net/ipv4/conf/all/rp_filter", ""),
        ("net/ipv6/conf/default/disable_ipv6", ""),
        ("net/ipv4/ip_forward", ""),
    ],
)
def test_sysctls_of_devices_are_told_from_others(path, device):
    assert device_of_sysctl(path) == device
