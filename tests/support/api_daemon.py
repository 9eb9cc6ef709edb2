"""Engine API on a real Unix socket for tests: real stores and control service, a store in memory, and a fake node.

Clients are the real ``docker`` and the Docker SDK. The test sets the node's membership.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import docker
import grpc
import msgspec

from agent.build.service import BuildService
from agent.container.service import ContainerService
from agent.image.registry.service import RegistryService
from agent.image.store import ImageStore
from agent.local_network.networks import LocalNetworks
from agent.network.plan.dropped_packets import DroppedPackets
from agent.volume.local import VolumeStore
from covey.clock import wall_clock
from covey.errors import ConflictError, CoveyError, UnavailableError
from covey.ids import new_id
from covey.objects import (
    Cluster,
    EngineDescription,
    ManagerStatus,
    Node,
    NodeDescription,
    NodeSpec,
    NodeStatus,
    Platform,
    Resources,
    RootCA,
)
from covey.states import NodeRole, NodeState, Reachability
from coveypb.v1 import control_pb2_grpc, dispatcher_pb2
from engine.app import build_app
from engine.control_client import ControlClient
from engine.interfaces import LocalNodeState, ManagerPeer, SwarmInit, SwarmJoin
from engine.server import serving
from manager.authorize import AuthorizationInterceptor
from manager.caller import Caller
from manager.control.servicer import ControlServicer
from manager.history.log import HistoryLog
from manager.history.recorder import record_history
from manager.store import MemoryConsensus, Store
from node.membership import ALREADY_MEMBER, NOT_MEMBER
from tests.support.local_networks import HostNetworks, RecordedFragments, RecordedNetworks, open_local
from tests.support.loopback_networks import LoopbackNetworks

CLI_SECONDS = 60


class FakeNode:
    """Node whose membership the test sets. It records requests and creates clusters at once."""

    def __init__(self, state_dir: Path) -> None:
        self.state = LocalNodeState.INACTIVE
        self.error = ""
        self.node_id = ""
        self.engine_id = "engine-of-the-test"
        self.hostname = "host-1"
        self.state_dir = str(state_dir)
        self.advertise_addr = "192.0.2.1"
        self.is_manager = False
        self.managers: tuple[ManagerPeer, ...] = ()
        self.requests: list[object] = []
        self.error_to_raise: CoveyError | None = None
        self.on_init: Callable[[], Awaitable[object]]

    @property
    def info(self) -> FakeNode:
        return self

    def join_addr(self, mtls_addr: str) -> str:
        return f"{mtls_addr.rpartition(':')[0]}:2377"

    def _accept(self, request: object, *, member: bool) -> None:
        """Record a request, or refuse it with the daemon's message."""
        if member and self.state is LocalNodeState.INACTIVE:
            raise UnavailableError(NOT_MEMBER)
        if not member and self.state is not LocalNodeState.INACTIVE:
            raise UnavailableError(ALREADY_MEMBER)
        self.requests.append(request)
        if self.error_to_raise:
            raise self.error_to_raise

    async def swarm_init(self, request: SwarmInit) -> str:
        self._accept(request, member=False)
        await self.on_init()
        return self.node_id

    async def swarm_join(self, request: SwarmJoin) -> None:
        self._accept(request, member=False)
        self.state, self.node_id = LocalNodeState.ACTIVE, new_id()

    async def swarm_leave(self, *, force: bool) -> None:
        self._accept(("leave", force), member=True)
        self.state, self.node_id, self.is_manager = LocalNodeState.INACTIVE, "", False

    async def swarm_unlock(self, unlock_key: str) -> None:
        self._accept(("unlock", unlock_key), member=True)
        if self.state is not LocalNodeState.LOCKED:
            raise ConflictError("swarm is not locked")
        self.become_manager()

    def become_manager(self) -> None:
        self.state, self.is_manager = LocalNodeState.ACTIVE, True
        self.node_id = self.node_id or new_id()


class FakeLogBroker:
    """Log broker that returns the batches that the test sets."""

    def __init__(self) -> None:
        self.batches: list[dispatcher_pb2.LogBatch] = []
        self.requests: list[object] = []
        self.failure: CoveyError | None = None

    async def logs(self, request: object) -> AsyncIterator[dispatcher_pb2.LogBatch]:
        self.requests.append(request)
        for batch in self.batches:
            yield batch
        if self.failure is not None:
            raise self.failure


class QuietNetworks:
    """The kernel of a host whose networks are as wanted and whose firewall drops nothing."""

    warnings: tuple[str, ...] = ()

    async def dropped_packets(self) -> DroppedPackets:
        return DroppedPackets()

    async def verify(self) -> tuple[()]:
        return ()

    async def repair(self) -> tuple[()]:
        return ()


class AgentParts(msgspec.Struct):
    """Implementation of ``engine.interfaces.AgentInterface``."""

    images: ImageStore
    registries: RegistryService
    containers: ContainerService
    volumes: VolumeStore
    endpoints: HostNetworks
    builds: BuildService
    networks: QuietNetworks = QuietNetworks()
    warnings: tuple[str, ...] = ()


