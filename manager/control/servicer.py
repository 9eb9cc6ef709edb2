"""The gRPC service Control: runs each request as a pure function in a transaction of the store.

Invariant: a method validates in the transaction that writes, so a request has all of its effect or none. The authorization interceptor
turns errors into statuses. Only Status, Backup and CallTask run on followers; the forwarder sends all other calls to the leader.
"""

# ruff: noqa: N802 - gRPC names its methods so

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from covey import codec
from covey.clock import Clock, wall_clock
from covey.ids import IdSource, new_id
from covey.objects import (
    ClusterSpec,
    ConfigSpec,
    NetworkSpec,
    NodeSpec,
    Object,
    RootCA,
    SecretSpec,
    ServiceSpec,
    WatchedStackSpec,
)
from coveypb.v1 import control_pb2, dispatcher_pb2, explanation_pb2
from manager.ca.signing import CertificateSigner
from manager.control import (
    clusters,
    networks,
    nodes,
    rollouts,
    secret_rotation,
    secrets,
    services,
    watched_stacks,
)
from manager.control.backup_stream import stream_backup
from manager.control.history_requests import list_history, watch_history
from manager.control.list_filters import filter_objects, list_tasks
from manager.control.manager_status import manager_status
from manager.control.redaction import redact
from manager.control.service_dry_run import dry_run
from manager.explain.service import explain_service
from manager.history.log import HistoryLog
from manager.images.service import ImageService
from manager.network_checks import NetworkChecks
from manager.stack_watch.plan import drift
from manager.store import NotLeaderError, Store, Table, Tx
from manager.task_calls import TaskCalls

_POLL_SECONDS = 0.05
_FETCH_SECONDS = 3600.0
_CHECK_SECONDS = 20.0
_ANSWER_SECONDS = 2.0
"""What remains of a caller's deadline for the answer, after a wait."""


StopDeployment = Callable[[str], Awaitable[None]]


async def _nothing_is_deployed(_stack_id: str) -> None:
    """Where no stacks are deployed."""


class LogSource(Protocol):
    """The part of the log broker that this service uses."""

    def logs(self, request: control_pb2.LogsRequest) -> AsyncIterator[dispatcher_pb2.LogBatch]: ...


