"""Network namespaces: creating, opening, entering and removing them without a process.

Invariant: only short-lived threads and those of `kernel.threads` ever enter another namespace, so other code never runs in the wrong one.

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
            raise NotFoundError(f"no network namespace at {path}") from None

    @property
    def fd(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def run(self, work: Callable[[], T]) -> T:
        """Call `work` inside the namespace, on a new thread. Returns its result or raises its exception."""
        return _on_thread(self.enter, work)

    def enter(self) -> None:
        """Move the calling thread into the namespace, for threads that do nothing but work in namespaces."""
        if _libc.setns(self._fd, _CLONE_NEWNET) != 0:
            raise _failure(f"the network namespace {self.path} cannot be entered")


def current_namespace() -> Namespace:
    """The namespace of this process, usually the host's."""
    return Namespace("/proc/self/ns/net")


def anonymous_namespace() -> Namespace:
    """A new namespace without a name, which ends with its handle."""

    def unshare() -> None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise _failure("network namespaces cannot be created on this host: run coveyd as root")

    return _on_thread(unshare, lambda: Namespace(f"/proc/self/task/{threading.get_native_id()}/ns/net"))


def create(path: Path) -> None:
    """Create a named namespace, or keep the one that exists."""
    if is_namespace(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o444)

    def unshare() -> None:
        if _libc.unshare(_CLONE_NEWNET) != 0:
            raise _failure("network namespaces cannot be created on this host: run coveyd as root")

    def bind() -> None:
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        if _libc.mount(source.encode(), str(path).encode(), b"none", _MS_BIND, None) != 0:
            raise _failure(f"the network namespace cannot be mounted at {path}")

    try:
        _on_thread(unshare, bind)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def prepare_folder(folder: Path) -> None:
    """Create a folder for named namespaces and delete files in it that are not namespaces."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if not is_namespace(path):
            path.unlink()


def remove(path: Path) -> None:
    """Remove the name. The namespace ends with its last process. The caller deletes the devices first."""
    while path.exists():
        if _libc.umount2(str(path).encode(), _MNT_DETACH) == 0:
            continue
        if ctypes.get_errno() != _EINVAL:
            raise _failure(f"the network namespace {path} cannot be unmounted")
        path.unlink(missing_ok=True)


def is_namespace(path: Path) -> bool:
    """True when a namespace is mounted on the file. A file without its mount is left over from a reboot or a crash."""
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
        except BaseException as error:  # raised again in the caller's thread
            failures.append(error)

    thread = threading.Thread(target=body, name="covey-netns")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
