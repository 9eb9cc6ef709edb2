"""``cp``: copies between a container and this machine over the archive endpoints of the API."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from cli.client import DaemonClient, DaemonError
from cli.container.container_path import container_path
from cli.container.copy_paths import (
    STREAM,
    Endpoint,
    PathState,
    base_name,
    link_target,
    plan_copy,
)
from cli.container.pack import pack
from cli.container.unpack import ChunkReader, unpack
from cli.format.units import human_size
from covey.errors import CoveyError, InvalidArgumentError

STAT_HEADER = "x-docker-container-path-stat"
READ_BYTES = 1 << 20
# Bits of a mode as Go numbers them.
DIRECTORY, SYMLINK = 1 << 31, 1 << 27


class Transfer:
    """One copy. ``archive`` keeps owners, ``follow_link`` copies what a source link points to, ``quiet`` prints nothing."""

    def __init__(self, daemon: DaemonClient, *, archive: bool, follow_link: bool, quiet: bool) -> None:
        self._daemon = daemon
        self._paths: dict[str, str] = {}
        self._archive, self._follow_link, self._quiet = archive, follow_link, quiet

    def from_container(self, source: Endpoint, target: str) -> None:
        """Copy out of a container, to a path or as a tar stream to stdout."""
        path, base = source.path, base_name(source.path)
        if self._follow_link:
            found = self._stat(source.container, path)
            if found and found["mode"] & SYMLINK:
                path = link_target(path, found["linkTarget"])
        with self._daemon.open("GET", self._path(source.container), {"path": path}) as response:
            found = _decode(response.headers.get(STAT_HEADER, ""))
            chunks = self._daemon.body(response)
            if target == STREAM:
                for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                return
            plan = plan_copy(
                path,
                source_is_directory=bool(found.get("mode", 0) & DIRECTORY),
                target=absolute(target),
                found=_local_state(target),
            )
            if base != plan.old_base and plan.old_base == plan.new_base:
                plan = plan._replace(new_base=base)
            if not os.path.isdir(plan.directory):  # noqa: PTH112 - pathlib drops the trailing slash
                raise InvalidArgumentError(f"no such directory: {plan.directory}")
            reader = ChunkReader(chunks)
            unpack(reader, plan, keep_owner=self._archive)
        self._done(reader.count, target)

    def to_container(self, source: str, target: Endpoint) -> None:
        """Copy into a container, from a path or a tar stream on stdin."""
        path, found = self._target(target)
        if source == STREAM:
            if not found.is_directory:
                raise InvalidArgumentError(f'destination "{target.container}:{target.path}" must be a directory')
            self._put(target, path, _read(sys.stdin.buffer))
            return
        source = absolute(source)
        plan = plan_copy(source, source_is_directory=self._check_source(source), target=path, found=found)
        packed = pack(
            source, plan.old_base, plan.renamed, follow_link=self._follow_link or source.endswith(("/", "/."))
        )
        self._put(target, plan.directory, packed)

    def _put(self, target: Endpoint, directory: str, stream: Iterator[bytes]) -> None:
        count = 0

        def counted() -> Iterator[bytes]:
            nonlocal count
            for part in stream:
                count += len(part)
                yield part

        query = {"path": directory, "noOverwriteDirNonDir": "true", "copyUIDGID": "true" if self._archive else ""}
        with self._daemon.open("PUT", self._path(target.container), query, stream=counted()):
            self._done(count, f"{target.container}:{target.path}")

    def _target(self, target: Endpoint) -> tuple[str, PathState]:
        """The path in the container, behind a link if it is one, and what is there."""
        path = target.path if target.path.startswith("/") else f"/{target.path}"
        bare = path.removesuffix("/.").rstrip("/") or "/"
        found = self._stat(target.container, bare)
        if found and found["mode"] & SYMLINK:
            path = link_target(bare, found["linkTarget"])
            found = self._stat(target.container, path)
        if found is None:
            return path, PathState(exists=False)
        return path, PathState(exists=True, is_directory=bool(found["mode"] & DIRECTORY))

    def _stat(self, container: str, path: str) -> dict[str, Any] | None:
        """What is at a path in a container; None if nothing is."""
        try:
            with self._daemon.open("HEAD", self._path(container), {"path": path}) as response:
                return _decode(response.headers.get(STAT_HEADER, ""))
        except DaemonError as error:
            if error.status != 404:
                raise
        return None

    def _path(self, container: str) -> str:
        """The archive endpoint of a container of the host or of a task. Raises DaemonError if there is neither."""
        if container not in self._paths:
            self._paths[container] = f"{container_path(self._daemon, container)}/archive"
        return self._paths[container]

    def _check_source(self, source: str) -> bool:
        """Whether the source is a directory."""
        is_link = os.path.islink(source.rstrip("/")) and not source.endswith("/")  # noqa: PTH114 - pathlib drops the trailing slash
        if is_link and not self._follow_link:
            return False
        if not os.path.exists(source):  # noqa: PTH110 - pathlib drops the trailing slash
            if os.path.exists(source.rstrip("/")):  # noqa: PTH110 - pathlib drops the trailing slash
                raise InvalidArgumentError(f"{source} is not a directory")
            raise InvalidArgumentError(f"no such file or directory: {source}")
        return os.path.isdir(source)  # noqa: PTH112 - pathlib drops the trailing slash

    def _done(self, count: int, target: str) -> None:
        if not self._quiet:
            click.echo(f"Successfully copied {human_size(count, 3)} to {target}", err=True)


def absolute(path: str) -> str:
    """An absolute local path that keeps what a final ``/`` or ``/.`` means."""
    result = os.path.abspath(path)  # noqa: PTH100 - a Path would lose the end
    if os.path.basename(path) == ".":  # noqa: PTH119
        return f"{result}/."
    return f"{result}/" if path.endswith("/") and result != "/" else result


def _decode(text: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.b64decode(text))
    except ValueError as error:
        raise CoveyError("the daemon did not say what is at the path: the response lacks its header") from error
    return dict(found)


def _local_state(path: str) -> PathState:
    return PathState(exists=os.path.exists(path), is_directory=os.path.isdir(path))  # noqa: PTH110, PTH112


def _read(file: Any) -> Iterator[bytes]:
    while data := file.read1(READ_BYTES):
        yield data
