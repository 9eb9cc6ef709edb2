"""Which entries a network has, and what changes them."""

from __future__ import annotations

import struct

from agent.network import forwarding, packing
from agent.network.forwarding import ForwardingEntry, ForwardingPlan
from agent.network.model import Endpoint


def endpoint(address: str, host: str, **changes) -> Endpoint:
    return Endpoint(**{"id": address, "network_id": "n", "node_id": host, "host": host, "address": address} | changes)


def test_endpoints_on_this_host_need_no_entry():
    found = forwarding.wanted([endpoint("10.0.1.5", "me"), endpoint("10.0.1.6", "other")], "me", set())
    assert found == {"10.0.1.6": "other"}


def test_an_address_attached_here_is_here_whatever_the_cluster_says():
    assert forwarding.wanted([endpoint("10.0.1.6", "other")], "me", {"10.0.1.6"}) == {}


def test_of_two_claims_to_an_address_the_ready_one_wins():
    old = endpoint("10.0.1.6", "a", id="z", ready=False)
    new = endpoint("10.0.1.6", "b", id="b")
    assert forwarding.wanted([old, new], "me", set()) == forwarding.wanted([new, old], "me", set()) == {"10.0.1.6": "b"}


def test_an_endpoint_without_a_host_has_no_entry():
    assert forwarding.wanted([endpoint("10.0.1.6", "")], "me", set()) == {}


def test_the_plan_names_what_moves_and_what_goes():
    plan = forwarding.plan({"1.1.1.1": "a", "2.2.2.2": "a"}, {"1.1.1.1": "b", "3.3.3.3": "a"})
    assert plan == ForwardingPlan(
        (ForwardingEntry("1.1.1.1", "b"), ForwardingEntry("3.3.3.3", "a")), (ForwardingEntry("2.2.2.2", "a"),)
    )


def test_an_entry_is_three_messages_with_true_lengths():
    messages = packing.messages(7, ForwardingPlan((ForwardingEntry("10.0.1.6", "192.0.2.1"),), ()))
    assert len(messages) == 3
    assert all(struct.unpack_from("=I", message)[0] == len(message) for message in messages)
    assert all(bytes.fromhex("02420a000106") in message for message in messages)
    assert bytes((192, 0, 2, 1)) in messages[0]
