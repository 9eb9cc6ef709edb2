"""The cache: counters and queues in memory. Its content is lost when it ends."""

import sys
from collections import Counter, defaultdict, deque
from threading import Lock

from line_protocol import ask, serve

PORT = 6000


class Cache:
    """``INCR KEY``, ``COUNT KEY``, ``PUSH QUEUE VALUE``, ``HEAD QUEUE`` (the oldest value, or nothing), ``POP QUEUE``, ``PING``."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.counters: Counter[str] = Counter()
        self.queues: defaultdict[str, deque[str]] = defaultdict(deque)

    def answer(self, request: str) -> str:
        with self.lock:
            match request.split(" ", 2):
                case ["INCR", key]:
                    self.counters[key] += 1
                    return str(self.counters[key])
                case ["COUNT", key]:
                    return str(self.counters[key])
                case ["PUSH", queue, value]:
                    self.queues[queue].append(value)
                    return str(len(self.queues[queue]))
                case ["HEAD", queue]:
                    return next(iter(self.queues[queue]), "")
                case ["POP", queue]:
                    return self.queues[queue].popleft() if self.queues[queue] else ""
                case ["PING"]:
                    return "PONG"
        return f"ERR unknown request: {request}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(ask(f"127.0.0.1:{PORT}", "PING") != "PONG")
    serve(PORT, Cache().answer)
