"""Which items of the kernel are Covey's."""

from __future__ import annotations

from agent.network.namespace_state import HOST, Link, PolicyRule, Route
from agent.network.plan.items import Items, route_item, rule_item
from agent.network.plan.ownership import Reading, alias_of, is_our_table, may_remove, owned

OURS, ROUTE = ("link", "covey0"), route_item(Route(destination="10.9.0.0/16", device="covey0"))
RULE = rule_item(PolicyRule(priority=70, table=77, mark=1))
EVERYTHING: Items = {
    OURS: Link(kind="bridge"),
    ("link", "eth0"): Link(),
    ("link", "docker0"): Link(kind="bridge"),
    ("address", "covey0", "10.0.0.1/24"): "",
    ("address", "eth0", "192.168.0.2/24"): "",
    ("neighbour", "docker0", "172.17.0.2"): "02:42:00:00:00:02",
    ROUTE[0]: ROUTE[1],
    RULE[0]: RULE[1],
    ("table", "inet covey0-ports"): "",
    ("chain", "inet covey0-ports", "c"): "",
    ("table", "inet covey01-ports"): "",
    ("table", "inet filter"): "",
}


def reading(protocol: int = 192, **aliases: str) -> Reading:
    return Reading(
        items=EVERYTHING,
        aliases={"covey0": alias_of("covey0"), **aliases},
        protocols={ROUTE[0]: protocol, RULE[0]: protocol},
    )


def test_on_the_host_the_alias_the_protocol_and_the_prefix_decide():
    assert owned(HOST, "covey0", reading(), {}).keys() == {
        OURS, ("address", "covey0", "10.0.0.1/24"), ROUTE[0], RULE[0], ("table", "inet covey0-ports"), ("chain", "inet covey0-ports", "c"),
    }  # fmt: skip


def test_routes_and_rules_of_others_are_not_ours():
    assert not {ROUTE[0], RULE[0]} & owned(HOST, "covey0", reading(protocol=4), {}).keys()


def test_routes_over_the_devices_of_another_daemon_are_its_own():
    assert ROUTE[0] not in owned(HOST, "covey1", reading(), {})


def test_what_is_wanted_is_compared_whoever_made_it():
    wanted = {("link", "docker0"): Link(kind="bridge"), ("link", "eth0"): Link()}
    found = owned(HOST, "covey0", reading(), wanted)
    assert {("link", "docker0"), ("link", "eth0"), ("neighbour", "docker0", "172.17.0.2")} <= found.keys()
    assert ("address", "eth0", "192.168.0.2/24") not in found


def test_only_devices_with_our_alias_may_be_removed_from_the_host():
    aliases = {"covey0": alias_of("covey0"), "covey1": alias_of("covey1"), "eth0": ""}
    assert may_remove(HOST, "covey0", aliases, "covey0")
    assert not may_remove(HOST, "covey0", aliases, "covey1")
    assert not may_remove(HOST, "covey0", aliases, "eth0")
    assert may_remove("container/c", "covey0", aliases, "eth0")


def test_in_a_container_only_what_is_wanted_counts_and_in_a_sandbox_everything():
    wanted = {("link", "docker0"): Link(kind="bridge")}
    assert owned("container/c", "covey0", reading(), wanted).keys() == wanted.keys()
    assert owned("network/n", "covey0", reading(), wanted).keys() == EVERYTHING.keys() - {("link", "eth0")}
    assert owned("network/n", "covey0", reading(), {}) == {}


def test_tables_are_ours_by_the_prefix_and_a_dash():
    assert is_our_table("covey0", "inet covey0-ports")
    assert not is_our_table("covey0", "ip covey0")
