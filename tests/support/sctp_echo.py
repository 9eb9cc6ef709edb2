"""SCTP by raw packets, for kernels without its sockets: a server that tells each client who it looks like, and its client.

Runs by itself, with the standard library only: `python3 sctp_echo.py serve PORT`, or `ask ADDRESS PORT [ADDRESS PORT]...`, which prints a line
for each. A request is an INIT chunk; the answer is an ABORT chunk whose cause contains `HOSTNAME ADDRESS PORT`. Both have valid checksums.
"""

import random
import select
import socket
import struct
import sys
import threading
import time

SCTP = 132
_INIT, _ABORT = 1, 6
_USER_ABORT = 12
SECONDS = 1.0
TRIES = 3


def crc32c(data: bytes) -> int:
    """The checksum of SCTP (RFC 9260, appendix A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def packet(source: int, destination: int, tag: int, chunk: bytes) -> bytes:
    head = struct.pack("!HHI", source, destination, tag)
    checksum = struct.pack("<I", crc32c(head + bytes(4) + chunk))
    return head + checksum + chunk


def is_valid(data: bytes) -> bool:
    return len(data) >= 16 and struct.pack("<I", crc32c(data[:8] + bytes(4) + data[12:])) == data[8:12]


def payload(family: int, data: bytes) -> bytes:
    """The SCTP packet in what a raw socket received: those of IPv4 return the header too."""
    return data if family == socket.AF_INET6 else data[(data[0] & 15) * 4 :]


def serve(family: int, port: int) -> None:
    with socket.socket(family, socket.SOCK_RAW, SCTP) as server:
        while True:
            data, peer = server.recvfrom(4096)
            data = payload(family, data)
            if not is_valid(data) or data[12] != _INIT:
                continue
            source, destination = struct.unpack("!HH", data[:4])
            if destination != port:
                continue
            (tag,) = struct.unpack("!I", data[16:20])
            text = f"{socket.gethostname()} {peer[0]} {source}".encode()
            text += b" " * (-len(text) % 4)
            chunk = struct.pack("!BBHHH", _ABORT, 0, 8 + len(text), _USER_ABORT, 4 + len(text)) + text
            server.sendto(packet(port, source, tag, chunk), (peer[0], 0))


def ask(address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    source, tag = random.randrange(20000, 60000), random.randrange(1, 1 << 32)
    init = struct.pack("!BBHIIHHI", _INIT, 0, 20, tag, 65536, 1, 1, 1)
    with socket.socket(family, socket.SOCK_RAW, SCTP) as client:
        client.connect((address, 0))
        for _ in range(TRIES):
            client.send(packet(source, port, 0, init))
            deadline = time.monotonic() + SECONDS
            while (left := deadline - time.monotonic()) > 0 and select.select([client], [], [], left)[0]:
                data = payload(family, client.recv(4096))
                if is_valid(data) and data[12] == _ABORT and data[:8] == struct.pack("!HHI", port, source, tag):
                    return data[20:].decode().strip()
    return "error: no answer"


def main() -> None:
    if sys.argv[1] == "serve":
        for family in (socket.AF_INET, socket.AF_INET6):
            threading.Thread(target=serve, args=(family, int(sys.argv[2])), daemon=True).start()
        threading.Event().wait()
    words = sys.argv[2:]
    for address, port in zip(words[::2], words[1::2], strict=True):
        try:
            print(ask(address, int(port)))
        except OSError as error:
            print(f"error: {error}")


if __name__ == "__main__":
    main()
