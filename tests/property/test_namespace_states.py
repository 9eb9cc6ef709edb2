"""Namespace states: differences lead from one state to the other, and counted fragments are their union."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.network.namespace_state import (
    HOST,
    FdbEntry,
    Link,
    NamespaceState,
    Neighbour,
    NftChain,
    NftSet,
    NftTable,
    PolicyRule,
    Route,
    VethPeer,
)
from agent.network.plan.diff import DifferenceKind, difference, differences, merge
from agent.network.plan.items import KINDS, flatten, unflatten
from agent.network.plan.wanted import WantedState
from covey.errors import ConflictError, InvalidArgumentError

devices = st.sampled_from(["br0", "cv1", "vxlan0"])
macs = st.integers(1, 4).map(lambda i: f"02:42:0A:00:00:0{i}")
hosts = st.integers(1, 4).map(lambda i: f"10.0.0.{i}") | st.integers(1, 3).map(lambda i: f"fd00:0::{i}")
prefixes = st.integers(1, 4).map(lambda i: f"10.{i}.0.0/16") | st.integers(1, 3).map(lambda i: f"fd00:{i}::/32")
links = st.builds(
    Link,
    kind=st.sampled_from(["bridge", "veth"]),
    mtu=st.sampled_from([0, 1400, 1500]),
    up=st.booleans(),
    master=st.sampled_from(["", "br0"]),
    peer=st.none() | st.builds(VethPeer, namespace=st.just("container/c"), name=devices),
    options=st.dictionaries(st.sampled_from(["vlan_filtering", "stp_state"]), st.integers(0, 1)),
)
routes = st.builds(
    Route,
    destination=prefixes | st.just("default"),
    family=st.sampled_from([4, 6]),
    gateway=st.just(""),
    device=st.just("br0"),
    table=st.sampled_from([77, 254]),
)
# One value of each item: a neighbour's MAC follows from its address, a tunnel's host from its device.
neighbours = st.tuples(devices, hosts).map(
    lambda pair: Neighbour(*pair, f"02:42:0A:00:00:{sum(pair[1].encode()) % 90 + 10}")
)
forwarding = st.tuples(devices, macs).map(lambda pair: FdbEntry(*pair, f"10.9.0.{len(pair[0])}")) | st.builds(
    FdbEntry, devices, st.just("00:00:00:00:00:00"), hosts
)
elements = st.dictionaries(st.integers(1, 5).map(lambda i: f"tcp . {i}"), st.sampled_from(["10.0.0.1", "10.0.0.2"]))
tables = st.builds(
    NftTable,
    chains=st.dictionaries(st.sampled_from("ab"), st.builds(NftChain, rules=st.sampled_from([(), ("accept",)]))),
    sets=st.dictionaries(
        st.sampled_from("mn"), st.builds(NftSet, head=st.just("h"), is_map=st.just(True), elements=elements)
    ),
)
states = st.builds(
    NamespaceState,
    links=st.dictionaries(devices, links, max_size=3),
    addresses=st.frozensets(st.tuples(devices, hosts.map(lambda host: host + "/24")), max_size=3),
    routes=st.frozensets(routes, max_size=3),
    rules=st.frozensets(
        st.builds(PolicyRule, priority=st.integers(70, 72), table=st.just(77), mark=st.integers(0, 2)), max_size=3
    ),
    neighbours=st.frozensets(neighbours, max_size=3),
    fdb=st.frozensets(forwarding, max_size=3),
    tables=st.dictionaries(st.sampled_from(["inet covey-a", "inet covey-b"]), tables, max_size=2),
    sysctls=st.dictionaries(st.sampled_from(["net/a", "net/b"]), st.sampled_from(["0", "1"])),
)
fragments = st.fixed_dictionaries({}, optional={HOST: states, "container/c": states})
keys = st.sampled_from(["one", "two", "three"])


@given(states)
def test_a_state_in_normal_form_is_the_same_state(state):
    normal = unflatten(flatten(state))
    assert flatten(normal) == flatten(state)
    assert difference(HOST, state, normal) == ()


@given(states, states)
def test_carrying_out_all_differences_leads_to_the_wanted_state(wanted, found):
    now = flatten(found)
    for one in difference(HOST, wanted, found):
        if one.kind is DifferenceKind.STRAY:
            assert now.pop(one.item) == one.found
        else:
            assert (one.item in now) == (one.kind is DifferenceKind.ALTERED)
            now[one.item] = one.wanted
    assert differences(HOST, flatten(wanted), now) == ()
    assert now.keys() == flatten(wanted).keys()


@given(states, states)
def test_removals_come_first_and_additions_follow_their_dependencies(wanted, found):
    result = difference(HOST, wanted, found)
    removed = [one.kind is DifferenceKind.STRAY for one in result]
    assert removed == sorted(removed, reverse=True)
    added = [KINDS.index(one.item[0]) for one in result if one.wanted is not None]
    assert added == sorted(added)


@given(states, states, st.data())
def test_a_comparison_of_some_items_is_part_of_the_whole_one(wanted, found, data):
    every = differences(HOST, flatten(wanted), flatten(found))
    some = data.draw(
        st.sets(st.sampled_from(sorted({*flatten(wanted), *flatten(found)}))) if wanted.links else st.just(set())
    )
    part = differences(HOST, flatten(wanted), flatten(found), only=some)
    assert part == tuple(one for one in every if one.item in some)


@given(st.lists(st.tuples(keys, st.none() | fragments), max_size=12))
def test_counted_fragments_are_the_union_of_those_that_are_left(changes):
    counted = WantedState()
    left = {}
    kernel = {}
    for key, fragment in changes:
        try:
            touched = counted.replace(key, fragment)
        except ConflictError:
            with pytest.raises(ConflictError):
                merge({**left, key: fragment})
            continue
        left[key] = fragment or {}
        for namespace, items in touched.items():
            wanted = counted.select(namespace, items)
            for item in items:
                if item in wanted:
                    kernel.setdefault(namespace, {})[item] = wanted[item]
                else:
                    kernel[namespace].pop(item)
        union = {namespace: flatten(state) for namespace, state in merge(left).items()}
        assert {namespace: counted.items(namespace) for namespace in union} == union
        assert {namespace: items for namespace, items in kernel.items() if items} == {
            n: i for n, i in union.items() if i
        }


@given(states)
def test_an_item_of_two_fragments_goes_with_the_last_of_them(state):
    counted = WantedState()
    assert counted.replace("one", {HOST: state}).get(HOST, set()) == set(flatten(state))
    assert counted.replace("two", {HOST: state}) == {}
    assert counted.replace("one", None) == {}
    assert counted.items(HOST) == flatten(state)
    assert counted.replace("two", None).get(HOST, set()) == set(flatten(state))
    assert counted.items(HOST) == {}


@given(states)
def test_putting_the_same_fragment_again_touches_nothing(state):
    counted = WantedState()
    counted.replace("one", {HOST: state})
    assert counted.replace("one", {HOST: state}) == {}


@pytest.mark.parametrize(
    "state",
    [
        NamespaceState(routes=frozenset({Route(destination="10.0.0.0/8", device="a"), Route(destination="10.0.0.0/8", device="b")})),
        NamespaceState(neighbours=frozenset({Neighbour("a", "10.0.0.1", "02:00:00:00:00:01"), Neighbour("a", "10.0.0.1", "02:00:00:00:00:02")})),
        NamespaceState(addresses=frozenset({("a", "10.0.0.300/24")})),
        NamespaceState(routes=frozenset({Route(destination="10.0.0.1/8", device="a")})),
    ],
)  # fmt: skip
def test_a_state_that_contradicts_itself_or_has_no_valid_address_is_refused(state):
    counted = WantedState()
    with pytest.raises(InvalidArgumentError, match="the state of a network namespace"):
        counted.replace("one", {HOST: state})
    assert counted.items(HOST) == {}
