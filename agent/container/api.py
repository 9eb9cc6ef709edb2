"""Interface of the container service, as the task worker and the Engine API use it.

`agent.container.service.ContainerService` implements `Containers`. A reference (`ref`) is an id, a name, or a unique
prefix of an id. Errors are those of `covey.errors`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Protocol

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerFiles,
    EndpointSettings,
    ExecConfig,
    ExecState,
    NetworkConnection,
    NetworkRequest,
    PortChanges,
    ProcessTable,
    RestartPolicy,
)
from agent.filesystem.protocol import FileChange, PathStat
from agent.logs.entry import LogEntry
from agent.runtime.limits import ResourceLimits
from agent.runtime.stats import ContainerStats


class ImageRootfs(Protocol):
    """The image store. Raises NotFoundError for an unknown image."""

    def layers(self, image_id: str) -> Sequence[Path]:
        """The directories of an image's layers, base first."""
        ...

    def id_of(self, name: str) -> str:
        """The id of an image with this name or id."""
        ...


class ContainerNetworks(Protocol):
    """Owner of the network sandboxes: `connect` at every start, `release` at every exit and at removal. Both can be repeated."""

    async def connect(self, config: ContainerConfig) -> NetworkConnection:
        """Create the container's sandbox and endpoints if they are missing. Raises CoveyError with the reason if it cannot."""
        ...

    async def release(self, container_id: str) -> None: ...
    async def join(self, config: ContainerConfig, request: NetworkRequest) -> NetworkConnection:
        """Connect a running container to one more network. Returns what it has then."""
        ...

    async def publish(self, config: ContainerConfig) -> NetworkConnection:
        """Publish what a running container's configuration says now. Returns what it has then."""
        ...

    async def leave(self, config: ContainerConfig, endpoint: EndpointSettings) -> NetworkConnection:
        """Disconnect a running container from one of its networks. Returns what it has then."""
        ...

    async def renamed(self, config: ContainerConfig) -> None:
        """A container has a new name, by which others find it."""
        ...