class Daemon:
    """A daemon for tests: its socket, node, agent, store and clients."""

    def __init__(self, socket: Path, node: FakeNode, parts: AgentParts, store: Store, logs: FakeLogBroker) -> None:
        self.socket, self.node, self.agent, self.store, self.logs = socket, node, parts, store, logs
        node.on_init = self.form_cluster

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    async def docker(self, *args: str, stdin: bytes = b"", check: int | None = 0) -> tuple[str, str]:
        """Run the docker client. Returns stdout and stderr."""
        return await self._run("docker", *args, stdin=stdin, check=check)

    async def covey(self, *args: str, stdin: bytes = b"", check: int | None = 0) -> tuple[str, str]:
        """Run the covey client. Returns stdout and stderr."""
        return await self._run(str(Path(sys.executable).with_name("covey")), *args, stdin=stdin, check=check)

    async def _run(self, *command: str, stdin: bytes, check: int | None) -> tuple[str, str]:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DOCKER_HOST": self.host}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=environment,
        )  # fmt: skip
        try:
            async with asyncio.timeout(CLI_SECONDS):
                out, err = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if check is not None:
            assert process.returncode == check, (command, process.returncode, out.decode(), err.decode())
        return out.decode(), err.decode()

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.UnixConnector(str(self.socket))
        async with aiohttp.ClientSession("http://covey", connector=connector) as session:
            yield session

    async def request(self, method: str, path: str, **options: object) -> tuple[int, object]:
        """Send one request. Returns the status and the JSON or text."""
        async with self.session() as session, session.request(method, path, **options) as response:
            text = await response.text()
            kind = response.content_type
            return response.status, msgspec.json.decode(text) if kind == "application/json" and text else text

    async def sdk(self, function: object) -> object:
        """Run ``use(client)`` with the Docker SDK, in a thread."""

        def run() -> object:
            client = docker.DockerClient(self.host, timeout=CLI_SECONDS)
            try:
                return function(client)
            finally:
                client.close()

        return await asyncio.to_thread(run)

    async def form_cluster(self) -> str:
        """Create a cluster of this node, which is ready. Returns its ID."""
        self.node.become_manager()
        ca = RootCA(cert=b"", join_token_worker="SWMTKN-1-x-worker", join_token_manager="SWMTKN-1-x-manager")
        await self.store.update(lambda tx: tx.create(Cluster(id=new_id(), root_ca=ca)))
        await self.add_node(self.node.node_id, "host-1", NodeRole.MANAGER)
        return self.node.node_id

    async def add_node(self, node_id: str, hostname: str, role: NodeRole = NodeRole.WORKER) -> Node:
        manager = ManagerStatus(raft_id=1, addr="192.0.2.1:2378", leader=True, reachability=Reachability.REACHABLE)
        node = Node(
            id=node_id,
            role=role,
            spec=NodeSpec(desired_role=role),
            description=NodeDescription(
                hostname=hostname,
                platform=Platform(architecture="amd64", os="linux"),
                resources=Resources(nano_cpus=2 * 10**9, memory_bytes=1 << 30),
                engine=EngineDescription(version="0.1.0"),
            ),
            status=NodeStatus(state=NodeState.READY, addr="192.0.2.1"),
            manager_status=manager if role is NodeRole.MANAGER else None,
        )
        await self.store.update(lambda tx: tx.create(node))
        return node


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Daemon]:
    """Run a daemon with its state below ``folder``."""
    images = ImageStore(folder / "state", clock=wall_clock)
    containers = ContainerService(
        folder / "state", folder / "run", f"/covey-test-{secrets.token_hex(4)}", images, LoopbackNetworks()
    )
    registries = RegistryService(images.repository)
    node, store, logs, history = FakeNode(folder / "state"), Store(MemoryConsensus), FakeLogBroker(), HistoryLog()
    registry = LocalNetworks(folder / "state/networks.db", engine_id=node.engine_id, bridge="covey0")
    local = await open_local(folder, RecordedNetworks(), RecordedFragments(), registry)
    builds = BuildService(
        folder / "state", folder / "run", images, registries, LoopbackNetworks(), cgroup_parent="/covey-test"
    )
    await builds.open()
    parts = AgentParts(images, registries, containers, containers.volumes, HostNetworks(local), builds)
    manager = folder / "manager.sock"
    server = grpc.aio.server(interceptors=[AuthorizationInterceptor("", lambda peer: peer.caller, Caller.LOCAL)])
    control_pb2_grpc.add_ControlServicer_to_server(ControlServicer(store, logs, history=history), server)
    server.add_insecure_port(f"unix:{manager}")
    await server.start()
    control = ControlClient(str(manager), call_seconds=5)
    await images.start()
    await registries.open()
    await containers.open()
    try:
        async with asyncio.TaskGroup() as group:
            recorder = group.create_task(record_history(store, history))
            async with serving(build_app(parts, node, control), folder / "covey.sock"):
                yield Daemon(folder / "covey.sock", node, parts, store, logs)
            recorder.cancel()
    finally:
        await control.close()
        await server.stop(0)
        await containers.close()
        await local.close()
        await registries.close()
        await images.close()
