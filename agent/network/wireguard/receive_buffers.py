"""Receive buffers of the sockets of wireguard-go, which opens them with the host's default. Blocking.

The default (208 KiB) holds 90 packets. Whenever the process has no processor for a millisecond, more than that arrive, and the kernel
drops them: a busy host lost 13 % of what it was sent. The sockets are another process's, so they are borrowed by `pidfd_getfd`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

BYTES = 1 << 20
"""The kernel doubles it, and then holds 900 full packets. More of them would be a delay rather than a help."""
_PIDFD_GETFD = 438  # the same number on every architecture
_SO_RCVBUFFORCE = 33
_libc = ctypes.CDLL(None, use_errno=True)


def enlarge(processes: Iterable[int]) -> bool:
    """Enlarge the receive buffers of all datagram sockets of these processes.

    Returns False if any of them stays as it is: the kernel (before 5.6) or the host's policy forbids it. Packets pass all the same.
    """
    done = True
    for process in processes:
        try:
            owner = os.pidfd_open(process)
            try:
                for number in _sockets(process):
                    _enlarge(owner, number)
            finally:
                os.close(owner)
        except OSError:
            done = False
    return done


def _sockets(process: int) -> Iterator[int]:
    """The numbers of the process's descriptors that are sockets."""
    for entry in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            if entry.readlink().name.startswith("socket:"):
                yield int(entry.name)


def _enlarge(owner: int, number: int) -> None:
    """Set the buffer of one socket of the process with the descriptor `owner`, unless it is none for datagrams."""
    found = _libc.syscall(_PIDFD_GETFD, owner, number, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), "a socket of another process is out of reach")
    with socket.socket(fileno=found) as borrowed:
        if borrowed.type == socket.SOCK_DGRAM:
            borrowed.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BYTES)
