"""The sockets of a namespace that take connections or datagrams, from the kernel's listing in /proc/net. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

_LISTEN, _UNCONNECTED = "0A", "07"
_WORD = 8


def parse_listeners(protocol: str, listing: str) -> set[str]:
    """The sockets in `/proc/net/tcp` or `udp` or their IPv6 kind, as "tcp ADDRESS PORT"."""
    wanted = _LISTEN if protocol == "tcp" else _UNCONNECTED
    found: set[str] = set()
    for line in listing.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == wanted:
            address, _, port = fields[1].partition(":")
            found.add(f"{protocol} {_address(address)} {int(port, 16)}")
    return found


def takes(listener: str, protocol: str, address: str, port: int) -> bool:
    """Whether the socket takes what is for this address and port. One for all addresses of IPv6 takes IPv4, too."""
    kind, bound, number = listener.split(" ")
    return (kind, number) == (protocol, str(port)) and bound in {
        address,
        "::",
        f"::ffff:{address}",
        "0.0.0.0" if ":" not in address else "::",
    }


def _address(text: str) -> str:
    """The address from the kernel's words, each of which is in the order of a little-endian processor."""
    packed = b"".join(bytes.fromhex(text[at : at + _WORD])[::-1] for at in range(0, len(text), _WORD))
    return str(IPv6Address(packed) if len(packed) > 4 else IPv4Address(packed))
