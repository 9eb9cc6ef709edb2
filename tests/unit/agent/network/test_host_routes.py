"""Destinations of routes as the kernel lists them."""

from __future__ import annotations

import struct

import pytest

from agent.network.kernel.entry_messages import parse_destination
from agent.network.kernel.netlink import attribute

DEVICES = {3: "br-one"}


def route(destination: bytes, bits: int, *, table: int = 254, long_table: int | None = None) -> bytes:
    family = 10 if len(destination) == 16 else 2
    body = struct.pack("=8BI", family, bits, 0, 0, table, 2, 253, 1, 0)
    body += attribute(1, destination) if destination else b""
    body += attribute(15, struct.pack("=I", long_table)) if long_table is not None else b""
    return body + attribute(4, struct.pack("=I", 3))


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (route(bytes([10, 1, 0, 0]), 16), ("10.1.0.0/16", "br-one")),
        (route(bytes.fromhex("fd00") + bytes(14), 64), ("fd00::/64", "br-one")),
        (route(b"", 0), None),
        (route(bytes([10, 1, 0, 1]), 32, table=255), None),
        (route(bytes([10, 1, 0, 0]), 16, table=252, long_table=254), ("10.1.0.0/16", "br-one")),
        (route(bytes([10, 1, 0, 0]), 16, table=254, long_table=1000), None),
    ],
)
def test_routes_of_the_main_table_are_told_with_their_devices(body: bytes, found: tuple[str, str] | None):
    assert parse_destination(body, DEVICES, 254) == found
