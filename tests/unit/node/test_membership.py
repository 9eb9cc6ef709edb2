"""Init, leave, unlock, restore and force-new-cluster: the state that each leaves on disk, and what clients are told.

The sessions are scripted: each test says how they run. Disk, keys and certificates are real.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

from agent.agent import Agent
from covey import unlockkey
from covey.clock import HOUR, wall_clock
from covey.errors import ConflictError, CoveyError, InvalidArgumentError, NodeRemovedError, UnavailableError
from covey.states import NodeRole
from coveypb.v1 import control_pb2, control_pb2_grpc
from engine.interfaces import LocalNodeState, ManagerPeer, SwarmInit, SwarmJoin, SwarmRestore
from manager.ca import certificates
from manager.identity import write_identity
from manager.keys import LockedError, data_keys
from node import membership_supervisor
from node.membership import Membership
from node.membership_session import MembershipSession, SessionStart
from node.membership_state import MembershipState
from node.node_record import NodeRecord, NodeRecordFile, SessionRecord
from node.options import DaemonOptions

HERE = "127.0.0.1"
INIT = SwarmInit(advertise_addr=HERE)
RECORD = NodeRecord(node_id="n1", cluster_id="c1", role=NodeRole.MANAGER, advertise_addr=HERE)
LOCKED_KEY = unlockkey.generate()
FORCE = SwarmInit(force_new_cluster=True)
RECORD_OF_THREE = NodeRecord(
    node_id="n1",
    cluster_id="c1",
    role=NodeRole.MANAGER,
    advertise_addr=HERE,
    managers=(f"{HERE}:1",),
)

Script = Callable[["ScriptedSession"], Awaitable[None]]


class FakeWorker:
    def records(self) -> list[object]:
        return []


class FakeAgent:
    """An agent without tasks. It counts how often the node has left a cluster; ``may_leave`` holds that up."""

    def __init__(self) -> None:
        self.worker = FakeWorker()
        self.left = 0
        self.may_leave = asyncio.Event()
        self.may_leave.set()

    async def leave_cluster(self) -> None:
        await self.may_leave.wait()
        self.left += 1


class ScriptedSession:
    """A session that does what the test says. ``started`` lists how every one of them began."""

    started: list[tuple[NodeRecord, SessionStart]]
    script: Script

    def __init__(
        self, _options: DaemonOptions, _agent: Agent, state: MembershipState, record: NodeRecord, start: SessionStart
    ) -> None:
        self.record = SessionRecord(state.records, record)
        self.peers = (ManagerPeer("n1", "127.0.0.1:2378"),)
        self.is_established = start.is_established
        self.error = start.last_error
        self.joined = asyncio.Event()
        self.rejected = asyncio.Event()
        self.added: list[str] = []
        self.state = state
        self.started.append((record, start))

    def join(self) -> None:
        self.record.update(cluster_id="c1")
        self.is_established = True
        self.joined.set()

    def add_managers(self, managers: list[str]) -> None:
        self.added += managers

    async def run(self) -> None:
        await type(self).script(self)


class Host:
    """A daemon's state directory, and the daemon on it."""

    def __init__(self, folder: Path) -> None:
        self.options = DaemonOptions(state_dir=folder / "state", run_dir=folder / "run")
        for path in (self.options.state_dir, self.options.run_dir):
            path.mkdir()
        self.agent = FakeAgent()
        self.started: list[tuple[NodeRecord, SessionStart]] = []

    @property
    def record(self) -> NodeRecord | None:
        return NodeRecordFile(self.options.state_dir).load()

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.options.state_dir.iterdir()} - {"engine-id"}

    def save(self, record: NodeRecord = RECORD) -> None:
        NodeRecordFile(self.options.state_dir).save(record)

    @contextlib.asynccontextmanager
    async def daemon(self, script: Script) -> AsyncIterator[Membership]:
        session = type("Session", (ScriptedSession,), {"started": self.started, "script": script})
        membership = Membership(self.options, cast("Agent", self.agent), cast("type[MembershipSession]", session))
        async with asyncio.timeout(20), membership.running():
            yield membership


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


async def joins(session: ScriptedSession) -> None:
    session.join()
    await asyncio.Event().wait()


