"""Which networks are looked through for stale connections."""

from __future__ import annotations

from ipaddress import ip_network

from agent.network.backends import Backends
from agent.network.draining import ConnectionDrain, Sweep, drain_pause

VIP = "10.0.1.100"
TWO, ONE = Backends(frozenset("ab"), ("a", "b")), Backends(frozenset("ab"), ("a",))


def test_nothing_is_due_while_no_backend_goes():
    drain = ConnectionDrain()
    drain.set_backends("n", "s", {VIP: ONE})
    drain.set_backends("n", "s", {VIP: TWO})
    assert drain.take() is None


def test_the_vips_that_lost_a_backend_are_due_with_what_they_have_then():
    drain = ConnectionDrain()
    drain.set_backends("n", "s", {VIP: TWO})
    drain.set_backends("n", "other", {"10.0.1.101": TWO})
    drain.set_backends("n", "s", {VIP: ONE})
    drain.set_backends("n", "s", {})
    assert drain.take() == Sweep("n", {VIP: Backends()})
    assert drain.take() is None


def test_a_sandbox_of_an_earlier_process_is_looked_through_altogether():
    drain = ConnectionDrain()
    drain.adopt("n", ("10.0.1.0/24",))
    drain.set_backends("n", "s", {VIP: ONE})
    assert drain.take() == Sweep("n", {VIP: ONE}, (ip_network("10.0.1.0/24"),))


def test_a_removed_network_is_forgotten():
    drain = ConnectionDrain()
    drain.set_backends("n", "s", {VIP: TWO})
    drain.set_backends("n", "s", {VIP: ONE})
    drain.forget("n")
    assert drain.take() is None


def test_an_address_that_went_to_another_service_leads_to_its_backends():
    drain = ConnectionDrain()
    drain.set_backends("n", "old", {VIP: TWO})
    drain.set_backends("n", "new", {VIP: ONE})
    drain.set_backends("n", "old", {})
    assert drain.take() == Sweep("n", {VIP: ONE})


def test_looking_for_connections_takes_a_tenth_of_a_core_at_most():
    assert drain_pause(0.010) >= 0.090
    assert drain_pause(60) <= 0.25
