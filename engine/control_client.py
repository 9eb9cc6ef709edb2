"""Client of the control API of this host's own manager, over its Unix socket.

Invariant: every call has a deadline. A read is retried while there is no leader. A write is retried only if it certainly had no effect:
it was not sent yet, or the other side reported that it is not the leader. Called by the routes, which first check that this node is a
manager.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc

from covey import errors
from covey.codec import from_wire, write
from covey.grpc_errors import LEADER_METADATA, error_from_status, metadata_value, raised_by_server
from covey.objects import (
    Cluster,
    ClusterSpec,
    Config,
    ConfigSpec,
    Network,
    NetworkSpec,
    Node,
    NodeSpec,
    Secret,
    SecretSpec,
    Service,
    ServiceSpec,
    Struct,
    Task,
)
from coveypb.v1 import control_pb2, control_pb2_grpc, dispatcher_pb2

CALL_SECONDS = 20.0
ATTEMPT_SECONDS = 40.0
"""Longer than a manager's own patience, so that its sentence arrives rather than our deadline."""
PATIENT_SECONDS = 4.0
"""A refusal that took longer is not asked for again: the manager was patient in our place, and no leader is in sight."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5
MAX_MESSAGE_BYTES = 256 << 20
SYSTEM_ERROR = 3

S = TypeVar("S", bound=Struct)

_READS = ("Get", "List")
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
]


class ServiceCounts(Struct, frozen=True):
    """How many tasks of a service run, should run, and have completed."""

    running: int = 0
    desired: int = 0
    completed: int = 0


class ClusterEvent(Struct, frozen=True):
    """One change of one object; ``action`` is create, update or remove."""

    action: str
    item: Node | Service | Task | Network | Secret | Config | Cluster
    time_ns: int


_EVENT_KINDS: dict[str, type[Struct]] = {
    "node": Node,
    "service": Service,
    "task": Task,
    "network": Network,
    "secret": Secret,
    "config": Config,
    "cluster": Cluster,
}


class ControlClient:
    """The control API in our objects. ``socket_path`` need not exist before the first call."""

    def __init__(self, socket_path: str, *, call_seconds: float = CALL_SECONDS) -> None:
        self._target = f"unix:{socket_path}"
        self._call_seconds = call_seconds
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def close(self) -> None:
        """Let the connection go; the next call makes another."""
        channel, self._channel, self._stub = self._channel, None, None
        if channel is not None:
            await channel.close()

    async def cluster(self) -> Cluster:
        return await self._get("GetCluster", control_pb2.GetClusterRequest(), Cluster)

    async def update_cluster(
        self,
        version: int,
        spec: ClusterSpec,
        *,
        rotate_worker_token: bool = False,
        rotate_manager_token: bool = False,
        rotate_unlock_key: bool = False,
    ) -> Cluster:
        request = control_pb2.UpdateClusterRequest(
            version=version,
            rotate_worker_token=rotate_worker_token,
            rotate_manager_token=rotate_manager_token,
            rotate_unlock_key=rotate_unlock_key,
        )
        write(spec, request.spec)
        return await self._get("UpdateCluster", request, Cluster)

    async def unlock_key(self) -> str:
        """What managers are unlocked with; empty while they are not locked."""
        answer = await self._call("GetUnlockKey", control_pb2.GetUnlockKeyRequest())
        return str(answer.unlock_key)

    async def nodes(self) -> list[Node]:
        return _items(Node, (await self._call("ListNodes", control_pb2.ListRequest())).nodes)

    async def node(self, ref: str) -> Node:
        return await self._get("GetNode", control_pb2.GetRequest(ref=ref), Node)

    async def update_node(self, ref: str, version: int, spec: NodeSpec) -> Node:
        request = control_pb2.UpdateNodeRequest(ref=ref, version=version)
        write(spec, request.spec)
        return await self._get("UpdateNode", request, Node)

    async def remove_node(self, ref: str, *, force: bool = False) -> None:
        await self._call("RemoveNode", control_pb2.RemoveRequest(ref=ref, force=force))

    async def services(self) -> list[tuple[Service, ServiceCounts]]:
        answer = await self._call("ListServices", control_pb2.ListRequest())
        counts = [ServiceCounts(count.running, count.desired, count.completed) for count in answer.counts]
        counts += [ServiceCounts()] * (len(answer.services) - len(counts))
        return list(zip(_items(Service, answer.services), counts, strict=False))

    async def service(self, ref: str) -> Service:
        return await self._get("GetService", control_pb2.GetRequest(ref=ref), Service)

    async def create_service(self, spec: ServiceSpec) -> Service:
        request = control_pb2.CreateServiceRequest()
        write(spec, request.spec)
        return await self._get("CreateService", request, Service)

    async def update_service(self, ref: str, version: int, spec: ServiceSpec, *, rollback: bool = False) -> Service:
        request = control_pb2.UpdateServiceRequest(ref=ref, version=version, rollback=rollback)
        write(spec, request.spec)
        return await self._get("UpdateService", request, Service)

    async def remove_service(self, ref: str) -> None:
        await self._call("RemoveService", control_pb2.RemoveRequest(ref=ref))

    async def tasks(
        self, *, service_ids: Iterable[str] = (), node_ids: Iterable[str] = (), desired_states: Iterable[int] = ()
    ) -> list[Task]:
        request = control_pb2.ListRequest(service_ids=service_ids, node_ids=node_ids)
        request.desired_states.extend(desired_states)  # type: ignore[arg-type]
        return _items(Task, (await self._call("ListTasks", request)).tasks)

    async def task(self, ref: str) -> Task:
        return await self._get("GetTask", control_pb2.GetRequest(ref=ref), Task)

    async def networks(self) -> list[Network]:
        return _items(Network, (await self._call("ListNetworks", control_pb2.ListRequest())).networks)

    async def network(self, ref: str) -> Network:
        return await self._get("GetNetwork", control_pb2.GetRequest(ref=ref), Network)

    async def create_network(self, spec: NetworkSpec) -> Network:
        request = control_pb2.CreateNetworkRequest()
        write(spec, request.spec)
        return await self._get("CreateNetwork", request, Network)

    async def remove_network(self, ref: str) -> None:
        await self._call("RemoveNetwork", control_pb2.RemoveRequest(ref=ref))

    async def secrets(self) -> list[Secret]:
        return _items(Secret, (await self._call("ListSecrets", control_pb2.ListRequest())).secrets)

    async def secret(self, ref: str) -> Secret:
        return await self._get("GetSecret", control_pb2.GetRequest(ref=ref), Secret)

    async def create_secret(self, spec: SecretSpec) -> Secret:
        request = control_pb2.CreateSecretRequest()
        write(spec, request.spec)
        return await self._get("CreateSecret", request, Secret)

    async def update_secret(self, ref: str, version: int, spec: SecretSpec) -> Secret:
        request = control_pb2.UpdateSecretRequest(ref=ref, version=version)
        write(spec, request.spec)
        return await self._get("UpdateSecret", request, Secret)

    async def remove_secret(self, ref: str) -> None:
        await self._call("RemoveSecret", control_pb2.RemoveRequest(ref=ref))

    async def configs(self) -> list[Config]:
        return _items(Config, (await self._call("ListConfigs", control_pb2.ListRequest())).configs)

    async def config(self, ref: str) -> Config:
        return await self._get("GetConfig", control_pb2.GetRequest(ref=ref), Config)

    async def create_config(self, spec: ConfigSpec) -> Config:
        request = control_pb2.CreateConfigRequest()
        write(spec, request.spec)
        return await self._get("CreateConfig", request, Config)

    async def update_config(self, ref: str, version: int, spec: ConfigSpec) -> Config:
        request = control_pb2.UpdateConfigRequest(ref=ref, version=version)
        write(spec, request.spec)
        return await self._get("UpdateConfig", request, Config)

    async def remove_config(self, ref: str) -> None:
        await self._call("RemoveConfig", control_pb2.RemoveRequest(ref=ref))

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        """Changes from now on, without end. UnavailableError when the stream breaks: watch again."""
        async for message in self._stream("Watch", control_pb2.WatchRequest()):
            kind = message.WhichOneof("object")
            if kind in _EVENT_KINDS:
                item: Any = from_wire(_EVENT_KINDS[kind], getattr(message, kind))
                yield ClusterEvent(message.action, item, message.timestamp_ns)

    async def backup(self, *, own_key: bool, key: str = "") -> AsyncIterator[bytes]:
        """First the key that was made for the file, empty where the cluster's unlock key opens it; then the file in parts."""
        first = True
        async for part in self._stream("Backup", control_pb2.BackupRequest(own_key=own_key, key=key)):
            yield part.key.encode() if first else part.data
            first = False

    async def logs(self, request: control_pb2.LogsRequest) -> AsyncIterator[Any]:
        """The lines (``coveypb.v1.LogLine``) of services and tasks, as they come; one of stream 3 says why others are missing."""
        async for batch in self._stream("Logs", request):
            for line in batch.lines:
                yield line
            if batch.error and not batch.lines:
                yield dispatcher_pb2.LogLine(stream=SYSTEM_ERROR, data=batch.error.encode())

    async def _get(self, method: str, request: Any, kind: type[S]) -> S:
        return from_wire(kind, await self._call(method, request))

    async def _call(self, method: str, request: Any) -> Any:
        """One answer, or the ``CoveyError`` that the failure stands for."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._call_seconds, FIRST_PAUSE_SECONDS
        while True:
            stub = await self._connected(deadline)
            began = loop.time()
            try:
                return await getattr(stub, method)(request, timeout=ATTEMPT_SECONDS)
            except grpc.aio.AioRpcError as error:
                waited = loop.time() - began > PATIENT_SECONDS
                if waited or not is_retryable(method, error) or loop.time() + pause > deadline:
                    raise _call_error(method, error) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _stream(self, method: str, request: Any) -> AsyncIterator[Any]:
        stub = await self._connected(asyncio.get_running_loop().time() + self._call_seconds)
        call = getattr(stub, method)(request)
        try:
            async for message in call:
                yield message
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        finally:
            call.cancel()

    async def _connected(self, deadline: float) -> Any:
        """The stub once the manager's socket answers, so that what fails before was certainly not sent."""
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
            self._stub = control_pb2_grpc.ControlStub(self._channel)  # type: ignore[no-untyped-call,unused-ignore]
        try:
            async with asyncio.timeout_at(deadline):
                await self._channel.channel_ready()
        except TimeoutError:
            raise errors.UnavailableError(
                "this node's manager does not answer; it may be starting: try again"
            ) from None
        return self._stub


def is_retryable(method: str, error: grpc.aio.AioRpcError) -> bool:
    """Whether a failed call can be made again without the risk of doing it twice."""
    if metadata_value(error.trailing_metadata(), LEADER_METADATA) is not None:
        return True
    return error.code() is grpc.StatusCode.UNAVAILABLE and method.startswith(_READS)


def _call_error(method: str, error: grpc.aio.AioRpcError) -> errors.CoveyError:
    """As ``meaning``, but that of a change whose connection broke under way nobody knows whether it was made."""
    lost = error.code() is grpc.StatusCode.UNAVAILABLE and not raised_by_server(error.trailing_metadata())
    if lost and not method.startswith(_READS):
        return errors.DeadlineError(
            "this node's manager was lost while it handled this; it may or may not have been done: look, then repeat it if need be"
        )
    return error_from_rpc(error)


def error_from_rpc(error: grpc.aio.AioRpcError) -> errors.CoveyError:
    """The error that the manager raised."""
    return error_from_status(error.code().name, error.details() or "", error.trailing_metadata())


def _items(kind: type[S], messages: Iterable[Any]) -> list[S]:
    return [from_wire(kind, message) for message in messages]
