"""Network state of a host."""

from __future__ import annotations

from agent.network.model import (
    NetworkChanges,
    OverlayNetwork,
)
from agent.network.state import NetworkDelta, NetworkState
from covey.objects.assignment import NetworkEndpoint, VirtualService


def network(network_id: str = "n") -> OverlayNetwork:
    return OverlayNetwork(id=network_id, name=network_id, vni=5000, subnet="10.0.1.0/24", gateway="10.0.1.1")


def endpoint(endpoint_id: str = "t", network_id: str = "n", **changes) -> NetworkEndpoint:
    fields = {"id": f"{endpoint_id}/{network_id}", "network_id": network_id, "host": "h", "address": "10.0.1.5"}
    return NetworkEndpoint(**fields | {"ready": True} | changes)


def service(service_id: str = "s", network_id: str = "n") -> VirtualService:
    return VirtualService(
        id=f"{service_id}/{network_id}", network_id=network_id, service_id=service_id, address="10.0.1.9"
    )


def test_applying_the_same_changes_again_changes_no_network():
    state = NetworkState()
    changes = NetworkChanges(networks=(network(),), endpoints=(endpoint(),), services=(service(),))
    assert list(state.apply(changes)) == ["n"]
    assert state.apply(changes) == {}


def test_a_changed_endpoint_changes_its_network_only():
    state = NetworkState()
    state.apply(NetworkChanges(endpoints=(endpoint(), endpoint(network_id="m"))))
    assert state.apply(NetworkChanges(endpoints=(endpoint(ready=False),))) == {
        "n": NetworkDelta(endpoints={"t/n"}, addresses={"10.0.1.5"}, services={""})
    }
    assert not state.endpoints("n")["t/n"].ready


def test_removals_remove_and_unknown_ids_are_ignored():
    state = NetworkState()
    state.apply(NetworkChanges(networks=(network(),), endpoints=(endpoint(),), services=(service(),)))
    gone = NetworkChanges(
        removed_networks=("n", "?"),
        removed_endpoints=("t/n", "?/n"),
        removed_services=("s/n",),
    )
    assert list(state.apply(gone)) == ["n"]
    assert state.apply(gone) == {}
    assert (state.networks, dict(state.endpoints("n")), dict(state.services("n"))) == ({}, {}, {})


def test_an_endpoint_that_is_both_removed_and_put_stays():
    state = NetworkState()
    state.apply(NetworkChanges(endpoints=(endpoint(),), removed_endpoints=("t/n",)))
    assert list(state.endpoints("n")) == ["t/n"]


def test_an_address_that_two_endpoints_claim_belongs_to_the_ready_one_then_to_the_greater_id():
    state = NetworkState()
    state.apply(NetworkChanges(endpoints=(endpoint("a"), endpoint("b"), endpoint("c", ready=False))))
    assert state.owner("n", "10.0.1.5").id == "b/n"
    state.apply(NetworkChanges(endpoints=(endpoint("b", ready=False),)))
    assert state.owner("n", "10.0.1.5").id == "a/n"
    state.apply(NetworkChanges(removed_endpoints=("a/n", "b/n")))
    assert state.owner("n", "10.0.1.5").id == "c/n"
    state.apply(NetworkChanges(endpoints=(endpoint("c", address="10.0.1.6"),)))
    assert state.owner("n", "10.0.1.5") is None


def test_endpoints_are_found_by_their_service_and_a_moved_one_names_both_places():
    state = NetworkState()
    state.apply(NetworkChanges(endpoints=(endpoint(service_id="s"),), services=(service(),)))
    assert [each.id for each in state.endpoints_of_service("n", "s")] == ["t/n"]
    assert state.apply(NetworkChanges(endpoints=(endpoint(service_id="s2", address="10.0.1.7"),))) == {
        "n": NetworkDelta(endpoints={"t/n"}, addresses={"10.0.1.5", "10.0.1.7"}, services={"s", "s2"})
    }
    assert not state.endpoints_of_service("n", "s")
    assert state.service("n", "s") == service()
