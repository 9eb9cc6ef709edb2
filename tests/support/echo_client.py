"""Client of `echo_server`, run inside a namespace of a test: `python3 echo_client.py tcp|udp|udp-unconnected ADDRESS PORT [SOURCE_PORT]`, or
for many questions `python3 echo_client.py each KIND ADDRESS PORT [KIND ADDRESS PORT]...`, with a line for each.

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


def main() -> None:
    words = sys.argv[1:]
    questions = [words] if words[0] != "each" else [words[at : at + 3] for at in range(1, len(words), 3)]
    for kind, address, *ports in questions:
        try:
            print(ask(kind, address, *map(int, ports)))
        except OSError as error:
            print(f"error: {error}")


if __name__ == "__main__":
    main()
