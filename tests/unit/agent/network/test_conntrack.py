"""Stale conntrack entries."""

from __future__ import annotations

import socket
from ipaddress import ip_network

import pytest

from agent.network import conntrack
from agent.network.backends import Backends
from agent.network.conntrack import ConntrackEntry, delete_stale_entries, is_stale, parse_listing

SUBNETS = (ip_network("10.0.1.0/24"), ip_network("fd00:1::/64"))
TABLE = {
    "10.0.1.100": Backends(frozenset({"10.0.1.5", "10.0.1.6"}), ("10.0.1.5",)),
    "fd00:1::100": Backends(frozenset({"fd00:1::5"}), ("fd00:1::5",)),
}


def entry(backend: str, protocol: int = socket.IPPROTO_TCP, vip: str = "10.0.1.100") -> ConntrackEntry:
    return ConntrackEntry(protocol, vip, backend, b"", b"")


def test_a_draining_task_keeps_its_tcp_connections_but_not_its_udp_flows():
    assert not is_stale(entry("10.0.1.6"), TABLE)
    assert is_stale(entry("10.0.1.6", socket.IPPROTO_UDP), TABLE)
    assert not is_stale(entry("10.0.1.5", socket.IPPROTO_UDP), TABLE)


def test_connections_to_removed_tasks_are_stale():
    assert is_stale(entry("10.0.1.7"), TABLE)
    assert is_stale(entry("fd00:1::7", vip="fd00:1::100"), TABLE)
    assert not is_stale(entry("fd00:1::5", vip="fd00:1::100"), TABLE)


def test_connections_to_a_vip_that_is_gone_are_stale_within_the_networks_subnets_alone():
    assert not is_stale(entry("10.0.1.5", vip="10.0.1.101"), TABLE)
    assert is_stale(entry("10.0.1.5", vip="10.0.1.101"), TABLE, SUBNETS)
    assert is_stale(entry("fd00:1::5", vip="fd00:1::101"), TABLE, SUBNETS)
    assert not is_stale(entry("192.0.2.2", vip="192.0.2.1"), TABLE, SUBNETS)


def test_direct_connections_are_never_stale():
    assert not is_stale(entry("10.0.1.7", vip="10.0.1.7"), TABLE, SUBNETS)
    assert not is_stale(entry("127.0.0.11", vip="127.0.0.11"), TABLE, SUBNETS)


LISTING = b"""\
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.1.9 dst=10.0.1.100 sport=40000 dport=80 src=10.0.1.6 dst=10.0.1.9 sport=80 dport=40000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 29 src=10.0.1.9 dst=10.0.1.100 sport=5000 dport=53 packets=1 bytes=60 [UNREPLIED] src=10.0.1.5 dst=10.0.1.9 sport=53 dport=5000 packets=0 bytes=0 mark=0 zone=0 use=2
ipv4     2 icmp     1 29 src=10.0.1.9 dst=10.0.1.100 type=8 code=0 id=7 src=10.0.1.100 dst=10.0.1.9 type=0 code=0 id=7 mark=0 zone=0 use=2
ipv6     10 tcp      6 100 TIME_WAIT src=fd00:0001:0000:0000:0000:0000:0000:0009 dst=fd00:0001:0000:0000:0000:0000:0000:0100 sport=1 dport=443 src=fd00:0001:0000:0000:0000:0000:0000:0005 dst=fd00:0001:0000:0000:0000:0000:0000:0009 sport=443 dport=1 mark=0 zone=0 use=2
"""  # noqa: E501 - as the kernel prints it


def test_the_kernels_listing_of_connections_is_understood():
    assert list(parse_listing(LISTING)) == [
        ConntrackEntry(socket.IPPROTO_TCP, "10.0.1.100", "10.0.1.6", b"", b"", 80),
        ConntrackEntry(socket.IPPROTO_UDP, "10.0.1.100", "10.0.1.5", b"", b"", 53),
        ConntrackEntry(socket.IPPROTO_ICMP, "10.0.1.100", "10.0.1.100", b"", b""),
        ConntrackEntry(socket.IPPROTO_TCP, "fd00:1::100", "fd00:1::5", b"", b"", 443),
    ]


class DumpedError(Exception):
    """The table of all namespaces is walked."""


@pytest.mark.parametrize(
    ("count", "gone", "is_dumped"),
    [(4, "10.0.1.7", False), (4, "10.0.1.6", True), (0, "10.0.1.6", False), (257, "10.0.1.7", True), (None, "x", True)],
)
def test_the_table_of_all_namespaces_is_walked_only_when_a_connection_may_be_stale(
    monkeypatch: pytest.MonkeyPatch, tmp_path, count, gone, is_dumped
):
    def dump() -> None:
        raise DumpedError

    listing = tmp_path / "nf_conntrack"
    listing.write_bytes(LISTING)
    monkeypatch.setattr(conntrack, "_LISTING", listing)
    monkeypatch.setattr(conntrack, "_count", lambda: count)
    monkeypatch.setattr(conntrack, "_open", dump)
    backends = frozenset({"10.0.1.5", "10.0.1.6", "10.0.1.7"} - {gone})
    table = {"10.0.1.100": Backends(backends, ("10.0.1.5",)), "fd00:1::100": TABLE["fd00:1::100"]}
    if is_dumped:
        with pytest.raises(DumpedError):
            delete_stale_entries(table)
    else:
        assert delete_stale_entries(table) == 0
