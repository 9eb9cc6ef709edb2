"""One membership from join to leave: the agent's session, the manager's process when the role asks for it, the certificate's renewal.

Law: the role in the store is followed: promoted, the node renews its certificate and starts a manager; demoted, it stops it, forgets
the log and renews. Owned by ``node.membership``.
"""

import asyncio
import logging
import shutil
import socket
from collections.abc import Sequence

import msgspec

from agent.agent import Agent
from agent.identity import IdentityStore, keep_renewed, renew
from agent.session import Session
from covey import codec
from covey.errors import CoveyError
from covey.objects import ClusterSpec, Node
from covey.states import NodeAvailability, NodeRole
from coveypb.v1 import dispatcher_pb2
from engine.ports import ManagerPeer
from manager.config import ManagerConfig, ManagerMode
from node import addresses
from node.manager_process import ManagerProcess
from node.options import Options
from node.record import NodeRecord, RecordFile

RENEW_PAUSE_SECONDS = 1.0

log = logging.getLogger(__name__)


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True):
    """What a new cluster begins with."""

    spec: ClusterSpec = ClusterSpec()
    availability: NodeAvailability = NodeAvailability.ACTIVE
    default_address_pool: tuple[str, ...] = ()
    subnet_size: int = 0
    data_path_port: int = 0


class Life:
    """``settled`` is set once the cluster knows this node and, for a manager, its manager serves."""

    def __init__(
        self,
        options: Options,
        agent: Agent,
        records: RecordFile,
        identities: IdentityStore,
        record: NodeRecord,
        *,
        mode: ManagerMode | None,
        bootstrap: Bootstrap | None,
    ) -> None:
        self.record = record
        self.peers: Sequence[ManagerPeer] = ()
        self.settled = asyncio.Event()
        self.error = ""
        self._options = options
        self._agent = agent
        self._records = records
        self._identities = identities
        self._mode = mode
        self._bootstrap = bootstrap or Bootstrap()
        self._manager = ManagerProcess(options.run_dir)
        self._wanted_role = _Role(record.role)
        self._saved = False

    @property
    def manager_runs(self) -> bool:
        """Whether this node's manager serves."""
        return self._manager.running

    async def run(self) -> None:
        """Until cancelled, or until the cluster has removed this node.

        Raises:
            CoveyError: a first start that failed, with its reason; or the node was removed.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_role())
                await self._be_a_node(group)
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors

    async def _be_a_node(self, group: asyncio.TaskGroup) -> None:
        if self._mode is not None:
            await self._manager.wait_ready()
        identity = self._identities.require()
        self._save(node_id=identity.node_id, cluster_id=identity.cluster_id)
        await self._agent.enter(self.record.advertise_addr)
        session = Session(
            self._identities,
            self._managers(),
            self._agent.worker,
            self._agent.describe,
            addr=self.record.advertise_addr,
            on_state=self._told,
        )
        group.create_task(session.run())
        group.create_task(keep_renewed(self._identities, self._managers, lambda _: None))

    def _managers(self) -> Sequence[str]:
        """Where a leader may be asked for: this node's own manager first."""
        own = (addresses.join_port(self.record.advertise_addr, self._options.mtls_port),) if self.manager_runs else ()
        return tuple(dict.fromkeys((*own, *self.record.managers)))

    def _save(self, **changes: object) -> None:
        fresh = msgspec.structs.replace(self.record, **changes)
        if fresh != self.record or not self._saved:
            self.record = fresh
            self._records.save(fresh)
            self._saved = True

    def _told(self, state: dispatcher_pb2.SessionState) -> None:
        """What the leader says of this node, at the start of a session and at each change."""
        node = codec.from_wire(Node, state.node)
        self.peers = tuple(ManagerPeer(node_id=manager.node_id, addr=manager.addr) for manager in state.managers)
        self._agent.told(node)
        self._save(managers=tuple(peer.addr for peer in self.peers) or self.record.managers, role=node.role)
        self._wanted_role.set(node.role)
        self.settled.set()

    async def _follow_role(self) -> None:
        """Run a manager for as long as the role says so."""
        mode = self._mode or (ManagerMode.RESTART if self.record.role is NodeRole.MANAGER else None)
        while True:
            await self._wanted_role.wait_for(NodeRole.MANAGER)
            if mode is None:
                await self._renewed(NodeRole.MANAGER)
            await self._serve_as_manager(mode or ManagerMode.JOIN)
            await asyncio.to_thread(shutil.rmtree, self._options.state_dir / "manager", ignore_errors=True)
            await self._renewed(NodeRole.WORKER)
            mode = None

    async def _serve_as_manager(self, mode: ManagerMode) -> None:
        """One term of office: until the role is gone or the cluster has removed this manager."""

        def configure(first: bool) -> ManagerConfig:
            return self._config(mode if first or not self._has_log() else ManagerMode.RESTART)

        async with asyncio.TaskGroup() as group:
            removed = lambda: log.info("removed from the managers")  # noqa: E731
            asked_for = self._mode is not None and not self.settled.is_set()
            process = group.create_task(self._manager.run(configure, removed, must_start=asked_for))
            demoted = group.create_task(self._wanted_role.wait_for(NodeRole.WORKER))
            await asyncio.wait({process, demoted}, return_when=asyncio.FIRST_COMPLETED)
            if not process.done():
                process.cancel()
            await demoted

    def _has_log(self) -> bool:
        return (self._options.state_dir / "manager").is_dir()

    async def _renewed(self, role: NodeRole) -> None:
        """A certificate that says the role; asked for until the leader gives it."""
        while self._identities.require().role is not role:
            try:
                await renew(self._identities, self._managers())
            except CoveyError as error:
                self.error = error.message
                log.warning("the certificate does not say %s yet: %s", role.name.lower(), error.message)
            await asyncio.sleep(0 if self._identities.require().role is role else RENEW_PAUSE_SECONDS)
        self.error = ""

    def _config(self, mode: ManagerMode) -> ManagerConfig:
        record, options, bootstrap = self.record, self._options, self._bootstrap
        return ManagerConfig(
            state_dir=str(options.state_dir),
            run_dir=str(options.run_dir),
            node_id=record.node_id,
            hostname=socket.gethostname(),
            advertise_addr=record.advertise_addr,
            listen_addr=record.listen_addr,
            join_port=options.join_port,
            mtls_port=options.mtls_port,
            mode=mode,
            join_addrs=record.managers,
            cluster_spec=bootstrap.spec,
            availability=bootstrap.availability,
            default_address_pool=bootstrap.default_address_pool,
            subnet_size=bootstrap.subnet_size,
            data_path_port=bootstrap.data_path_port,
            log_level=options.log_level,
        )


class _Role:
    """A role that can be waited for."""

    def __init__(self, role: NodeRole) -> None:
        self._role = role
        self._changed = asyncio.Event()

    def set(self, role: NodeRole) -> None:
        self._role = role
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_for(self, role: NodeRole) -> None:
        while self._role is not role:
            await self._changed.wait()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first reason of a group that failed as one."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
