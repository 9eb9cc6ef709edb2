"""Client of `echo_server`, run inside a namespace of a test: `python3 echo_client.py tcp|udp|udp-unconnected ADDRESS PORT [SOURCE_PORT]`.

Prints the answer, or `error: REASON`. A UDP client asks again until it has an answer, because datagrams may be lost.
"""

import socket
import sys

SECONDS = 2.0
TRIES = 5


def ask(kind: str, address: str, port: int, source_port: int = 0) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as client:
        client.settimeout(SECONDS)
        if source_port:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", source_port))
        if kind != "udp-unconnected":
            client.connect((address, port))
        for _ in range(TRIES):
            try:
                if kind == "udp-unconnected":
                    client.sendto(b"who", (address, port))
                    answer, sender = client.recvfrom(4096)
                    if sender[:2] != (address, port):
                        return f"error: the answer came from {sender}"
                else:
                    client.sendall(b"who")
                    answer = client.recv(4096)
                return answer.decode().strip() or "error: closed"
            except TimeoutError:
                if kind == "tcp":
                    raise
        raise TimeoutError("no answer")


if __name__ == "__main__":
    try:
        print(ask(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:])))
    except OSError as error:
        print(f"error: {error}")
