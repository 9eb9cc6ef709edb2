"""Watches directory trees with inotify and gives the paths that changed, in batches.

Invariant: a directory is watched before it is listed, so nothing between is missed. A directory that goes away is reported with all
that was in it, and one that comes with all that is in it. When the kernel's queue overflows, everything is reported.
"""

import errno
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator

from covey.errors import CoveyError
from covey.inotify import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_IGNORED,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    InotifyDescriptor,
    InotifyEvent,
)

QUIET_SECONDS = 0.2
"""A batch ends when nothing has changed for so long,"""
LONGEST_SECONDS = 3.0
"""or when it has lasted so long."""
_GONE = IN_MOVED_FROM | IN_DELETE
_NEW = IN_MOVED_TO | IN_CREATE
_MASK = _GONE | _NEW | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR
_VANISHED = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)


class TreeWatcher:
    """Watches trees until ``stop``.

    Args:
        tops: the directories where watching begins; they exist.
        enters: whether to watch a directory.
        covers: whether a path is reported.
    """

    def __init__(self, tops: Iterable[str], enters: Callable[[str], bool], covers: Callable[[str], bool]) -> None:
        self._tops, self._enters, self._covers = tuple(tops), enters, covers
        self._inotify = InotifyDescriptor()
        self._stopped = os.eventfd(0, os.EFD_CLOEXEC)
        self._folders: dict[int, str] = {}
        self._entries: dict[str, set[str]] = {}
        try:
            for top in self._tops:
                self._add(top)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free the kernel's objects, after ``batches`` has ended."""
        self._inotify.close()
        os.close(self._stopped)

    def stop(self) -> None:
        """Let ``batches`` end; for any thread."""
        os.eventfd_write(self._stopped, 1)

    def paths(self) -> list[str]:
        """The reported paths that exist now, as far as they are known."""
        found = (_join(folder, name) for folder, names in self._entries.items() for name in names)
        return sorted(path for path in found if self._covers(path))

    def batches(self) -> Iterator[frozenset[str]]:
        """The paths that changed, whenever some have.

        Raises:
            CoveyError: the kernel has no more watches.
        """
        while self._readable(None):
            changed: set[str] = set()
            deadline = time.monotonic() + LONGEST_SECONDS
            left = QUIET_SECONDS
            while left > 0 and self._readable(min(left, QUIET_SECONDS)):
                for event in self._inotify.read():
                    self._take(event, changed)
                left = deadline - time.monotonic()
            if found := frozenset(path for path in changed if self._covers(path)):
                yield found

    def _readable(self, seconds: float | None) -> bool:
        """Whether there are events; False after ``seconds`` or ``stop``."""
        ready, _, _ = select.select([self._inotify.fileno(), self._stopped], [], [], seconds)
        return self._inotify.fileno() in ready and self._stopped not in ready

    def _take(self, event: InotifyEvent, changed: set[str]) -> None:
        if event.mask & IN_Q_OVERFLOW:
            for top in self._tops:
                self._forget(top, changed)
            for top in self._tops:
                self._add(top, changed)
            return
        if event.mask & IN_IGNORED:
            self._folders.pop(event.wd, None)
            return
        folder = self._folders.get(event.wd)
        if folder is None or not event.name:
            return
        path = _join(folder, event.name)
        changed.add(path)
        if event.mask & _GONE:
            self._entries.get(folder, set()).discard(event.name)
            if event.mask & IN_ISDIR:
                self._forget(path, changed)
        else:
            self._entries.setdefault(folder, set()).add(event.name)
            if event.mask & IN_ISDIR and event.mask & _NEW and self._enters(path):
                self._add(path, changed)

    def _add(self, top: str, changed: set[str] | None = None) -> None:
        """Watch a directory and those in it that matter; what is there goes into ``changed``."""
        pending = [top]
        while pending:
            folder = pending.pop()
            try:
                self._folders[self._inotify.add(folder, _MASK)] = folder
                entries = list(os.scandir(folder))
            except OSError as error:
                if error.errno not in _VANISHED:
                    raise CoveyError(f"cannot watch {folder}: {_reason(error)}") from error
                continue
            self._entries[folder] = {entry.name for entry in entries}
            for entry in entries:
                if changed is not None:
                    changed.add(entry.path)
                if entry.is_dir(follow_symlinks=False) and self._enters(entry.path):
                    pending.append(entry.path)

    def _forget(self, top: str, changed: set[str]) -> None:
        """Stop to watch a directory that is gone, and report what was in it."""
        below = top if top.endswith("/") else f"{top}/"
        for wd, folder in list(self._folders.items()):
            if folder == top or folder.startswith(below):
                del self._folders[wd]
                self._inotify.remove(wd)
                changed.update(_join(folder, name) for name in self._entries.pop(folder, ()))


def watch_tops(paths: Iterable[str]) -> list[str]:
    """Where to begin for these paths: the nearest directory above each that exists, so that a path itself may come and go."""
    found: dict[str, None] = {}
    for path in paths:
        top = os.path.dirname(path)  # noqa: PTH120 - texts as in the rules
        while not os.path.isdir(top):  # noqa: PTH112
            top = os.path.dirname(top)  # noqa: PTH120
        found[top] = None
    return list(found)


def _join(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the limit of inotify watches is reached: raise the sysctl fs.inotify.max_user_watches, or ignore directories"
    return error.strerror or str(error)
