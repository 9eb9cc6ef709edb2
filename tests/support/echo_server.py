"""Server in a container of a test: tells each client, by TCP and UDP and in both address families, who it looks like from inside.

Runs by itself, with the standard library only: `python3 echo_server.py PORT [until-stdin-closes]`. Answers `HOSTNAME ADDRESS PORT`; a TCP client may ask
again on its connection, and a request of `N bytes` is answered with that many. A datagram `wait N` is answered after N seconds.
"""

import socket
import sys
import threading

NAME = socket.gethostname()


def _answer(request: bytes, peer: tuple[object, ...]) -> bytes:
    words = request.split()
    if len(words) == 2 and words[1] == b"bytes":
        return b"x" * int(words[0])
    address = str(peer[0]).removeprefix("::ffff:")
    return f"{NAME} {address} {peer[1]}\n".encode()


def _serve_connection(connection: socket.socket, peer: tuple[object, ...]) -> None:
    with connection:
        while request := connection.recv(4096):
            connection.sendall(_answer(request, peer))


def _serve_tcp(family: int, address: str, port: int) -> None:
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        server.listen(512)
        while True:
            connection, peer = server.accept()
            threading.Thread(target=_serve_connection, args=(connection, peer), daemon=True).start()


def _serve_udp(family: int, address: str, port: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        while True:
            request, peer = server.recvfrom(4096)
            words = request.split()
            if len(words) == 2 and words[0] == b"wait":
                threading.Timer(float(words[1]), server.sendto, (_answer(request, peer), peer)).start()
            else:
                server.sendto(_answer(request, peer), peer)


def main() -> None:
    port = int(sys.argv[1])
    for serve in (_serve_tcp, _serve_udp):
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            threading.Thread(target=serve, args=(family, address, port), daemon=True).start()
    print("serves", flush=True)
    if "until-stdin-closes" in sys.argv:
        sys.stdin.read()
    else:
        threading.Event().wait()


if __name__ == "__main__":
    main()
