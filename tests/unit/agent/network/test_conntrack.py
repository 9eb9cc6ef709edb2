"""Which connections are ended."""

from __future__ import annotations

import socket
from ipaddress import IPv4Network

from agent.network.conntrack import BackendTable, ConntrackEntry, is_stale

SUBNETS = (IPv4Network("10.0.1.0/24"),)
KEEPERS = BackendTable({"10.0.1.100": frozenset({"10.0.1.5", "10.0.1.6"})}, {"10.0.1.100": ("10.0.1.5",)})


def entry(backend: str, protocol: int = socket.IPPROTO_TCP, service: str = "10.0.1.100") -> ConntrackEntry:
    return ConntrackEntry(protocol, service, backend, b"", b"")


def test_a_draining_task_finishes_its_tcp_connections_but_not_its_udp_flows():
    assert not is_stale(entry("10.0.1.6"), SUBNETS, KEEPERS)
    assert is_stale(entry("10.0.1.6", socket.IPPROTO_UDP), SUBNETS, KEEPERS)
    assert not is_stale(entry("10.0.1.5", socket.IPPROTO_UDP), SUBNETS, KEEPERS)


def test_a_task_that_is_gone_and_a_service_that_is_gone_lose_their_connections():
    assert is_stale(entry("10.0.1.7"), SUBNETS, KEEPERS)
    assert is_stale(entry("10.0.1.5", service="10.0.1.101"), SUBNETS, KEEPERS)


def test_direct_connections_and_other_translations_are_left_alone():
    assert not is_stale(entry("10.0.1.7", service="10.0.1.7"), SUBNETS, KEEPERS)
    assert not is_stale(entry("127.0.0.11", service="127.0.0.11"), SUBNETS, KEEPERS)
    assert not is_stale(entry("192.0.2.2", service="192.0.2.1"), SUBNETS, KEEPERS)
