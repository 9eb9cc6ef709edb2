"""Server and client of a benchmark that count connections with one request each, run by themselves in a namespace.

`python3 connection_rate.py serve PORT` prints `listening`; `ask ADDRESS PORT COUNT` prints the connections per second.
"""

import socket
import sys
import time


def serve(port: int) -> None:
    with socket.create_server(("::", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True) as server:
        print("listening", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(64))


def rate(address: str, port: int, count: int) -> float:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    began = time.perf_counter()
    for _ in range(count):
        with socket.socket(family) as client:
            client.settimeout(5)
            client.connect((address, port))
            client.sendall(b"x")
            if client.recv(64) != b"x":
                raise ConnectionError("closed without an answer")
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(rate(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
