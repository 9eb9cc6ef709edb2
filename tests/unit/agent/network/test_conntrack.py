"""Stale conntrack entries."""

from __future__ import annotations

import socket
from ipaddress import ip_network

from agent.network.backends import Backends
from agent.network.conntrack import ConntrackEntry, is_stale

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
