"""inotify: callbacks on the asyncio loop for changes of files and directories.

Invariant: one kernel instance for all containers of a host (a user has 128 by default), and no polling. Callbacks run on
the loop and must not block. If the kernel's queue overflows, every callback is called. Called by the exit watcher and by
log following.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable

IN_MODIFY = 0x2
IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_IN_MASK_ADD = 0x20000000
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_HEADER = struct.Struct("iIII")
_READ_BYTES = 64 << 10

Callback = Callable[[str], None]

_libc = ctypes.CDLL(None, use_errno=True)


class InotifyWatch:
    """One registered callback; `cancel` removes it."""

    def __init__(self, owner: Inotify, wd: int, callback: Callback) -> None:
        self._owner = owner
        self._wd = wd
        self.callback = callback

    def cancel(self) -> None:
        self._owner._cancel(self._wd, self)


class Inotify:
    """One inotify instance, read by the running loop."""

    def __init__(self) -> None:
        fd = _libc.inotify_init1(_FLAGS)
        if fd < 0:
            code = ctypes.get_errno()
            raise OSError(
                code, f"inotify is not available ({os.strerror(code)}): raise the sysctl fs.inotify.max_user_instances"
            )
        self._fd = fd
        self._watches: dict[int, list[InotifyWatch]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._read)

    def watch(self, path: os.PathLike[str] | str, mask: int, callback: Callback) -> InotifyWatch:
        """Call `callback(name)` on each change: `name` is the entry of a watched directory, or "" for a watched file."""
        wd = _libc.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask | _IN_MASK_ADD))
        if wd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), os.fspath(path))
        watch = InotifyWatch(self, wd, callback)
        self._watches.setdefault(wd, []).append(watch)
        return watch

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._watches.clear()

    def _cancel(self, wd: int, watch: InotifyWatch) -> None:
        watches = self._watches.get(wd, [])
        if watch in watches:
            watches.remove(watch)
        if not watches and self._watches.pop(wd, None) is not None and self._fd >= 0:
            _libc.inotify_rm_watch(self._fd, wd)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            wd, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & _IN_Q_OVERFLOW:
                self._call([w for watches in self._watches.values() for w in watches], "")
            elif mask & _IN_IGNORED:
                self._watches.pop(wd, None)
            else:
                self._call(list(self._watches.get(wd, ())), name)

    @staticmethod
    def _call(watches: list[InotifyWatch], name: str) -> None:
        for watch in watches:
            watch.callback(name)
