"""The worker process for files of containers: `python -m agent.filesystem.worker FD` serves the request in the file FD.

It is a process of its own, because file work would block the daemon's event loop, and because only a process can have a
mount namespace. Tars come on stdin and go to stdout; answers go to stderr as JSON lines.

Started by `agent.filesystem.process`. What an action alone needs is imported by it, because the start is most of the time of
a small `docker cp`.
"""

import errno
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.filesystem import paths_in_root, root_view
from agent.filesystem.pipes import enlarge_pipe
from agent.filesystem.protocol import FileMessage, FileRequest, decode_request, encode
from agent.filesystem.tar_sinks import ChunkedSocketSink, DescriptorSink, Sink
from agent.image.content.linux_syscalls import open_in_root
from covey.errors import CoveyError, InvalidArgumentError, UnavailableError

_REQUEST_LIMIT_BYTES = 64 << 20
_BATCH = 200
_MOUNT_ID = "mnt_id:"


def _send(message: FileMessage) -> None:
    data = encode(message) + b"\n"
    while data:
        data = data[os.write(2, data) :]


def _stat(request: FileRequest) -> FileMessage:
    root = root_view.open_root(request)
    wanted = paths_in_root.parse_path(request.path)
    found = paths_in_root.resolve(root, wanted, request.container)
    return FileMessage(stat=paths_in_root.path_stat(root, wanted, found.found), done=True)


def _read(request: FileRequest) -> FileMessage:
    from agent.filesystem.tar_output import TarOutput
    from agent.filesystem.tree_archive import TreeArchive

    root = root_view.open_root(request)
    wanted = paths_in_root.parse_path(request.path)
    found = paths_in_root.resolve(root, wanted, request.container)
    _send(FileMessage(stat=paths_in_root.path_stat(root, wanted, found.found)))
    output = TarOutput(_sink(request))
    archive = TreeArchive(output)
    if stat.S_ISDIR(found.found.st_mode):
        tree = open_in_root(root, wanted.path, os.O_RDONLY | os.O_DIRECTORY)
        archive.add_tree(tree, wanted.name)
    else:
        folder, _, base = wanted.path.rpartition("/")
        archive.add_file(open_in_root(root, folder or "/"), base, wanted.name)
    output.end()
    return FileMessage(done=True)


def _write(request: FileRequest) -> FileMessage:
    from agent.filesystem.extractor import ExtractOptions, Extractor
    from agent.filesystem.tar_input import TarInput

    root = root_view.open_root(request)
    wanted = paths_in_root.parse_path(request.path)
    try:
        target = open_in_root(root, wanted.path, os.O_PATH)
    except FileNotFoundError:
        raise paths_in_root.not_found(wanted.path, request.container) from None
    if not stat.S_ISDIR(os.fstat(target).st_mode):
        raise InvalidArgumentError("extraction point is not a directory")
    if os.fstatvfs(target).f_flag & os.ST_RDONLY:
        what = "container rootfs" if _mount_id(target) == _mount_id(root) else "mounted volume"
        raise InvalidArgumentError(f"{what} is marked read-only")
    owner = None if request.owner is None else _owner(root, request.owner)
    path = paths_in_root.relative_to_root(root, target) or wanted.path
    source = TarInput(0)
    Extractor(root, path, ExtractOptions(request.keep_kinds, owner)).unpack(source)
    source.drain()
    return FileMessage(done=True)


def _export(request: FileRequest) -> FileMessage:
    from agent.filesystem.tar_output import TarOutput
    from agent.filesystem.tree_archive import TreeArchive

    root = root_view.open_root(request)
    _send(FileMessage())
    output = TarOutput(_sink(request))
    TreeArchive(output).add_tree(root, "", with_root=False)
    output.end()
    return FileMessage(done=True)


def _changes(request: FileRequest) -> FileMessage:
    from agent.filesystem import changes

    found = changes.list_changes(request.upper, request.layers)
    for start in range(0, len(found), _BATCH):
        _send(FileMessage(changes=found[start : start + _BATCH]))
    return FileMessage(done=True)


def _layer(request: FileRequest) -> FileMessage:
    from agent.filesystem import layer_archive

    layer = layer_archive.write_layer(request)
    _send(FileMessage(layer=layer))
    return FileMessage(layer=layer_archive.unpack_layer(request, layer) if layer else None, done=True)


def _sink(request: FileRequest) -> Sink:
    """Where the tar goes. A socket is written to once the daemon has sent the head of its response."""
    if request.socket_fd < 0:
        return DescriptorSink(1)
    if not os.read(0, 1):
        raise UnavailableError("the client has disconnected")
    return ChunkedSocketSink(request.socket_fd)


def _mount_id(fd: int) -> str:
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next((line for line in lines if line.startswith(_MOUNT_ID)), "")


def _owner(root: int, user: str) -> tuple[int, int]:
    from agent.runtime import rootfs_paths, users

    folder = Path(f"/proc/self/fd/{root}")
    texts = [rootfs_paths.read_text(folder, name) for name in ("/etc/passwd", "/etc/group")]
    found = users.resolve_user(user, (), *texts)
    return found.uid, found.gid


def _failure(error: Exception, container: str) -> FileMessage:
    if isinstance(error, CoveyError):
        return FileMessage(error=error.message, error_kind=type(error).__name__)
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        text = f"the disk is full: the files of container {container} could not be written: {error.strerror}"
        return FileMessage(error=text, error_kind=UnavailableError.__name__)
    return FileMessage(error=f"container {container}: {error}", error_kind=CoveyError.__name__)


_ACTIONS = {
    "stat": _stat,
    "read": _read,
    "write": _write,
    "export": _export,
    "changes": _changes,
    "layer": _layer,
}


def main(arguments: Sequence[str]) -> int:
    """Serve one request. Returns 0 when it succeeded, 1 when an error was reported."""
    root_view.die_with_parent()
    request = decode_request(os.pread(int(arguments[0]), _REQUEST_LIMIT_BYTES, 0))
    enlarge_pipe(0)
    enlarge_pipe(1)
    os.umask(0)
    try:
        answer = _ACTIONS[request.action](request)
    except Exception as error:  # the boundary of the process: every error is reported as a message
        answer = _failure(error, request.container)
    _send(answer)
    return 1 if answer.error else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
