"""Fake host in memory for unit tests of the worker: containers, images and networks with the worker's interfaces."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractContextManager

import msgspec

from agent.container.api import EventQueue
from agent.container.model import Container, ContainerConfig, ContainerEvent, ContainerState, RunStatus
from agent.dns.zone import NetworkZone
from agent.event_bus import EventBus
from agent.image.model import Image, ImageConfig
from agent.logs.entry import LogEntry
from agent.network.model import Attachment, HostRoute, LocalAttachment, NetworkChanges, NetworkFailure
from covey.errors import NotFoundError, UnavailableError

IMAGE = Image(
    id="sha256:" + "1" * 64,
    repo_tags=("busybox:latest",),
    repo_digests=(),
    created="",
    size=1,
    architecture="amd64",
    os="linux",
    config=ImageConfig(cmd=("sh",)),
    diff_ids=(),
)


class FakeContainers:
    """Containers that start at once and run until they are stopped or ``exit`` is called."""

    def __init__(self) -> None:
        self.all: dict[str, Container] = {}
        self.logged: dict[str, list[LogEntry]] = {}
        self.start_error: Exception | None = None
        self._events = EventBus()

    async def create(self, config: ContainerConfig) -> Container:
        self.all[config.id] = Container(config, ContainerState())
        return self.all[config.id]

    async def start(self, ref: str) -> Container:
        if self.start_error is not None:
            raise self.start_error
        return self._change(ref, "start", status=RunStatus.RUNNING, pid=4711)

    async def stop(self, ref: str, timeout_seconds: float | None = None, signal: str = "") -> Container:  # noqa: ARG002 - the protocol
        return self._change(ref, "die", status=RunStatus.EXITED, pid=0, exit_code=143)

    async def kill(self, ref: str, signal: str = "SIGKILL") -> None:  # noqa: ARG002 - the protocol
        self._change(ref, "die", status=RunStatus.EXITED, pid=0, exit_code=137)

    async def leave_network(self, ref: str, network_id: str) -> None:
        """No container of a test loses a network."""

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:  # noqa: ARG002 - the protocol
        container = self.get(ref)
        del self.all[ref]
        self._events.emit(ContainerEvent(0, "destroy", container.config))

    def get(self, ref: str) -> Container:
        if ref not in self.all:
            raise NotFoundError(f"No such container: {ref}")
        return self.all[ref]

    def list(self) -> list[Container]:
        return list(self.all.values())

    def subscribe(self) -> AbstractContextManager[EventQueue]:
        return self._events.subscribe()

    async def logs(
        self,
        ref: str,
        *,
        follow: bool = False,  # noqa: ARG002 - the protocol
        tail: int | None = None,  # noqa: ARG002 - the protocol
        since_ns: int = 0,  # noqa: ARG002 - the protocol
        until_ns: int = 0,  # noqa: ARG002 - the protocol
        stdout: bool = True,  # noqa: ARG002 - the protocol
        stderr: bool = True,  # noqa: ARG002 - the protocol
    ) -> AsyncIterator[LogEntry]:
        for entry in self.logged.get(ref, []):
            yield entry

    def exit(self, ref: str, exit_code: int) -> None:
        """Let the container's process exit."""
        self._change(ref, "die", status=RunStatus.EXITED, pid=0, exit_code=exit_code)

    def change(self, ref: str, **state: object) -> None:
        """Set the container's state without an event."""
        self.all[ref] = msgspec.structs.replace(
            self.get(ref), state=msgspec.structs.replace(self.get(ref).state, **state)
        )

    def of_task(self, task_id: str) -> Container:
        return next(container for container in self.all.values() if container.config.task_id == task_id)

    def _change(self, ref: str, action: str, **state: object) -> Container:
        self.change(ref, **state)
        self._events.emit(ContainerEvent(0, action, self.all[ref].config))
        return self.all[ref]


class FakeImages:
    """Image store with one image. It is fetched while ``available`` is not set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.available = asyncio.Event()
        self.available.set()

    async def ensure(self, name: str, registry_auth: str = "") -> Image:
        self.asked.append((name, registry_auth))
        await self.available.wait()
        if name not in {"busybox", "busybox:latest"}:
            raise NotFoundError(f"No such image: {name}")
        return IMAGE


class FakeNetworks:
    """Network driver that records its calls. With ``broken``, ``apply`` raises; ``failures`` is its result."""

    def __init__(self) -> None:
        self.applied: list[NetworkChanges] = []
        self.calls: list[tuple[object, ...]] = []
        self.sandboxes: set[str] = set()
        self.left_over: tuple[str, ...] = ()
        self.mtu = 9000
        self.zones: dict[str, NetworkZone | None] = {}
        self.local_attachments: dict[str, tuple[LocalAttachment, ...]] = {}
        self.failures: tuple[NetworkFailure, ...] = ()
        self.broken = False

    async def apply(self, changes: NetworkChanges) -> tuple[NetworkFailure, ...]:
        if self.broken:
            raise UnavailableError("the network driver of this host is not running")
        self.applied.append(changes)
        return self.failures

    async def create_sandbox(self, container_id: str, *, nameservers: Sequence[str] = ()) -> str:
        self.calls.append(("create", container_id, tuple(nameservers)))
        self.sandboxes.add(container_id)
        return f"/run/netns/{container_id}"

    async def attach(self, container_id: str, attachment: Attachment) -> None:
        self.calls.append(("attach", container_id, attachment.network_id, attachment.interface))

    async def detach(self, container_id: str, network_id: str) -> None:
        self.calls.append(("detach", container_id, network_id))

    async def set_local_names(self, zones: Mapping[str, NetworkZone | None]) -> None:
        self.zones.update(zones)

    async def set_local_attachments(self, container_id: str, attachments: Sequence[LocalAttachment]) -> None:
        self.local_attachments[container_id] = tuple(attachments)

    async def host_routes(self) -> tuple[HostRoute, ...]:
        return ()

    async def outbound_mtu(self) -> int:
        return self.mtu

    async def destroy_sandbox(self, container_id: str) -> None:
        self.sandboxes.discard(container_id)

    async def adopt(
        self, container_id: str, attachments: Sequence[Attachment], *, nameservers: Sequence[str] = ()
    ) -> str:
        self.calls.append(("adopt", container_id, len(attachments), tuple(nameservers)))
        return f"/run/netns/{container_id}"

    async def clean_sandboxes(self, kept: Collection[str]) -> tuple[str, ...]:
        left, self.sandboxes = self.sandboxes - set(kept), self.sandboxes & set(kept)
        return tuple(sorted(left))

    async def clean(self) -> tuple[str, ...]:
        return self.left_over
