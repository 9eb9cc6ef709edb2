"""The contract of `agent.container.service.ContainerService`: what its callers may rely on.

The task worker and the Engine API are typed against these protocols; the service implements them. References (`ref`)
are a full id, a name, or a unique prefix of an id. Errors are those of `covey.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from agent.container.model import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ExecConfig,
    ExecState,
    ProcessTable,
)
from agent.logs.entry import LogEntry
from agent.runtime.limits import ResourceLimits
from agent.runtime.stats import ContainerStats


class ImageRootfs(Protocol):
    """What the image store gives: the unpacked layers of an image, base first. Raises NotFoundError for an unknown
    image.
    """

    def layers(self, image_id: str) -> Sequence[Path]: ...


class Stream(Protocol):
    """Both directions of an attach or an exec.

    `read` gives (1, data) for stdout, (2, data) for stderr (a terminal has stdout only), None at the end. `wait` is
    the exit code of
    the process behind it. `close` leaves the process running.
    """

    async def read(self) -> tuple[int, bytes] | None: ...
    async def write(self, data: bytes) -> None: ...
    async def close_stdin(self) -> None: ...
    async def wait(self) -> int: ...
    async def close(self) -> None: ...


class EventQueue(Protocol):
    """A bounded queue of events; a reader that lags gets `LaggedError` and subscribes again."""

    async def get(self) -> ContainerEvent: ...
    def __aiter__(self) -> AsyncIterator[ContainerEvent]: ...


class Containers(Protocol):
    """All containers of this host. One instance, one asyncio loop."""

    async def open(self) -> None:
        """Adopt what runs, learn of exits that happened meanwhile, clean what is left over."""

    async def close(self) -> None:
        """Let go of everything; containers go on."""

    async def create(self, config: ContainerConfig) -> Container: ...
    async def start(self, ref: str) -> Container: ...
    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container:
        """The stop signal, then KILL after the grace (None: the configuration's; negative: wait for ever). A
        stopped one is left alone.
        """
        ...

    async def update(self, ref: str, resources: ResourceLimits) -> Container:
        """Change its limits, at once if it runs."""
        ...

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None: ...
    async def pause(self, ref: str) -> None: ...
    async def unpause(self, ref: str) -> None: ...
    async def rename(self, ref: str, name: str) -> None: ...
    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None: ...
    async def wait(self, ref: str, condition: str = "not-running") -> int:
        """The exit code; `condition` is not-running, next-exit or removed."""
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
        """Entries in order; with `follow`, until the container has exited and all was read. Close the iterator
        (aclosing) to stop early.
        """
        ...

    async def attach(self, ref: str) -> Stream: ...
    async def resize(self, ref: str, height: int, width: int) -> None: ...
    async def exec_create(self, ref: str, config: ExecConfig) -> str: ...
    async def exec_start(
        self, exec_id: str, *, detach: bool = False, size: tuple[int, int] | None = None
    ) -> Stream | None:
        """Run it; None when detached. `size` is (height, width) of a terminal."""
        ...

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None: ...
    def exec_inspect(self, exec_id: str) -> ExecState: ...
    def list_execs(self, ref: str) -> Sequence[str]: ...
    async def top(self, ref: str) -> ProcessTable: ...
    async def stats(self, ref: str) -> ContainerStats: ...
    def log_path(self, ref: str) -> Path: ...
    def volume_users(self, name: str) -> Sequence[str]:
        """Ids of the containers that mount the volume."""
        ...

    def remove_volume(self, name: str) -> None:
        """Delete a volume that no container uses; ConflictError names those that do."""
        ...