async def hangs(_session: ScriptedSession) -> None:
    await asyncio.Event().wait()


def fails_with(error: Exception) -> Script:
    async def run(_session: ScriptedSession) -> None:
        raise error

    return run


async def no_chunks() -> AsyncIterator[bytes]:
    raise AssertionError("nothing must be uploaded")
    yield b""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - polls what has no event
            await asyncio.sleep(0.01)


async def test_init_returns_once_the_cluster_knows_the_node_and_its_record_is_on_disk(host: Host) -> None:
    async with host.daemon(joins) as membership:
        node_id = await membership.swarm_init(INIT)
        assert host.record is not None
        assert (host.record.node_id, host.record.cluster_id, host.record.role) == (node_id, "c1", NodeRole.MANAGER)
        assert (membership.info.state, membership.info.node_id) == (LocalNodeState.ACTIVE, node_id)
        with pytest.raises(UnavailableError, match="already part of a swarm"):
            await membership.swarm_init(INIT)
        with pytest.raises(UnavailableError, match="already part of a swarm"):
            await membership.swarm_join(SwarmJoin(join_token="x", remote_addrs=("127.0.0.1:1",)))
        with pytest.raises(UnavailableError, match="a backup can only be restored on a host that is in none"):
            await membership.swarm_restore(SwarmRestore(key="k"), no_chunks())
    assert host.agent.left == 0, "stopping the daemon is not leaving"


async def test_an_init_that_fails_says_why_and_leaves_nothing_behind(host: Host) -> None:
    async def fails(session: ScriptedSession) -> None:
        session.record.update(cluster_id="c1")
        (host.options.state_dir / "manager").mkdir()
        raise UnavailableError("the manager did not start: port in use")

    async with host.daemon(fails) as membership:
        with pytest.raises(UnavailableError, match="did not start: port in use"):
            await membership.swarm_init(INIT)
        assert (membership.info.state, membership.info.error) == (LocalNodeState.INACTIVE, "")
        assert host.files == set()


async def test_a_join_with_a_malformed_token_changes_nothing(host: Host) -> None:
    async with host.daemon(joins) as membership:
        with pytest.raises(CoveyError):
            await membership.swarm_join(SwarmJoin(advertise_addr=HERE, remote_addrs=("127.0.0.1:1",), join_token="x"))
        assert (host.files, host.started) == (set(), [])
        assert membership.info.state is LocalNodeState.INACTIVE


async def test_a_daemon_rejoins_its_cluster_and_shows_the_state_as_it_changes(host: Host) -> None:
    host.save()
    joined = asyncio.Event()

    async def joins_later(session: ScriptedSession) -> None:
        await joined.wait()
        await joins(session)

    async with host.daemon(joins_later) as membership:
        assert host.started == [(RECORD, SessionStart(is_established=True))]
        assert (membership.info.state, membership.info.node_id) == (LocalNodeState.PENDING, "n1")
        joined.set()
        await until(lambda: membership.info.state is LocalNodeState.ACTIVE)


async def test_leftovers_of_an_interrupted_leave_are_removed_at_the_next_start(host: Host) -> None:
    for name in ("identity", "manager"):
        (host.options.state_dir / name).mkdir()
    (host.options.state_dir / "restore.covey").write_bytes(b"sealed")
    async with host.daemon(joins) as membership:
        await until(lambda: host.files == set())
        await until(lambda: membership.info.state is LocalNodeState.INACTIVE)
    assert host.started == []


async def test_an_established_membership_restarts_whatever_fails_and_shows_the_reason(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership_supervisor, "FIRST_BACKOFF_SECONDS", 0.01)
    host.save()

    async def fails_once(session: ScriptedSession) -> None:
        if len(host.started) == 1:
            raise RuntimeError("disk on fire")
        await hangs(session)

    async with host.daemon(fails_once) as membership:
        await until(lambda: len(host.started) == 2)
        assert "disk on fire" in membership.info.error
        assert host.started[1] == (RECORD, SessionStart(is_established=True, last_error="RuntimeError: disk on fire"))
        assert host.record == RECORD


