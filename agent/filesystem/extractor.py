"""Unpacks a tar that is not trusted below a directory of a container, as `docker cp` does.

Runs in the worker process. Symlinks that exist in the container are followed inside its root, as a program in the container
would follow them.

Invariant: every path is opened by openat2 in the container's root, so that neither `..` nor any link leads out of it.
Invariant: a file that could not be written completely is removed.
"""

import contextlib
import errno
import os
import posixpath
import shutil
import stat
import tarfile
from typing import NamedTuple

from agent.filesystem.tar_input import TarInput
from agent.image.content.bounded_tar import members
from agent.image.content.linux_syscalls import open_in_root
from covey.errors import InvalidArgumentError

ENTRY_LIMIT = 2_000_000
PATH_LIMIT_BYTES = 4096
PATH_LIMIT_LEVELS = 256
"""Python removes a tree with a call for each level, and has a thousand of them."""
_XATTR_HEADER = "SCHILY.xattr."
_WHAT = "the archive"


class ExtractOptions(NamedTuple):
    """`owner` replaces the ids of the archive. `keep_kinds` refuses to replace a directory by a file and a file by a directory."""

    keep_kinds: bool = False
    owner: tuple[int, int] | None = None


class Extractor:
    """Unpacks one archive below `target`, an absolute path without symlinks in the root directory `root`."""

    def __init__(self, root: int, target: str, options: ExtractOptions) -> None:
        self._root = root
        self._target = target
        self._options = options
        self._parent: tuple[str, int] | None = None
        self._directory_times: dict[str, int] = {}

    def unpack(self, source: TarInput) -> None:
        """Unpack the archive. Raises InvalidArgumentError or TooLargeError for what is wrong with it, OSError of the disk."""
        try:
            for member in members(source.open_tar(), ENTRY_LIMIT, _WHAT):
                self._apply(source, member)
            source.check_end()
            self._set_directory_times()
        except (tarfile.TarError, EOFError) as error:
            raise InvalidArgumentError(f"Error processing tar file: {_reason(error)}") from error
        except (OverflowError, UnicodeError, ValueError) as error:
            raise InvalidArgumentError(f"the archive has an entry with impossible attributes: {error}") from error
        finally:
            self._close_parent()

    def _apply(self, source: TarInput, member: tarfile.TarInfo) -> None:
        path = self._inside(member.name)
        if path == self._target:
            if member.isdir():
                self._set_attributes_of_target(member)
            return
        parent = self._open_parent(posixpath.dirname(path))
        name = posixpath.basename(path)
        before = _lstat(parent, name)
        if before is not None and self._clear(parent, name, path, before, member):
            before = None
        if member.isdir():
            if before is None:
                os.mkdir(name, 0o700, dir_fd=parent)
            self._directory_times[path] = _time(member)
        elif member.islnk():
            self._link(parent, name, member)
            return
        else:
            self._make(source, parent, name, member)
        self._set_attributes(parent, name, member)

    def _inside(self, name: str) -> str:
        """The path of an entry in the root. Raises InvalidArgumentError if it is not below the target."""
        if len(os.fsencode(name)) > PATH_LIMIT_BYTES or "\0" in name:
            raise InvalidArgumentError(f"the archive has an entry with an impossible path: {name[:80]!r}")
        if name.count("/") > PATH_LIMIT_LEVELS:
            raise InvalidArgumentError(
                f"the archive has an entry below more than {PATH_LIMIT_LEVELS} directories: {name[:80]!r}"
            )
        path = posixpath.normpath(f"{self._target}/{name}").replace("//", "/")
        if path != self._target and not path.startswith(f"{self._target.rstrip('/')}/"):
            raise InvalidArgumentError(f'Error processing tar file: "{name}" is outside of "{self._target}"')
        return path

    def _clear(self, parent: int, name: str, path: str, before: os.stat_result, member: tarfile.TarInfo) -> bool:
        """Remove what the entry replaces. Returns False for a directory that stays."""
        was_directory = stat.S_ISDIR(before.st_mode)
        if was_directory and member.isdir():
            return False
        if self._options.keep_kinds and was_directory != member.isdir():
            kinds = ("directory", "non-directory") if was_directory else ("non-directory", "directory")
            raise InvalidArgumentError(
                f'Error processing tar file: cannot overwrite {kinds[0]} "{path}" with {kinds[1]} "{self._target}"'
            )
        if was_directory:
            shutil.rmtree(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
        return True

    def _make(self, source: TarInput, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if member.isreg():
            self._write(source, parent, name, member.size)
        elif member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            try:
                os.mknod(name, kind | 0o600, os.makedev(member.devmajor, member.devminor), dir_fd=parent)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise InvalidArgumentError(f"the archive's entry {member.name!r} is an impossible device") from None
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            raise InvalidArgumentError(f"the archive's entry {member.name!r} has the unknown type {member.type!r}")

    def _write(self, source: TarInput, parent: int, name: str, size: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            source.copy_to(fd, size)
        except BaseException:
            os.unlink(name, dir_fd=parent)
            raise
        finally:
            os.close(fd)

    def _link(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        path = posixpath.normpath(f"{self._target}/{member.linkname}").replace("//", "/")
        if not path.startswith(f"{self._target.rstrip('/')}/"):
            raise InvalidArgumentError(
                f'Error processing tar file: invalid hardlink "{member.name}" -> "{member.linkname}"'
            )
        try:
            folder = open_in_root(self._root, posixpath.dirname(path))
            try:
                base = posixpath.basename(path)
                if stat.S_ISDIR(os.stat(base, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise InvalidArgumentError(
                        f'Error processing tar file: invalid hardlink "{member.name}" -> "{member.linkname}": it is a directory'
                    )
                os.link(base, name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(folder)
        except FileNotFoundError:
            raise InvalidArgumentError(
                f'Error processing tar file: link "{member.name}" -> "{member.linkname}": no such file or directory'
            ) from None

    def _set_attributes(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        uid, gid = self._options.owner or (member.uid, member.gid)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        if not member.issym():
            os.chmod(name, stat.S_IMODE(member.mode), dir_fd=parent)
        for header, text in member.pax_headers.items():
            key = header.removeprefix(_XATTR_HEADER)
            if key != header and (key == "security.capability" or key.startswith("user.")):
                with contextlib.suppress(OSError):  # the file system may not support it; Docker ignores that too
                    value = text.encode("utf-8", "surrogateescape")
                    os.setxattr(f"/proc/self/fd/{parent}/{name}", key, value, follow_symlinks=False)
        if not member.isdir():
            moment = _time(member)
            os.utime(name, ns=(moment, moment), dir_fd=parent, follow_symlinks=False)

    def _set_attributes_of_target(self, member: tarfile.TarInfo) -> None:
        """Give the target directory itself the owner and mode of the archive's `./`, as Docker does."""
        fd = open_in_root(self._root, self._target, os.O_RDONLY | os.O_DIRECTORY)
        try:
            uid, gid = self._options.owner or (member.uid, member.gid)
            os.fchown(fd, uid, gid)
            os.fchmod(fd, stat.S_IMODE(member.mode))
        finally:
            os.close(fd)
        self._directory_times[self._target] = _time(member)

    def _open_parent(self, folder: str) -> int:
        if self._parent is not None and self._parent[0] == folder:
            return self._parent[1]
        self._close_parent()
        try:
            found = self._make_parents(folder)
        except NotADirectoryError:
            raise InvalidArgumentError(f"Error processing tar file: {folder} is not a directory") from None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise InvalidArgumentError(f"Error processing tar file: {folder} has too many levels of symlinks") from None
        self._parent = (folder, found)
        return found

    def _make_parents(self, folder: str) -> int:
        """A directory, which is made with those above it if it is missing."""
        missing = []
        while True:
            try:
                found = open_in_root(self._root, folder)
                break
            except FileNotFoundError:
                missing.append(folder)
                folder = posixpath.dirname(folder)
        for path in reversed(missing):
            try:
                os.mkdir(posixpath.basename(path), 0o755, dir_fd=found)
            except FileExistsError:
                raise InvalidArgumentError(
                    f"Error processing tar file: {path} is a symlink that leads nowhere, used as a directory"
                ) from None
            finally:
                os.close(found)
            found = open_in_root(self._root, path)
        return found

    def _set_directory_times(self) -> None:
        for path, moment in sorted(self._directory_times.items(), reverse=True):
            with contextlib.suppress(OSError):
                fd = open_in_root(self._root, path)
                try:
                    os.utime(f"/proc/self/fd/{fd}", ns=(moment, moment))
                finally:
                    os.close(fd)

    def _close_parent(self) -> None:
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None


def _lstat(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _time(member: tarfile.TarInfo) -> int:
    return min(max(int(member.mtime * 1_000_000_000), 0), (1 << 63) - 1)


def _reason(error: Exception) -> str:
    """The words of Docker for what is wrong with a tar."""
    text = str(error)
    if isinstance(error, EOFError) or "unexpected end" in text:
        return "unexpected EOF"
    return "archive/tar: invalid tar header" if isinstance(error, tarfile.ReadError) else text
