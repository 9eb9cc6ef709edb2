"""VIP load balancing: slots, plans and nft commands."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.network import vip_lb
from agent.network.vip_lb import VipChange

VIP = "10.0.1.100"


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 11, 20, 21, 100, 140, 141, 840, 2520])
def test_every_backend_gets_an_even_share_of_the_slots(count: int):
    backends = tuple(f"10.1.{i // 250}.{i % 250}" for i in range(count))
    shares = Counter(vip_lb.slots(backends))
    assert len(shares) == count
    assert max(shares.values()) - min(shares.values()) <= 1
    assert len(vip_lb.slots(backends)) in vip_lb.SLOT_COUNTS


def test_a_client_that_alternates_between_services_reaches_every_backend():
    """The counter is shared: such a caller sees every second slot only, with three services every third."""
    for count in range(1, 5):
        backends = tuple(f"b{i}" for i in range(count))
        for services in range(1, 5):
            assert set(vip_lb.slots(backends)[::services]) == set(backends)


def test_consecutive_connections_alternate_between_backends():
    found = vip_lb.slots(("a", "b", "c"))
    assert all(set(found[i : i + 3]) == {"a", "b", "c"} for i in range(0, 24, 3))


def test_the_plan_holds_added_removed_and_changed_vips_only():
    have = {"1.1.1.1": ("a",), "2.2.2.2": ("b",), "3.3.3.3": ("c",)}
    want = {"1.1.1.1": ("a",), "2.2.2.2": (), "4.4.4.4": ("d",)}
    assert vip_lb.plan(have, want) == (
        VipChange("3.3.3.3", ("c",), None),
        VipChange("2.2.2.2", ("b",), ()),
        VipChange("4.4.4.4", None, ("d",)),
    )


def test_a_change_with_the_same_slot_count_updates_only_differing_slots():
    text = vip_lb.nft_commands(vip_lb.plan({VIP: ("10.0.1.4", "10.0.1.5")}, {VIP: ("10.0.1.4", "10.0.1.6")}))
    assert 0 < text.count(" : ") <= 12
    assert "vips" not in text


def test_a_vip_without_backends_stays_in_the_set_that_refuses_connections():
    text = vip_lb.nft_commands((VipChange(VIP, ("10.0.1.4",), ()),))
    assert f"delete element ip covey vips24 {{ {VIP} }}" in text
    assert f"covey vips {{ {VIP} }}" not in text


def test_a_removed_vip_leaves_the_set_that_refuses_connections():
    assert f"delete element ip covey vips {{ {VIP} }}" in vip_lb.nft_commands((VipChange(VIP, ("10.0.1.4",), None),))
