"""Sends forged VXLAN: `python3 forged_vxlan.py HOST PORT VNI MAC TO FROM TEXT` sends one datagram to UDP port 5400 of TO inside VXLAN.

Runs by itself, with the standard library only. It shows that a host takes no packets of a network from where no member of it is.
"""

from __future__ import annotations

import socket
import struct
import sys

INNER_PORT = 5400


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(mac: str, target: str, source: str, text: bytes) -> bytes:
    """An Ethernet frame with a datagram. Without a UDP checksum, which IPv4 allows."""
    datagram = struct.pack("!4H", INNER_PORT, INNER_PORT, 8 + len(text), 0) + text
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    start = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(datagram), 1, 0, 64, socket.IPPROTO_UDP)
    header = start + struct.pack("!H", checksum(start + b"\0\0" + addresses)) + addresses
    return bytes.fromhex(mac.replace(":", "")) + b"\x02\x42\x0a\xff\xff\xfe" + b"\x08\x00" + header + datagram


def main() -> None:
    host, port, vni, mac, target, source, text = sys.argv[1:]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        head = struct.pack("!II", 0x08000000, int(vni) << 8)
        sender.sendto(head + frame(mac, target, source, text.encode()), (host, int(port)))


if __name__ == "__main__":
    main()
