"""Which addresses a node goes on with: those of before, those that are named, or the one that its host has now."""

import pytest

from covey.errors import InvalidArgumentError
from node.addresses import LocalAddress
from node.advertise_address import updated_addresses
from node.node_record import NodeRecord

HOST = (LocalAddress("eth0", "192.0.2.5"), LocalAddress("eth1", "198.51.100.7"))


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        (("192.0.2.5", "0.0.0.0"), {}, ("192.0.2.5", "0.0.0.0")),
        (("192.0.2.5", "192.0.2.5"), {}, ("192.0.2.5", "192.0.2.5")),
        (("192.0.2.5", "0.0.0.0"), {"advertise": "eth1"}, ("198.51.100.7", "0.0.0.0")),
        (("192.0.2.5", "192.0.2.5"), {"advertise": "198.51.100.7"}, ("198.51.100.7", "198.51.100.7")),
        (("192.0.2.5", "0.0.0.0"), {"listen": "192.0.2.5"}, ("192.0.2.5", "192.0.2.5")),
        (("192.0.2.5", "0.0.0.0"), {"listen": "eth1"}, ("198.51.100.7", "198.51.100.7")),
        (("192.0.2.5", "0.0.0.0"), {"listen": "0.0.0.0", "advertise": "eth1"}, ("198.51.100.7", "0.0.0.0")),
        (("192.0.2.99", "192.0.2.99"), {"default": "192.0.2.5"}, ("192.0.2.5", "192.0.2.5")),
    ],
)
def test_addresses_that_are_named_count_and_those_of_before_stay_else(
    before: tuple[str, str], asked: dict[str, str], after: tuple[str, str]
) -> None:
    record = NodeRecord(node_id="n", cluster_id="c", advertise_addr=before[0], listen_addr=before[1])
    found = updated_addresses(record, HOST, **asked)
    assert (found.advertise_addr, found.listen_addr) == after


def test_another_machines_address_is_refused_before_anything_ends() -> None:
    record = NodeRecord(node_id="n", cluster_id="c", advertise_addr="192.0.2.5")
    with pytest.raises(InvalidArgumentError, match="cannot listen at 192.0.2.6"):
        updated_addresses(record, HOST, listen="192.0.2.6", advertise="192.0.2.5")
