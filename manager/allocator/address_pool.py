"""Address pool of one network and family: the held addresses with their holders, and the order of the free ones.

Invariant: an address is given to one holder at a time, and an address that was just freed is given out last. Used by ``index``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from covey.objects import IPAMConfig

Holder = str
"""``task ID``, ``service ID``, ``node ID``, or ``network`` for addresses of the network itself (gateway, auxiliary addresses)."""


class AddressRange(NamedTuple):
    """One subnet: the addresses that are given out, and those that may be requested. ``offset`` is the first one's position in the pool."""

    first: int
    last: int
    lowest: int
    highest: int
    prefix: int
    offset: int


class AddressPool:
    """Addresses as integers. Only those of the ranges are given out, one subnet after another."""

    __slots__ = ("_cursor", "_freed", "configs", "family", "holders", "ranges", "size")

    def __init__(self, family: int, configs: Sequence[IPAMConfig]) -> None:
        self.family = family
        self.configs = tuple(configs)
        bounds = [_bounds(config) for config in configs]
        sizes = [max(0, last - first + 1) for first, last, _, _, _ in bounds]
        offsets = [0, *accumulate(sizes)]
        self.ranges = tuple([AddressRange(*bound, offset) for bound, offset in zip(bounds, offsets, strict=False)])
        self.size = offsets[-1]
        self.holders: dict[int, set[Holder]] = {}
        self._cursor = 0
        self._freed: dict[int, None] = {}
        for config in configs:
            for text in (config.gateway, *config.auxiliary_addresses.values()):
                if text:
                    self.holders[parse_address(text)[1]] = {"network"}

    def take(self, address: int, holder: Holder) -> None:
        """Records that an object holds the address."""
        self.holders.setdefault(address, set()).add(holder)
        self._freed.pop(address, None)
        position = self._position(address)
        if position is not None:
            self._cursor = position + 1

    def free(self, address: int, holder: Holder) -> None:
        """Records that an object does not hold the address any more."""
        holders = self.holders.get(address)
        if holders is None or holder not in holders:
            return
        holders.discard(holder)
        if not holders:
            del self.holders[address]
            self._freed[address] = None

    def reset_cursor(self) -> None:
        """After a rebuild: continues after the highest held address, as if the addresses had been given out in order."""
        positions = [position for address in self.holders if (position := self._position(address)) is not None]
        self._cursor = max(positions, default=-1) + 1

    def free_addresses(self) -> Iterator[int]:
        """Free addresses, each once: first those not used for long, in a circle, then freed ones, oldest first.

        The pool must not change during the iteration.
        """
        for first, last in (*self._spans(self._cursor, self.size), *self._spans(0, self._cursor)):
            for address in range(first, last + 1):
                if address not in self.holders and address not in self._freed:
                    yield address
        for address in self._freed:
            if address not in self.holders and self._position(address) is not None:
                yield address

    def admits(self, address: int) -> bool:
        """Whether the address lies in a subnet and may belong to an endpoint. It may lie outside the range that is given out."""
        return any(each.lowest <= address <= each.highest for each in self.ranges)

    def as_cidr(self, address: int) -> str:
        """The address with the prefix length of its subnet."""
        prefix = next((each.prefix for each in self.ranges if each.lowest <= address <= each.highest), 0)
        return f"{to_text(self.family, address)}/{prefix}"

    def describe(self) -> str:
        """The subnets, or the ranges within them that are given out, for messages."""
        return ", ".join(config.ip_range or config.subnet for config in self.configs)

    def _position(self, address: int) -> int | None:
        for each in self.ranges:
            if each.first <= address <= each.last:
                return each.offset + address - each.first
        return None

    def _spans(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """First and last addresses of the positions from ``start`` to before ``end``."""
        for each in self.ranges:
            low, high = max(start, each.offset), min(end, each.offset + each.last - each.first + 1)
            if low < high:
                yield each.first + low - each.offset, each.first + high - 1 - each.offset


def parse_address(text: str) -> tuple[int, int]:
    """Family and number of an address, with or without its prefix length."""
    address = ipaddress.ip_address(text.partition("/")[0])
    return address.version, int(address)


def to_text(family: int, address: int) -> str:
    """The address as text, without a prefix length."""
    return str(ipaddress.IPv4Address(address) if family == 4 else ipaddress.IPv6Address(address))


def _bounds(config: IPAMConfig) -> tuple[int, int, int, int, int]:
    """First and last address that is given out, lowest and highest that may be asked for, prefix length. An IPv6 subnet has no broadcast
    address.
    """
    subnet = ipaddress.ip_network(config.subnet)  # complete_ipam() stored it without host bits
    within = ipaddress.ip_network(config.ip_range, strict=False) if config.ip_range else subnet
    lowest = int(subnet.network_address) + 1
    highest = int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0)
    first, last = max(lowest, int(within.network_address)), min(highest, int(within.broadcast_address))
    return first, last, lowest, highest, subnet.prefixlen
