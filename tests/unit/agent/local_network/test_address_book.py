"""Addresses of endpoints: in turn, fixed, out of a range, both families, and what happens when none is left."""

import pytest

from agent.local_network.addresses import AddressBook
from agent.local_network.model import LocalNetwork
from covey.errors import ConflictError, InvalidArgumentError, PermissionDeniedError
from covey.objects.network import IPAM, IPAMConfig


def network(*configs: IPAMConfig, ipv6: bool = False, given: bool = True) -> LocalNetwork:
    return LocalNetwork(
        id="n" * 64, name="web", driver="bridge", created_at_ns=0, ipv6=ipv6, ipam=IPAM(configs=configs), subnets_given=(given, given)
    )  # fmt: skip


SMALL = network(IPAMConfig(subnet="10.0.0.0/29", gateway="10.0.0.1", auxiliary_addresses={"router": "10.0.0.4"}))


def test_addresses_are_given_in_turn_so_a_freed_one_comes_back_last():
    book = AddressBook()
    assert [book.allocate(SMALL, holder).ipv4 for holder in "abc"] == ["10.0.0.2/29", "10.0.0.3/29", "10.0.0.5/29"]
    assert book.allocate(SMALL, "a").ipv4 == "10.0.0.2/29"  # repeated: it keeps its own
    book.release(SMALL.id, "a")
    assert book.allocate(SMALL, "d").ipv4 == "10.0.0.6/29"
    assert book.allocate(SMALL, "e").ipv4 == "10.0.0.2/29"
    assert book.holders(SMALL.id) == {"b", "c", "d", "e"}
    with pytest.raises(ConflictError, match=r"no available IPv4 addresses on this network's address pools: web \(n+\)"):
        book.allocate(SMALL, "f")


def test_a_fixed_address_must_be_free_and_in_a_subnet_that_the_user_named():
    book = AddressBook()
    assert book.allocate(SMALL, "a", "10.0.0.6").ipv4 == "10.0.0.6/29"
    for address in ("10.0.0.6", "10.0.0.1", "10.0.0.4", "10.0.0.0", "10.0.0.7"):
        with pytest.raises(PermissionDeniedError, match="Address already in use"):
            book.allocate(SMALL, "b", address)
    with pytest.raises(InvalidArgumentError, match=r"no configured subnet contains IP address 10.1.0.9"):
        book.allocate(SMALL, "b", "10.1.0.9")
    own = network(IPAMConfig(subnet="10.0.0.0/29", gateway="10.0.0.1"), given=False)
    with pytest.raises(InvalidArgumentError, match="only when connecting to networks with user configured subnets"):
        book.allocate(own, "b", "10.0.0.3")


def test_both_families_and_all_subnets_are_used_and_a_failure_gives_nothing():
    dual = network(
        IPAMConfig(subnet="10.0.0.0/30", gateway="10.0.0.1"),
        IPAMConfig(subnet="10.0.1.0/24", gateway="10.0.1.1", ip_range="10.0.1.8/29"),
        IPAMConfig(subnet="fd00::/64", gateway="fd00::1"),
        ipv6=True,
    )
    book = AddressBook()
    first, second = book.allocate(dual, "a"), book.allocate(dual, "b")
    assert (first.ipv4, first.gateway4, first.ipv6, first.gateway6) == (
        "10.0.0.2/30",
        "10.0.0.1",
        "fd00::2/64",
        "fd00::1",
    )
    assert (second.ipv4, second.gateway4, second.ipv6) == ("10.0.1.8/24", "10.0.1.1", "fd00::3/64")
    with pytest.raises(PermissionDeniedError):
        book.allocate(dual, "c", "", "fd00::2")
    assert book.holders(dual.id) == {"a", "b"}


def test_addresses_of_an_earlier_daemon_stay_with_their_containers():
    book = AddressBook()
    book.adopt(SMALL, "old", "10.0.0.3", "")
    assert book.allocate(SMALL, "new").ipv4 == "10.0.0.5/29"
    assert book.allocate(SMALL, "old").ipv4 == "10.0.0.3/29"


@pytest.mark.parametrize(("subnet", "usable"), [("10.0.0.0/31", 2), ("10.0.0.0/32", 1), ("fd00::/127", 2)])
def test_tiny_subnets_without_a_gateway_give_all_their_addresses(subnet: str, usable: int):
    book, six = AddressBook(), ":" in subnet
    tiny = LocalNetwork(id="t" * 64, name="t", driver="bridge", created_at_ns=0, ipv4=not six, ipv6=six, ipam=IPAM(configs=(IPAMConfig(subnet=subnet),)))  # fmt: skip
    for holder in range(usable):
        book.allocate(tiny, str(holder))
    with pytest.raises(ConflictError):
        book.allocate(tiny, "last")
