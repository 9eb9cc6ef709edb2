"""FDB entries of an overlay network, and the plan that changes them."""

from __future__ import annotations

import struct

from agent.network import fdb, fdb_netlink
from agent.network.fdb import FdbEntry, FdbPlan
from covey.objects.assignment import NetworkEndpoint


def endpoint(address: str, host: str, **changes) -> NetworkEndpoint:
    return NetworkEndpoint(
        **{"id": address, "network_id": "n", "host": host, "address": address, "ready": True} | changes
    )


def test_endpoints_on_this_host_need_no_entry():
    found = fdb.remote_hosts([endpoint("10.0.1.5", "me"), endpoint("10.0.1.6", "other")], "me", set())
    assert found == {"10.0.1.6": "other"}


def test_a_locally_attached_address_is_local_whatever_the_cluster_reports():
    assert fdb.remote_hosts([endpoint("10.0.1.6", "other")], "me", {"10.0.1.6"}) == {}


def test_of_two_endpoints_with_one_address_the_ready_one_wins():
    old = endpoint("10.0.1.6", "a", id="z", ready=False)
    new = endpoint("10.0.1.6", "b", id="b")
    assert fdb.remote_hosts([old, new], "me", set()) == fdb.remote_hosts([new, old], "me", set()) == {"10.0.1.6": "b"}


def test_an_endpoint_without_a_host_has_no_entry():
    assert fdb.remote_hosts([endpoint("10.0.1.6", "")], "me", set()) == {}


def test_the_plan_holds_moved_and_removed_entries():
    plan = fdb.plan({"1.1.1.1": "a", "2.2.2.2": "a"}, {"1.1.1.1": "b", "3.3.3.3": "a"})
    assert plan == FdbPlan((FdbEntry("1.1.1.1", "b"), FdbEntry("3.3.3.3", "a")), (FdbEntry("2.2.2.2", "a"),))


def test_an_entry_is_three_messages_with_correct_lengths():
    messages = fdb_netlink.fdb_messages(7, FdbPlan((FdbEntry("10.0.1.6", "192.0.2.1"),), ()))
    assert len(messages) == 3
    assert all(struct.unpack_from("=I", message)[0] == len(message) for message in messages)
    assert all(bytes.fromhex("02420a000106") in message for message in messages)
    assert bytes((192, 0, 2, 1)) in messages[0]
