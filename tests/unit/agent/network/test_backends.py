"""Backend tables of VIPs."""

from __future__ import annotations

from agent.network import backends
from agent.network.backends import BackendTable, loses_backend
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode

VIP = "10.0.1.100"


def task(last: int, **changes) -> NetworkEndpoint:
    given = {
        "id": f"t{last}/n",
        "network_id": "n",
        "ready": True,
        "host": "h",
        "address": f"10.0.1.{last}",
        "service_id": "s",
    }
    return NetworkEndpoint(**given | changes)


def service(**changes) -> VirtualService:
    return VirtualService(
        **{"id": "s/n", "network_id": "n", "service_id": "s", "name": "web", "address": VIP} | changes
    )


def test_only_ready_tasks_of_the_service_are_backends():
    tasks = [task(5), task(4), task(6, ready=False), task(7, service_id="other")]
    assert backends.ready_backends([service()], tasks) == {VIP: ("10.0.1.4", "10.0.1.5")}
    assert backends.all_backends([service()], tasks) == {VIP: {"10.0.1.4", "10.0.1.5", "10.0.1.6"}}


def test_a_service_without_ready_tasks_keeps_its_vip_with_no_backends():
    assert backends.ready_backends([service()], [task(5, ready=False)]) == {VIP: ()}


def test_dnsrr_services_have_no_backends():
    assert backends.ready_backends([service(mode=EndpointMode.DNSRR, address="")], [task(5)]) == {}


def test_a_container_on_two_networks_reaches_the_backends_of_both():
    one = backends.build_table([service()], [task(5), task(6, ready=False)])
    two = backends.build_table([service(id="s/m", network_id="m", address="10.0.2.100")], [task(9, network_id="m")])
    merged = backends.merge_tables((one, two))
    assert merged.ready == {VIP: ("10.0.1.5",), "10.0.2.100": ("10.0.1.9",)}
    assert merged.all == {VIP: {"10.0.1.5", "10.0.1.6"}, "10.0.2.100": {"10.0.1.9"}}


def test_losing_a_backend_is_seen_for_tcp_and_udp_and_winning_one_is_not():
    before = BackendTable({VIP: ("a", "b")}, {VIP: ("a",)})
    assert loses_backend(before, BackendTable({VIP: ("a",)}, {VIP: ("a",)}))
    assert loses_backend(before, BackendTable({VIP: ("a", "b")}, {VIP: ()}))
    assert loses_backend(before, BackendTable({}, {}))
    assert not loses_backend(before, BackendTable({VIP: ("a", "b", "c"), "x": ("c",)}, {VIP: ("a", "c"), "x": ("c",)}))
