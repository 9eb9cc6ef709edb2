"""TCP ports for servers of the tests on loopback addresses.

Invariant: no two test processes get the same port while it may be in use, and no client connection can take the port of a server that is
restarting. Ports come from one counter per machine and are below the kernel's ephemeral range.
"""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

FIRST = 15_000
LAST = 31_999  # the ephemeral range begins at 32768
COUNTER = Path(tempfile.gettempdir()) / f"covey-test-ports-{os.geteuid()}"


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """``count`` different ports on which nothing listens."""
    descriptor = os.open(COUNTER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        port = int(counter.read() or FIRST)
        found: list[int] = []
        for _ in range(LAST - FIRST):
            port = FIRST if port >= LAST else port + 1
            if _is_free(port, address):
                found.append(port)
            if len(found) == count:
                break
        else:
            raise AssertionError(f"no {count} free ports between {FIRST} and {LAST} at {address}")
        counter.seek(0)
        counter.truncate()
        counter.write(str(port))
    return found


def free_port(address: str = "127.0.0.1") -> int:
    return free_ports(1, address)[0]


def _is_free(port: int, address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
