"""Which ports are published where: families, ranges, drawn ports, `--publish-all`."""

import pytest

from agent.container.model import PortBinding
from agent.endpoint.port_plan import PortWish, ReachableContainer, all_published, wishes
from covey.errors import InvalidArgumentError

V4, DUAL = ReachableContainer(v4="172.18.0.2"), ReachableContainer(v4="172.18.0.2", v6="fd00::2")


def binding(port: str = "", address: str = "") -> tuple[PortBinding, ...]:
    return (PortBinding(host_address=address, host_port=port),)


def test_a_port_without_an_address_is_published_on_the_families_of_the_container() -> None:
    assert wishes({"80/tcp": binding("8080")}, {}, V4) == [
        PortWish("80/tcp", ("0.0.0.0",), 8080, 8080, on_loopback6=True)
    ]
    assert wishes({"80/tcp": binding("8080")}, {}, DUAL) == [
        PortWish("80/tcp", ("0.0.0.0", "::"), 8080, 8080, on_loopback6=True)
    ]
    assert wishes({"80/tcp": binding("80", "127.0.0.1")}, {}, DUAL) == [PortWish("80/tcp", ("127.0.0.1",), 80, 80)]


def test_an_address_of_a_family_that_the_container_lacks_is_refused_but_all_of_ipv6_is_left_out() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot publish 80/tcp on 2001:db8::1: the container has no IPv6"):
        wishes({"80/tcp": binding("80", "2001:db8::1")}, {}, V4)
    assert wishes({"80/tcp": binding("80", "::")}, {}, V4) == [PortWish("80/tcp", (), 80, 80, on_loopback6=True)]
    assert wishes({"80/sctp": binding("80", "::")}, {}, V4) == []


def test_fixed_ports_come_before_ranges_and_drawn_ones() -> None:
    found = wishes({"1/tcp": binding(), "2/tcp": binding("90-99"), "3/tcp": binding("91")}, {}, V4)
    assert [(wish.port, wish.first, wish.last) for wish in found] == [
        ("3/tcp", 91, 91),
        ("2/tcp", 90, 99),
        ("1/tcp", 0, 0),
    ]


def test_a_drawn_port_stays_over_a_restart() -> None:
    before = {("80/tcp", "0.0.0.0"): 40000, ("80/tcp", "::"): 40000}
    assert wishes({"80/tcp": binding()}, before, DUAL)[0][2:4] == (40000, 40000)
    assert wishes({"80/tcp": binding()}, {("80/tcp", "0.0.0.0"): 40000}, DUAL)[0][2:4] == (0, 0)


def test_the_daemons_default_address_replaces_an_empty_one_only() -> None:
    found = wishes({"80/tcp": binding("80"), "81/tcp": binding("81", "0.0.0.0")}, {}, DUAL, "127.0.0.1")
    assert [wish.host_addresses for wish in found] == [("127.0.0.1",), ("0.0.0.0",)]
    assert not any(wish.on_loopback6 for wish in found)
    (found6,) = wishes({"80/tcp": binding("80")}, {}, DUAL, "fd00::9")
    assert found6.host_addresses == ("fd00::9",)


def test_publishing_all_adds_exposed_ports_that_have_no_binding() -> None:
    found = all_published({"80/tcp": binding("8080"), "81/tcp": None}, ["80/tcp", "81/tcp", "53/udp", "90"])
    assert found["80/tcp"] == binding("8080")
    assert found["81/tcp"] == found["53/udp"] == found["90/tcp"] == binding()
