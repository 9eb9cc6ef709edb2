"""Client of the control API of this host's own manager, in Covey's objects.

Called by the routes, which first check that this node is a manager. Deadlines, retries and errors are those of
``engine.control_channel``.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar

from agent.network.plan.difference_text import DifferenceText
from agent.network.plan.dropped_packets import DroppedPackets
from covey.codec import from_wire, write
from covey.explanation import ServiceDryRun, ServiceExplanation
from covey.objects import (
    Cluster,
    ClusterSpec,
    Config,
    ConfigSpec,
    HistoryEntry,
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
    WatchedStack,
    WatchedStackSpec,
)
from coveypb.v1 import control_pb2, dispatcher_pb2, explanation_pb2
from engine.control_channel import ControlChannel
from engine.log_stream import read_logs

CALL_SECONDS = 20.0

S = TypeVar("S", bound=Struct)


class ServiceCounts(Struct, frozen=True):
    """Number of tasks of a service that run, should run, and have completed."""

    running: int = 0
    desired: int = 0
    completed: int = 0


class NodeImage(Struct, frozen=True, kw_only=True):
    """An image that a node has. ``names`` are NAME:TAG and NAME@DIGEST."""

    id: str
    names: tuple[str, ...] = ()
    size_bytes: int = 0


class NodeNetworkCheck(Struct, frozen=True, kw_only=True):
    """How the network state of a node differs from what is wanted. ``error`` says why the node did not answer, if it did not."""

    node_id: str
    hostname: str
    error: str = ""
    differences: tuple[DifferenceText, ...] = ()
    remaining: tuple[DifferenceText, ...] = ()
    omitted: int = 0
    dropped: DroppedPackets = DroppedPackets()


class NodeNetworkReading(Struct, frozen=True):
    """What a node's kernel holds, as the node encoded it. ``error`` says why the node did not answer, if it did not."""

    error: str
    reading: bytes


