"""Interfaces of the worker to containers, images and networks. The agent passes the real ones; unit tests pass small fakes."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from agent.container.api import ContainerNetworks, EventQueue
from agent.container.model import Container, ContainerConfig, PortChanges
from agent.endpoint.attachments import Attachments, HeldAttachment
from agent.image.model import Image
from agent.logs.entry import LogEntry
from agent.network.model import NetworkChanges, NetworkFailure
from covey.objects import Network
from covey.objects.assignment import AssignmentChange


class ContainersPort(Protocol):
    """The part of ``agent.container.api.Containers`` that tasks need."""

    async def create(self, config: ContainerConfig) -> Container: ...
    async def start(self, ref: str) -> Container: ...
    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container: ...
    async def leave_network(self, ref: str, network_id: str) -> None: ...
    async def publish_ports(self, ref: str, changes: PortChanges) -> None: ...
    async def kill(self, ref: str, signal: str = "SIGKILL") -> None: ...
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
    """Images of tasks: ``agent.image.task_images.TaskImages``."""

    async def ensure(self, reference: str, registry_auth: str = "") -> Image:
        """The image, from this host, another node or a registry. `registry_auth` is the client's `X-Registry-Auth`."""
        ...


class EndpointsPort(ContainerNetworks, Protocol):
    """The owner of the containers' sandboxes: ``agent.endpoint.container_networks.EndpointOwner``."""

    def set_networks(self, networks: Iterable[Network], removed_ids: Iterable[str] = ()) -> None: ...
    async def apply(self, changes: Sequence[AssignmentChange]) -> None: ...
    async def adopt(self, config: ContainerConfig) -> None: ...
    async def restore(self, lost: HeldAttachment, config: ContainerConfig) -> bool: ...
    @property
    def attachments(self) -> Attachments: ...


class NetworksPort(Protocol):
    """The part of ``agent.network.driver.NetworkDriver`` that the worker needs."""

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]: ...
    async def clean_sandboxes(self, kept: Collection[str]) -> tuple[str, ...]: ...
    async def clean(self) -> tuple[str, ...]: ...