async def test_a_removed_node_ends_its_tasks_and_keeps_its_record_until_it_leaves(host: Host) -> None:
    host.save()
    async with host.daemon(fails_with(NodeRemovedError("gone"))) as membership:
        await until(lambda: membership.info.state is LocalNodeState.ERROR)
        assert "was removed from the swarm" in membership.info.error
        assert (host.agent.left, host.record) == (1, RECORD)
        with pytest.raises(UnavailableError, match="already part of a swarm"):
            await membership.swarm_init(INIT)
        with pytest.raises(UnavailableError, match="was removed from the swarm"):
            await membership.swarm_reconnect([HERE])
        await membership.swarm_leave(force=False)
        assert (membership.info.state, membership.info.error) == (LocalNodeState.INACTIVE, "")
        assert host.files == set()


async def test_a_manager_leaves_by_force_only(host: Host) -> None:
    host.save()
    (host.options.state_dir / "manager").mkdir()
    async with host.daemon(joins) as membership:
        await until(lambda: membership.info.state is LocalNodeState.ACTIVE)
        with pytest.raises(UnavailableError, match="last manager erases all current state"):
            await membership.swarm_leave(force=False)
        assert host.record == RECORD
        await membership.swarm_leave(force=True)
        assert (host.files, host.agent.left) == (set(), 1)
        with pytest.raises(UnavailableError, match="not part of a swarm"):
            await membership.swarm_leave(force=True)
        with pytest.raises(UnavailableError, match="not part of a swarm"):
            await membership.swarm_unlock(unlockkey.generate())


async def test_a_leave_goes_on_when_its_client_disconnects(host: Host) -> None:
    """1. A client asks to leave. 2. It is interrupted while tasks end. 3. The node must not be half in the cluster."""
    host.save()
    host.agent.may_leave.clear()
    async with host.daemon(joins) as membership:
        client = asyncio.create_task(membership.swarm_leave(force=True))
        await until(lambda: host.record is None)
        client.cancel()
        await asyncio.wait({client})
        assert membership.info.state is LocalNodeState.PENDING
        with pytest.raises(UnavailableError, match="already part of a swarm"):
            await membership.swarm_init(INIT)
        host.agent.may_leave.set()
        await until(lambda: membership.info.state is LocalNodeState.INACTIVE)


def lock(host: Host) -> None:
    host.save()
    (host.options.state_dir / "manager").mkdir()
    data_keys.write(host.options.state_dir / "manager" / "keys", data_keys.new_keys(LOCKED_KEY))


async def test_a_locked_manager_waits_for_its_unlock_key(host: Host) -> None:
    lock(host)
    async with host.daemon(joins) as membership:
        assert (membership.info.state, membership.info.node_id) == (LocalNodeState.LOCKED, "n1")
        assert host.started == []
        with pytest.raises(InvalidArgumentError, match="invalid key provided"):
            await membership.swarm_unlock(unlockkey.generate())
        with pytest.raises(UnavailableError, match="unlock it first"):
            await membership.swarm_leave(force=False)
        assert membership.info.state is LocalNodeState.LOCKED
        await membership.swarm_unlock(LOCKED_KEY)
        await until(lambda: membership.info.state is LocalNodeState.ACTIVE)
        with pytest.raises(ConflictError, match="swarm is not locked"):
            await membership.swarm_unlock(LOCKED_KEY)


async def test_a_locked_manager_may_leave_by_force(host: Host) -> None:
    lock(host)
    async with host.daemon(joins) as membership:
        await membership.swarm_leave(force=True)
        assert (membership.info.state, host.files) == (LocalNodeState.INACTIVE, set())


async def test_a_manager_whose_keys_turn_out_to_be_locked_waits_instead_of_restarting(host: Host) -> None:
    host.save()
    async with host.daemon(fails_with(LockedError("locked"))) as membership:
        await until(lambda: membership.info.state is LocalNodeState.LOCKED)
        assert (len(host.started), host.record) == (1, RECORD)


