"""`docker cp`, `docker export` and `docker diff`: the files of a container."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from agent.container.api import FileArchive
from agent.container.host import ContainerHost
from agent.container.root_views import file_request, root_filesystem_request
from agent.filesystem import process as file_worker
from agent.filesystem.protocol import FileChange, FileMessage, FileRequest, PathStat
from covey.errors import CoveyError, InvalidArgumentError


async def stat_path(host: ContainerHost, ref: str, path: str) -> PathStat:
    """What is at the path in the container. Raises NotFoundError."""
    async with file_request(host, ref, "stat", _checked(path)) as request:
        return _stat_of(await file_worker.call(request))


@asynccontextmanager
async def read_path(
    host: ContainerHost, ref: str, path: str, *, socket_fd: int = -1
) -> AsyncIterator[tuple[PathStat, FileArchive]]:
    """What is at the path, and a tar of it, which goes to the socket if one is given. The block ends the reading."""
    async with (
        file_request(host, ref, "read", _checked(path)) as request,
        file_worker.file_process(request._replace(socket_fd=socket_fd)) as worker,
    ):
        found = _stat_of(await worker.next_message())
        host.index.emit(host.index.find(ref), "archive-path")
        yield found, worker


async def write_path(
    host: ContainerHost,
    ref: str,
    path: str,
    source: AsyncIterator[bytes],
    *,
    keep_kinds: bool = False,
    as_user: bool = False,
) -> None:
    """Unpack a tar below a directory of the container.

    `keep_kinds` refuses to replace a directory by a file and a file by a directory. With `as_user`, the files belong to the
    container's user.
    """
    async with file_request(host, ref, "write", _checked(path)) as request:
        record = host.index.find(ref)
        owner = record.config.user if as_user and record.config.user else None
        await file_worker.write(request._replace(keep_kinds=keep_kinds, owner=owner), source)
    host.index.emit(record, "extract-to-dir")


@asynccontextmanager
async def export_files(host: ContainerHost, ref: str, *, socket_fd: int = -1) -> AsyncIterator[FileArchive]:
    """A tar of the container's root file system, without its mounts. The block ends the reading."""
    async with (
        root_filesystem_request(host, ref, "export") as request,
        file_worker.file_process(request._replace(socket_fd=socket_fd)) as worker,
    ):
        await worker.next_message()
        host.index.emit(host.index.find(ref), "export")
        yield worker


async def list_changes(host: ContainerHost, ref: str) -> Sequence[FileChange]:
    """The paths that differ from the image."""
    record = host.index.find(ref)
    upper = host.paths.folder(record.config.id) / "upper"
    if not upper.is_dir():
        return ()
    layers = tuple(str(layer) for layer in reversed(host.images.layers(record.config.image_id)))
    request = FileRequest(action="changes", container=record.config.name, upper=str(upper), layers=layers)
    return (await file_worker.call(request)).changes


def _checked(path: str) -> str:
    if not path:
        raise InvalidArgumentError("bad parameter: path cannot be empty")
    if "\0" in path:
        raise InvalidArgumentError(f"the path {path!r} contains a null byte")
    return path


def _stat_of(message: FileMessage) -> PathStat:
    if message.stat is None:
        raise CoveyError("the file process sent no stat of the path")
    return message.stat
