"""Readings of hosts: their bounds, listening sockets, and routes by rules."""

from __future__ import annotations

import random
import zlib

import pytest

from agent.network.namespace_state import Link, NamespaceState, PolicyRule, Route
from agent.network.trace.reading import MAX_BYTES, HostReading, NamespaceReading, decode, encode
from agent.network.trace.routes import find_way
from agent.network.trace.sockets import parse_listeners, takes
from covey.errors import InvalidArgumentError, TooLargeError

TCP = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000
   1: 00000000:0050 00000000:0000 0A 00000000:00000000
   2: 0600000A:0050 0700000A:C000 01 00000000:00000000
"""
TCP6 = """  sl  local_address rem_address st
   0: 00000000000000000000000000000000:0051 00000000000000000000000000000000:0000 0A
"""


def test_listeners_are_those_that_listen() -> None:
    assert parse_listeners("tcp", TCP) == {"tcp 127.0.0.1 8080", "tcp 0.0.0.0 80"}
    assert parse_listeners("tcp", TCP6) == {"tcp :: 81"}


@pytest.mark.parametrize(
    ("listener", "address", "taken"),
    [
        ("tcp 0.0.0.0 80", "10.0.1.6", True),
        ("tcp :: 80", "10.0.1.6", True),
        ("tcp 10.0.1.6 80", "10.0.1.6", True),
        ("tcp 127.0.0.1 80", "10.0.1.6", False),
        ("tcp 0.0.0.0 80", "fd00::6", False),
        ("udp :: 80", "10.0.1.6", False),
        ("tcp :: 81", "10.0.1.6", False),
    ],
)
def test_a_socket_takes_what_is_for_it(listener: str, address: str, taken: bool) -> None:
    assert takes(listener, "tcp", address, 80) is taken


def test_a_reading_that_is_too_large_is_refused() -> None:
    draw = random.Random(1)
    noise = {f"{draw.getrandbits(256):x}": f"{draw.getrandbits(256):x}" for _ in range(10_000)}
    large = HostReading(namespaces={"host": NamespaceReading(state=NamespaceState(sysctls=noise))})
    with pytest.raises(TooLargeError, match=str(MAX_BYTES)):
        encode(large)


@pytest.mark.parametrize("packed", [b"", b"nothing", zlib.compress(b"[]"), zlib.compress(b'{"namespaces": 7}')])
def test_what_is_no_reading_is_refused(packed: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        decode(packed)


def test_routes_follow_rules_prefixes_and_metrics() -> None:
    state = NamespaceState(
        links={"a": Link(), "b": Link()},
        addresses=frozenset({("a", "10.0.0.1/24")}),
        routes=frozenset(
            {
                Route(destination="default", gateway="10.0.0.254", device="a"),
                Route(destination="10.9.0.0/16", device="b", metric=5),
                Route(destination="10.9.0.0/16", device="a", metric=9),
                Route(destination="default", device="b", table=77),
                Route(destination="10.8.0.0/16", kind="unreachable"),
            }
        ),
        rules=frozenset(
            {
                PolicyRule(priority=100, table=77, mark=5, mask=0xFF),
                PolicyRule(priority=10, goto=200, mark=9, mask=0xFF),
                PolicyRule(priority=150, table=77),
                PolicyRule(priority=20, goto=300),
            }
        ),
    )
    connected = [("a", "10.0.0.0/24")]

    def device(address: str, mark: int = 0) -> str:
        way = find_way(state, address, connected, mark=mark)
        return way.device if way else ""

    assert device("10.0.0.7") == "a"
    assert device("10.9.1.1") == "b"
    assert device("192.0.2.9") == "a"
    local = find_way(state, "10.0.0.1", connected)
    refused = find_way(state, "10.8.1.1", connected)
    assert (local and local.kind, refused and refused.kind) == ("local", "unreachable")
    assert find_way(state, "fd00::1", connected) is None
    marked = NamespaceState(
        links=state.links, routes=state.routes, rules=frozenset({PolicyRule(priority=100, table=77, mark=5, mask=0xFF)})
    )
    way = find_way(marked, "192.0.2.9", mark=5)
    assert way is not None
    assert way.text == "default dev b table 77"
