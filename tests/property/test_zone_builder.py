"""The zone of a builder is the one that is built of everything at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.dns.zone import build_network_zone
from agent.dns.zone_builder import ZoneBuilder
from covey.objects import PortConfig
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode

names = st.sampled_from(["", "web", "Web", "db"])
v4 = st.integers(1, 4).map(lambda last: f"10.0.0.{last}")
v6 = st.integers(1, 4).map(lambda last: f"fd00::{last}") | st.just("")
services_ids = st.sampled_from(["", "s1", "s2"])
endpoints = st.builds(
    NetworkEndpoint,
    id=st.sampled_from(["e1", "e2", "e3", "e4"]),
    address=v4,
    address6=v6,
    service_id=services_ids,
    service_name=st.sampled_from(["", "web"]),
    task_id=st.sampled_from(["", "t"]),
    task_name=names | st.sampled_from(["web.1.t", "web.2.t"]),
    node_name=st.sampled_from(["", "h1", "1"]),
    hostname=names,
    aliases=st.lists(names, max_size=2).map(tuple),
    ready=st.booleans(),
)
services = st.builds(
    VirtualService,
    id=st.just(""),
    service_id=st.sampled_from(["s1", "s2"]),
    name=names,
    aliases=st.lists(names, max_size=2).map(tuple),
    mode=st.sampled_from(list(EndpointMode)),
    address=v4 | st.just(""),
    address6=v6,
    ports=st.lists(
        st.builds(PortConfig, name=st.sampled_from(["", "http"]), target_port=st.integers(80, 81)), max_size=2
    ).map(tuple),
)
aliases = st.lists(st.tuples(names.filter(bool), v4), max_size=2)
steps = st.tuples(
    st.lists(endpoints, max_size=3),
    st.lists(st.sampled_from(["e1", "e2", "e3", "e4"]), max_size=2),
    st.lists(services, max_size=2),
    st.lists(st.sampled_from(["s1", "s2"]), max_size=1),
    aliases,
)


@given(st.lists(steps, max_size=8))
def test_a_zone_that_follows_changes_is_the_one_of_the_whole(sequence):
    builder = ZoneBuilder("Net")
    known: dict[str, NetworkEndpoint] = {}
    virtual: dict[str, VirtualService] = {}
    for put, gone, put_services, gone_services, local in sequence:
        changed = dict.fromkeys(gone) | {each.id: each for each in put}
        changed_services = dict.fromkeys(gone_services) | {each.service_id: each for each in put_services}
        known = {key: each for key, each in {**known, **changed}.items() if each is not None}
        virtual = {key: each for key, each in {**virtual, **changed_services}.items() if each is not None}
        found = builder.update(changed, changed_services, local)
        assert found == build_network_zone("Net", known.values(), virtual.values(), local)
