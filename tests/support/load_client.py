"""Client that asks `echo_server` all the time, run inside a namespace of a test: `python3 load_client.py PORT ADDRESS...`.

Each request over TCP is a new connection to the next address; over UDP there is one connected socket for each address. It asks until its
input closes, then prints `TCP_REQUESTS UDP_REQUESTS`, and before that a line for each request that failed.
"""

import select
import socket
import sys
import time

SECONDS = 3.0


def ask_tcp(address: str, port: int) -> None:
    with socket.create_connection((address, port), timeout=SECONDS) as client:
        client.sendall(b"who")
        if not client.recv(4096):
            raise OSError("closed without an answer")


def ask_udp(client: socket.socket) -> None:
    client.send(b"who")
    client.recv(4096)


def main() -> None:
    port, addresses = int(sys.argv[1]), sys.argv[2:]
    sockets = []
    for address in addresses:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(SECONDS)
        client.connect((address, port))
        sockets.append(client)
    counts = [0, 0]
    print("serves", flush=True)
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        for index, address in enumerate(addresses):
            for kind, work in enumerate((lambda a=address: ask_tcp(a, port), lambda c=sockets[index]: ask_udp(c))):
                counts[kind] += 1
                try:
                    work()
                except OSError as error:
                    print(f"{time.time():.3f} {('tcp', 'udp')[kind]} {address}: {error}", flush=True)
    print(*counts, flush=True)


if __name__ == "__main__":
    main()
