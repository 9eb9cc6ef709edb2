"""The state under the driver."""

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


def test_an_address_decides_its_hardware_address():
    assert mac_address("10.0.1.255/24") == "02:42:0a:00:01:ff"


def test_what_was_known_already_touches_nothing():
    world = NetworkState()
    changes = NetworkChanges(networks=(network(),), endpoints=(endpoint(),), services=(service(),))
    assert world.apply(changes) == ("n",)
    assert world.apply(changes) == ()


def test_an_endpoint_that_changes_touches_its_network_alone():
    world = NetworkState()
    world.apply(NetworkChanges(endpoints=(endpoint(), endpoint(network_id="m"))))
    assert world.apply(NetworkChanges(endpoints=(endpoint(ready=False),))) == ("n",)
    assert not world.endpoints("n")["t/n"].ready


def test_removals_take_away_and_an_unknown_one_is_no_matter():
    world = NetworkState()
    world.apply(NetworkChanges(networks=(network(),), endpoints=(endpoint(),), services=(service(),)))
    gone = NetworkChanges(
        removed_networks=("n", "?"),
        removed_endpoints=("t/n", "?/n"),
        removed_services=("s/n",),
    )
    assert world.apply(gone) == ("n",)
    assert world.apply(gone) == ()
    assert (world.networks, dict(world.endpoints("n")), dict(world.services("n"))) == ({}, {}, {})


def test_a_complete_difference_leaves_exactly_what_it_names():
    world = NetworkState()
    world.apply(
        NetworkChanges(networks=(network(), network("m")), endpoints=(endpoint(), endpoint("u")), services=(service(),))
    )
    assert world.apply(NetworkChanges(networks=(network(),), endpoints=(endpoint("u"),), complete=True)) == ("m", "n")
    assert list(world.networks) == ["n"]
    assert list(world.endpoints("n")) == ["u/n"]
    assert not world.services("n")


def test_an_endpoint_in_the_same_difference_as_its_removal_stays():
    world = NetworkState()
    world.apply(NetworkChanges(endpoints=(endpoint(),), removed_endpoints=("t/n",)))
    assert list(world.endpoints("n")) == ["t/n"]
