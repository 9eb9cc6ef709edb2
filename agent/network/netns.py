"""Network namespaces: creating, opening, entering and removing them without a process.

Invariant: only a short-lived thread of its own ever enters another namespace, so other code never runs in the wrong one.

A named namespace is a bind mount and outlives the daemon. A socket opened in `Namespace.run` stays in that namespace.
Netlink sockets of pyroute2 belong to the thread that created them: open, use and close them inside one `run`.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from covey.errors import NotFoundError, UnavailableError, UnsupportedError

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_EINVAL = 22
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """An open network namespace. Closing the handle does not remove a named one."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"there is no network namespace at {path}") from None

    @property
    def fd(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def run(self, work: Callable[[], T]) -> T:
        """Carry out `work` inside the namespace, on a thread of its own."""

        def enter() -> None:
            if _libc.setns(self._fd, _CLONE_NEWNET) != 0:
                raise _failure(f"the network namespace {self.path} cannot be entered")

        return _on_thread(enter, work)


def current_namespace() -> Namespace:
    """That of the daemon itself: the host's."""
    return Namespace("/proc/self/ns/net")


def create(path: Path) -> None:
    """A named namespace; one that is there already is kept."""
    if is_namespace(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o444)

    def unshare() -> None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise _failure("this host cannot make network namespaces: run coveyd as root")

    def bind() -> None:
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        if _libc.mount(source.encode(), str(path).encode(), b"none", _MS_BIND, None) != 0:
            raise _failure(f"the network namespace cannot be kept at {path}")

    try:
        _on_thread(unshare, bind)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Take the name away; the namespace goes with its last process. Its devices are removed by the caller first."""
    while path.exists():
        if _libc.umount2(str(path).encode(), _MNT_DETACH) == 0:
            continue
        if ctypes.get_errno() != _EINVAL:
            raise _failure(f"the network namespace {path} cannot be released")
        path.unlink(missing_ok=True)


def is_namespace(path: Path) -> bool:
    """False for a file that an earlier life left without its mount."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def _failure(what: str) -> Exception:
    number = ctypes.get_errno()
    kind = UnsupportedError if number in {1, 22, 38} else UnavailableError
    return kind(f"{what}: {os.strerror(number)}")


def _on_thread(enter: Callable[[], None], work: Callable[[], T]) -> T:
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            results.append(work())
        except BaseException as error:  # carried over to the caller's thread
            failures.append(error)

    thread = threading.Thread(target=body, name="covey-netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
