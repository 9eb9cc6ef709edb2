"""Backend tables of VIPs."""

from __future__ import annotations

from agent.network.backends import Backends, losing_vips, service_backends
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


def test_only_ready_tasks_are_ready_and_draining_ones_finish():
    tasks = [task(5), task(4), task(6, ready=False, draining=True)]
    assert service_backends(service(), tasks) == {
        VIP: Backends(frozenset({"10.0.1.4", "10.0.1.5", "10.0.1.6"}), ("10.0.1.4", "10.0.1.5"))
    }


def test_each_family_has_its_own_vip_and_a_task_without_that_family_is_no_backend():
    tasks = [task(4, address6="fd00::4"), task(5)]
    table = service_backends(service(address6="fd00::100"), tasks)
    assert {vip: found.ready for vip, found in table.items()} == {
        VIP: ("10.0.1.4", "10.0.1.5"),
        "fd00::100": ("fd00::4",),
    }


def test_a_service_without_ready_tasks_keeps_its_vip_with_no_backends():
    assert service_backends(service(), [task(5, ready=False)])[VIP].ready == ()
    assert service_backends(service(), []) == {VIP: Backends()}


def test_dnsrr_services_and_removed_ones_have_no_vip():
    assert service_backends(service(mode=EndpointMode.DNSRR, address=""), [task(5)]) == {}
    assert service_backends(None, [task(5)]) == {}


def test_losing_a_backend_is_seen_for_tcp_and_udp_and_winning_one_is_not():
    before = {VIP: Backends(frozenset("ab"), ("a",))}
    assert losing_vips(before, {VIP: Backends(frozenset("a"), ("a",))}) == {VIP}
    assert losing_vips(before, {VIP: Backends(frozenset("ab"), ())}) == {VIP}
    assert losing_vips(before, {}) == {VIP}
    assert not losing_vips(before, {VIP: Backends(frozenset("abc"), ("a", "c")), "x": Backends(frozenset("c"), ("c",))})
