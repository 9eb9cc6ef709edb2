"""Address pool of one network: the held addresses with their holders, and the order of the free ones.

Invariant: an address is given to one holder at a time, and an address that was just freed is given out last. Used by ``index``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TypeVar

from covey.objects import IPAMConfig

Holder = str
"""``task ID``, ``service ID``, or ``network`` for addresses of the network itself (gateway, auxiliary addresses)."""

T = TypeVar("T", bound="AddressPool")


class AddressPool:
    """Addresses as integers. Only addresses from ``first`` to ``last`` are given out."""

    __slots__ = ("_cursor", "_freed", "config", "first", "holders", "last", "prefix")

    def __init__(self, config: IPAMConfig) -> None:
        subnet = ipaddress.IPv4Network(config.subnet)  # complete_ipam() stored it without host bits
        within = ipaddress.IPv4Network(config.ip_range, strict=False) if config.ip_range else subnet
        self.config = config
        self.prefix = subnet.prefixlen
        self.first = max(int(subnet.network_address) + 1, int(within.network_address))
        self.last = min(int(subnet.broadcast_address) - 1, int(within.broadcast_address))
        self.holders: dict[int, set[Holder]] = {}
        self._cursor = self.first
        self._freed: dict[int, None] = {}
        for text in (config.gateway, *config.auxiliary_addresses.values()):
            if text:
                self.holders[parse_address(text)] = {"network"}

    def take(self, address: int, holder: Holder) -> None:
        """Records that an object holds the address."""
        self.holders.setdefault(address, set()).add(holder)
        self._freed.pop(address, None)
        self._cursor = address + 1

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
        highest = max(
            (address for address in self.holders if self.first <= address <= self.last), default=self.first - 1
        )
        self._cursor = highest + 1

    def free_addresses(self) -> Iterator[int]:
        """Free addresses, each once: first those not used for long, in a circle, then freed ones, oldest first.

        The pool must not change during the iteration.
        """
        size = self.last - self.first + 1
        start = self._cursor - self.first
        for step in range(max(0, size)):
            address = self.first + (start + step) % size
            if address not in self.holders and address not in self._freed:
                yield address
        for address in self._freed:
            if address not in self.holders and self.first <= address <= self.last:
                yield address

    def as_cidr(self, address: int) -> str:
        """The address with the prefix length of the network."""
        return f"{ipaddress.IPv4Address(address)}/{self.prefix}"


def parse_address(text: str) -> int:
    """The address ``10.0.1.5/24`` or ``10.0.1.5`` as an integer."""
    return int(ipaddress.IPv4Address(text.partition("/")[0]))
