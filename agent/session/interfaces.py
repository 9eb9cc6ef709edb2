"""Interfaces between the session and the worker. ``agent.worker`` implements them; tests use a recorder instead."""

from collections.abc import AsyncIterator, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol

from agent.session.status_queue import StatusQueue
from covey.objects.assignment import AssignmentChange
from covey.objects.base import Struct
from coveypb.v1 import dispatcher_pb2


class TaskLogOptions(Struct, frozen=True, kw_only=True):
    """Selects lines of a task's log. ``tail`` counts from the end, negative means all lines; a time of 0 means no limit."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    tail: int = -1
    since_ns: int = 0
    until_ns: int = 0


class TaskUsage(Struct, frozen=True, kw_only=True):
    """CPU time of a task's container since its start, and its memory without what the kernel can drop at once."""

    cpu_ns: int
    memory_bytes: int


class TaskLogEntry(Protocol):
    """One log line, as ``agent.logs.entry.LogEntry``. ``stream`` is "stdout" or "stderr"."""

    @property
    def stream(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def time_ns(self) -> int: ...


class ImagesPort(Protocol):
    """Image sharing, as the session uses it: ``agent.image.peer.sharing.ImageSharing``."""

    def set_dispatcher(self, stub: Any) -> None:
        """The leader's dispatcher while there is a session; None without one."""
        ...

    def report(self) -> dispatcher_pb2.ImageReport: ...
    @property
    def report_version(self) -> int: ...
    async def wait_newer_report(self, version: int) -> None: ...
    async def fetch_for_operator(self, request: dispatcher_pb2.FetchImage) -> dispatcher_pb2.FetchResult: ...


class NetworkDifference(Protocol):
    """An item that the kernel does not hold as wanted, as `agent.network.plan.difference_text.DifferenceText`."""

    @property
    def namespace(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def item(self) -> str: ...
    @property
    def wanted(self) -> str: ...
    @property
    def found(self) -> str: ...


class DroppedPackets(Protocol):
    """Packets that the host's guard of overlay networks counted, as `agent.network.plan.dropped_packets.DroppedPackets`."""

    @property
    def strangers(self) -> int: ...
    @property
    def unknown(self) -> int: ...


class NetworksPort(Protocol):
    """The network state of this host, as the session uses it: `agent.network.NetworkDriver`."""

    async def verify(self) -> Sequence[NetworkDifference]:
        """How the kernel differs from what is wanted."""
        ...

    async def repair(self) -> Sequence[NetworkDifference]:
        """Carry the differences out. Returns those that were found."""
        ...

    async def dropped_packets(self) -> DroppedPackets:
        """VXLAN packets from hosts that are no members of their network, and of networks that this host does not have."""
        ...

    async def read(self, namespaces: Collection[str]) -> bytes:
        """What the kernel holds in these namespaces, bounded in size. Those that this host does not have are left out."""
        ...


class TaskCallsPort(Protocol):
    """Calls of this node's tasks, as the session uses them: `agent.task_call.server.TaskCallServer`."""

    async def serve(self, request: dispatcher_pb2.OpenTaskCall) -> None:
        """Serves one call to its end. Never raises but for cancellation."""
        ...


class WorkerPort(Protocol):
    """The worker, as the session uses it."""

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        """Takes over assignments; returns once they are saved, not once they are carried out."""
        ...

    def set_dispatcher(self, stub: Any) -> None:
        """The leader's dispatcher while there is a session; None without one."""
        ...

    @property
    def statuses(self) -> StatusQueue:
        """The queue of statuses to report; after a restart it holds the status of every task on record."""
        ...

    async def task_usages(self, task_ids: Sequence[str]) -> Mapping[str, TaskUsage]:
        """What those of the tasks use that run on this node."""
        ...

    def log_marks(self) -> Mapping[str, Hashable]:
        """For each task whose log is kept on this host: a value that changes when the log grows."""
        ...

    def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[TaskLogEntry]:
        """The log of a task. Raises NotFoundError if this node has no such task."""
        ...
