"""VIPs as fragments, and the balancing of their connections."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from agent.network.namespace_state import network_key
from agent.network.plan.balance import balance, rotate
from agent.network.plan.diff import merge
from agent.network.plan.vips import TABLE, Vip, base, own_addresses, service

KEY = network_key("n")


def vip(service_id: str, address: str, *backends: str, host: str = "h1") -> Vip:
    return Vip(service_id=service_id, address=address, backends=backends, host=host)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 64])
def test_every_backend_gets_exactly_the_same_share(count: int):
    addresses = [f"10.0.1.{number}" for number in range(count)]
    rule = balance("", addresses, "seed")
    slots = re.findall(r"\d+ : (10\.0\.1\.\d+)", rule)
    assert Counter(slots or [rule.split()[-1]]) == Counter(addresses)
    assert f"numgen inc mod {count} " in rule or count == 1


def test_hosts_begin_at_different_backends():
    addresses = [f"10.0.1.{number}" for number in range(10)]
    first = Counter(rotate(addresses, f"service host{number}")[0] for number in range(200))
    assert len(first) == 10
    assert max(first.values()) <= 40


def test_the_order_of_the_endpoints_does_not_matter():
    assert balance("", ["a", "b", "c"], "s") == balance("", ["c", "a", "b"], "s")


def test_a_vip_with_backends_leads_to_them_and_one_without_refuses():
    (state,) = service("n", [vip("s", "10.0.1.100", "10.0.1.5"), vip("s", "fd00::100")]).values()
    table = state.tables[TABLE]
    assert table.chains["vip4-s"].rules == ("dnat ip to 10.0.1.5",)
    assert table.sets["vips4"].elements == {"10.0.1.100": "jump vip4-s"}
    assert table.sets["refused6"].elements == {"fd00::100": ""}
    assert set(table.sets) == {"vips4", "refused6"}
    assert state.addresses == {("br0", "10.0.1.100/32"), ("br0", "fd00::100/128")}


def test_a_local_container_is_recognized_as_its_own_backend_in_both_families():
    sets = own_addresses(("10.0.1.5", "fd00::5"))[TABLE].sets
    assert {name: dict(each.elements) for name, each in sets.items()} == {
        "own4": {"10.0.1.5 . 10.0.1.5": ""},
        "own6": {"fd00::5 . fd00::5": ""},
    }


def test_services_of_a_network_and_what_they_share_go_together():
    merged = merge(
        {
            "base": base("n", ipv6=True),
            "one": service("n", [vip("a", "10.0.1.100", "10.0.1.5", "10.0.1.6")]),
            "two": service("n", [vip("b", "10.0.1.101", "10.0.1.6")]),
        }
    )
    table = merged[KEY].tables[TABLE]
    assert set(table.sets["vips4"].elements) == {"10.0.1.100", "10.0.1.101"}
    assert set(table.chains) >= {"balance", "hairpin", "refuse", "vip4-a", "vip4-b"}


def test_br_netfilter_is_on_in_the_sandbox_for_the_families_that_it_has():
    assert base("n", ipv6=False)[KEY].sysctls["net/bridge/bridge-nf-call-iptables"] == "1"
    assert "net/bridge/bridge-nf-call-ip6tables" not in base("n", ipv6=False)[KEY].sysctls
    assert base("n", ipv6=True)[KEY].sysctls["net/bridge/bridge-nf-call-ip6tables"] == "1"


def test_multicast_on_a_network_makes_no_connections_that_a_departing_backend_would_have_to_look_through():
    chains = base("n", ipv6=True)[KEY].tables[TABLE].chains
    hooks = {chain.hook.split()[3] for chain in chains.values() if "ip daddr 224.0.0.0/4 notrack" in chain.rules}
    assert hooks == {"prerouting", "output"}
