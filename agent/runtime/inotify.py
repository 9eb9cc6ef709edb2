"""inotify: callbacks on the asyncio loop for changes of files and directories.

Invariant: one kernel instance for all containers of a host (a user has 128 by default), and no polling. Callbacks run on
the loop and must not block. If the kernel's queue overflows, every callback is called. Called by the exit watcher and by
log following.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from covey.inotify import (
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_IGNORED,
    IN_MASK_ADD,
    IN_MODIFY,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    InotifyDescriptor,
)

__all__ = ["IN_CLOSE_WRITE", "IN_CREATE", "IN_MODIFY", "IN_MOVED_TO", "Inotify", "InotifyWatch"]

Callback = Callable[[str], None]


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
        self._descriptor = InotifyDescriptor()
        self._watches: dict[int, list[InotifyWatch]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor.fileno(), self._read)

    def watch(self, path: os.PathLike[str] | str, mask: int, callback: Callback) -> InotifyWatch:
        """Call `callback(name)` on each change: `name` is the entry of a watched directory, or "" for a watched file."""
        wd = self._descriptor.add(path, mask | IN_MASK_ADD)
        watch = InotifyWatch(self, wd, callback)
        self._watches.setdefault(wd, []).append(watch)
        return watch

    def close(self) -> None:
        if self._descriptor.fileno() >= 0:
            self._loop.remove_reader(self._descriptor.fileno())
            self._descriptor.close()
        self._watches.clear()

    def _cancel(self, wd: int, watch: InotifyWatch) -> None:
        watches = self._watches.get(wd, [])
        if watch in watches:
            watches.remove(watch)
        if not watches and self._watches.pop(wd, None) is not None and self._descriptor.fileno() >= 0:
            self._descriptor.remove(wd)

    def _read(self) -> None:
        for event in self._descriptor.read():
            if event.mask & IN_Q_OVERFLOW:
                self._call([w for watches in self._watches.values() for w in watches], "")
            elif event.mask & IN_IGNORED:
                self._watches.pop(event.wd, None)
            else:
                self._call(list(self._watches.get(event.wd, ())), event.name)

    @staticmethod
    def _call(watches: list[InotifyWatch], name: str) -> None:
        for watch in watches:
            watch.callback(name)
