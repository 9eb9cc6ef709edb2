"""Stale conntrack entries."""

from __future__ import annotations

import socket
from ipaddress import IPv4Network

from agent.network.backends import BackendTable
from agent.network.conntrack import ConntrackEntry, is_stale

SUBNETS = (IPv4Network("10.0.1.0/24"),)
BACKENDS = BackendTable({"10.0.1.100": frozenset({"10.0.1.5", "10.0.1.6"})}, {"10.0.1.100": ("10.0.1.5",)})


def entry(backend: str, protocol: int = socket.IPPROTO_TCP, vip: str = "10.0.1.100") -> ConntrackEntry:
    return ConntrackEntry(protocol, vip, backend, b"", b"")


def test_a_draining_task_keeps_its_tcp_connections_but_not_its_udp_flows():
    assert not is_stale(entry("10.0.1.6"), SUBNETS, BACKENDS)
    assert is_stale(entry("10.0.1.6", socket.IPPROTO_UDP), SUBNETS, BACKENDS)
    assert not is_stale(entry("10.0.1.5", socket.IPPROTO_UDP), SUBNETS, BACKENDS)


def test_connections_to_removed_tasks_and_services_are_stale():
    assert is_stale(entry("10.0.1.7"), SUBNETS, BACKENDS)
    assert is_stale(entry("10.0.1.5", vip="10.0.1.101"), SUBNETS, BACKENDS)


def test_direct_connections_and_foreign_translations_are_never_stale():
    assert not is_stale(entry("10.0.1.7", vip="10.0.1.7"), SUBNETS, BACKENDS)
    assert not is_stale(entry("127.0.0.11", vip="127.0.0.11"), SUBNETS, BACKENDS)
    assert not is_stale(entry("192.0.2.2", vip="192.0.2.1"), SUBNETS, BACKENDS)
