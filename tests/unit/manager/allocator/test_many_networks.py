"""The cost of one more network, counted in calls, among thousands of networks."""

from __future__ import annotations

import sys

from covey.objects import Annotations, Cluster, NetworkSpec
from manager.allocator.subnets import complete_ipam
from manager.allocator.taken_subnets import TakenSubnets

CLUSTER = Cluster(id="default", default_address_pool=("10.0.0.0/8",), subnet_size=24)
SPEC = NetworkSpec(annotations=Annotations(name="one-more"))


def calls_of_one_more(networks: int) -> int:
    """Calls of functions that the choice of a subnet takes, beside so many networks whose subnets are known already."""
    taken = TakenSubnets()
    for number in range(networks):
        taken.set(f"net{number}", [f"10.{number >> 8}.{number & 255}.0/24"])
    complete_ipam(SPEC, taken, CLUSTER)
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        ipam = complete_ipam(SPEC, taken, CLUSTER)
    finally:
        sys.setprofile(before)
    assert ipam is not None
    assert ipam.configs[0].subnet == f"10.{networks >> 8}.{networks & 255}.0/24"
    return calls


def test_a_subnet_is_found_in_one_walk_along_those_that_are_taken():
    assert calls_of_one_more(4096) <= 2 * 4096
    assert calls_of_one_more(4096) <= 2.5 * calls_of_one_more(2048)


def test_subnets_of_networks_come_and_go_in_order():
    taken = TakenSubnets()
    taken.set("b", ["10.0.2.0/24", "fd00:2::/64"])
    taken.set("a", ["10.0.1.0/24"])
    assert complete_ipam(SPEC, taken, CLUSTER, ["10.0.3.0/24"]).configs[0].subnet == "10.0.4.0/24"
    taken.set("b", ["10.0.5.0/24"])
    assert complete_ipam(SPEC, taken, CLUSTER, ["10.0.3.0/24"]).configs[0].subnet == "10.0.2.0/24"
    taken.set("a", ())
    assert complete_ipam(SPEC, taken, CLUSTER).configs[0].subnet == "10.0.1.0/24"
