"""Subnet and addresses of outbound NAT."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from agent.network.outbound_nat import CANDIDATE_SUBNETS, choose_subnet, next_address
from covey.errors import ConflictError


def test_the_subnet_overlaps_no_route_of_the_host():
    assert choose_subnet([IPv4Network("172.16.0.0/14"), IPv4Network("0.0.0.0/0")]) == IPv4Network("172.20.0.0/16")


def test_a_host_without_a_free_private_subnet_is_refused():
    with pytest.raises(ConflictError, match="all overlap a route"):
        choose_subnet(CANDIDATE_SUBNETS)


def test_all_addresses_are_used_before_one_is_reused():
    subnet = IPv4Network("10.0.0.0/29")
    last, seen = 1, []
    for _ in range(6):
        address, last = next_address(subnet, set(), last)
        seen.append(address)
    assert seen == ["10.0.0.2/29", "10.0.0.3/29", "10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29", "10.0.0.2/29"]


def test_a_full_network_is_refused():
    subnet = IPv4Network("10.0.0.0/30")
    assert next_address(subnet, set(), 1) == ("10.0.0.2/30", 2)
    with pytest.raises(ConflictError, match="no free address"):
        next_address(subnet, {"10.0.0.2"}, 2)
