"""DNS zones: the names and addresses that a container resolves."""

from __future__ import annotations

import socket

import pytest

from agent.dns import wire, zone
from agent.dns.zone import Zone
from covey.errors import InvalidArgumentError
from covey.objects.assignment import NetworkEndpoint, VirtualService
from covey.states import EndpointMode


def task(last: int, **changes) -> NetworkEndpoint:
    given = {
        "id": f"t{last}/n", "network_id": "n", "ready": True, "host": "h", "address": f"10.0.1.{last}", "service_id": "s",
        "task_name": f"web.{last}", "hostname": f"Host{last}", "aliases": ("both",),
    }  # fmt: skip
    return NetworkEndpoint(**given | changes)


WEB = VirtualService(id="s/n", network_id="n", service_id="s", name="Web", address="10.0.1.100", aliases=("front",))
ROUND = VirtualService(id="s/n", network_id="n", service_id="s", name="web", mode=EndpointMode.DNSRR)


def found(names, name: str, kind: int = wire.A):
    answer = Zone((names,)).find(name.encode(), kind)
    return None if answer is None else [socket.inet_ntoa(item) for item in answer.addresses]


def test_every_name_of_a_service_resolves_to_its_vip():
    names = zone.build_network_zone("Shop", [task(5)], [WEB])
    for name in ("web", "front", "web.shop", "front.shop"):
        assert found(names, name) == ["10.0.1.100"]


@pytest.mark.parametrize("address", ["10.0.1", "10.0.1.256", "10.0.1.x", "fd00::x"])
def test_an_endpoint_without_a_valid_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'{address}' is not an IP address"):
        zone.build_network_zone("shop", [task(5, address=address)], [])


def test_names_lead_to_the_addresses_of_both_families_and_back():
    vip = VirtualService(
        id="s/n", network_id="n", service_id="s", name="web", address="10.0.1.100", address6="fd00::100"
    )
    names = zone.build_network_zone("shop", [task(5, address6="fd00::5")], [vip])

    def found6(name: str) -> list[str]:
        answer = Zone((names,)).find(name.encode(), wire.AAAA)
        return [] if answer is None else [socket.inet_ntop(socket.AF_INET6, item) for item in answer.addresses]

    assert (found(names, "web"), found6("web")) == (["10.0.1.100"], ["fd00::100"])
    assert (found(names, "tasks.web"), found6("tasks.web")) == (["10.0.1.5"], ["fd00::5"])
    assert found6("host5.shop") == ["fd00::5"]
    assert names.reverse["fd00::100"] == b"web.shop"
    assert names.reverse["fd00::5"] == b"web.5.shop"


def test_tasks_names_and_dnsrr_services_resolve_to_the_ready_tasks():
    tasks = [task(5), task(6), task(7, ready=False)]
    assert found(zone.build_network_zone("shop", tasks, [WEB]), "tasks.web") == ["10.0.1.5", "10.0.1.6"]
    assert found(zone.build_network_zone("shop", tasks, [ROUND]), "web") == ["10.0.1.5", "10.0.1.6"]
    assert found(zone.build_network_zone("shop", tasks, [ROUND]), "tasks.web.shop") == ["10.0.1.5", "10.0.1.6"]


def test_a_task_resolves_by_its_own_names_before_it_is_ready():
    names = zone.build_network_zone("shop", [task(7, ready=False)], [WEB])
    for name in ("web.7", "host7", "both", "web.7.shop"):
        assert found(names, name) == ["10.0.1.7"]


def slotted(last: int, slot: str, node: str, *, ready: bool = True) -> NetworkEndpoint:
    return task(
        last, task_id=f"t{last}", service_name="Web", task_name=f"Web.{slot}.t{last}", node_name=node, ready=ready
    )


def test_a_slot_and_a_node_lead_to_the_tasks_there():
    tasks = [slotted(5, "1", "Host-a"), slotted(6, "2", "Host-a"), slotted(7, "3", "Host-b", ready=False)]
    names = zone.build_network_zone("shop", tasks, [WEB])
    assert found(names, "web.1") == ["10.0.1.5"]
    assert found(names, "web.2.shop") == ["10.0.1.6"]
    assert found(names, "web.host-a") == ["10.0.1.5", "10.0.1.6"]
    for starting in ("web.3", "web.host-b"):
        assert found(names, starting) == ["10.0.1.7"], "the peers of a starting cluster find no one"
    assert found(names, "web.4") is None


def test_a_slot_leads_to_its_ready_task_while_an_update_has_two_there():
    tasks = [slotted(5, "1", "a"), slotted(6, "1", "b", ready=False)]
    assert found(zone.build_network_zone("shop", tasks, [WEB]), "web.1") == ["10.0.1.5"]


def test_an_alias_of_several_tasks_resolves_to_all_of_them():
    assert found(zone.build_network_zone("shop", [task(6), task(5)], []), "both") == ["10.0.1.5", "10.0.1.6"]


def test_other_types_of_a_known_name_are_empty_and_unknown_names_are_forwarded():
    names = zone.build_network_zone("shop", [task(5)], [WEB])
    assert found(names, "web", wire.AAAA) == []
    assert found(names, "example.com") is None
    assert found(names, "shop") is None


def test_a_dnsrr_service_without_ready_tasks_resolves_to_nothing():
    assert found(zone.build_network_zone("shop", [], [ROUND]), "web") == []


def test_reverse_lookup_of_tasks_and_vips():
    names = zone.build_network_zone("shop", [task(5)], [WEB])
    reverse = Zone((names,))
    assert reverse.find(b"5.1.0.10.in-addr.arpa", wire.PTR).pointer == b"web.5.shop"
    assert reverse.find(b"100.1.0.10.in-addr.arpa", wire.PTR).pointer == b"Web.shop"
    assert reverse.find(b"9.1.0.10.in-addr.arpa", wire.PTR) is None


def test_the_network_of_the_first_interface_wins():
    one = zone.build_network_zone("one", [], [WEB])
    two = zone.build_network_zone(
        "two", [], [VirtualService(id="x/m", network_id="m", service_id="x", name="web", address="10.0.2.100")]
    )
    both = Zone((two, one))
    assert [socket.inet_ntoa(a) for a in both.find(b"web", wire.A).addresses] == ["10.0.2.100"]
    assert [socket.inet_ntoa(a) for a in both.find(b"web.one", wire.A).addresses] == ["10.0.1.100"]


def test_aliases_of_local_containers_are_added():
    assert found(zone.build_network_zone("shop", [], [], [("Db", "10.0.1.77")]), "db.shop") == ["10.0.1.77"]
