"""Sender and listener of broadcasts and multicasts, run in a container's network: `python3 group_peer.py PORT GROUP...`, for use with `conversation`.

Runs by itself, with the standard library only. It answers `send ADDRESS TEXT` with `sent` and `heard` with the JSON list of the texts
that have arrived on `eth0`, in both families.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading

DEVICE = "eth0"


def opened(family: socket.AddressFamily, port: int, groups: list[str]) -> socket.socket:
    """A socket of one family on the device, in the groups of its family."""
    found = socket.socket(family, socket.SOCK_DGRAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, DEVICE.encode())
    found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    index = socket.if_nametoindex(DEVICE)
    if family == socket.AF_INET6:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 2)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        for group in groups:
            request = socket.inet_pton(family, group) + struct.pack("@I", index)
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", bytes(4), bytes(4), index))
        for group in groups:
            request = struct.pack("@4s4si", socket.inet_pton(family, group), bytes(4), index)
            found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    found.bind(("", port))
    return found


def main() -> None:
    """Serve until the input ends."""
    port, groups = int(sys.argv[1]), sys.argv[2:]
    families = {
        ":" in sign: opened(family, port, [group for group in groups if (":" in group) == (":" in sign)])
        for sign, family in ((".", socket.AF_INET), (":", socket.AF_INET6))
    }
    heard: list[str] = []

    def listen(one: socket.socket) -> None:
        while True:
            heard.append(one.recv(2048).decode())

    for one in families.values():
        threading.Thread(target=listen, args=(one,), daemon=True).start()
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "send":
            families[":" in rest[0]].sendto(rest[1].encode(), (rest[0], port))
        print("sent" if verb == "send" else json.dumps(heard), flush=True)


if __name__ == "__main__":
    main()
