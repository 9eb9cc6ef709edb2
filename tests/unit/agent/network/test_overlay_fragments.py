"""Fragments of an overlay network: only those of what changed."""

from __future__ import annotations

from agent.network.backends import service_backends
from agent.network.model import Attachment, NetworkChanges, OverlayNetwork, Subnet, TunnelEndpoint
from agent.network.namespace_state import Fragment, network_key
from agent.network.overlay_fragments import OverlayDelta, plan_changes, plan_network, whole
from agent.network.state import NetworkState
from covey.objects.assignment import NetworkEndpoint, VirtualService

NETWORK = OverlayNetwork("n", "web", 4097, "10.0.1.0/24", "10.0.1.1", more_subnets=(Subnet("fd00::/64", "fd00::1"),))
HERE = TunnelEndpoint("192.0.2.1")
OVERLAY = plan_network(NETWORK, HERE, 1450, "cv")


def endpoint(last: int, host: str = "192.0.2.2", **changes) -> NetworkEndpoint:
    fields = {"id": f"t{last}/n", "network_id": "n", "host": host, "address": f"10.0.1.{last}", "ready": True}
    return NetworkEndpoint(**fields | {"service_id": "s"} | changes)


def cluster(*endpoints: NetworkEndpoint) -> NetworkState:
    state = NetworkState()
    web = VirtualService(id="s/n", network_id="n", service_id="s", name="web", address="10.0.1.100")
    state.apply(NetworkChanges(networks=(NETWORK,), endpoints=endpoints, services=(web,)))
    return state


def planned(state: NetworkState, delta: OverlayDelta, **attached: str) -> dict[str, Fragment | None]:
    local = {container: Attachment("n", f"{address}/24", "eth0") for container, address in attached.items()}
    backends = {each: service_backends(state.service("n", each), state.endpoints_of_service("n", each)) for each in "s"}
    return plan_changes(state, OVERLAY, local, delta, backends)


def test_the_bridge_has_the_gateways_of_all_subnets_and_the_same_mac_everywhere():
    assert OVERLAY.gateways == ("10.0.1.1/24", "fd00::1/64")
    assert OVERLAY.mac == plan_network(NETWORK, TunnelEndpoint("192.0.2.9"), 1450, "cv").mac == "02:42:0a:00:01:01"
    assert OVERLAY.has_ipv6


def test_the_whole_network_has_a_fragment_for_each_part():
    state = cluster(endpoint(5), endpoint(6, host=HERE.address))
    changes = planned(state, whole(state, "n", {"c": Attachment("n", "10.0.1.6/24", "eth0")}), c="10.0.1.6")
    assert {key: value is not None for key, value in changes.items()} == {
        "network/n/sandbox": True,
        "network/n/vips": True,
        "network/n/address/10.0.1.5": True,
        "network/n/address/10.0.1.6": False,
        "network/n/interface/c": True,
        "network/n/service/s": True,
    }


def test_a_change_of_one_endpoint_costs_its_own_fragment_and_its_services():
    state = cluster(endpoint(5), endpoint(6))
    (delta,) = state.apply(NetworkChanges(endpoints=(endpoint(5, ready=False),))).values()
    changed = OverlayDelta()
    changed.update(delta)
    assert set(planned(state, changed)) == {"network/n/address/10.0.1.5", "network/n/service/s"}


def test_an_address_of_a_local_container_is_local_whatever_the_managers_say():
    state = cluster(endpoint(5))
    delta = OverlayDelta(addresses={"10.0.1.5"})
    assert planned(state, delta, c="10.0.1.5") == {"network/n/address/10.0.1.5": None}
    assert planned(state, delta)["network/n/address/10.0.1.5"] is not None


def test_an_endpoint_without_a_host_or_on_this_one_has_no_tunnel():
    delta = OverlayDelta(addresses={"10.0.1.5"})
    for host in ("", HERE.address):
        assert planned(cluster(endpoint(5, host=host)), delta) == {"network/n/address/10.0.1.5": None}


def test_an_explicit_mac_is_used():
    state = cluster(endpoint(5, mac="02:00:00:00:00:99", address6="fd00::5"))
    fragment = planned(state, OverlayDelta(addresses={"10.0.1.5"}))["network/n/address/10.0.1.5"]
    assert fragment is not None
    neighbours = fragment[network_key("n")].neighbours
    assert {(each.address, each.mac) for each in neighbours} == {
        ("10.0.1.5", "02:00:00:00:00:99"),
        ("fd00::5", "02:00:00:00:00:99"),
    }


def test_a_failed_fragment_is_planned_again_by_its_key():
    delta = OverlayDelta()
    for key in ("network/n/address/10.0.1.5", "network/n/service/s", "network/n/interface/c"):
        delta.add(key)
    assert delta == OverlayDelta(addresses={"10.0.1.5"}, services={"s"}, containers={"c"})
    delta.add("network/n/vips")
    assert delta.configuration
