"""Managers as real processes on loopback addresses, and agents' sessions with them.

Every process is ended through its handle, even if the test fails.
"""

import asyncio
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import grpc

from agent.identity import IdentityStore, join_cluster
from agent.session import AgentSession
from agent.session.interfaces import TaskLogOptions, TaskUsage
from agent.session.status_queue import StatusQueue
from covey.errors import NotFoundError
from covey.objects import NodeDescription, Platform, Resources, TaskStatus
from covey.objects.assignment import AssignmentChange
from covey.objects.base import Struct
from covey.states import NodeRole
from coveypb.v1 import control_pb2, control_pb2_grpc
from manager.keys.startup_secrets import parse_unlock_key
from node.unlock_key_cache import UnlockKeyCache
from tests.support.no_images import NoImages
from tests.support.no_networks import NoNetworks
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 40.0


async def eventually(what: str, condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """First true result of the condition, which may be awaitable."""
    last: BaseException | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    value = condition()
                    if isinstance(value, Awaitable):
                        value = await value
                    if value:
                        return value
                except (grpc.aio.AioRpcError, OSError) as error:
                    last = error
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}; last error {last!r}") from None


class ManagerHost:
    """Manager process of one host. Its state on disk survives a kill."""

    def __init__(self, folder: Path, addr: str, join_port: int, mtls_port: int) -> None:
        self.folder = folder
        self.addr = addr
        self.join_addr = f"{addr}:{join_port}"
        self.mtls_addr = f"{addr}:{mtls_port}"
        self._ports = {"join_port": join_port, "mtls_port": mtls_port}
        self.key_cache = UnlockKeyCache(folder / "state")
        self.identities = IdentityStore(folder / "state", self.key_cache.unseal)
        self._stdout_reader: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.log = folder / "manager.log"

    async def start(self, mode: str, join_addrs: Sequence[str] = (), **more: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "manager.json"
        settings = {
            "state_dir": str(self.folder / "state"),
            "run_dir": str(self.folder / "run"),
            "hostname": self.addr,
            "advertise_addr": self.addr,
            "listen_addr": self.addr,
            "mode": mode,
            "join_addrs": list(join_addrs),
            **self._ports,
            **more,
        }
        config.write_text(json.dumps(settings))
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "manager.main", "--config", str(config),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT,
            )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(self.key_cache.startup_secrets.line())
        ready = asyncio.Event()
        self._stdout_reader = asyncio.create_task(self._read_stdout(self.process, ready))
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.wait(
                {self._stdout_reader, ready_task := asyncio.ensure_future(ready.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            ready_task.cancel()
        assert ready.is_set(), f"the manager at {self.addr} did not start:\n{self.log.read_text()[-4000:]}"

    async def _read_stdout(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        """Read the messages of the process until it ends."""
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if key := parse_unlock_key(line):
                self.key_cache.add(key)
            elif line == b"ready\n":
                ready.set()

    async def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
            self.process = None
        if self._stdout_reader is not None:
            await self._stdout_reader

    def remove_manager_state(self) -> None:
        """Remove the manager state, as a daemon does after its manager was removed."""
        shutil.rmtree(self.folder / "state" / "manager")

    async def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        async with asyncio.timeout(15):
            code = await self.process.wait()
        self.process = None
        return code

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[Any]:
        async with grpc.aio.insecure_channel(f"unix:{self.folder}/run/manager.sock") as channel:
            yield control_pb2_grpc.ControlStub(channel)

    async def call(self, method: str, request: Any, timeout: float = 20) -> Any:
        async with self.control() as stub:
            return await getattr(stub, method)(request, timeout=timeout)

    async def status(self) -> Any:
        return await self.call("Status", control_pb2.ManagerStatusRequest(), timeout=5)

    async def backup(self) -> tuple[Path, str]:
        """Take a backup through this manager. Returns its path and key."""
        path, key = self.folder.parent / "backup", ""
        async with self.control() as stub:
            with path.open("wb") as file:
                async for part in stub.Backup(control_pb2.BackupRequest(own_key=True), timeout=20):
                    key += part.key
                    file.write(part.data)
        return path, key

    async def tokens(self) -> dict[NodeRole, str]:
        cluster = await self.call("GetCluster", control_pb2.GetClusterRequest())
        root = cluster.root_ca
        return {NodeRole.WORKER: root.join_token_worker, NodeRole.MANAGER: root.join_token_manager}


class RecordedLine(Struct, frozen=True, kw_only=True):
    time_ns: int
    stream: str
    data: bytes


class RecordingWorker:
    """Worker without containers: records assignments and reports the statuses that a test sets."""

    def __init__(self) -> None:
        self.items: dict[tuple[int, str], Any] = {}
        self.applied: list[tuple[bool, tuple[AssignmentChange, ...]]] = []
        self.logs: dict[str, list[RecordedLine]] = {}
        self.statuses = StatusQueue()

    def set_dispatcher(self, stub: object) -> None:
        """Single containers are not part of this test."""

    async def apply(self, changes: Sequence[AssignmentChange], *, complete: bool) -> None:
        self.applied.append((complete, tuple(changes)))
        if complete:
            self.items.clear()
        for change in changes:
            if change.item is None:
                del self.items[change.kind, change.id]
            else:
                self.items[change.kind, change.id] = change.item

    def items_of(self, kind: int) -> list[Any]:
        return [item for (item_kind, _), item in self.items.items() if item_kind == kind]

    def report(self, task_id: str, status: TaskStatus) -> None:
        self.statuses.put(task_id, status)

    async def task_usages(self, task_ids: Sequence[str]) -> dict[str, TaskUsage]:
        """Containers are not part of these tests."""
        return {}

    def log_marks(self) -> dict[str, Hashable]:
        """The leader keeps no ends of these logs."""
        return {}

    async def task_logs(self, task_id: str, options: TaskLogOptions) -> AsyncIterator[RecordedLine]:
        if task_id not in self.logs:
            raise NotFoundError(f"task {task_id} has no log here")
        number = 0
        while True:
            while number < len(self.logs[task_id]):
                yield self.logs[task_id][number]
                number += 1
            if not options.follow:
                return
            await asyncio.sleep(0.02)


class AgentHost:
    """Identity and session of a node without containers."""

    def __init__(self, folder: Path, addr: str) -> None:
        self.addr = addr
        self.identities = IdentityStore(folder / "state")
        self.worker = RecordingWorker()
        self.states: list[Any] = []
        self.refusals: list[str] = []
        self.session: AgentSession | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def node_id(self) -> str:
        return self.identities.require().node_id

    async def join(self, token: str, manager: ManagerHost) -> None:
        await join_cluster(self.identities, token, [manager.join_addr])

    def describe(self) -> NodeDescription:
        return NodeDescription(
            hostname=f"host-{self.addr}",
            platform=Platform(os="linux", architecture="x86_64"),
            resources=Resources(nano_cpus=4_000_000_000, memory_bytes=8 << 30),
        )

    def start_session(self, managers: Sequence[str]) -> AgentSession:
        self.session = AgentSession(
            self.identities, managers, self.worker, NoImages(), self.describe,
            networks=NoNetworks(), addr=self.addr, on_state=self.states.append, on_refused=self.refusals.append,
        )  # fmt: skip
        self.task = asyncio.create_task(self.session.run())
        return self.session

    async def stop_session(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


class ManagerCluster:
    """Managers and agents with their own addresses in 127/8; ``close`` ends all of them."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="covey-m-")
        self.managers: list[ManagerHost] = []
        self.agents: list[AgentHost] = []
        self._net = 1 + (hash(self._folder.name) % 250)

    def manager(self) -> ManagerHost:
        number = len(self.managers) + 1
        addr = f"127.77.{self._net}.{number}"
        host = ManagerHost(Path(self._folder.name) / f"m{number}", addr, free_port(addr), free_port(addr))
        self.managers.append(host)
        return host

    def agent(self) -> AgentHost:
        number = len(self.agents) + 1
        host = AgentHost(Path(self._folder.name) / f"a{number}", f"127.77.{self._net}.{100 + number}")
        self.agents.append(host)
        return host

    async def bootstrap(self, count: int = 1, **settings: Any) -> list[ManagerHost]:
        """Create a cluster of ``count`` managers and wait until all are reachable voters."""
        first = self.manager()
        await first.start("bootstrap", **settings)
        for _ in range(count - 1):
            await self.add_manager(first, **settings)
        await eventually("all managers are reachable", lambda: self._all_reachable(first, count))
        return self.managers[-count:]

    async def add_manager(self, first: ManagerHost, **settings: Any) -> ManagerHost:
        host = self.manager()
        await join_cluster(host.identities, (await first.tokens())[NodeRole.MANAGER], [first.join_addr])
        await host.start("join", [first.mtls_addr], **settings)
        return host

    async def _all_reachable(self, host: ManagerHost, count: int) -> bool:
        nodes = (await host.call("ListNodes", control_pb2.ListRequest())).nodes
        return sum(node.manager_status.reachability == 2 for node in nodes) == count

    async def leader(self) -> ManagerHost:
        async def find() -> ManagerHost | None:
            for host in self.managers:
                if host.process is not None and (await host.status()).is_leader:
                    return host
            return None

        return await eventually("a leader", find)

    async def close(self) -> None:
        for agent in self.agents:
            await agent.stop_session()
        for manager in self.managers:
            await manager.kill()
        self._folder.cleanup()


@contextlib.asynccontextmanager
async def manager_cluster() -> AsyncIterator[ManagerCluster]:
    cluster = ManagerCluster()
    try:
        yield cluster
    except BaseException:
        for host in cluster.managers:  # pytest shows the output of a failed test
            sys.stdout.write(f"--- log of the manager at {host.mtls_addr}\n{host.log.read_text()[-6000:]}\n")
        raise
    finally:
        await cluster.close()