class ControlServicer:
    """The servicer of a manager process."""

    def __init__(
        self,
        store: Store,
        logs: LogSource,
        *,
        images: ImageService | None = None,
        network_checks: NetworkChecks | None = None,
        history: HistoryLog | None = None,
        task_calls: TaskCalls | None = None,
        signer: CertificateSigner | None = None,
        stop_deployment: StopDeployment = _nothing_is_deployed,
        clock: Clock = wall_clock,
        ids: IdSource = new_id,
        demotion_seconds: float = 5.0,
        release_seconds: float = 25.0,
    ) -> None:
        """``stop_deployment`` waits until nothing is deployed any more for a watched stack.

        ``signer`` knows the external CAs; without one there are none. ``demotion_seconds`` is how long the removal of a node waits for
        its demotion, ``release_seconds`` how long the removal of a network waits for tasks that are stopping.
        """
        self._store = store
        self._signer = signer or CertificateSigner()
        self._logs = logs
        self._images = images or ImageService(store)
        self._task_calls = task_calls or TaskCalls(store, "")
        self._network_checks = network_checks or NetworkChecks(store)
        self._history = history or HistoryLog()
        self._stop_deployment = stop_deployment
        self._clock = clock
        self._ids = ids
        self._demotion_seconds = demotion_seconds
        self._release_seconds = release_seconds
        self._explaining = asyncio.Lock()
        """Held while a thread explains or rehearses: several at once would take the processor from the leader's work."""

    # --- cluster ---

    async def GetCluster(self, _request: control_pb2.GetClusterRequest, _context: Any) -> Any:
        return self._wire(self._store.view().cluster)

    async def UpdateCluster(self, request: control_pb2.UpdateClusterRequest, _context: Any) -> Any:
        spec = codec.from_wire(ClusterSpec, request.spec) if request.HasField("spec") else None
        root_ca = None if spec is None else await self._root_after_change(request.version, spec)
        await self._store.update(
            lambda tx: clusters.update_cluster(
                tx,
                request.version,
                spec,
                rotate_worker=request.rotate_worker_token,
                rotate_manager=request.rotate_manager_token,
                rotate_unlock_key=request.rotate_unlock_key,
                root_ca=root_ca,
            )
        )
        return self._wire(self._store.view().cluster)

    async def _root_after_change(self, version: int, spec: ClusterSpec) -> RootCA:
        """The root CA that the spec leads to from this version of the cluster. External CAs sign before anything is stored."""
        cluster = self._store.view().cluster
        clusters.require_cluster_version(cluster, version)
        clusters.require_valid_spec(spec, cluster.spec)
        return await self._signer.changed_root(cluster, spec.ca)

    async def GetUnlockKey(
        self, _request: control_pb2.GetUnlockKeyRequest, _context: Any
    ) -> control_pb2.GetUnlockKeyResponse:
        return control_pb2.GetUnlockKeyResponse(unlock_key=self._store.view().cluster.unlock_key)

    # --- nodes ---

    async def ListNodes(self, request: control_pb2.ListRequest, _context: Any) -> control_pb2.ListNodesResponse:
        found = filter_objects(self._store.view().nodes, request)
        return control_pb2.ListNodesResponse(nodes=[self._wire(node) for node in found])

    async def GetNode(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return self._wire(self._store.view().nodes.find(request.ref))

    async def UpdateNode(self, request: control_pb2.UpdateNodeRequest, _context: Any) -> Any:
        spec = codec.from_wire(NodeSpec, request.spec)
        members = self._store.consensus.members()
        return await self._write(
            lambda tx: nodes.update_node(tx, request.ref, request.version, spec, members, now_ns=self._clock()),
            lambda view: view.nodes,
        )

    async def RemoveNode(self, request: control_pb2.RemoveRequest, _context: Any) -> control_pb2.RemoveResponse:
        await self._wait_for_demotion(request.ref)
        members, now_ns = self._store.consensus.members(), self._clock()
        return await self._remove(
            lambda tx: nodes.remove_node(tx, request.ref, members, force=request.force, now_ns=now_ns)
        )

    async def _wait_for_demotion(self, ref: str) -> None:
        """Waits for the node's demotion, if one has been requested.

        Raises:
            NotLeaderError: this leader is the one that is demoted; the call goes to its successor. Waiting here would fail, because a
                follower that forwards the call reports it as lost when the leader changes.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._demotion_seconds):
                while self._is_being_demoted(ref):  # noqa: ASYNC110 - a membership change is not an event
                    await asyncio.sleep(_POLL_SECONDS)

    def _is_being_demoted(self, ref: str) -> bool:
        consensus, members = self._store.consensus, self._store.consensus.members()
        node = self._store.view().nodes.find(ref)
        being = nodes.is_being_demoted(node, members)
        leads = any(m.raft_id == consensus.leadership.leader_id and m.node_id == node.id for m in members)
        if being and (leads or not consensus.leadership.is_leader):
            raise NotLeaderError
        return being

    # --- services and tasks ---

    async def ListServices(self, request: control_pb2.ListRequest, _context: Any) -> control_pb2.ListServicesResponse:
        view = self._store.view()
        response = control_pb2.ListServicesResponse()
        for service in filter_objects(view.services, request):
            codec.write(service, response.services.add())
            counts = services.task_counts(view, service)
            response.counts.add(running=counts.running, desired=counts.desired, completed=counts.completed)
        return response

    async def GetService(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return self._wire(self._store.view().services.find(request.ref))

    async def CreateService(self, request: control_pb2.CreateServiceRequest, _context: Any) -> Any:
        spec = codec.from_wire(ServiceSpec, request.spec)
        return await self._write(
            lambda tx: services.create_service(tx, spec, self._ids, self._clock()), lambda view: view.services
        )

    async def UpdateService(self, request: control_pb2.UpdateServiceRequest, _context: Any) -> Any:
        if request.rollback:
            return await self._write(
                lambda tx: services.roll_back_service(tx, request.ref, request.version, self._clock()),
                lambda view: view.services,
            )
        spec = codec.from_wire(ServiceSpec, request.spec)
        return await self._write(
            lambda tx: services.update_service(tx, request.ref, request.version, spec, self._clock()),
            lambda view: view.services,
        )

    async def RemoveService(self, request: control_pb2.RemoveRequest, _context: Any) -> control_pb2.RemoveResponse:
        return await self._remove(lambda tx: services.remove_service(tx, request.ref))

    async def GetServiceExplanation(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        view, now_ns = self._store.view(), self._clock()
        service = view.services.find(request.ref)
        async with self._explaining:
            found = await asyncio.to_thread(explain_service, view, service, now_ns)
        answer = explanation_pb2.ServiceExplanation()
        codec.write(found, answer)
        return answer

    async def GetServiceDryRun(self, request: explanation_pb2.ServiceDryRunRequest, _context: Any) -> Any:
        with_image = self._images.directory.nodes_with(request.spec.task.container.image)
        async with self._explaining:
            found = await asyncio.to_thread(
                dry_run, self._store.view(), request, self._clock(), self._ids, lambda _image: with_image
            )
        answer = explanation_pb2.ServiceDryRun()
        codec.write(found, answer)
        return answer

    async def PromoteService(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return await self._write(lambda tx: rollouts.promote_service(tx, request.ref), lambda view: view.services)

    async def RebalanceService(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return await self._write(
            lambda tx: rollouts.rebalance_service(tx, request.ref, self._clock()), lambda view: view.services
        )

    async def ListTasks(self, request: control_pb2.ListRequest, _context: Any) -> control_pb2.ListTasksResponse:
        found = list_tasks(self._store.view(), request)
        return control_pb2.ListTasksResponse(tasks=[self._wire(task) for task in found])

    async def GetTask(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return self._wire(self._store.view().tasks.find(request.ref))

    async def CallTask(self, requests: AsyncIterator[dispatcher_pb2.TaskCallPart], context: Any) -> None:
        await self._task_calls.call(requests, context)

    async def OpenTaskCall(self, request: control_pb2.OpenTaskCallRequest, _context: Any) -> Any:
        self._task_calls.open(request.node_id, request.call)
        return control_pb2.OpenTaskCallResponse()

    # --- networks ---

    async def ListNetworks(self, request: control_pb2.ListRequest, _context: Any) -> control_pb2.ListNetworksResponse:
        found = filter_objects(self._store.view().networks, request)
        return control_pb2.ListNetworksResponse(networks=[self._wire(network) for network in found])

    async def GetNetwork(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return self._wire(self._store.view().networks.find(request.ref))

    async def CreateNetwork(self, request: control_pb2.CreateNetworkRequest, _context: Any) -> Any:
        spec = codec.from_wire(NetworkSpec, request.spec)
        return await self._write(lambda tx: networks.create_network(tx, spec, self._ids), lambda view: view.networks)

    async def RemoveNetwork(self, request: control_pb2.RemoveRequest, context: Any) -> control_pb2.RemoveResponse:
        await self._wait_for_release(request.ref, context)
        return await self._remove(lambda tx: networks.remove_network(tx, request.ref))

    async def _wait_for_release(self, ref: str, context: Any) -> None:
        """Waits for tasks that are stopping: ``docker stack rm`` removes networks right after it removes the services.

        Raises:
            NotLeaderError: this manager leads no longer.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_wait_seconds(context, self._release_seconds)):
                while networks.is_being_released(self._store.view(), ref):
                    if not self._store.consensus.leadership.is_leader:
                        raise NotLeaderError
                    await asyncio.sleep(_POLL_SECONDS)

    # --- secrets and configs ---

    async def ListSecrets(self, request: control_pb2.ListRequest, _context: Any) -> control_pb2.ListSecretsResponse:
        found = filter_objects(self._store.view().secrets, request)
        return control_pb2.ListSecretsResponse(secrets=[self._wire(secret) for secret in found])

    async def GetSecret(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return self._wire(self._store.view().secrets.find(request.ref))

    async def CreateSecret(self, request: control_pb2.CreateSecretRequest, _context: Any) -> Any:
        spec = codec.from_wire(SecretSpec, request.spec)
        return await self._write(lambda tx: secrets.create_secret(tx, spec, self._ids), lambda view: view.secrets)

    async def UpdateSecret(self, request: control_pb2.UpdateSecretRequest, _context: Any) -> Any:
        spec = codec.from_wire(SecretSpec, request.spec)
        return await self._write(
            lambda tx: secrets.update_secret(tx, request.ref, request.version, spec), lambda view: view.secrets
        )

    async def RotateSecret(self, request: control_pb2.RotateSecretRequest, _context: Any) -> Any:
        object_id, services = await self._store.update(
            lambda tx: secret_rotation.rotate_secret(tx, request.ref, request.data, self._ids, self._clock())
        )
        secret = self._wire(self._store.view().secrets.find(object_id))
        return control_pb2.RotateSecretResponse(secret=secret, service_ids=services)

    async def RemoveSecret(self, request: control_pb2.RemoveRequest, _context: Any) -> control_pb2.RemoveResponse:
        return await self._remove(lambda tx: secrets.remove_secret(tx, request.ref))

    async def ListConfigs(self, request: control_pb2.ListRequest, _context: Any) -> control_pb2.ListConfigsResponse:
        found = filter_objects(self._store.view().configs, request)
        return control_pb2.ListConfigsResponse(configs=[self._wire(config) for config in found])

    async def GetConfig(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return self._wire(self._store.view().configs.find(request.ref))

    async def CreateConfig(self, request: control_pb2.CreateConfigRequest, _context: Any) -> Any:
        spec = codec.from_wire(ConfigSpec, request.spec)
        return await self._write(lambda tx: secrets.create_config(tx, spec, self._ids), lambda view: view.configs)

    async def UpdateConfig(self, request: control_pb2.UpdateConfigRequest, _context: Any) -> Any:
        spec = codec.from_wire(ConfigSpec, request.spec)
        return await self._write(
            lambda tx: secrets.update_config(tx, request.ref, request.version, spec), lambda view: view.configs
        )

    async def RotateConfig(self, request: control_pb2.RotateConfigRequest, _context: Any) -> Any:
        object_id, services = await self._store.update(
            lambda tx: secret_rotation.rotate_config(tx, request.ref, request.data, self._ids, self._clock())
        )
        config = self._wire(self._store.view().configs.find(object_id))
        return control_pb2.RotateConfigResponse(config=config, service_ids=services)

    async def RemoveConfig(self, request: control_pb2.RemoveRequest, _context: Any) -> control_pb2.RemoveResponse:
        return await self._remove(lambda tx: secrets.remove_config(tx, request.ref))

    # --- watched stacks ---

    async def ListWatchedStacks(self, request: control_pb2.ListRequest, _context: Any) -> Any:
        view, response = self._store.view(), control_pb2.ListWatchedStacksResponse()
        for stack in filter_objects(view.watched_stacks, request):
            codec.write(redact(stack), response.stacks.add())
            found = drift(view, stack)
            response.drifts.add(changed=found.changed, removed=found.removed)
        return response

    async def WatchStack(self, request: control_pb2.WatchStackRequest, _context: Any) -> Any:
        spec = codec.from_wire(WatchedStackSpec, request.spec)
        return await self._write(
            lambda tx: watched_stacks.watch_stack(tx, spec, self._ids), lambda view: view.watched_stacks
        )

    async def DeployWatchedStack(self, request: control_pb2.GetRequest, _context: Any) -> Any:
        return await self._write(
            lambda tx: watched_stacks.request_deployment(tx, request.ref), lambda view: view.watched_stacks
        )

    async def UnwatchStack(self, request: control_pb2.RemoveRequest, _context: Any) -> control_pb2.RemoveResponse:
        removed = await self._remove(lambda tx: watched_stacks.unwatch_stack(tx, request.ref))
        await self._stop_deployment(removed.id)
        return removed

    # --- images of nodes ---

    async def ListNodeImages(self, _request: control_pb2.ListNodeImagesRequest, _context: Any) -> Any:
        return self._images.list()

    async def FetchImage(self, request: control_pb2.FetchImageRequest, context: Any) -> Any:
        await self._images.fetch(request, _wait_seconds(context, _FETCH_SECONDS))
        return control_pb2.FetchImageResponse()

    # --- networks of nodes ---

    async def CheckNetworks(self, request: control_pb2.CheckNetworksRequest, context: Any) -> Any:
        return await self._network_checks.check(
            repair=request.repair,
            seconds=_wait_seconds(context, _CHECK_SECONDS),
            node_ids=frozenset(request.node_ids),
            namespaces=frozenset(request.namespaces),
        )

    # --- streams and state ---

    async def ListHistory(self, request: control_pb2.ListHistoryRequest, _context: Any) -> Any:
        return list_history(self._store.view(), self._history, request)

    async def WatchHistory(self, request: control_pb2.WatchHistoryRequest, context: Any) -> AsyncIterator[Any]:
        async for entry in watch_history(self._history, request, lambda: context.send_initial_metadata(())):
            yield entry

    async def Logs(self, request: control_pb2.LogsRequest, _context: Any) -> AsyncIterator[dispatcher_pb2.LogBatch]:
        async for batch in self._logs.logs(request):
            yield batch

    async def Backup(self, request: control_pb2.BackupRequest, _context: Any) -> AsyncIterator[control_pb2.BackupPart]:
        async for part in stream_backup(self._store, request, self._clock()):
            yield part

    async def Status(self, _request: control_pb2.ManagerStatusRequest, _context: Any) -> Any:
        return manager_status(self._store)

    async def _write(self, apply: Callable[[Tx], str], table: Callable[[Any], Table[Any]]) -> Any:
        object_id = await self._store.update(apply)
        return self._wire(table(self._store.view()).find(object_id))

    async def _remove(self, apply: Callable[[Tx], str]) -> control_pb2.RemoveResponse:
        return control_pb2.RemoveResponse(id=await self._store.update(apply))

    def _wire(self, item: Object) -> Any:
        return codec.to_wire(redact(item))


def _wait_seconds(context: Any, most: float) -> float:
    """How long a call may wait and still answer within the caller's deadline."""
    remaining = None if context is None else context.time_remaining()
    return most if remaining is None else max(0.0, min(most, remaining - _ANSWER_SECONDS))
