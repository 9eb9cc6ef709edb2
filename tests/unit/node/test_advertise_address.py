"""Addresses of a node that restarts: the recorded ones, given ones, or a new one if the host has lost its address."""

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
def test_given_addresses_are_used_and_the_recorded_ones_stay_otherwise(
    before: tuple[str, str], asked: dict[str, str], after: tuple[str, str]
) -> None:
    record = NodeRecord(node_id="n", cluster_id="c", advertise_addr=before[0], listen_addr=before[1])
    found = updated_addresses(record, HOST, **asked)
    assert (found.advertise_addr, found.listen_addr) == after


def test_an_address_of_another_machine_is_refused_before_the_session_stops() -> None:
    record = NodeRecord(node_id="n", cluster_id="c", advertise_addr="192.0.2.5")
    with pytest.raises(InvalidArgumentError, match="cannot listen at 192.0.2.6"):
        updated_addresses(record, HOST, listen="192.0.2.6", advertise="192.0.2.5")