class WatchedStackState(Struct, frozen=True):
    """A watched stack, and the services that are not as its last deployment left them, by name."""

    stack: WatchedStack
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class ControlClient:
    """Methods of the control API. ``socket_path`` need not exist before the first call."""

    def __init__(self, socket_path: str, *, call_seconds: float = CALL_SECONDS) -> None:
        self._channel = ControlChannel(socket_path, call_seconds)

    async def close(self) -> None:
        """Close the connection. The next call opens another one."""
        await self._channel.close()

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
        """The key that unlocks managers; empty while autolock is off."""
        answer = await self._channel.call("GetUnlockKey", control_pb2.GetUnlockKeyRequest())
        return str(answer.unlock_key)

    async def nodes(self) -> list[Node]:
        return _items(Node, (await self._channel.call("ListNodes", control_pb2.ListRequest())).nodes)

    async def node_images(self) -> dict[str, tuple[NodeImage, ...]]:
        """The images of every connected node, by node id."""
        answer = await self._channel.call("ListNodeImages", control_pb2.ListNodeImagesRequest())
        return {
            node.node_id: tuple(
                NodeImage(id=image.id, names=tuple(image.names), size_bytes=image.size_bytes) for image in node.images
            )
            for node in answer.nodes
        }

    async def fetch_image(self, node_ref: str, image_id: str, names: Iterable[str], *, seconds: float) -> None:
        """Make a node fetch an image from the nodes that have it, and wait until it has."""
        request = control_pb2.FetchImageRequest(node_ref=node_ref, image_id=image_id, names=names)
        await self._channel.call("FetchImage", request, seconds=seconds)

    async def check_networks(self, *, repair: bool) -> tuple[NodeNetworkCheck, ...]:
        """Make all nodes compare their network state with what is wanted, and carry the differences out if ``repair``."""
        answer = await self._channel.call("CheckNetworks", control_pb2.CheckNetworksRequest(repair=repair))
        return tuple(
            NodeNetworkCheck(
                node_id=node.node_id,
                hostname=node.hostname,
                error=node.result.error,
                differences=_differences(node.result.differences),
                remaining=_differences(node.result.remaining),
                omitted=node.result.omitted,
                dropped=DroppedPackets(strangers=node.result.dropped_strangers, unknown=node.result.dropped_unknown),
            )
            for node in answer.nodes
        )

    async def read_networks(self, node_ids: Sequence[str], namespaces: Sequence[str]) -> dict[str, NodeNetworkReading]:
        """What the kernels of these nodes hold in these namespaces, by node."""
        request = control_pb2.CheckNetworksRequest(node_ids=node_ids, namespaces=namespaces)
        answer = await self._channel.call("CheckNetworks", request)
        return {node.node_id: NodeNetworkReading(node.result.error, node.result.reading) for node in answer.nodes}

    async def node(self, ref: str) -> Node:
        return await self._get("GetNode", control_pb2.GetRequest(ref=ref), Node)

    async def update_node(self, ref: str, version: int, spec: NodeSpec) -> Node:
        request = control_pb2.UpdateNodeRequest(ref=ref, version=version)
        write(spec, request.spec)
        return await self._get("UpdateNode", request, Node)

    async def remove_node(self, ref: str, *, force: bool = False) -> None:
        await self._channel.call("RemoveNode", control_pb2.RemoveRequest(ref=ref, force=force))

    async def services(self) -> list[tuple[Service, ServiceCounts]]:
        answer = await self._channel.call("ListServices", control_pb2.ListRequest())
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

    async def explain_service(self, ref: str) -> ServiceExplanation:
        answer = await self._channel.call("GetServiceExplanation", control_pb2.GetRequest(ref=ref))
        return from_wire(ServiceExplanation, answer)

    async def dry_run_service(
        self, spec: ServiceSpec, *, ref: str = "", version: int = 0, rollback: bool = False
    ) -> ServiceDryRun:
        """What a new spec of a service, without ``ref`` of a new service, would lead to. Nothing is stored."""
        request = explanation_pb2.ServiceDryRunRequest(ref=ref, version=version, rollback=rollback)
        write(spec, request.spec)
        return from_wire(ServiceDryRun, await self._channel.call("GetServiceDryRun", request))

    async def promote_service(self, ref: str) -> Service:
        """Let an update that waits after its canaries go on."""
        return await self._get("PromoteService", control_pb2.GetRequest(ref=ref), Service)

    async def rebalance_service(self, ref: str) -> Service:
        """Begin to move tasks to nodes where they are spread better."""
        return await self._get("RebalanceService", control_pb2.GetRequest(ref=ref), Service)

    async def remove_service(self, ref: str) -> None:
        await self._channel.call("RemoveService", control_pb2.RemoveRequest(ref=ref))

    async def tasks(
        self,
        *,
        service_ids: Iterable[str] = (),
        node_ids: Iterable[str] = (),
        desired_states: Iterable[int] = (),
        with_attachments: bool = False,
    ) -> list[Task]:
        """The tasks; ``with_attachments`` also those that hold the addresses of single containers."""
        request = control_pb2.ListRequest(service_ids=service_ids, node_ids=node_ids, with_attachments=with_attachments)
        request.desired_states.extend(desired_states)  # type: ignore[arg-type]
        return _items(Task, (await self._channel.call("ListTasks", request)).tasks)

    async def task(self, ref: str) -> Task:
        return await self._get("GetTask", control_pb2.GetRequest(ref=ref), Task)

    async def call_task(self) -> Any:
        """An open call of a task; see ``engine.remote_containers``."""
        return await self._channel.duplex("CallTask")

    async def networks(self) -> list[Network]:
        return _items(Network, (await self._channel.call("ListNetworks", control_pb2.ListRequest())).networks)

    async def network(self, ref: str) -> Network:
        return await self._get("GetNetwork", control_pb2.GetRequest(ref=ref), Network)

    async def create_network(self, spec: NetworkSpec) -> Network:
        request = control_pb2.CreateNetworkRequest()
        write(spec, request.spec)
        return await self._get("CreateNetwork", request, Network)

    async def remove_network(self, ref: str) -> None:
        await self._channel.call("RemoveNetwork", control_pb2.RemoveRequest(ref=ref))

    async def secrets(self) -> list[Secret]:
        return _items(Secret, (await self._channel.call("ListSecrets", control_pb2.ListRequest())).secrets)

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

    async def rotate_secret(self, ref: str, data: bytes) -> tuple[Secret, tuple[str, ...]]:
        """Store new data under the name. Returns the new version, and the ids of the services that are rolled to it."""
        answer = await self._channel.call("RotateSecret", control_pb2.RotateSecretRequest(ref=ref, data=data))
        return from_wire(Secret, answer.secret), tuple(answer.service_ids)

    async def remove_secret(self, ref: str) -> None:
        await self._channel.call("RemoveSecret", control_pb2.RemoveRequest(ref=ref))

    async def configs(self) -> list[Config]:
        return _items(Config, (await self._channel.call("ListConfigs", control_pb2.ListRequest())).configs)

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

    async def rotate_config(self, ref: str, data: bytes) -> tuple[Config, tuple[str, ...]]:
        """Store new data under the name. Returns the new version, and the ids of the services that are rolled to it."""
        answer = await self._channel.call("RotateConfig", control_pb2.RotateConfigRequest(ref=ref, data=data))
        return from_wire(Config, answer.config), tuple(answer.service_ids)

    async def remove_config(self, ref: str) -> None:
        await self._channel.call("RemoveConfig", control_pb2.RemoveRequest(ref=ref))

    async def watched_stacks(self, *names: str) -> list[WatchedStackState]:
        """The watched stacks, or those with these names."""
        answer = await self._channel.call("ListWatchedStacks", control_pb2.ListRequest(names=names))
        stacks = _items(WatchedStack, answer.stacks)
        return [
            WatchedStackState(stack, tuple(drift.changed), tuple(drift.removed))
            for stack, drift in zip(stacks, answer.drifts, strict=True)
        ]

    async def watch_stack(self, spec: WatchedStackSpec) -> WatchedStack:
        request = control_pb2.WatchStackRequest()
        write(spec, request.spec)
        return await self._get("WatchStack", request, WatchedStack)

    async def deploy_watched_stack(self, ref: str) -> WatchedStack:
        return await self._get("DeployWatchedStack", control_pb2.GetRequest(ref=ref), WatchedStack)

    async def unwatch_stack(self, ref: str) -> None:
        await self._channel.call("UnwatchStack", control_pb2.RemoveRequest(ref=ref))

    async def history(
        self, *, kinds: Iterable[str] = (), since_ns: int = 0, service_ref: str = ""
    ) -> tuple[list[HistoryEntry], tuple[int, int]]:
        """What the managers remember, oldest first, and the place where it ends now. Without ``kinds`` all but tasks and the cluster."""
        request = control_pb2.ListHistoryRequest(kinds=kinds, since_ns=since_ns, service_ref=service_ref)
        answer = await self._channel.call("ListHistory", request)
        return _items(HistoryEntry, answer.entries), (answer.end.version, answer.end.number)

    async def watch_history(self, after: tuple[int, int], kinds: Iterable[str] = ()) -> AsyncIterator[HistoryEntry]:
        """What happens after a place in the history, until cancelled. UnavailableError if the stream breaks: watch again."""
        position = control_pb2.HistoryPosition(version=after[0], number=after[1])
        request = control_pb2.WatchHistoryRequest(kinds=kinds, after=position)
        async for message in self._channel.stream("WatchHistory", request):
            yield from_wire(HistoryEntry, message)

    async def backup(self, *, own_key: bool, key: str = "") -> AsyncIterator[bytes]:
        """First the key that was generated for the backup, empty if the cluster's unlock key opens it; then the file in chunks."""
        first = True
        async for part in self._channel.stream("Backup", control_pb2.BackupRequest(own_key=own_key, key=key)):
            yield part.key.encode() if first else part.data
            first = False

    async def logs(self, request: control_pb2.LogsRequest) -> AsyncIterator[Any]:
        """As `log_stream.read_logs`."""
        async for line in read_logs(self._channel.stream, request):
            yield line

    async def _get(self, method: str, request: Any, kind: type[S]) -> S:
        return from_wire(kind, await self._channel.call(method, request))


def _items(kind: type[S], messages: Iterable[Any]) -> list[S]:
    return [from_wire(kind, message) for message in messages]


def _differences(found: Iterable[dispatcher_pb2.NetworkDifference]) -> tuple[DifferenceText, ...]:
    return tuple(DifferenceText(one.namespace, one.kind, one.item, one.wanted, one.found) for one in found)
