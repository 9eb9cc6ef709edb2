"""Unpacks the tar of an image layer into a directory that overlayfs can use as a lower directory.

Runs in the unpack process only. `.wh.NAME` becomes a 0/0 character device and `.wh..wh..opq` the xattr
`trusted.overlay.opaque`, as overlayfs reads them. Where a layer leaves out a parent directory, its owner and mode come from
the layer below, because overlayfs shows those of the topmost directory.

Invariant: the archive is not trusted. The kernel resolves every path inside the layer's root (openat2 with
RESOLVE_IN_ROOT), `..` is refused, nothing is opened through a symlink, and the number of entries is bounded.
"""

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from agent.image.content.bounded_tar import clean_path, members, open_tar
from agent.image.content.entry_attributes import (
    WHITEOUT_DEVICE,
    closing,
    entry_times,
    entry_xattrs,
    is_whiteout,
    lstat_or_none,
)
from agent.image.content.linux_syscalls import open_in_root
from agent.image.content.streams import CHUNK_BYTES, Readable
from covey.errors import InvalidArgumentError

ENTRY_LIMIT = 2_000_000

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_AUFS_METADATA = ".wh..wh."
_OPAQUE_XATTR = "trusted.overlay.opaque"


def _are_unpacked() -> None:
    return


class LayerUnpacker:
    """Unpacks one layer into an empty directory. `lowers` are the layers below, topmost first.

    They may still be unpacked meanwhile: `wait_for_lowers` is called before they are read, which most layers need at the end only.
    """

    def __init__(
        self, root: Path, lowers: Sequence[Path], what: str, wait_for_lowers: Callable[[], None] = _are_unpacked
    ) -> None:
        self._root_path = root
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        self._lowers = lowers
        self._what = what
        self._parent: tuple[tuple[str, ...], int] | None = None
        self._directory_times: dict[tuple[str, ...], tuple[int, int]] = {}
        self.content_bytes = 0
        self._wait_for_lowers = wait_for_lowers
        self._implied: set[tuple[str, ...]] = {()}

    def unpack(self, plain: Readable) -> None:
        """Unpack the layer's tar. Raises InvalidArgumentError or TooLargeError that names the layer."""
        try:
            with open_tar(plain) as archive:
                for member in members(archive, ENTRY_LIMIT, self._what):
                    self._apply(archive, member)
            self._set_implied_attributes()
            self._set_directory_times()
        except tarfile.TarError as error:
            raise InvalidArgumentError(f"{self._what} is not a complete tar archive: {error}") from error
        except (OverflowError, UnicodeError) as error:
            raise InvalidArgumentError(f"{self._what} has an entry with impossible attributes: {error}") from error
        finally:
            self._close_parent()
            os.close(self._root)

    def _apply(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = clean_path(member.name, self._what)
        if not parts:
            if member.isdir():
                self._set_directory_attributes(self._root, member)
                self._directory_times[()] = entry_times(member)
                self._implied.discard(())
            return
        *folder, name = parts
        parent = self._open_parent(tuple(folder))
        if name.startswith(_WHITEOUT):
            self._apply_whiteout(parent, name)
            return
        if member.isdir():
            self._make_directory(parent, name, parts, member)
            return
        if member.isreg():
            self._make_file(archive, parent, name, member)
            return
        self._clear(parent, name)
        if member.islnk():
            self._link(parent, name, member)
            return
        self._make(parent, name, member)
        self._set_attributes(parent, name, member)

    def _make_file(self, archive: tarfile.TarFile, parent: int, name: str, member: tarfile.TarInfo) -> None:
        """Write a regular file and set its attributes through its descriptor, which saves the kernel the path each time."""
        content = archive.extractfile(member)
        if content is None:
            raise InvalidArgumentError(f"{self._what}: the entry {member.name!r} has no content")
        with closing(self._create(parent, name)) as target:
            self._copy(target, cast("Readable", content))
            os.fchown(target, member.uid, member.gid)
            os.fchmod(target, stat.S_IMODE(member.mode))
            for key, value in entry_xattrs(member):
                with contextlib.suppress(
                    OSError
                ):  # the file system may not support the attribute; Docker ignores that too
                    os.setxattr(target, key, value)
            os.utime(target, ns=entry_times(member))

    def _create(self, parent: int, name: str) -> int:
        """A new empty file, in the place of an earlier entry of the same path."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(parent, name)
            return os.open(name, flags, 0o600, dir_fd=parent)

    def _copy(self, target: int, content: Readable) -> None:
        while data := content.read(CHUNK_BYTES):
            self.content_bytes += len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]

    def _make(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            raise InvalidArgumentError(f"{self._what}: the entry {member.name!r} has the unknown type {member.type!r}")

    def _link(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        *folder, target = clean_path(member.linkname, self._what) or ("",)
        if not target or target.startswith(_WHITEOUT):
            raise InvalidArgumentError(
                f"{self._what}: the entry {member.name!r} links to {member.linkname!r}, which is not a file"
            )
        with contextlib.suppress(OSError), closing(open_in_root(self._root, "/".join(folder) or ".")) as source:
            if not stat.S_ISDIR(os.lstat(target, dir_fd=source).st_mode):
                os.link(target, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
                return
        self._copy_from_lower(parent, name, member)

    def _copy_from_lower(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        """Copy the target of a hard link from a lower layer, as overlayfs itself does on a write."""
        self._wait_for_lowers()
        for lower in self._lowers:
            with contextlib.suppress(OSError), closing(os.open(lower, os.O_PATH)) as root:
                source = open_in_root(root, member.linkname.lstrip("/"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(source, "rb") as content:
                    found = os.fstat(source)
                    if not stat.S_ISREG(found.st_mode):
                        continue
                    with closing(self._create(parent, name)) as target:
                        self._copy(target, content)
                        os.fchown(target, found.st_uid, found.st_gid)
                        os.fchmod(target, stat.S_IMODE(found.st_mode))
                        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
                    return
        raise InvalidArgumentError(
            f"{self._what}: the entry {member.name!r} links to {member.linkname!r}, which is not in the image"
        )

    def _make_directory(self, parent: int, name: str, parts: tuple[str, ...], member: tarfile.TarInfo) -> None:
        before = lstat_or_none(parent, name)
        replaces_whiteout = before is not None and is_whiteout(before)
        if before is None or not stat.S_ISDIR(before.st_mode):
            self._clear(parent, name)
            os.mkdir(name, 0o700, dir_fd=parent)
        directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        with closing(directory):
            self._set_directory_attributes(directory, member)
            if replaces_whiteout:
                os.setxattr(directory, _OPAQUE_XATTR, b"y")
        self._directory_times[parts] = entry_times(member)
        self._implied.discard(parts)

    def _apply_whiteout(self, parent: int, name: str) -> None:
        if name == _OPAQUE:
            with closing(os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=parent)) as directory:
                os.setxattr(directory, _OPAQUE_XATTR, b"y")
            return
        if name.startswith(_AUFS_METADATA):
            return  # metadata of the AUFS driver, not part of the image
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in {"", ".", ".."}:
            raise InvalidArgumentError(f"{self._what} has a whiteout without a file name: {name!r}")
        before = lstat_or_none(parent, hidden)
        if before is None:
            os.mknod(hidden, stat.S_IFCHR, WHITEOUT_DEVICE, dir_fd=parent)
        elif stat.S_ISDIR(before.st_mode):
            with closing(os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)) as directory:
                os.setxattr(directory, _OPAQUE_XATTR, b"y")

    def _clear(self, parent: int, name: str) -> None:
        """Remove an earlier entry of the same path."""
        before = lstat_or_none(parent, name)
        if before is None:
            return
        if stat.S_ISDIR(before.st_mode):
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)

    def _set_attributes(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if not member.issym():
            os.chmod(name, stat.S_IMODE(member.mode), dir_fd=parent)
        for key, value in entry_xattrs(member):
            with contextlib.suppress(OSError):  # the file system may not support the attribute; Docker ignores that too
                os.setxattr(f"/proc/self/fd/{parent}/{name}", key, value, follow_symlinks=False)
        os.utime(name, ns=entry_times(member), dir_fd=parent, follow_symlinks=False)

    def _set_directory_attributes(self, directory: int, member: tarfile.TarInfo) -> None:
        os.fchown(directory, member.uid, member.gid)
        os.fchmod(directory, stat.S_IMODE(member.mode))
        for key, value in entry_xattrs(member):
            with contextlib.suppress(OSError):
                os.setxattr(directory, key, value)

    def _open_parent(self, folder: tuple[str, ...]) -> int:
        if self._parent is not None and self._parent[0] == folder:
            return self._parent[1]
        self._close_parent()
        try:
            found = open_in_root(self._root, "/".join(folder) or ".")
        except FileNotFoundError:
            found = self._make_parents(folder)
        except OSError as error:
            raise InvalidArgumentError(
                f"{self._what}: {'/'.join(folder)!r} is used as a directory but is not one"
            ) from error
        self._parent = (folder, found)
        return found

    def _make_parents(self, folder: tuple[str, ...]) -> int:
        current = os.open(".", os.O_PATH | os.O_DIRECTORY, dir_fd=self._root)
        for depth in range(1, len(folder) + 1):
            path = "/".join(folder[:depth])
            try:
                child = open_in_root(self._root, path)
            except FileNotFoundError:
                child = self._make_parent(current, folder[:depth], path)
            except OSError as error:
                os.close(current)
                raise InvalidArgumentError(f"{self._what}: {path!r} is used as a directory but is not one") from error
            os.close(current)
            current = child
        return current

    def _make_parent(self, current: int, parts: tuple[str, ...], path: str) -> int:
        try:
            os.mkdir(parts[-1], 0o755, dir_fd=current)
        except FileExistsError as error:
            raise InvalidArgumentError(
                f"{self._what}: {path!r} is a dangling symlink that is used as a directory"
            ) from error
        self._implied.add(parts)
        return open_in_root(self._root, path)

    def _set_implied_attributes(self) -> None:
        """Give directories that the layer has no entry for the owner and mode that they have below."""
        if not self._lowers or not self._implied:
            return
        self._wait_for_lowers()
        for parts in sorted(self._implied):
            with contextlib.suppress(OSError), closing(open_in_root(self._root, "/".join(parts) or ".")) as found:
                directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=found)
                with closing(directory):
                    self._copy_attributes_from_lower(directory, parts)

    def _copy_attributes_from_lower(self, directory: int, parts: tuple[str, ...]) -> None:
        for lower in self._lowers:
            with contextlib.suppress(OSError), closing(os.open(lower, os.O_PATH)) as root:
                with closing(open_in_root(root, "/".join(parts) or ".")) as below:
                    found = os.fstat(below)
                os.fchown(directory, found.st_uid, found.st_gid)
                os.fchmod(directory, stat.S_IMODE(found.st_mode))
                return

    def _set_directory_times(self) -> None:
        for parts, times in sorted(self._directory_times.items(), reverse=True):
            with contextlib.suppress(OSError), closing(open_in_root(self._root, "/".join(parts) or ".")) as directory:
                os.utime(f"/proc/self/fd/{directory}", ns=times)

    def _close_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None
