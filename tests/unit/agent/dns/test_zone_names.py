"""What a container is told."""

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


def test_a_service_answers_with_its_vip_by_every_name():
    names = zone.build_network_zone("Shop", [task(5)], [WEB])
    for name in ("web", "front", "web.shop", "front.shop"):
        assert found(names, name) == ["10.0.1.100"]


@pytest.mark.parametrize("address", ["", "10.0.1", "10.0.1.256", "10.0.1.x", "fd00::5"])
def test_what_is_no_address_is_named_instead_of_answered_with(address: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"'{address}' is no IPv4 address"):
        zone.build_network_zone("shop", [task(5, address=address)], [])


def test_tasks_are_the_ready_ones_and_dnsrr_answers_the_same():
    tasks = [task(5), task(6), task(7, ready=False)]
    assert found(zone.build_network_zone("shop", tasks, [WEB]), "tasks.web") == ["10.0.1.5", "10.0.1.6"]
    assert found(zone.build_network_zone("shop", tasks, [ROUND]), "web") == ["10.0.1.5", "10.0.1.6"]
    assert found(zone.build_network_zone("shop", tasks, [ROUND]), "tasks.web.shop") == ["10.0.1.5", "10.0.1.6"]


def test_a_task_is_found_by_its_own_names_even_before_it_is_ready():
    names = zone.build_network_zone("shop", [task(7, ready=False)], [WEB])
    for name in ("web.7", "host7", "both", "web.7.shop"):
        assert found(names, name) == ["10.0.1.7"]


def test_an_alias_of_several_tasks_has_all_their_addresses():
    assert found(zone.build_network_zone("shop", [task(6), task(5)], []), "both") == ["10.0.1.5", "10.0.1.6"]


def test_a_known_name_has_no_other_type_and_an_unknown_one_is_not_ours():
    names = zone.build_network_zone("shop", [task(5)], [WEB])
    assert found(names, "web", wire.AAAA) == []
    assert found(names, "example.com") is None
    assert found(names, "shop") is None


def test_a_service_without_ready_tasks_is_known_and_empty():
    assert found(zone.build_network_zone("shop", [], [ROUND]), "web") == []


def test_addresses_have_names():
    names = zone.build_network_zone("shop", [task(5)], [WEB])
    reverse = Zone((names,))
    assert reverse.find(b"5.1.0.10.in-addr.arpa", wire.PTR).pointer == b"web.5.shop"
    assert reverse.find(b"100.1.0.10.in-addr.arpa", wire.PTR).pointer == b"Web.shop"
    assert reverse.find(b"9.1.0.10.in-addr.arpa", wire.PTR) is None


def test_the_first_interfaces_network_is_asked_first():
    one = zone.build_network_zone("one", [], [WEB])
    two = zone.build_network_zone(
        "two", [], [VirtualService(id="x/m", network_id="m", service_id="x", name="web", address="10.0.2.100")]
    )
    both = Zone((two, one))
    assert [socket.inet_ntoa(a) for a in both.find(b"web", wire.A).addresses] == ["10.0.2.100"]
    assert [socket.inet_ntoa(a) for a in both.find(b"web.one", wire.A).addresses] == ["10.0.1.100"]


def test_names_that_only_this_host_knows_are_added():
    assert found(zone.build_network_zone("shop", [], [], [("Db", "10.0.1.77")]), "db.shop") == ["10.0.1.77"]