async def test_reconnect_gives_the_session_the_addresses_with_the_port_of_nodes(host: Host) -> None:
    host.save()
    sessions: list[ScriptedSession] = []

    async def remember(session: ScriptedSession) -> None:
        sessions.append(session)
        await joins(session)

    async with host.daemon(remember) as membership:
        await until(lambda: bool(sessions))
        await membership.swarm_reconnect(["localhost", "192.0.2.7:4000"])
        assert sessions[0].added == ["localhost:2378", "192.0.2.7:4001"]


async def test_a_restore_that_fails_removes_the_upload_and_the_key(host: Host) -> None:
    seen: list[bytes] = []

    async def reads_backup(_session: ScriptedSession) -> None:
        path = host.started[-1][1].bootstrap.restore_path
        seen.append(Path(path).read_bytes())
        raise UnavailableError("the key does not open the backup")

    async def chunks() -> AsyncIterator[bytes]:
        yield b"sealed "
        yield b"backup"

    async with host.daemon(reads_backup) as membership:
        with pytest.raises(UnavailableError, match="does not open the backup"):
            await membership.swarm_restore(SwarmRestore(key="k", advertise_addr=HERE), chunks())
        assert (seen, host.files) == ([b"sealed backup"], set())
        assert membership.info.state is LocalNodeState.INACTIVE


async def test_the_key_of_a_backup_is_cached_only_while_it_is_restored(host: Host) -> None:
    keys: list[str] = []
    states: list[MembershipState] = []

    async def restores(session: ScriptedSession) -> None:
        keys.append(session.state.unlock_keys.startup_secrets.backup_key)
        states.append(session.state)
        await joins(session)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"sealed backup"

    async with host.daemon(restores) as membership:
        await membership.swarm_restore(SwarmRestore(key="k", advertise_addr=HERE), chunks())
        assert (keys, states[0].unlock_keys.startup_secrets.backup_key) == (["k"], "")
        assert host.files == {"node.json"}


class AloneManager(control_pb2_grpc.ControlServicer):
    """This node's own manager, which reports that it is the only one."""

    async def Status(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        return control_pb2.ManagerStatusResponse()


@contextlib.asynccontextmanager
async def manager_of(host: Host) -> AsyncIterator[None]:
    now = wall_clock()
    root, (pem, request) = certificates.create_root("c1", now), certificates.new_csr()
    certificate = certificates.issue_certificate(
        root, request, node_id="n1", role=NodeRole.MANAGER, cluster_id="c1", now_ns=now, lifetime_ns=HOUR
    )
    write_identity(host.options.state_dir / "identity", certificate=certificate, key=pem, root=root.cert)
    server = grpc.aio.server()
    control_pb2_grpc.add_ControlServicer_to_server(AloneManager(), server)
    server.add_insecure_port(f"unix:{host.options.run_dir}/manager.sock")
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


async def test_force_new_cluster_restarts_this_manager_alone(host: Host) -> None:
    host.save(RECORD_OF_THREE)
    async with host.daemon(joins) as membership, manager_of(host):
        await membership.swarm_init(FORCE)
        record, start = host.started[-1]
        assert (record.managers, start.mode, start.is_established) == ((), "force", False)
        assert host.agent.left == 0, "tasks run on"


async def test_a_forced_new_cluster_that_fails_leaves_the_membership_as_it_was(host: Host) -> None:
    host.save(RECORD_OF_THREE)

    async def fails_if_forced(session: ScriptedSession) -> None:
        if host.started[-1][1].mode == "force":
            raise UnavailableError("the manager did not start: disk full")
        await joins(session)

    async with host.daemon(fails_if_forced) as membership, manager_of(host):
        with pytest.raises(UnavailableError, match="disk full"):
            await membership.swarm_init(FORCE)
        assert host.started[-1] == (RECORD_OF_THREE, SessionStart(is_established=True))
        assert (host.record, host.agent.left) == (RECORD_OF_THREE, 0)
        await until(lambda: membership.info.state is LocalNodeState.ACTIVE)


async def test_force_new_cluster_is_refused_on_a_worker(host: Host) -> None:
    host.save(NodeRecord(node_id="n1", cluster_id="c1", advertise_addr=HERE))
    async with host.daemon(joins) as membership:
        with pytest.raises(UnavailableError, match="this node is a worker"):
            await membership.swarm_init(FORCE)
