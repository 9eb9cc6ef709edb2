"""Network state of a host."""

from __future__ import annotations

from agent.network.model import (
    NetworkChanges,
    OverlayNetwork,
    mac_address,
)
from agent.network.state import NetworkState
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


def test_the_ipv4_address_determines_the_mac_address():
    assert mac_address("10.0.1.255/24") == "02:42:0a:00:01:ff"


def test_applying_the_same_changes_again_changes_no_network():
    state = NetworkState()
    changes = NetworkChanges(networks=(network(),), endpoints=(endpoint(),), services=(service(),))
    assert state.apply(changes) == ("n",)
    assert state.apply(changes) == ()


def test_a_changed_endpoint_changes_its_network_only():
    state = NetworkState()
    state.apply(NetworkChanges(endpoints=(endpoint(), endpoint(network_id="m"))))
    assert state.apply(NetworkChanges(endpoints=(endpoint(ready=False),))) == ("n",)
    assert not state.endpoints("n")["t/n"].ready


def test_removals_remove_and_unknown_ids_are_ignored():
    state = NetworkState()
    state.apply(NetworkChanges(networks=(network(),), endpoints=(endpoint(),), services=(service(),)))
    gone = NetworkChanges(
        removed_networks=("n", "?"),
        removed_endpoints=("t/n", "?/n"),
        removed_services=("s/n",),
    )
    assert state.apply(gone) == ("n",)
    assert state.apply(gone) == ()
    assert (state.networks, dict(state.endpoints("n")), dict(state.services("n"))) == ({}, {}, {})


def test_an_endpoint_that_is_both_removed_and_put_stays():
    state = NetworkState()
    state.apply(NetworkChanges(endpoints=(endpoint(),), removed_endpoints=("t/n",)))
    assert list(state.endpoints("n")) == ["t/n"]