class Stream(Protocol):
    """Input and output of an attach or an exec.

    `read` returns (1, data) from stdout, (2, data) from stderr (a terminal has stdout only), or None at the end. `wait`
    returns the exit code of the process. `close` leaves the process running.
    """

    async def read(self) -> tuple[int, bytes] | None: ...
    async def write(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def wait(self) -> int: ...
    async def close(self) -> None: ...


class EventQueue(Protocol):
    """A bounded queue of events. A reader that lags gets `LaggedError` and must subscribe again."""

    async def get(self) -> ContainerEvent: ...
    def __aiter__(self) -> AsyncIterator[ContainerEvent]: ...


class FileArchive(Protocol):
    """A tar of files. Without a socket, read its `chunks`; with one, `send_to_socket` writes it there as chunks of HTTP."""

    def chunks(self) -> AsyncIterator[bytes]: ...
    async def send_to_socket(self) -> None: ...


class Containers(Protocol):
    """All containers of this host. One instance, one asyncio loop."""

    async def open(self) -> None:
        """Adopt running containers, record exits that happened meanwhile, and remove leftovers."""

    async def close(self) -> None:
        """Release everything; containers go on."""

    async def create(self, config: ContainerConfig) -> Container: ...
    async def start(self, ref: str) -> Container: ...
    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container:
        """Send the stop signal, then SIGKILL after the timeout (None: the configuration's; negative: wait for ever)."""
        ...

    async def restart(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container:
        """Stop the container as `stop` does, if it runs, and start it."""
        ...

    async def update(self, ref: str, resources: ResourceLimits, restart: RestartPolicy | None = None) -> Container:
        """Replace the resource limits, which a running container gets at once, and the restart policy if one is given."""
        ...

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None: ...
    async def pause(self, ref: str) -> None: ...
    async def unpause(self, ref: str) -> None: ...
    async def rename(self, ref: str, name: str) -> None: ...
    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None: ...
    def wait(self, ref: str, condition: str = "not-running") -> asyncio.Future[int]:
        """A future of the exit code once the condition holds: not-running, next-exit or removed.

        The wait begins at once. Cancel the future to end it.
        """
        ...

    async def connect_network(self, ref: str, request: NetworkRequest) -> None:
        """Connect the container to one more network, at once if it runs."""
        ...

    async def disconnect_network(self, ref: str, network: str) -> None: ...
    async def leave_network(self, ref: str, network_id: str) -> None:
        """Take a running container off a network that it lost."""
        ...

    async def publish_ports(self, ref: str, changes: PortChanges) -> None:
        """Publish other ports of a container, at once if it has its network."""
        ...

    def get(self, ref: str) -> Container: ...
    def list(self) -> list[Container]: ...
    def subscribe(self) -> AbstractContextManager[EventQueue]: ...
    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AsyncGenerator[LogEntry, None]:
        """Entries in order; with `follow`, until the container has exited and everything is read.

        Close the iterator (`contextlib.aclosing`) to stop early.
        """
        ...

    def log_stream(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since_ns: int = 0,
        until_ns: int = 0,
        stdout: bool = True,
        stderr: bool = True,
        timestamps: bool = False,
        details: bool = False,
        framed: bool = True,
    ) -> AsyncGenerator[bytes, None]:
        """As `logs`, encoded for clients of the Engine API: framed by stream, or raw for a terminal; many lines at a time."""
        ...

    async def attach(self, ref: str) -> Stream: ...
    def note_detach(self, ref: str, exec_id: str = "") -> None:
        """Emit the event of a client that detached from a container or an exec."""
        ...

    async def resize(self, ref: str, height: int, width: int) -> None: ...
    async def exec_create(self, ref: str, config: ExecConfig) -> str: ...
    async def exec_start(
        self, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
    ) -> Stream | None:
        """Run the exec; None when detached. `size` is (height, width) of a terminal."""
        ...

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None: ...
    def exec_inspect(self, exec_id: str) -> ExecState: ...
    def list_execs(self, ref: str) -> Sequence[str]: ...
    async def top(self, ref: str, ps_args: str = "") -> ProcessTable:
        """The processes of a running container, as `ps` on the host shows them with these arguments."""
        ...

    async def writable_bytes(self, ref: str) -> int:
        """Size of the container's writable layer."""
        ...

    async def remove_link(self, ref: str) -> None:
        """Remove a link, given as `PARENT/ALIAS`."""
        ...

    async def stats(self, ref: str) -> ContainerStats: ...
    async def stat_path(self, ref: str, path: str) -> PathStat:
        """What is at the path in the container, as its programs see it. Raises NotFoundError."""
        ...

    def read_path(
        self, ref: str, path: str, *, socket_fd: int = -1
    ) -> AbstractAsyncContextManager[tuple[PathStat, FileArchive]]:
        """What is at the path, and a tar of it, which goes to the socket if one is given."""
        ...

    async def write_path(
        self, ref: str, path: str, source: AsyncIterator[bytes], *, keep_kinds: bool = False, as_user: bool = False
    ) -> None:
        """Unpack a tar below a directory. `keep_kinds` refuses to replace a directory by a file and the other way round."""
        ...

    def export(self, ref: str, *, socket_fd: int = -1) -> AbstractAsyncContextManager[FileArchive]:
        """A tar of the root file system, without mounts."""
        ...

    async def changes(self, ref: str) -> Sequence[FileChange]:
        """The paths that differ from the image."""
        ...

    def frozen_layer(self, ref: str, *, pause: bool = True) -> AbstractAsyncContextManager[Path]:
        """The directory of the writable layer, for a commit. Meanwhile the container is held still."""
        ...

    def files(self, ref: str) -> ContainerFiles: ...
    def log_path(self, ref: str) -> Path | None:
        """The current file of a json-file log; None for other drivers."""
        ...

    def volume_users(self, name: str) -> Sequence[str]:
        """Ids of the containers that mount the volume."""
        ...

    async def remove_volume(self, name: str) -> None:
        """Delete a volume. Raises ConflictError with the ids of the containers that use it."""
        ...
