"""Choice of free subnets: the first one, found in one walk along those that are taken."""

import random
import time
from ipaddress import ip_network

import pytest

from agent.local_network.subnets import choose_subnet
from agent.network.model import HostRoute
from covey.errors import ConflictError
from covey.network_pools import AddressPool


@pytest.mark.parametrize("seed", range(50))
def test_the_first_subnet_that_overlaps_nothing_is_chosen(seed: int):
    drawn = random.Random(seed)
    pools = [AddressPool("10.0.0.0/24", 28), AddressPool("fd00::/120", 124), AddressPool("10.1.0.0/26", 27)]
    taken = [ip_network((f"10.{drawn.randrange(2)}.0.{drawn.randrange(256)}", drawn.randrange(26, 33)), strict=False)
             for _ in range(drawn.randrange(30))]  # fmt: skip
    taken += [
        ip_network((f"fd00::{drawn.randrange(256):x}", drawn.randrange(122, 129)), strict=False) for _ in range(9)
    ]
    route = HostRoute("10.0.0.64/27", "eth0")
    used = [*taken, ip_network(route.destination)]
    free = [
        each
        for pool in pools
        for each in ip_network(pool.base).subnets(new_prefix=pool.size)
        if not any(each.version == other.version and each.overlaps(other) for other in used)
    ]
    if free:
        assert choose_subnet(pools, taken, [route, HostRoute("0.0.0.0/0", "eth0")]) == free[0]
    else:
        with pytest.raises(ConflictError):
            choose_subnet(pools, taken, [route])


def test_the_last_of_thousands_of_networks_is_found_as_quickly():
    subnets = list(ip_network("10.0.0.0/12").subnets(new_prefix=24))
    began = time.thread_time()
    assert choose_subnet([AddressPool("10.0.0.0/12", 24)], subnets[:-1], []) == subnets[-1]
    assert time.thread_time() - began < 0.2
