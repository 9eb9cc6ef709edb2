"""Network state: it follows the changes, and says what they concern."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.dns import wire
from agent.network.model import NetworkChanges, OverlayNetwork
from agent.network.state import NetworkState
from covey.objects.assignment import NetworkEndpoint, VirtualService

addresses = st.integers(1, 12).map(lambda i: f"10.0.0.{i}")

names = st.sampled_from(["a", "b", "c"])
networks = st.builds(
    OverlayNetwork, id=names, name=names, vni=st.just(5000), subnet=st.just("10.0.0.0/24"), gateway=st.just("")
)
endpoints = st.builds(
    lambda task, network, address, ready: NetworkEndpoint(
        id=f"{task}/{network}", network_id=network, host="h", address=address, ready=ready
    ),
    names,
    names,
    addresses,
    st.booleans(),
)
services = st.builds(
    lambda service, network, address: VirtualService(
        id=f"{service}/{network}", network_id=network, service_id=service, address=address
    ),
    names,
    names,
    addresses,
)
object_ids = st.builds(lambda owner, network: f"{owner}/{network}", names, names)
changes = st.builds(
    NetworkChanges,
    networks=st.lists(networks, max_size=4, unique_by=lambda n: n.id).map(tuple),
    endpoints=st.lists(endpoints, max_size=6, unique_by=lambda e: e.id).map(tuple),
    removed_networks=st.lists(names, max_size=2).map(tuple),
    removed_endpoints=st.lists(object_ids, max_size=3).map(tuple),
    services=st.lists(services, max_size=4, unique_by=lambda s: s.id).map(tuple),
    removed_services=st.lists(object_ids, max_size=2).map(tuple),
)


def contents(state: NetworkState) -> dict[str, tuple]:
    return {name: (state.networks.get(name), dict(state.endpoints(name)), dict(state.services(name))) for name in "abc"}


def expected(before: dict, removed: tuple[str, ...], new: tuple) -> dict:
    return {key: item for key, item in before.items() if key not in removed} | {item.id: item for item in new}


@given(st.lists(changes, max_size=6))
def test_the_state_follows_the_changes_and_names_the_networks_that_differ(sequence):
    state = NetworkState()
    networks, endpoints, services = {}, {}, {}
    for change in sequence:
        before = contents(state)
        changed = state.apply(change)
        networks = expected(networks, change.removed_networks, change.networks)
        endpoints = expected(endpoints, change.removed_endpoints, change.endpoints)
        services = expected(services, change.removed_services, change.services)
        assert state.networks == networks
        for name in "abc":
            assert state.endpoints(name) == {key: item for key, item in endpoints.items() if item.network_id == name}
            assert state.services(name) == {key: item for key, item in services.items() if item.network_id == name}
        differing = {name for name, content in contents(state).items() if content != before[name]}
        removed_and_put = set(change.removed_networks) & {network.id for network in change.networks}
        assert differing <= set(changed) <= differing | removed_and_put
        assert set(state.apply(change)) <= removed_and_put


@given(st.binary(max_size=80))
def test_no_packet_breaks_the_dns_parser(packet):
    try:
        question = wire.read_question(packet)
    except wire.MalformedQueryError as error:
        refused = error.code
    else:
        assert question.raw in packet
        return
    assert refused is None or wire.error_reply(packet, refused)[:2] == packet[:2]
