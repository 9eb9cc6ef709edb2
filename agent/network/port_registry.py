"""Ports of the host that Covey publishes: each is reserved by a bound socket that never listens.

Invariant: a port belongs to one owner for each protocol and address. A program of the host that has it, or asks for it later, gets an
error from the kernel instead of packets that never arrive. Invariant: reserving a set of ports takes all of them or none.

The sockets see no packet, because nftables translates them before. SCTP has no such sockets here: its ports are held in memory alone.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Container, Iterable
from typing import NamedTuple, Protocol

from covey.errors import InvalidArgumentError, PortInUseError

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_WILDCARDS = ("0.0.0.0", "::")
DRAWN_FIRST, DRAWN_LAST = 32768, 60999

OpenSocket = Callable[[int, int], socket.socket]


class PortOwner(NamedTuple):
    """A container. Errors show its name."""

    id: str
    name: str


class HostPort(NamedTuple):
    protocol: str
    address: str
    number: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.number}"


class _Reservation(NamedTuple):
    owner: PortOwner
    socket: socket.socket | None


class ForeignPorts(Protocol):
    """What is known of ports that other programs hold: `agent.network.port_owner`, run in the host's namespace."""

    def find(self, protocol: str, port: int) -> str: ...
    def is_only_closing(self, protocol: str, port: int) -> bool: ...


class PortRegistry:
    """One per daemon. `open_socket` opens a socket in the host's namespace; `foreign` looks for the owner of a port there."""

    def __init__(self, open_socket: OpenSocket, foreign: ForeignPorts) -> None:
        self._open_socket = open_socket
        self._foreign = foreign
        self._held: dict[tuple[str, int], dict[str, _Reservation]] = {}
        self._last_drawn = DRAWN_FIRST - 1

    def close(self) -> None:
        for port, _ in self._reservations():
            self._free(port)

    def held_by(self, owner_id: str) -> tuple[HostPort, ...]:
        return tuple(port for port, reservation in self._reservations() if reservation.owner.id == owner_id)

    def owners(self, prefix: str) -> tuple[str, ...]:
        """The ids of the owners that begin with the prefix."""
        found = {reservation.owner.id for _, reservation in self._reservations()}
        return tuple(sorted(owner_id for owner_id in found if owner_id.startswith(prefix)))

    def reserve(
        self,
        owner: PortOwner,
        protocol: str,
        addresses: Iterable[str],
        first: int,
        last: int,
        *,
        given: Container[HostPort] = (),
    ) -> int:
        """Reserve one port from `first` to `last` on all addresses; 0 draws one. Returns its number.

        A port that the owner holds already is kept, except those in `given`, which lead to another port of the owner. Raises
        PortInUseError, which names who has it.
        """
        wanted = tuple(addresses)
        numbers = self._drawn() if not first else range(first, last + 1)
        failure: PortInUseError | None = None
        for number in numbers:
            try:
                self._reserve_all(owner, [HostPort(protocol, address, number) for address in wanted], given)
            except PortInUseError as error:
                failure = failure or error
            else:
                if not first:
                    self._last_drawn = number
                return number
        if failure is None or not first:
            raise PortInUseError("all ports are allocated")
        raise failure

    def release(self, owner_id: str) -> None:
        """Free all ports of the owner."""
        for port in self.held_by(owner_id):
            self._free(port)

    def _drawn(self) -> Iterable[int]:
        """Ports to draw, the one after the last first, so that a freed port is not used again at once."""
        start = self._last_drawn + 1
        return (*range(start, DRAWN_LAST + 1), *range(DRAWN_FIRST, start))

    def _reserve_all(self, owner: PortOwner, ports: list[HostPort], given: Container[HostPort]) -> None:
        taken: list[HostPort] = []
        try:
            for port in ports:
                taken += [port] if self._reserve_one(owner, port, given) else []
        except BaseException:
            for port in taken:
                self._free(port)
            raise

    def _reserve_one(self, owner: PortOwner, port: HostPort, given: Container[HostPort]) -> bool:
        """Returns False if the owner holds the port already."""
        held = self._held.get((port.protocol, port.number), {})
        for address, reservation in held.items():
            if reservation.owner.id == owner.id and address == port.address and port not in given:
                return False
            if _overlap(port.address, address):
                raise PortInUseError(f"Bind for {port} failed: port is already allocated (by {reservation.owner.name})")
        reservation = _Reservation(owner, self._bind(port))
        self._held.setdefault((port.protocol, port.number), {})[port.address] = reservation
        return True

    def _bind(self, port: HostPort) -> socket.socket | None:
        kind = _KINDS.get(port.protocol)
        if kind is None:
            return None
        try:
            return self._bound(port, kind, reuse=False)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise InvalidArgumentError(
                    f"failed to bind host port {port}/{port.protocol}: cannot assign requested address: "
                    f"{port.address} is not an address of this host"
                ) from None
            if error.errno != errno.EADDRINUSE:
                raise PortInUseError(f"failed to bind host port {port}/{port.protocol}: {error.strerror}") from None
        if self._foreign.is_only_closing(port.protocol, port.number):
            try:
                return self._bound(port, kind, reuse=True)
            except OSError:
                pass
        owner = self._foreign.find(port.protocol, port.number)
        raise PortInUseError(
            f"failed to bind host port {port}/{port.protocol}: address already in use"
            + (f" (by {owner})" if owner else "")
        )

    def _bound(self, port: HostPort, kind: int, *, reuse: bool) -> socket.socket:
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        bound = self._open_socket(family, kind)
        try:
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if reuse:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((port.address, port.number))
            if reuse:  # from now on, no other program may share it
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except BaseException:
            bound.close()
            raise
        return bound

    def _reservations(self) -> list[tuple[HostPort, _Reservation]]:
        return [
            (HostPort(protocol, address, number), reservation)
            for (protocol, number), held in self._held.items()
            for address, reservation in held.items()
        ]

    def _free(self, port: HostPort) -> None:
        held = self._held[port.protocol, port.number]
        reservation = held.pop(port.address)
        if not held:
            del self._held[port.protocol, port.number]
        if reservation.socket is not None:
            reservation.socket.close()


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses would get the same packets."""
    if (":" in one) != (":" in other):
        return False
    return one == other or one in _WILDCARDS or other in _WILDCARDS
