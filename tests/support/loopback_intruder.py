"""Whether packets that others send with loopback addresses reach programs of a host. Used by the tests of what guards them.

The sender runs by itself in a namespace: `python3 loopback_intruder.py DEVICE MAC SOURCE DESTINATION PORT TEXT` sends one datagram as a frame, so
no route or filter of its namespace stops it.
"""

import socket
import struct
import sys
from pathlib import Path

IPV4 = 0x0800

LISTENER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
s.settimeout(5)
for line in sys.stdin:
    found = []
    while "own" not in found:
        try:
            found.append(s.recv(100).decode())
        except TimeoutError:
            found.append("nothing")
            break
    print(*found, flush=True)
"""
"""`python3 -c LISTENER ADDRESS PORT` prints for each line of its input what has arrived, up to the text `own`."""
OWN = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'own', (sys.argv[1], int(sys.argv[2])))"


def command(device: str, mac: str, source: str, destination: str, port: int) -> list[str]:
    return [sys.executable, str(Path(__file__)), device, mac, source, destination, str(port), "intruder"]


def datagram(source: str, destination: str, port: int, text: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram without checksum."""
    udp = struct.pack("!HHHH", 40000, port, 8 + len(text), 0) + text
    fields = (0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP)
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    total = sum(struct.unpack("!10H", struct.pack("!BBHHHBBH", *fields, 0) + ends))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack("!BBHHHBBH", *fields, checksum) + ends + udp


def main() -> None:
    device, mac, source, destination, port, text = sys.argv[1:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(IPV4)) as sender:
        packet = datagram(source, destination, int(port), text.encode())
        sender.sendto(packet, (device, IPV4, 0, 0, bytes.fromhex(mac.replace(":", ""))))


if __name__ == "__main__":
    main()
