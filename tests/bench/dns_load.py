"""DNS clients in containers' namespaces: ask the resolver as fast as it answers, and count. Run by ``tests.bench.dns``.

``python -m tests.bench.dns_load SECONDS NAMES SERVICES NAMESPACE...`` writes a line when it is ready, starts when it reads one, and then
writes the number of right answers and the seconds that they took. Each namespace has WINDOW questions on the way, of NAMES different ones.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from itertools import cycle

from agent.network.netns import Namespace

WINDOW = 32
_LOST_SECONDS = 0.5


def question(number: int, services: int) -> bytes:
    """A question for the address of a service, without its id. The case of the letters differs when the services are used up."""
    name, variant = f"service{number % services}", number // services
    letters = "".join(c.upper() if variant >> i & 1 else c for i, c in enumerate(name))
    tail = "".join(c.upper() if variant >> (i + len(name)) & 1 else c for i, c in enumerate("web"))
    encoded = b"".join(bytes((len(label),)) + label.encode() for label in (letters, tail)) + b"\0"
    return struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + encoded + struct.pack("!HH", 1, 1)


def connected() -> socket.socket:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect(("127.0.0.11", 53))
    link.setblocking(False)
    return link


def main() -> None:
    seconds, names, services = (float(sys.argv[1]), *map(int, sys.argv[2:4]))
    links = [Namespace(path).run(connected) for path in sys.argv[4:]]
    # As many as can be asked in the time; they are made before it starts.
    questions = cycle([question(number, services) for number in range(min(int(names), 400_000))])
    poll = select.epoll()
    for link in links:
        poll.register(link, select.EPOLLIN)
    by_fd = {link.fileno(): link for link in links}
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    until, answers = began + seconds, 0
    for link in links:
        for _ in range(WINDOW):
            link.send(b"\0\0" + next(questions))
    while time.perf_counter() < until:
        ready = poll.poll(_LOST_SECONDS)
        if not ready:
            raise SystemExit("the resolver stopped answering")
        for fd, _ in ready:
            link = by_fd[fd]
            for _ in range(WINDOW):
                try:
                    reply = link.recv(4096)
                except BlockingIOError:
                    break
                if reply[3] & 0x0F or reply[7] != 1:
                    raise SystemExit(f"wrong answer {reply!r}")
                answers += 1
                link.send(b"\0\0" + next(questions))
    print(answers, time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
