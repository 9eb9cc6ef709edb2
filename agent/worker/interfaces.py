"""Interfaces of the worker to containers, images and networks. The agent passes the real ones; unit tests pass small fakes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from agent.container.api import EventQueue
from agent.container.model import Container, ContainerConfig
from agent.image.model import Image
from agent.logs.entry import LogEntry
from agent.network.model import Attachment, NetworkChanges, NetworkFailure


class ContainersPort(Protocol):
    """The part of ``agent.container.api.Containers`` that tasks need."""

    async def create(self, config: ContainerConfig) -> Container: ...
    async def start(self, ref: str) -> Container: ...
    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container: ...
    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None: ...
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
    ) -> AsyncIterator[LogEntry]: ...


class ImagesPort(Protocol):
    """Image lookup used by the worker: ``agent.image.store.ImageStore``."""

    def get(self, name: str) -> Image: ...


class NetworksPort(Protocol):
    """The part of ``agent.network.driver.NetworkDriver`` that tasks need."""

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]: ...
    async def create_sandbox(self, container_id: str, *, nameservers: Sequence[str] = ()) -> str: ...
    async def attach(self, container_id: str, attachment: Attachment) -> None: ...
    async def attach_outbound(self, container_id: str, interface: str, *, isolated: bool = True) -> str: ...
    async def destroy_sandbox(self, container_id: str) -> None: ...
    async def adopt(
        self, container_id: str, attachments: Sequence[Attachment], *, nameservers: Sequence[str] = ()
    ) -> str: ...
    async def clean(self) -> tuple[str, ...]: ...
